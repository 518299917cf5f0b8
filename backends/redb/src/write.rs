//! The writer and its transactions.

use annals_core::{BackendError, Durability, ErrorKind, Outcome, PersistenceError, Result};
use annals_embedded::{
    ExternalChange, LastBatch, RecordId, Run, RunId, Snapshot, State, Tables, Transaction, Writer,
    is_full,
};
use redb::{TableHandle, WriteTransaction};

use crate::ENGINE;
use crate::error::{commit_failed, failed};
use crate::read::RedbSnapshot;
use crate::schema::{BLOCKS, HEAD, RECORDS, RUN_INDEXES, RUNS, STATE, WRITERS};
use crate::shared::{Reopen, Shared};
use crate::tables::RedbTables;

/// Without full durability, at most this many transactions are lost with the process.
const UNWRITTEN_TRANSACTIONS: u32 = 64;

/// Compacting a file moves every page. It is worth it when less than half of the file is in use.
const WASTED_SHARE: u64 = 2;

/// The writing half, owned by one thread.
pub(crate) struct RedbWriter {
    shared: Shared,
    durability: Durability,
    /// Commits that are not on the medium yet.
    unwritten: u32,
    /// A cleanup has left free pages.
    swept: bool,
    change: ExternalChange,
    /// The state after the last transaction, if that succeeded.
    state: Option<State>,
    /// How to reopen the file, if that is possible.
    reopen: Option<Reopen>,
    /// Why redb refuses every call: the medium failed, and the file was not reopened since.
    stuck: Option<PersistenceError>,
    /// Why acknowledged transactions were lost, until a store has reported it.
    lost: Option<PersistenceError>,
}

impl RedbWriter {
    pub(crate) fn new(shared: Shared, durability: Durability, reopen: Option<Reopen>) -> Self {
        Self {
            shared,
            durability,
            unwritten: 0,
            swept: false,
            change: ExternalChange::None,
            state: None,
            reopen,
            stuck: None,
            lost: None,
        }
    }

    /// Reopens the file if the disk was full. If the disk failed, the last writes may be lost without a
    /// further error, so the file stays closed.
    fn reopen(&mut self) -> Result<()> {
        let Some(stuck) = &self.stuck else { return Ok(()) };
        match &self.reopen {
            Some(reopen) if stuck.is_retryable() => self.shared.reopen(reopen)?,
            _ => return Err(stuck.clone()),
        }
        self.change = ExternalChange::Reopened;
        tracing::info!("the file was reopened after the disk was full");
        self.stuck = None;
        Ok(())
    }

    /// After a failed write redb refuses reads too, although they need no space on the disk.
    fn reopen_if_full(&mut self) {
        if self.stuck.as_ref().is_some_and(PersistenceError::is_retryable)
            && let Err(error) = self.reopen()
        {
            tracing::error!(%error, "the file could not be reopened");
        }
    }

    /// Remembers a failure after which redb refuses every call.
    fn remember(&mut self, error: &PersistenceError) {
        if let PersistenceError::Backend(backend) = error
            && matches!(backend.kind(), ErrorKind::Full | ErrorKind::Io)
        {
            // The outcome of this transaction may be unknown, but later ones do not begin.
            self.stuck.get_or_insert_with(|| not_applied(error.clone()));
        }
    }

