//! Readers: a connection each, one snapshot each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_core::PersistenceError;
use annals_embedded::{Snapshot, Tables};
use rusqlite::Connection;

use crate::config::SqliteConfig;
use crate::error::failed;
use crate::schema;
use crate::tables::SqliteTables;

/// Idle connections, kept for the next query. There are as many connections as there are open
/// streams, and no more idle ones than reads at the same time.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    connections: Vec<Connection>,
    closed: bool,
}

impl Idle {
    /// Closes those that are idle; the others are closed when they are given back.
    pub(crate) fn close(&self) {
        let mut shelf = self.lock();
        shelf.closed = true;
        let connections = std::mem::take(&mut shelf.connections);
        drop(shelf);
        drop(connections);
    }

    fn take(&self) -> Option<Connection> {
        self.lock().connections.pop()
    }

    fn give_back(&self, connection: Connection, most: usize) {
        let mut shelf = self.lock();
        if !shelf.closed && shelf.connections.len() < most {
            shelf.connections.push(connection);
            return;
        }
        drop(shelf);
        // The last connection of all copies the log into the file, and this may be a task that
        // drops a stream.
        blocking::unblock(move || drop(connection)).detach();
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Every change under the lock is one push, pop or store.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where snapshots come from.
pub(crate) struct Pool {
    idle: Idle,
    config: SqliteConfig,
}

impl Pool {
    pub(crate) fn new(config: SqliteConfig, idle: Idle) -> Self {
        Self { idle, config }
    }

    pub(crate) fn snapshot(&self) -> Result<SqliteSnapshot, PersistenceError> {
        let connection = match self.idle.take() {
            Some(connection) => connection,
            None => schema::open_reader(&self.config)?,
        };
        let snapshot = SqliteSnapshot {
            tables: Some(SqliteTables(connection)),
            idle: self.idle.clone(),
            most_idle: self.config.shared.readers,
        };
        snapshot.begin().map(|()| snapshot)
    }
}

/// A read transaction on a connection of its own.
pub(crate) struct SqliteSnapshot {
    /// Taken only when it is dropped.
    tables: Option<SqliteTables>,
    idle: Idle,
    most_idle: usize,
}

impl SqliteSnapshot {
    fn get(&self) -> Result<&SqliteTables, PersistenceError> {
        self.tables.as_ref().ok_or(PersistenceError::BackendShutdown)
    }

    fn begin(&self) -> Result<(), PersistenceError> {
        let SqliteTables(connection) = self.get()?;
        // A deferred transaction takes its snapshot with the first read.
        connection
            .prepare_cached("BEGIN")
            .and_then(|mut begin| begin.execute([]))
            .and_then(|_| connection.prepare_cached("SELECT schema_version FROM annals_meta"))
            .and_then(|mut select| select.query_row([], |_| Ok(())))
            .map_err(failed("query"))
    }
}

impl Drop for SqliteSnapshot {
    fn drop(&mut self) {
        let Some(SqliteTables(connection)) = self.tables.take() else { return };
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        // One whose transaction would not end is no good to the next query.
        self.idle.give_back(connection, if ended.is_ok() { self.most_idle } else { 0 });
    }
}

impl Snapshot for SqliteSnapshot {
    fn tables(&self) -> Result<&dyn Tables, PersistenceError> {
        Ok(self.get()?)
    }
}
