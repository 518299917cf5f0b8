//! The writer and its transactions.

use annals_core::{BackendError, BatchId, ErrorKind, PersistenceError, REMEMBERED_WRITERS, Result};
use annals_embedded::{
    ExternalChange, IdAllocator, RecordId, Run, RunId, RunToWrite, Tables, Transaction, Writer,
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::config::SqliteConfig;
use crate::error::{commit_failed, failed, is_failed_sync};
use crate::file_identity::FileIdentity;
use crate::read::ConnectionPool;
use crate::tables::SqliteTables;
use crate::{ENGINE, schema};

/// The write-ahead log is copied into the file when it has this many pages (16 MiB).
const CHECKPOINT_PAGES: i64 = 4_000;

/// The connection that writes, owned by one thread.
pub(crate) struct SqliteWriter {
    tables: SqliteTables,
    /// `PRAGMA data_version` of the last transaction. It changes when another process writes.
    data_version: i64,
    /// The allocator after the last transaction, if that succeeded.
    ids: Option<IdAllocator>,
    /// Why nothing can be durable through this connection any more: the medium failed. The kernel
    /// reports a failed write-back once and forgets it, so a later sync may succeed without the data
    /// ("fsyncgate", 2018).
    broken: Option<PersistenceError>,
    /// The log could not grow. Copying it into the file lets it start over.
    log_is_full: bool,
    file: FileIdentity,
    readers: ConnectionPool,
}

impl SqliteWriter {
    pub(crate) fn open(config: &SqliteConfig, readers: ConnectionPool) -> Result<Self> {
        Ok(Self {
            tables: schema::open_writer(config)?,
            data_version: -1,
            ids: None,
            broken: None,
            log_is_full: false,
            file: FileIdentity::of(&config.shared.path),
            readers,
        })
    }

    fn try_commit<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        let failed = failed(operation);
        let SqliteTables(connection) = &self.tables;
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
        let mut transaction = match self.ids.take() {
            Some(ids) if alone => SqliteTransaction::after(&self.tables, ids),
            _ => SqliteTransaction::begin(&self.tables)?,
        };
        if !alone {
            transaction.change = ExternalChange::Written;
        }
        let done = work(&mut transaction)?;
        let ids = transaction.finish()?;
        self.data_version = data_version;
        let committed =
            connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        match committed {
            Ok(_) => {
                self.ids = Some(ids);
                Ok(done)
            }
            Err(error) => Err(self.failed_on_medium(operation, error)),
        }
    }

    fn checkpoint_if(&mut self, is_due: impl FnOnce(&Log) -> bool) {
        if self.broken.is_some() {
            return;
        }
        let SqliteTables(connection) = &self.tables;
        let copied = log(connection).and_then(|log| {
            if !is_due(&log) && !self.log_is_full {
                return Ok(());
            }
            // Copies what no reader needs any more, and waits for nobody.
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        });
        self.log_is_full = false;
        if let Err(error) = copied {
            let error = self.failed_on_medium("checkpoint", error);
            tracing::error!(%error, "the write-ahead log could not be copied into the file");
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
        work: impl FnOnce(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.file.check(operation)?;
        let done = self.try_commit(operation, work);
        if let Err(error) = &done {
            self.log_is_full =
                matches!(error, PersistenceError::Backend(e) if e.kind() == ErrorKind::Full);
            let SqliteTables(connection) = &self.tables;
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                // The open transaction would include whatever comes next.
                let error = commit_failed("roll back", error);
                self.broken.get_or_insert(error);
            }
        }
        done
    }

    fn health(&mut self) -> Result<()> {
        self.broken.clone().map_or(Ok(()), Err)?;
        self.file.check("health")
    }

    fn maintain(&mut self, _idle: bool) {
        self.checkpoint_if(|log| log.pages - log.copied >= CHECKPOINT_PAGES);
    }

    fn checkpoint(&mut self, after_cleanup: bool) {
        // All of it, so that the next write starts over. Before, a snapshot of the compactor may have
        // prevented that.
        self.checkpoint_if(|log| after_cleanup || log.pages >= CHECKPOINT_PAGES);
    }

    fn close(self) -> Result<()> {
        // The last connection of the last process copies and removes the log.
        self.readers.close();
        let SqliteTables(connection) = self.tables;
        connection.close().map_err(|(_, error)| commit_failed("close", error))?;
        self.broken.map_or(Ok(()), Err)
    }
}

/// The write-ahead log: its pages, and how many of them have been copied into the file.
struct Log {
    pages: i64,
    copied: i64,
}

fn log(connection: &Connection) -> rusqlite::Result<Log> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| Ok(Log { pages: row.get(1)?, copied: row.get(2)? }))
}

/// A transaction that holds the write lock.
pub(crate) struct SqliteTransaction<'a> {
    tables: &'a SqliteTables,
    change: ExternalChange,
    ids: IdAllocator,
    /// The stored ids are out of date.
    ids_changed: bool,
}

impl<'a> SqliteTransaction<'a> {
    /// Reads the allocator.
    pub(crate) fn begin(tables: &'a SqliteTables) -> Result<Self> {
        let SqliteTables(connection) = tables;
        let ids = connection
            .prepare_cached(
                "SELECT next_record, next_block, next_run, (SELECT max(number) FROM head) FROM \
                 annals_meta",
            )
            .and_then(|mut select| {
                select.query_row([], |row| {
                    let (record, block, run) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(IdAllocator { record, block, run }.after(row.get(3)?))
                })
            })
            .map_err(failed("begin"))?;
        Ok(Self::after(tables, ids))
    }

