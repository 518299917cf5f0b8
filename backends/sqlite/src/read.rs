//! Snapshots: read transactions, each on a connection from a pool.

use std::sync::Arc;

use annals_core::{PersistenceError, Result};
use annals_embedded::{Snapshot, Tables};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::config::SqliteConfig;
use crate::error::failed;
use crate::open::open_reader;
use crate::schema::check_version;
use crate::tables::SqliteTables;

/// Connections for readers. There are as many as open streams, and idle ones for as many reads as run
/// at the same time. Clones share the connections.
#[derive(Clone)]
pub(crate) struct ConnectionPool(Arc<Shared>);

struct Shared {
    config: SqliteConfig,
    /// `None` once the pool is closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl ConnectionPool {
    pub(crate) fn new(config: SqliteConfig) -> Self {
        Self(Arc::new(Shared { config, idle: Mutex::new(Some(Vec::new())) }))
    }

    /// Closes idle connections. Others are closed when they are returned.
    pub(crate) fn close(&self) {
        let idle = self.0.idle.lock().take();
        drop(idle);
    }

    pub(crate) fn snapshot(&self) -> Result<SqliteSnapshot> {
        let idle = self.0.idle.lock().as_mut().and_then(Vec::pop);
        let tables = match idle {
            Some(connection) => SqliteTables { connection, unchanged: None },
            None => open_reader(&self.0.config)?,
        };
        let snapshot = SqliteSnapshot { tables: Some(tables), pool: self.clone() };
        snapshot.begin().map(|()| snapshot)
    }

    fn give_back(&self, connection: Connection) {
        {
            let mut idle = self.0.idle.lock();
            if let Some(idle) = &mut *idle
                && idle.len() < self.0.config.shared.readers
                // How the file has to be read may change.
                && !self.0.config.shared.read_only
            {
                idle.push(connection);
                return;
            }
        }
        close(connection);
    }
}

/// Closes a connection on the pool of blocking threads: the last one of all copies the log into the
/// file, and a task that drops a stream must not wait for that.
fn close(connection: Connection) {
    blocking::unblock(move || drop(connection)).detach();
}

/// A read transaction.
pub(crate) struct SqliteSnapshot {
    /// `None` only while it is dropped.
    tables: Option<SqliteTables>,
    pool: ConnectionPool,
}

impl SqliteSnapshot {
    fn get(&self) -> Result<&SqliteTables> {
        self.tables.as_ref().ok_or(PersistenceError::BackendShutdown)
    }

    fn begin(&self) -> Result<()> {
        let SqliteTables { connection, .. } = self.get()?;
        // A deferred transaction takes its snapshot with the first read.
        connection
            .prepare_cached("BEGIN")
            .and_then(|mut begin| begin.execute([]))
            .and_then(|_| connection.prepare_cached("SELECT schema_version FROM annals_meta"))
            .and_then(|mut select| select.query_row([], |row| row.get(0)))
            .map_err(failed("query"))
            // Another process may have converted it.
            .and_then(check_version)
    }
}

impl Drop for SqliteSnapshot {
    fn drop(&mut self) {
        let Some(SqliteTables { connection, .. }) = self.tables.take() else { return };
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        match ended {
            Ok(_) => self.pool.give_back(connection),
            // The next query could not use it.
            Err(_) => close(connection),
        }
    }
}

impl Snapshot for SqliteSnapshot {
    fn tables(&self) -> Result<&dyn Tables> {
        Ok(self.get()?)
    }
}
