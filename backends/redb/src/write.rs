//! The writer: batches into transactions.

use std::sync::Arc;

use annals_core::{
    BackendError, Batch, BatchId, Clock, Durability, ErrorKind, PersistenceError, Row, SystemClock,
};
use annals_embedded::{Key, RecordId, RecordState, Sequences, Sweep, Writer};
use redb::{ReadableDatabase, ReadableTable, Table, WriteTransaction};

use crate::config::RedbConfig;
use crate::error::{commit_failed, failed};
use crate::schema::{HISTORY, HistoryKey, META, NAMES, NEXT_RECORD, RECORDS, WRITERS, history_key};
use crate::{ENGINE, Shared, cleanup};

/// Without full durability, so many transactions at most are lost with the process.
const UNWRITTEN_TRANSACTIONS: u32 = 64;

/// Compacting moves every page, so it must be worth it: the file is closed smaller once less than
/// half of it is in use.
const WASTED_SHARE: u64 = 2;

/// Owned by one thread.
pub(crate) struct RedbWriter {
    shared: Shared,
    durability: Durability,
    sequences: Sequences,
    /// Transactions that are not on the medium yet.
    unwritten: u32,
    /// Deleting leaves free pages behind.
    swept: bool,
    /// How the file is opened again; a storage of somebody's own cannot be.
    config: Option<RedbConfig>,
    /// redb refuses every call after a failure of the medium, until the file is opened again.
    stuck: Option<PersistenceError>,
}

impl RedbWriter {
    pub(crate) fn new(shared: Shared, durability: Durability, config: Option<RedbConfig>) -> Self {
        Self {
            shared,
            durability,
            sequences: Sequences::default(),
            unwritten: 0,
            swept: false,
            config,
            stuck: None,
        }
    }

    /// Opens the file again when it was the room on the disk that failed. When it was the disk, what
    /// was written last may be lost without a further sign, and somebody has to look.
    fn unstick(&mut self) -> Result<(), PersistenceError> {
        let Some(stuck) = &self.stuck else { return Ok(()) };
        match &self.config {
            Some(config) if stuck.is_retryable() => self.shared.reopen(config)?,
            _ => return Err(stuck.clone()),
        }
        tracing::info!("there is room again: the file was opened anew");
        self.stuck = None;
        Ok(())
    }

    /// Keeps a failure after which redb refuses to go on.
    fn remember(&mut self, error: &PersistenceError) {
        if let PersistenceError::Backend(backend) = error
            && matches!(backend.kind(), ErrorKind::Full | ErrorKind::Io)
        {
            self.stuck.get_or_insert_with(|| error.clone());
        }
    }

    /// Runs `work` in a transaction; whatever fails, nothing of it stays.
    fn transaction(
        &mut self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction, &mut Sequences) -> Result<(), PersistenceError>,
    ) -> Result<(), PersistenceError> {
        self.unstick()?;
        let sequences = &mut self.sequences;
        let done = self.shared.with(|database| {
            let mut transaction = database.begin_write().map_err(failed(operation))?;
            let level = match durability {
                Durability::Volatile => redb::Durability::None,
                Durability::Process | Durability::PowerLoss => redb::Durability::Immediate,
            };
            transaction.set_durability(level).map_err(failed(operation))?;
            match work(&transaction, sequences) {
                Ok(()) => transaction.commit().map_err(|error| commit_failed(operation, error)),
                Err(error) => {
                    // The work's own error is the one to tell; a failed abort shows up again.
                    drop(transaction.abort());
                    Err(error)
                }
            }
        });
        match &done {
            Ok(()) if durability == Durability::Volatile => self.unwritten += 1,
            Ok(()) => self.unwritten = 0,
            Err(error) => {
                self.sequences.clear();
                self.remember(error);
            }
        }
        done
    }
}

impl Writer for RedbWriter {
    fn store(&mut self, batches: &[Batch]) -> Result<(), PersistenceError> {
        self.transaction("store", self.durability, |transaction, sequences| {
            let mut history = transaction.open_table(HISTORY).map_err(failed("store"))?;
            let mut placed = Vec::with_capacity(batches.iter().map(|b| b.rows().len()).sum());
            for batch in batches {
                if !batch.id().map_or(Ok(true), |id| is_new(transaction, id))? {
                    continue;
                }
                for row in batch.rows() {
                    let state = sequences
                        .record(&row.record, |name| intern(transaction, &history, name))?;
                    // A time behind the newest needs what this transaction itself has put there.
                    if state.newest.is_some_and(|newest| newest.stored_at > row.stored_at) {
                        insert(&mut history, &mut placed)?;
                    }
                    let key =
                        state.place(row.stored_at, |id| last_at(&history, id, row.stored_at))?;
                    placed.push((history_key(state.id, key), row));
                }
            }
            insert(&mut history, &mut placed)
        })
    }

    fn records(&mut self) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError> {
        self.shared.with(|database| {
            let transaction = database.begin_read().map_err(failed("cleanup"))?;
            let names = transaction.open_table(NAMES).map_err(failed("cleanup"))?;
            let mut records = Vec::new();
            for entry in names.iter().map_err(failed("cleanup"))? {
                let (id, name) = entry.map_err(failed("cleanup"))?;
                records.push((id.value(), name.value().into()));
            }
            Ok(records)
        })
    }