    fn after(tables: &'a SqliteTables, ids: IdAllocator) -> Self {
        Self { tables, change: ExternalChange::None, ids, ids_changed: false }
    }

    /// Stores the allocator if necessary, and returns it.
    pub(crate) fn finish(self) -> Result<IdAllocator> {
        if self.ids_changed {
            let IdAllocator { record, block, run } = self.ids;
            self.execute(
                "store",
                "UPDATE annals_meta SET next_record = ?1, next_block = ?2, next_run = ?3",
                params![record, block, run],
            )?;
        }
        Ok(self.ids)
    }

    fn execute(&self, operation: &'static str, sql: &str, values: &[&dyn ToSql]) -> Result<usize> {
        let SqliteTables(connection) = self.tables;
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(failed(operation))
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn tables(&self) -> &dyn Tables {
        self.tables
    }

    fn external_change(&self) -> ExternalChange {
        self.change
    }

    fn claim(&mut self, batch: BatchId) -> Result<bool> {
        let changed = self.execute(
            "store",
            "INSERT INTO writers (writer, number, block) VALUES (?1, ?2, ?3) ON CONFLICT (writer) \
             DO UPDATE SET number = excluded.number, block = excluded.block WHERE writers.number < \
             excluded.number",
            params![batch.writer.to_be_bytes(), batch.number, self.ids.block],
        )?;
        Ok(changed == 1)
    }

    fn intern(&mut self, names: &[&str]) -> Result<Vec<RecordId>> {
        let failed = failed("store");
        let SqliteTables(connection) = self.tables;
        let mut find =
            connection.prepare_cached("SELECT id FROM records WHERE name = ?1").map_err(failed)?;
        let mut insert = connection
            .prepare_cached("INSERT INTO records (name, id) VALUES (?1, ?2)")
            .map_err(failed)?;
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let known = find.query_row([name], |row| row.get(0)).optional().map_err(failed)?;
            if let Some(id) = known {
                ids.push(id);
                continue;
            }
            let id = self.ids.allocate_record(ENGINE)?;
            self.ids_changed = true;
            insert.execute(params![name, id]).map_err(failed)?;
            ids.push(id);
        }
        Ok(ids)
    }

    fn append(&mut self, block: &[u8]) -> Result<u64> {
        let number = self.ids.allocate_block();
        let insert = "INSERT INTO head (number, content) VALUES (?1, ?2)";
        self.execute("store", insert, params![number, block])?;
        Ok(number)
    }

    fn remove_head(&mut self, last: u64) -> Result<()> {
        self.ids_changed = true;
        self.execute("compact", "DELETE FROM head WHERE number <= ?1", params![last]).map(drop)
    }

    fn add_run(&mut self, run: &RunToWrite<'_>) -> Result<()> {
        let SqliteTables(connection) = self.tables;
        let Run { order, rows, first, last, bytes, .. } = run.run;
        let id = self.ids.allocate_run();
        self.ids_changed = true;
        let write = || -> rusqlite::Result<()> {
            connection
                .prepare_cached(
                    "INSERT INTO runs (id, order_head, order_part, rows, first, last, text_bytes, \
                     directory) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    id, order.head, order.part, rows, first, last, bytes, run.index
                ])?;
            let mut insert = connection
                .prepare_cached("INSERT INTO blocks (run, number, block) VALUES (?1, ?2, ?3)")?;
            for (number, block) in run.blocks.iter().enumerate() {
                insert.execute(params![id, number, block])?;
            }
            Ok(())
        };
        write().map_err(failed("compact"))
    }

    fn remove_run(&mut self, run: RunId) -> Result<()> {
        self.execute("compact", "DELETE FROM blocks WHERE run = ?1", params![run])?;
        self.execute("compact", "DELETE FROM runs WHERE id = ?1", params![run]).map(drop)
    }

    fn remove_name(&mut self, name: &str, record: RecordId) -> Result<()> {
        let delete = "DELETE FROM records WHERE name = ?1 AND id = ?2";
        self.execute("cleanup", delete, params![name, record]).map(drop)
    }

    fn forget_writers(&mut self) -> Result<()> {
        self.execute(
            "cleanup",
            "DELETE FROM writers WHERE writer IN (SELECT writer FROM writers ORDER BY block \
             DESC LIMIT -1 OFFSET ?1)",
            params![REMEMBERED_WRITERS],
        )
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another process may have removed the name and allocated a new id for it since the cleanup looked.
    /// No query would find the rows under that id.
    #[test]
    fn a_name_is_removed_only_with_the_id_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let tables =
            schema::open_writer(&SqliteConfig::new(folder.path().join("history.db"))).unwrap();
        let mut transaction = SqliteTransaction::begin(&tables).unwrap();
        let ids = transaction.intern(&["a"]).unwrap();
        transaction.remove_name("a", ids[0] + 1).unwrap();
        assert_eq!(transaction.intern(&["a"]).unwrap(), ids);
        transaction.remove_name("a", ids[0]).unwrap();
        assert_ne!(transaction.intern(&["a"]).unwrap(), ids);
    }
}
