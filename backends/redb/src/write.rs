//! The writer and its transactions.

use annals_core::{
    BackendError, BatchId, Durability, ErrorKind, Outcome, PersistenceError, REMEMBERED_WRITERS,
    Result,
};
use annals_embedded::{
    ExternalChange, IdAllocator, RecordId, Run, RunId, RunToWrite, Tables, Transaction, Writer,
};
use redb::{ReadableTable, ReadableTableMetadata, TableHandle, WriteTransaction};

use crate::ENGINE;
use crate::error::{commit_failed, failed};
use crate::schema::{
    BLOCKS, HEAD, META, NEXT_BLOCK, NEXT_RECORD, NEXT_RUN, RECORDS, RUN_INDEXES, RUNS, WRITERS,
};
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
    /// The allocator after the last transaction, if that succeeded.
    ids: Option<IdAllocator>,
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
            ids: None,
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
            let refusal = BackendError::clone(backend).with_outcome(Outcome::NotApplied);
            self.stuck.get_or_insert_with(|| refusal.into());
        }
    }

    fn try_commit<T>(
        &mut self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        self.reopen()?;
        let change = self.change;
        let ids = self.ids.take();
        let done = self.shared.with(|database| {
            let mut transaction = database.begin_write().map_err(failed(operation))?;
            let level = match durability {
                Durability::Volatile => redb::Durability::None,
                _ => redb::Durability::Immediate,
            };
            transaction.set_durability(level).map_err(failed(operation))?;
            let mut transaction = match ids {
                Some(ids) => RedbTransaction::after(transaction, ids),
                None => RedbTransaction::new(transaction)?,
            };
            transaction.change = change;
            // Aborted when dropped without a commit. A failed abort is reported by the next call.
            let done = work(&mut transaction)?;
            let (transaction, ids) = transaction.finish()?;
            transaction.commit().map_err(|error| commit_failed(operation, error))?;
            Ok((done, ids))
        });
        match &done {
            Ok((_, ids)) => {
                self.ids = Some(*ids);
                self.change = ExternalChange::None;
                let unwritten = durability == Durability::Volatile;
                self.unwritten = if unwritten { self.unwritten + 1 } else { 0 };
            }
            Err(error) => {
                self.remember(error);
                // Reopening the file loses what is not on the medium. A store reports it.
                let gone = self.stuck.is_some() && std::mem::take(&mut self.unwritten) > 0;
                if gone && operation != "store" {
                    self.lost = Some(error.clone());
                }
            }
        }
        done.map(|(done, _)| done)
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
                Err(error) => return Err(commit_failed("compact", error)),
            }
        }
        database.close().map_err(|error| commit_failed("close", error))
    }
}

impl Writer for RedbWriter {
    fn commit<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T> {
        if operation == "store"
            && let Some(lost) = self.lost.take()
        {
            return Err(lost);
        }
        let done = self.try_commit(operation, self.durability, work);
        self.reopen_if_full();
        done
    }

    fn health(&mut self) -> Result<()> {
        // There may be space by now, and nobody who stores.
        self.reopen_if_full();
        self.stuck.clone().map_or(Ok(()), Err)
    }

