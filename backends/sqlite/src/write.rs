//! The writer: commits, and the write-ahead log.

use std::path::PathBuf;

use annals_core::{BackendError, ErrorKind, PersistenceError, Result};
use annals_embedded::{ExternalChange, OpenFile, State, Transaction, Writer, free_space, is_full};
use rusqlite::Connection;

use crate::ENGINE;
use crate::config::SqliteConfig;
use crate::error::{commit_failed, failed, is_failed_sync};
use crate::open::open_writer;
use crate::read::ConnectionPool;
use crate::tables::SqliteTables;
use crate::transaction::SqliteTransaction;

/// The write-ahead log is copied into the file when it has this many pages (16 MiB).
const CHECKPOINT_PAGES: i64 = 4_000;

/// Or when the file could not grow by twice its pages, unless it has fewer than these (1 MiB).
const SHORT_LOG_PAGES: i64 = 250;

/// SQLite's own choice for a new file.
const PAGE_BYTES: u64 = 4_096;

/// The connection that writes, owned by one thread.
pub(crate) struct SqliteWriter {
    tables: SqliteTables,
    /// `PRAGMA data_version` of the last transaction. It changes when another process writes.
    data_version: i64,
    /// The state after the last transaction, if that succeeded.
    state: Option<State>,
    /// Why nothing can be durable through this connection any more: the medium failed. The kernel
    /// reports a failed write-back once and forgets it, so a later sync may succeed without the data
    /// ("fsyncgate", 2018).
    broken: Option<PersistenceError>,
    /// The log could not be copied, because the file had no room to grow. Nothing is added to it until it can
    /// be: what is in the log must fit into the reserve.
    is_full: Option<PersistenceError>,
    path: PathBuf,
    file: OpenFile,
    readers: ConnectionPool,
}

impl SqliteWriter {
    pub(crate) fn open(config: &SqliteConfig, readers: ConnectionPool) -> Result<Self> {
        Ok(Self {
            tables: open_writer(config)?,
            data_version: -1,
            state: None,
            broken: None,
            is_full: None,
            path: config.shared.path.clone(),
            file: OpenFile::at(ENGINE, &config.shared.path),
            readers,
        })
    }

    fn try_commit<T>(
        &mut self,
        operation: &'static str,
        work: &mut impl FnMut(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        let failed = failed(operation);
        let SqliteTables { connection, .. } = &self.tables;
        connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map_err(failed)?;
        // Under the lock, so that it is still true when the rows are written.
        let data_version = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        let alone = data_version == self.data_version;
        let mut transaction = match self.state.take() {
            Some(state) if alone => SqliteTransaction::after(&self.tables, state),
            _ => SqliteTransaction::begin(&self.tables)?,
        };
        if !alone {
            transaction.change = ExternalChange::Written;
        }
        let done = work(&mut transaction)?;
        let state = transaction.finish()?;
        self.data_version = data_version;
        let committed =
            connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        match committed {
            Ok(_) => {
                self.state = Some(state);
                Ok(done)
            }
            Err(error) => Err(self.failed_on_medium(operation, error)),
        }
    }

    /// Runs a transaction, which ends here whether it succeeds or not.
    fn attempt<T>(
        &mut self,
        operation: &'static str,
        work: &mut impl FnMut(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        let done = self.try_commit(operation, work);
        let SqliteTables { connection, .. } = &self.tables;
        if done.is_err()
            && !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            // The open transaction would include whatever comes next.
            let error = commit_failed("roll back", error);
            self.broken.get_or_insert(error);
        }
        done
    }

    /// Copies the log into the file if that is due. Returns whether there was one and all of it was copied,
    /// so that it can start over.
    fn checkpoint_if(&mut self, is_due: impl FnOnce(&Log) -> bool) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let SqliteTables { connection, .. } = &self.tables;
        let copied = log(connection, "NOOP").and_then(|found| match is_due(&found) {
            // Copies what no reader needs any more, and waits for nobody.
            true => log(connection, "PASSIVE"),
            false => Ok(found),
        });
        match copied {
            Ok(log) => log.pages > 0 && log.copied == log.pages,
            Err(error) => {
                let error = self.failed_on_medium("checkpoint", error);
                tracing::error!(%error, "the write-ahead log could not be copied into the file");
                self.is_full = Some(error).filter(is_full);
                false
            }
        }
    }

    /// The error of a commit or a checkpoint. After a failed sync, every call fails with it.
    fn failed_on_medium(
        &mut self,
        operation: &'static str,
        error: rusqlite::Error,
    ) -> PersistenceError {
        let sync = is_failed_sync(&error);
        let error = commit_failed(operation, error);
        if sync {
            let message = "the disk failed, so no later write can be trusted; check the disk and \
                           open the file again";
            let broken = BackendError::new(ENGINE, operation, ErrorKind::Io, message)
                .with_source(error.clone());
            self.broken.get_or_insert(broken.into());
        }
        error
    }
}

impl Writer for SqliteWriter {
    fn commit<T>(
        &mut self,
        operation: &'static str,
        mut work: impl FnMut(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.file.check(operation)?;
        if self.is_full.take().is_some() {
            self.checkpoint_if(|_| true);
            if let Some(full) = &self.is_full {
                return Err(full.clone());
            }
        }
        match self.attempt(operation, &mut work) {
            // The log took the last space. It has room again where it starts over.
            Err(error) if is_full(&error) && self.checkpoint_if(|_| true) => {
                self.attempt(operation, &mut work)
            }
            done => done,
        }
    }

    fn health(&mut self) -> Result<()> {
        self.broken.clone().map_or(Ok(()), Err)?;
        self.file.check("health")
    }

    fn maintain(&mut self, _idle: bool) {
        let path = self.path.clone();
        self.checkpoint_if(|log| {
            let pages = log.pages - log.copied;
            let could_not_grow = |free| free < 2 * pages as u64 * PAGE_BYTES;
            pages >= CHECKPOINT_PAGES
                || (pages >= SHORT_LOG_PAGES && free_space(&path).is_some_and(could_not_grow))
        });
    }

    fn checkpoint(&mut self, after_cleanup: bool) {
        // All of it, so that the next write starts over. Before, a snapshot of the compactor may have
        // prevented that.
        self.checkpoint_if(|log| after_cleanup || log.pages >= CHECKPOINT_PAGES);
    }

    fn close(self) -> Result<()> {
        // The last connection of the last process copies and removes the log.
        self.readers.close();
        let SqliteTables { connection, .. } = self.tables;
        connection.close().map_err(|(_, error)| commit_failed("close", error))?;
        self.broken.map_or(Ok(()), Err)
    }
}

/// The write-ahead log: its pages, and how many of them have been copied into the file.
struct Log {
    pages: i64,
    copied: i64,
}

/// The log after a checkpoint of this mode.
fn log(connection: &Connection, mode: &str) -> rusqlite::Result<Log> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| Ok(Log { pages: row.get(1)?, copied: row.get(2)? }))
}