    fn try_commit<T>(
        &mut self,
        operation: &'static str,
        durability: Durability,
        mut work: impl FnMut(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        self.reopen()?;
        let change = self.change;
        let state = self.state.take();
        let done = self.shared.with(|database| {
            let mut transaction = database.begin_write().map_err(failed(operation))?;
            let level = match durability {
                Durability::Volatile => redb::Durability::None,
                _ => redb::Durability::Immediate,
            };
            transaction.set_durability(level).map_err(failed(operation))?;
            let mut transaction = match state {
                Some(state) => RedbTransaction::after(transaction, state),
                None => RedbTransaction::begin(transaction)?,
            };
            transaction.change = change;
            // Aborted when dropped without a commit. A failed abort is reported by the next call.
            let done = work(&mut transaction)?;
            let (transaction, state) = transaction.finish()?;
            let committed = transaction.commit().map_err(|error| commit_failed(operation, error));
            Ok((done, state, committed))
        });
        let error = match &done {
            Ok((_, state, Ok(()))) => {
                self.state = Some(*state);
                self.change = ExternalChange::None;
                let unwritten = durability == Durability::Volatile;
                self.unwritten = if unwritten { self.unwritten + 1 } else { 0 };
                return done.map(|(done, ..)| done);
            }
            Ok((_, _, Err(error))) | Err(error) => error.clone(),
        };
        self.remember(&error);
        // Reopening the file loses what is not on the medium. A store reports it.
        let gone = self.stuck.is_some() && std::mem::take(&mut self.unwritten) > 0;
        if gone && operation != "store" {
            self.lost = Some(error.clone());
        }
        self.reopen_if_full();
        match done {
            Ok((done, state, _)) => match self.is_stored(&state) {
                Some(true) => Ok(done),
                Some(false) => Err(not_applied(error)),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether a transaction that left this state is in the file, after one that failed for want of space;
    /// `None` if nobody knows.
    fn is_stored(&self, state: &State) -> Option<bool> {
        if self.change != ExternalChange::Reopened || self.stuck.is_some() {
            return None;
        }
        let snapshot = self.shared.with(RedbSnapshot::take).ok()?;
        let stored = State::of(ENGINE, snapshot.tables().ok()?).ok()?;
        Some(stored == *state)
    }

    fn close_file(&mut self) -> Result<()> {
        if self.unwritten > 0 {
            self.try_commit("close", Durability::PowerLoss, |_| Ok(()))?;
        }
        let Some(mut database) = self.shared.take() else { return Ok(()) };
        if self.swept && is_mostly_empty(&database)? {
            // Open snapshots keep their pages. The next close tries again.
            match database.compact() {
                Ok(_) | Err(redb::CompactionError::TransactionInProgress) => {}
                Err(error) => {
                    let error = failed("compact")(error);
                    // A full disk loses nothing: the next opening repairs the file.
                    return if is_full(&error) { Ok(()) } else { Err(error) };
                }
            }
        }
        database.close().map_err(|error| commit_failed("close", error))
    }
}

impl Writer for RedbWriter {
    fn commit<T>(
        &mut self,
        operation: &'static str,
        work: impl FnMut(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        if operation == "store"
            && let Some(lost) = self.lost.take()
        {
            return Err(lost);
        }
        self.shared.check(operation)?;
        self.try_commit(operation, self.durability, work)
    }

    fn health(&mut self) -> Result<()> {
        // There may be space by now, and nobody who stores.
        self.reopen_if_full();
        self.stuck.clone().map_or(Ok(()), Err)?;
        self.shared.check("health")
    }

    fn maintain(&mut self, idle: bool) {
        if self.unwritten >= UNWRITTEN_TRANSACTIONS || (idle && self.unwritten > 0) {
            let written = self.try_commit("sync", Durability::PowerLoss, |_| Ok(()));
            if let Err(error) = written {
                tracing::error!(%error, "committed rows could not be written to the medium");
            }
        }
    }

    fn checkpoint(&mut self, after_cleanup: bool) {
        self.swept |= after_cleanup;
    }

    fn close(mut self) -> Result<()> {
        let closed = self.close_file();
        // No store has reported it, and none will.
        closed.and(self.lost.map_or(Ok(()), Err))
    }
}

fn not_applied(error: PersistenceError) -> PersistenceError {
    match error {
        PersistenceError::Backend(error) => {
            BackendError::clone(&error).with_outcome(Outcome::NotApplied).into()
        }
        other => other,
    }
}

fn is_mostly_empty(database: &redb::Database) -> Result<bool> {
    let transaction = database.begin_write().map_err(failed("close"))?;
    let stats = transaction.stats().map_err(failed("close"))?;
    transaction.abort().map_err(failed("close"))?;
    let used = stats.leaf_pages().saturating_add(stats.branch_pages());
    Ok(used.saturating_mul(WASTED_SHARE) < stats.allocated_pages())
}

/// The transaction that writes.
pub(crate) struct RedbTransaction {
    tables: RedbTables<WriteTransaction>,
    change: ExternalChange,
    state: State,
    /// What is stored.
    stored: Option<State>,
}

impl RedbTransaction {
    /// Reads the state.
    pub(crate) fn begin(transaction: WriteTransaction) -> Result<Self> {
        let tables = RedbTables(transaction);
        let state = State::of(ENGINE, &tables)?;
        Ok(Self { tables, change: ExternalChange::None, state, stored: Some(state) })
    }

    fn after(transaction: WriteTransaction, state: State) -> Self {
        Self { stored: Some(state), ..Self::with(transaction, state) }
    }

    /// For a file that has no state yet.
    pub(crate) fn with(transaction: WriteTransaction, state: State) -> Self {
        let tables = RedbTables(transaction);
        Self { tables, change: ExternalChange::None, state, stored: None }
    }

    /// Stores the state if necessary. The caller commits the transaction.
    pub(crate) fn finish(self) -> Result<(WriteTransaction, State)> {
        let Self { tables: RedbTables(transaction), state, stored, .. } = self;
        if stored != Some(state) {
            let mut head = transaction.open_table(HEAD).map_err(failed("store"))?;
            head.insert(STATE, state.encode().as_slice()).map_err(failed("store"))?;
        }
        Ok((transaction, state))
    }

    /// Removes a table.
    pub(crate) fn delete(&self, table: impl TableHandle) -> Result<()> {
        self.inner().delete_table(table).map(drop).map_err(failed("convert"))
    }

    fn inner(&self) -> &WriteTransaction {
        let RedbTables(transaction) = &self.tables;
        transaction
    }
}

impl Transaction for RedbTransaction {
    fn tables(&self) -> &dyn Tables {
        &self.tables
    }

    fn external_change(&self) -> ExternalChange {
        self.change
    }

    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn put_name(&mut self, name: &str, record: RecordId) -> Result<()> {
        let mut records = self.inner().open_table(RECORDS).map_err(failed("store"))?;
        records.insert(name, record).map_err(failed("store"))?;
        Ok(())
    }

    fn remove_name(&mut self, name: &str) -> Result<()> {
        let mut records = self.inner().open_table(RECORDS).map_err(failed("cleanup"))?;
        records.remove(name).map_err(failed("cleanup"))?;
        Ok(())
    }

    fn put_writer(&mut self, writer: u128, last: LastBatch) -> Result<()> {
        let mut writers = self.inner().open_table(WRITERS).map_err(failed("store"))?;
        writers.insert(writer, (last.number, last.block)).map_err(failed("store"))?;
        Ok(())
    }

    fn remove_writer(&mut self, writer: u128) -> Result<()> {
        let mut writers = self.inner().open_table(WRITERS).map_err(failed("cleanup"))?;
        writers.remove(writer).map_err(failed("cleanup"))?;
        Ok(())
    }

    fn put_head(&mut self, number: u64, block: &[u8]) -> Result<()> {
        let mut head = self.inner().open_table(HEAD).map_err(failed("store"))?;
        head.insert(number, block).map_err(failed("store"))?;
        Ok(())
    }

    fn remove_head(&mut self, last: u64) -> Result<()> {
        let mut head = self.inner().open_table(HEAD).map_err(failed("compact"))?;
        head.retain_in(..=last.min(STATE - 1), |_, _| false).map_err(failed("compact"))
    }

    fn put_run(&mut self, run: &Run, index: &[u8]) -> Result<()> {
        let Run { id, order, rows, first, last, bytes, sealed } = *run;
        let entry = (order.head, order.part, rows, first, last, bytes, sealed);
        let mut runs = self.inner().open_table(RUNS).map_err(failed("compact"))?;
        runs.insert(id, entry).map_err(failed("compact"))?;
        let mut indexes = self.inner().open_table(RUN_INDEXES).map_err(failed("compact"))?;
        indexes.insert(id, index).map_err(failed("compact"))?;
        Ok(())
    }

    fn put_block(&mut self, run: RunId, number: u32, block: &[u8]) -> Result<()> {
        let mut blocks = self.inner().open_table(BLOCKS).map_err(failed("compact"))?;
        blocks.insert((run, number), block).map_err(failed("compact"))?;
        Ok(())
    }

    fn remove_run(&mut self, run: RunId) -> Result<()> {
        let mut runs = self.inner().open_table(RUNS).map_err(failed("compact"))?;
        runs.remove(run).map_err(failed("compact"))?;
        let mut indexes = self.inner().open_table(RUN_INDEXES).map_err(failed("compact"))?;
        indexes.remove(run).map_err(failed("compact"))?;
        let mut blocks = self.inner().open_table(BLOCKS).map_err(failed("compact"))?;
        blocks.retain_in((run, 0)..=(run, u32::MAX), |_, _| false).map_err(failed("compact"))
    }
}
