//! The writer: batches into transactions.

use std::sync::Arc;

use annals_core::{
    BackendError, Batch, BatchId, Clock, ErrorKind, PersistenceError, Row, SystemClock,
};
use annals_embedded::{Key, RecordId, RecordState, Sequences, Sweep, Writer};
use rusqlite::{Connection, OptionalExtension, params};

use crate::config::SqliteConfig;
use crate::error::{commit_failed, failed, is_failed_sync};
use crate::place::Place;
use crate::read::Idle;
use crate::{ENGINE, cleanup, schema};

/// The write-ahead log is copied into the file once it has so many pages (16 MiB).
const CHECKPOINT_PAGES: i64 = 4_000;

/// The connection that writes, owned by one thread.
pub(crate) struct SqliteWriter {
    connection: Connection,
    sequences: Sequences,
    /// `PRAGMA data_version` of the last transaction: another value means that another process has
    /// written since.
    data_version: i64,
    /// The medium failed. The kernel forgets a failed write-back once it has told of it, so that a
    /// later sync may succeed without the data (the "fsyncgate" of 2018): nothing may be called
    /// durable through this connection any more.
    broken: Option<PersistenceError>,
    /// There was no room for the log to grow: copying it into the file lets it begin anew.
    log_is_full: bool,
    place: Place,
    readers: Idle,
}

impl SqliteWriter {
    pub(crate) fn open(config: &SqliteConfig, readers: Idle) -> Result<Self, PersistenceError> {
        let connection = schema::open_writer(config)?;
        Ok(Self {
            connection,
            sequences: Sequences::default(),
            data_version: -1,
            broken: None,
            log_is_full: false,
            place: Place::of(&config.path),
            readers,
        })
    }

    /// Runs `work` in a transaction; whatever fails, nothing of it stays.
    fn transaction<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Connection, &mut Sequences) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.place.check(operation)?;
        let done = self.run(operation, work);
        if let Err(error) = &done {
            self.sequences.clear();
            self.log_is_full =
                matches!(error, PersistenceError::Backend(e) if e.kind() == ErrorKind::Full);
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                // A transaction that cannot be rolled back would swallow whatever comes next.
                let error = commit_failed("roll back", error);
                self.broken.get_or_insert(error);
            }
        }
        done
    }

    fn run<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Connection, &mut Sequences) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        let failed = failed(operation);
        let connection = &self.connection;
        connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map_err(failed)?;
        // Only under the lock is what is read here still true when the rows are written.
        let data_version = connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
            .map_err(failed)?;
        if data_version != self.data_version {
            self.sequences.clear();
            self.data_version = data_version;
        }
        let done = work(connection, &mut self.sequences)?;
        let committed =
            connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        match committed {
            Ok(_) => Ok(done),
            Err(error) => Err(self.failed_on_medium(operation, error)),
        }
    }

    /// The error of a commit or a checkpoint. After a failed sync every call answers with it.
    fn failed_on_medium(
        &mut self,
        operation: &'static str,
        error: rusqlite::Error,
    ) -> PersistenceError {
        let sync = is_failed_sync(&error);
        let error = commit_failed(operation, error);
        if sync {
            let message = "the medium failed before, so that no later write can be trusted; check \
                           the disk and open the file again";
            let broken = BackendError::new(ENGINE, operation, ErrorKind::Io, message)
                .with_source(error.clone());
            self.broken.get_or_insert(broken.into());
        }
        error
    }
}

impl Writer for SqliteWriter {
    fn store(&mut self, batches: &[Batch]) -> Result<(), PersistenceError> {
        self.transaction("store", |connection, sequences| {
            let mut placed = Vec::with_capacity(batches.iter().map(|b| b.rows().len()).sum());
            // A transaction's rows are not in the table yet when the next ones are placed, so that
            // a time behind the newest needs what this transaction itself has put there.
            for batch in batches {
                if !batch.id().map_or(Ok(true), |id| is_new(connection, id))? {
                    continue;
                }
                for row in batch.rows() {
                    let state = sequences.record(&row.record, |name| intern(connection, name))?;
                    let late = state.newest.is_some_and(|newest| newest.stored_at > row.stored_at);
                    if late {
                        insert(connection, &mut placed)?;
                    }
                    let key =
                        state.place(row.stored_at, |id| last_at(connection, id, row.stored_at))?;
                    placed.push((state.id, key, row));
                }
            }
            insert(connection, &mut placed)
        })
    }