    fn maintain(&mut self, idle: bool) {
        if self.unwritten >= UNWRITTEN_TRANSACTIONS || (idle && self.unwritten > 0) {
            let written = self.try_commit("sync", Durability::PowerLoss, |_| Ok(()));
            if let Err(error) = written {
                tracing::error!(%error, "committed rows could not be written to the medium");
                self.unwritten = 0;
                self.reopen_if_full();
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
    ids: IdAllocator,
    /// The stored ids are out of date.
    ids_changed: bool,
}

impl RedbTransaction {
    /// Reads the allocator.
    pub(crate) fn new(transaction: WriteTransaction) -> Result<Self> {
        let ids = {
            let meta = transaction.open_table(META).map_err(failed("begin"))?;
            let next = |key| {
                let number =
                    meta.get(key).map_err(failed("begin"))?.map_or(1, |number| number.value());
                Ok::<_, PersistenceError>(number)
            };
            let (record, block, run) = (next(NEXT_RECORD)?, next(NEXT_BLOCK)?, next(NEXT_RUN)?);
            let head = transaction.open_table(HEAD).map_err(failed("begin"))?;
            let last = head.last().map_err(failed("begin"))?.map(|(number, _)| number.value());
            IdAllocator { record, block, run }.after(last)
        };
        Ok(Self::after(transaction, ids))
    }

    fn after(transaction: WriteTransaction, ids: IdAllocator) -> Self {
        Self {
            tables: RedbTables(transaction),
            change: ExternalChange::None,
            ids,
            ids_changed: false,
        }
    }

    /// Stores the allocator if necessary. The caller commits the transaction.
    pub(crate) fn finish(self) -> Result<(WriteTransaction, IdAllocator)> {
        let Self { tables: RedbTables(transaction), ids, ids_changed, .. } = self;
        if ids_changed {
            let mut meta = transaction.open_table(META).map_err(failed("store"))?;
            let IdAllocator { record, block, run } = ids;
            for (key, number) in [(NEXT_RECORD, record), (NEXT_BLOCK, block), (NEXT_RUN, run)] {
                meta.insert(key, number).map_err(failed("store"))?;
            }
        }
        Ok((transaction, ids))
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

    fn claim(&mut self, batch: BatchId) -> Result<bool> {
        let mut writers = self.inner().open_table(WRITERS).map_err(failed("store"))?;
        let last = writers.get(batch.writer).map_err(failed("store"))?;
        let last = last.map_or(0, |entry| entry.value().0);
        if batch.number <= last {
            return Ok(false);
        }
        let entry = (batch.number, self.ids.block);
        writers.insert(batch.writer, entry).map_err(failed("store"))?;
        Ok(true)
    }

    fn intern(&mut self, names: &[&str]) -> Result<Vec<RecordId>> {
        let RedbTables(transaction) = &self.tables;
        let mut records = transaction.open_table(RECORDS).map_err(failed("store"))?;
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let known = records.get(name).map_err(failed("store"))?.map(|id| id.value());
            if let Some(id) = known {
                ids.push(id);
                continue;
            }
            let id = self.ids.allocate_record(ENGINE)?;
            self.ids_changed = true;
            records.insert(name, id).map_err(failed("store"))?;
            ids.push(id);
        }
        Ok(ids)
    }

    fn append(&mut self, block: &[u8]) -> Result<u64> {
        let number = self.ids.allocate_block();
        let mut head = self.inner().open_table(HEAD).map_err(failed("store"))?;
        head.insert(number, block).map_err(failed("store"))?;
        Ok(number)
    }

    fn remove_head(&mut self, last: u64) -> Result<()> {
        self.ids_changed = true;
        let mut head = self.inner().open_table(HEAD).map_err(failed("compact"))?;
        head.retain_in(..=last, |_, _| false).map_err(failed("compact"))
    }

    fn add_run(&mut self, run: &RunToWrite<'_>) -> Result<()> {
        let id = self.ids.allocate_run();
        self.ids_changed = true;
        let Run { order, rows, first, last, bytes, .. } = run.run;
        let entry = (order.head, order.part, rows, first, last, bytes);
        let mut runs = self.inner().open_table(RUNS).map_err(failed("compact"))?;
        runs.insert(id, entry).map_err(failed("compact"))?;
        let mut indexes = self.inner().open_table(RUN_INDEXES).map_err(failed("compact"))?;
        indexes.insert(id, run.index).map_err(failed("compact"))?;
        let mut blocks = self.inner().open_table(BLOCKS).map_err(failed("compact"))?;
        for (number, block) in (0..).zip(run.blocks) {
            blocks.insert((id, number), block.as_slice()).map_err(failed("compact"))?;
        }
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

    fn remove_name(&mut self, name: &str, record: RecordId) -> Result<()> {
        let mut records = self.inner().open_table(RECORDS).map_err(failed("cleanup"))?;
        let id = records.get(name).map_err(failed("cleanup"))?.map(|id| id.value());
        if id == Some(record) {
            records.remove(name).map_err(failed("cleanup"))?;
        }
        Ok(())
    }

    fn forget_writers(&mut self) -> Result<()> {
        let mut writers = self.inner().open_table(WRITERS).map_err(failed("cleanup"))?;
        if writers.len().map_err(failed("cleanup"))? <= REMEMBERED_WRITERS {
            return Ok(());
        }
        let mut by_use = Vec::new();
        for entry in writers.iter().map_err(failed("cleanup"))? {
            let (writer, last) = entry.map_err(failed("cleanup"))?;
            by_use.push((last.value().1, writer.value()));
        }
        by_use.sort_unstable_by(|a, b| b.cmp(a));
        for (_, writer) in by_use.drain(REMEMBERED_WRITERS as usize..) {
            writers.remove(writer).map_err(failed("cleanup"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedbConfig;
    use crate::schema;

    /// A cleanup that looked before the name got its new id must not remove it.
    #[test]
    fn a_name_is_removed_only_with_the_id_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let database = schema::open(&RedbConfig::new(folder.path().join("history.redb"))).unwrap();
        let mut transaction = RedbTransaction::new(database.begin_write().unwrap()).unwrap();
        let ids = transaction.intern(&["a"]).unwrap();
        transaction.remove_name("a", ids[0] + 1).unwrap();
        assert_eq!(transaction.intern(&["a"]).unwrap(), ids);
        transaction.remove_name("a", ids[0]).unwrap();
        assert_ne!(transaction.intern(&["a"]).unwrap(), ids);
    }
}