    fn sweep(&mut self, sweep: &mut Sweep, budget: u64) -> Result<(), PersistenceError> {
        self.swept = true;
        let begins = sweep.begins();
        self.transaction("cleanup", self.durability, |transaction, sequences| {
            if begins {
                cleanup::forget_writers(transaction)?;
            }
            let mut emptied = Vec::new();
            sweep.step(budget, |expired, limit| {
                cleanup::remove(transaction, expired, limit, &mut emptied)
            })?;
            sequences.forget(&emptied);
            Ok(())
        })
    }

    fn health(&mut self) -> Result<(), PersistenceError> {
        self.stuck.clone().map_or(Ok(()), Err)
    }

    fn maintain(&mut self, idle: bool) {
        if self.unwritten >= UNWRITTEN_TRANSACTIONS || (idle && self.unwritten > 0) {
            let written = self.transaction("sync", Durability::PowerLoss, |_, _| Ok(()));
            if let Err(error) = written {
                tracing::error!(%error, "committed rows could not be written to the medium");
                // Reported once; redb itself refuses every later call.
                self.unwritten = 0;
            }
        }
    }

    fn close(mut self) -> Result<(), PersistenceError> {
        if self.unwritten > 0 {
            self.transaction("close", Durability::PowerLoss, |_, _| Ok(()))?;
        }
        let Some(mut database) = self.shared.take() else { return Ok(()) };
        if self.swept && is_mostly_empty(&database)? {
            // Readers that are still there keep their pages; the next close tries again.
            match database.compact() {
                Ok(_) | Err(redb::CompactionError::TransactionInProgress) => {}
                Err(error) => return Err(commit_failed("compact", error)),
            }
        }
        database.close().map_err(|error| commit_failed("close", error))
    }
}

fn is_mostly_empty(database: &redb::Database) -> Result<bool, PersistenceError> {
    let transaction = database.begin_write().map_err(failed("close"))?;
    let stats = transaction.stats().map_err(failed("close"))?;
    transaction.abort().map_err(failed("close"))?;
    let used = stats.leaf_pages().saturating_add(stats.branch_pages());
    Ok(used.saturating_mul(WASTED_SHARE) < stats.allocated_pages())
}

/// Records the batch's number; answers whether it is above all of its writer's before.
fn is_new(transaction: &WriteTransaction, id: BatchId) -> Result<bool, PersistenceError> {
    let mut writers = transaction.open_table(WRITERS).map_err(failed("store"))?;
    let last = writers.get(id.writer).map_err(failed("store"))?.map_or(0, |entry| entry.value().0);
    if id.number <= last {
        return Ok(false);
    }
    writers.insert(id.writer, (id.number, SystemClock.now_ms())).map_err(failed("store"))?;
    Ok(true)
}

/// Finds or makes the record's id, and finds its newest row.
fn intern(
    transaction: &WriteTransaction,
    history: &Table<'_, HistoryKey, &'static [u8]>,
    name: &str,
) -> Result<RecordState, PersistenceError> {
    let mut records = transaction.open_table(RECORDS).map_err(failed("store"))?;
    if let Some(id) = records.get(name).map_err(failed("store"))?.map(|id| id.value()) {
        let mut rows = history
            .range(history_key(id, Key::first_at(0))..=history_key(id, Key::last_at(u64::MAX)))
            .map_err(failed("store"))?;
        let newest = rows.next_back().transpose().map_err(failed("store"))?.map(|(key, _)| {
            let (_, stored_at, seq) = key.value();
            Key { stored_at, seq }
        });
        return Ok(RecordState { id, newest });
    }
    let mut meta = transaction.open_table(META).map_err(failed("store"))?;
    let next = meta.get(NEXT_RECORD).map_err(failed("store"))?.map_or(1, |next| next.value());
    let id = RecordId::try_from(next).map_err(|_| {
        BackendError::new(ENGINE, "store", ErrorKind::Other, "all record ids are used up")
    })?;
    meta.insert(NEXT_RECORD, next + 1).map_err(failed("store"))?;
    records.insert(name, id).map_err(failed("store"))?;
    let mut names = transaction.open_table(NAMES).map_err(failed("store"))?;
    names.insert(id, name).map_err(failed("store"))?;
    Ok(RecordState { id, newest: None })
}

/// The greatest sequence number of a record's rows at one time.
fn last_at(
    history: &Table<'_, HistoryKey, &'static [u8]>,
    id: RecordId,
    stored_at: u64,
) -> Result<Option<u32>, PersistenceError> {
    let mut rows = history
        .range(history_key(id, Key::first_at(stored_at))..=history_key(id, Key::last_at(stored_at)))
        .map_err(failed("store"))?;
    Ok(rows.next_back().transpose().map_err(failed("store"))?.map(|(key, _)| key.value().2))
}

/// Writes rows in the order of the tree they go into, which touches every leaf once.
fn insert(
    history: &mut Table<'_, HistoryKey, &'static [u8]>,
    placed: &mut Vec<(HistoryKey, &Row)>,
) -> Result<(), PersistenceError> {
    placed.sort_unstable_by_key(|(key, _)| *key);
    for (key, row) in placed.drain(..) {
        history.insert(key, row.value.as_str().as_bytes()).map_err(failed("store"))?;
    }
    Ok(())
}