    fn records(&mut self) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, name FROM records ORDER BY id")
            .map_err(failed("cleanup"))?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).map_err(failed("cleanup"))
    }

    fn sweep(&mut self, sweep: &mut Sweep, budget: u64) -> Result<(), PersistenceError> {
        self.transaction("cleanup", |connection, sequences| {
            if sweep.begins() {
                cleanup::forget_writers(connection)?;
            }
            let mut emptied = Vec::new();
            sweep.step(budget, |expired, limit| {
                cleanup::remove(connection, expired, limit, &mut emptied)
            })?;
            sequences.forget(&emptied);
            Ok(())
        })
    }

    fn health(&mut self) -> Result<(), PersistenceError> {
        self.broken.clone().map_or(Ok(()), Err)?;
        self.place.check("health")
    }

    fn maintain(&mut self, _idle: bool) {
        if self.broken.is_some() {
            return;
        }
        let checkpointed = wal_pages(&self.connection).and_then(|pages| {
            if pages < CHECKPOINT_PAGES && !self.log_is_full {
                return Ok(());
            }
            // Passive: it copies what no reader needs any more and waits for nobody.
            self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        });
        self.log_is_full = false;
        if let Err(error) = checkpointed {
            let error = self.failed_on_medium("checkpoint", error);
            tracing::error!(%error, "the write-ahead log could not be copied into the file");
        }
    }

    fn close(self) -> Result<(), PersistenceError> {
        // The last connection of the last process checkpoints and removes the log.
        self.readers.close();
        self.connection.close().map_err(|(_, error)| commit_failed("close", error))?;
        self.broken.map_or(Ok(()), Err)
    }
}

/// How many pages the write-ahead log has that are not in the file yet.
fn wal_pages(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
}

/// Records the batch's number; answers whether it is above all of its writer's before.
fn is_new(connection: &Connection, id: BatchId) -> Result<bool, PersistenceError> {
    let now = i64::try_from(SystemClock.now_ms()).unwrap_or(i64::MAX);
    let changed = connection
        .prepare_cached(
            "INSERT INTO writers (writer, number, touched_at) VALUES (?1, ?2, ?3) ON CONFLICT \
             (writer) DO UPDATE SET number = excluded.number, touched_at = excluded.touched_at \
             WHERE writers.number < excluded.number",
        )
        .and_then(|mut upsert| upsert.execute(params![id.writer.to_be_bytes(), id.number, now]))
        .map_err(failed("store"))?;
    Ok(changed == 1)
}

/// Finds or makes the record's id, and finds its newest row.
fn intern(connection: &Connection, name: &str) -> Result<RecordState, PersistenceError> {
    let find = || -> rusqlite::Result<RecordState> {
        let id = connection
            .prepare_cached("SELECT id FROM records WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        let Some(id) = id else {
            let id = connection
                .prepare_cached("INSERT INTO records (name) VALUES (?1) RETURNING id")?
                .query_row([name], |row| row.get(0))?;
            return Ok(RecordState { id, newest: None });
        };
        let newest = connection
            .prepare_cached(
                "SELECT stored_at, seq FROM history WHERE record_id = ?1 ORDER BY stored_at DESC, \
                 seq DESC LIMIT 1",
            )?
            .query_row([id], |row| Ok(Key { stored_at: row.get(0)?, seq: row.get(1)? }))
            .optional()?;
        Ok(RecordState { id, newest })
    };
    find().map_err(failed("store"))
}

/// The greatest sequence number of a record's rows at one time.
fn last_at(
    connection: &Connection,
    id: RecordId,
    stored_at: u64,
) -> Result<Option<u32>, PersistenceError> {
    connection
        .prepare_cached("SELECT max(seq) FROM history WHERE record_id = ?1 AND stored_at = ?2")
        .and_then(|mut select| select.query_row(params![id, stored_at], |row| row.get(0)))
        .map_err(failed("store"))
}

/// Writes rows in the order of the tree they go into, which touches every leaf once.
fn insert(
    connection: &Connection,
    placed: &mut Vec<(RecordId, Key, &Row)>,
) -> Result<(), PersistenceError> {
    placed.sort_unstable_by_key(|(id, key, _)| (*id, *key));
    let mut written = || -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO history (record_id, stored_at, seq, value) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (id, key, row) in placed.drain(..) {
            insert.execute(params![id, key.stored_at, key.seq, row.value.as_str()])?;
        }
        Ok(())
    };
    written().map_err(failed("store"))
}
