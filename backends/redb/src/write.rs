//! The writer: a transaction at a time.

use annals_core::{
    BackendError, BatchId, Durability, ErrorKind, Outcome, PersistenceError, REMEMBERED_WRITERS,
};
use annals_embedded::{
    Numbers, RecordId, Run, RunId, RunToWrite, Since, Tables, Transaction, Writer,
};
use redb::{ReadableTable, ReadableTableMetadata, TableHandle, WriteTransaction};

use crate::error::{commit_failed, failed};
use crate::schema::{
    BLOCKS, DIRECTORIES, HEAD, META, NEXT_BLOCK, NEXT_RECORD, NEXT_RUN, RECORDS, RUNS, WRITERS,
};
use crate::tables::RedbTables;
use crate::{ENGINE, Reopen, Shared};

/// Without full durability, so many transactions at most are lost with the process.
const UNWRITTEN_TRANSACTIONS: u32 = 64;

/// Compacting moves every page, so it must be worth it: the file is closed smaller once less than
/// half of it is in use.
const WASTED_SHARE: u64 = 2;

/// Owned by one thread.
pub(crate) struct RedbWriter {
    shared: Shared,
    durability: Durability,
    /// Transactions that are not on the medium yet.
    unwritten: u32,
    /// A cleanup leaves free pages behind.
    swept: bool,
    since: Since,
    /// The numbers after the last transaction, if it succeeded.
    numbers: Option<Numbers>,
    /// Without it the file cannot be opened again.
    reopen: Option<Reopen>,
    /// redb refuses every call after a failure of the medium, until the file is opened again.
    stuck: Option<PersistenceError>,
    /// Why acknowledged transactions did not get onto the medium, until a store has been told.
    lost: Option<PersistenceError>,
}

impl RedbWriter {
    pub(crate) fn new(shared: Shared, durability: Durability, reopen: Option<Reopen>) -> Self {
        Self {
            shared,
            durability,
            unwritten: 0,
            swept: false,
            since: Since::Nothing,
            numbers: None,
            reopen,
            stuck: None,
            lost: None,
        }
    }

    /// Opens the file again when it was the room on the disk that failed. When it was the disk, what
    /// was written last may be lost without a further sign, and somebody has to look.
    fn unstick(&mut self) -> Result<(), PersistenceError> {
        let Some(stuck) = &self.stuck else { return Ok(()) };
        match &self.reopen {
            Some(reopen) if stuck.is_retryable() => self.shared.reopen(reopen)?,
            _ => return Err(stuck.clone()),
        }
        self.since = Since::Reopened;
        tracing::info!("the file was opened anew after the disk was full");
        self.stuck = None;
        Ok(())
    }

    /// After a failed write redb refuses reads as well, though those want no room on the disk.
    fn let_readers_in(&mut self) {
        if self.stuck.as_ref().is_some_and(PersistenceError::is_retryable)
            && let Err(error) = self.unstick()
        {
            tracing::error!(%error, "the file could not be opened anew");
        }
    }

    /// Keeps a failure after which redb refuses to go on.
    fn remember(&mut self, error: &PersistenceError) {
        if let PersistenceError::Backend(backend) = error
            && matches!(backend.kind(), ErrorKind::Full | ErrorKind::Io)
        {
            // Whatever became of this transaction, those that are refused from here on have not
            // begun.
            let refusal = BackendError::clone(backend).with_outcome(Outcome::NotApplied);
            self.stuck.get_or_insert_with(|| refusal.into());
        }
    }

    fn run<T>(
        &mut self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        self.unstick()?;
        let since = self.since;
        let numbers = self.numbers.take();
        let done = self.shared.with(|database| {
            let mut transaction = database.begin_write().map_err(failed(operation))?;
            let level = match durability {
                Durability::Volatile => redb::Durability::None,
                _ => redb::Durability::Immediate,
            };
            transaction.set_durability(level).map_err(failed(operation))?;
            let mut transaction = match numbers {
                Some(numbers) => RedbTransaction::after(transaction, numbers),
                None => RedbTransaction::new(transaction)?,
            };
            transaction.since = since;
            // Dropped without a commit, it is aborted. A failed abort shows up again.
            let done = work(&mut transaction)?;
            let (transaction, numbers) = transaction.finish()?;
            transaction.commit().map_err(|error| commit_failed(operation, error))?;
            Ok((done, numbers))
        });
        match &done {
            Ok((_, numbers)) => {
                self.numbers = Some(*numbers);
                self.since = Since::Nothing;
                let unwritten = durability == Durability::Volatile;
                self.unwritten = if unwritten { self.unwritten + 1 } else { 0 };
            }
            Err(error) => {
                self.remember(error);
                // What is not on the medium is gone once the file is opened anew: a store tells.
                let gone = self.stuck.is_some() && std::mem::take(&mut self.unwritten) > 0;
                if gone && operation != "store" {
                    self.lost = Some(error.clone());
                }
            }
        }
        done.map(|(done, _)| done)
    }

    fn close_file(&mut self) -> Result<(), PersistenceError> {
        if self.unwritten > 0 {
            self.run("close", Durability::PowerLoss, |_| Ok(()))?;
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

impl Writer for RedbWriter {
    fn transaction<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        if operation == "store"
            && let Some(lost) = self.lost.take()
        {
            return Err(lost);
        }
        let done = self.run(operation, self.durability, work);
        self.let_readers_in();
        done
    }

    fn health(&mut self) -> Result<(), PersistenceError> {
        // There may be room by now, and nobody who stores.
        self.let_readers_in();
        self.stuck.clone().map_or(Ok(()), Err)
    }

    fn maintain(&mut self, idle: bool) {
        if self.unwritten >= UNWRITTEN_TRANSACTIONS || (idle && self.unwritten > 0) {
            let written = self.run("sync", Durability::PowerLoss, |_| Ok(()));
            if let Err(error) = written {
                tracing::error!(%error, "committed rows could not be written to the medium");
                self.unwritten = 0;
                self.let_readers_in();
            }
        }
    }

    fn settle(&mut self, after_cleanup: bool) {
        self.swept |= after_cleanup;
    }

    fn close(mut self) -> Result<(), PersistenceError> {
        let closed = self.close_file();
        // No store has told it, and none will.
        closed.and(self.lost.map_or(Ok(()), Err))
    }
}

fn is_mostly_empty(database: &redb::Database) -> Result<bool, PersistenceError> {
    let transaction = database.begin_write().map_err(failed("close"))?;
    let stats = transaction.stats().map_err(failed("close"))?;
    transaction.abort().map_err(failed("close"))?;
    let used = stats.leaf_pages().saturating_add(stats.branch_pages());
    Ok(used.saturating_mul(WASTED_SHARE) < stats.allocated_pages())
}

/// The transaction that writes.
pub(crate) struct RedbTransaction {
    tables: RedbTables<WriteTransaction>,
    since: Since,
    numbers: Numbers,
    /// The numbers that are written are no longer true.
    numbers_changed: bool,
}

impl RedbTransaction {
    /// Looks up the numbers.
    pub(crate) fn new(transaction: WriteTransaction) -> Result<Self, PersistenceError> {
        let numbers = {
            let meta = transaction.open_table(META).map_err(failed("begin"))?;
            let next = |key| {
                let number =
                    meta.get(key).map_err(failed("begin"))?.map_or(1, |number| number.value());
                Ok::<_, PersistenceError>(number)
            };
            let (record, block, run) = (next(NEXT_RECORD)?, next(NEXT_BLOCK)?, next(NEXT_RUN)?);
            let head = transaction.open_table(HEAD).map_err(failed("begin"))?;
            let last = head.last().map_err(failed("begin"))?.map(|(number, _)| number.value());
            Numbers { record, block, run }.after(last)
        };
        Ok(Self::after(transaction, numbers))
    }

    fn after(transaction: WriteTransaction, numbers: Numbers) -> Self {
        Self {
            tables: RedbTables(transaction),
            since: Since::Nothing,
            numbers,
            numbers_changed: false,
        }
    }

    /// Writes the numbers, if that is needed; the transaction itself is to be committed.
    pub(crate) fn finish(self) -> Result<(WriteTransaction, Numbers), PersistenceError> {
        let Self { tables: RedbTables(transaction), numbers, numbers_changed, .. } = self;
        if numbers_changed {
            let mut meta = transaction.open_table(META).map_err(failed("store"))?;
            let Numbers { record, block, run } = numbers;
            for (key, number) in [(NEXT_RECORD, record), (NEXT_BLOCK, block), (NEXT_RUN, run)] {
                meta.insert(key, number).map_err(failed("store"))?;
            }
        }
        Ok((transaction, numbers))
    }

    /// Removes a table.
    pub(crate) fn delete(&self, table: impl TableHandle) -> Result<(), PersistenceError> {
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

    fn since(&self) -> Since {
        self.since
    }

    fn claim(&mut self, batch: BatchId) -> Result<bool, PersistenceError> {
        let mut writers = self.inner().open_table(WRITERS).map_err(failed("store"))?;
        let last = writers.get(batch.writer).map_err(failed("store"))?;
        let last = last.map_or(0, |entry| entry.value().0);
        if batch.number <= last {
            return Ok(false);
        }
        let entry = (batch.number, self.numbers.block);
        writers.insert(batch.writer, entry).map_err(failed("store"))?;
        Ok(true)
    }

    fn intern(&mut self, names: &[&str]) -> Result<Vec<RecordId>, PersistenceError> {
        let RedbTables(transaction) = &self.tables;
        let mut records = transaction.open_table(RECORDS).map_err(failed("store"))?;
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let known = records.get(name).map_err(failed("store"))?.map(|id| id.value());
            if let Some(id) = known {
                ids.push(id);
                continue;
            }
            let id = self.numbers.take_record(ENGINE)?;
            self.numbers_changed = true;
            records.insert(name, id).map_err(failed("store"))?;
            ids.push(id);
        }
        Ok(ids)
    }

    fn append(&mut self, block: &[u8]) -> Result<u64, PersistenceError> {
        let number = self.numbers.take_block();
        let mut head = self.inner().open_table(HEAD).map_err(failed("store"))?;
        head.insert(number, block).map_err(failed("store"))?;
        Ok(number)
    }

    fn remove_head(&mut self, last: u64) -> Result<(), PersistenceError> {
        self.numbers_changed = true;
        let mut head = self.inner().open_table(HEAD).map_err(failed("fold"))?;
        head.retain_in(..=last, |_, _| false).map_err(failed("fold"))
    }

    fn add_run(&mut self, run: &RunToWrite<'_>) -> Result<(), PersistenceError> {
        let id = self.numbers.take_run();
        self.numbers_changed = true;
        let Run { order, rows, first, last, bytes, .. } = run.run;
        let entry = (order.head, order.part, rows, first, last, bytes);
        let mut runs = self.inner().open_table(RUNS).map_err(failed("fold"))?;
        runs.insert(id, entry).map_err(failed("fold"))?;
        let mut directories = self.inner().open_table(DIRECTORIES).map_err(failed("fold"))?;
        directories.insert(id, run.directory).map_err(failed("fold"))?;
        let mut blocks = self.inner().open_table(BLOCKS).map_err(failed("fold"))?;
        for (number, block) in (0..).zip(run.blocks) {
            blocks.insert((id, number), block.as_slice()).map_err(failed("fold"))?;
        }
        Ok(())
    }

    fn remove_run(&mut self, run: RunId) -> Result<(), PersistenceError> {
        let mut runs = self.inner().open_table(RUNS).map_err(failed("fold"))?;
        runs.remove(run).map_err(failed("fold"))?;
        let mut directories = self.inner().open_table(DIRECTORIES).map_err(failed("fold"))?;
        directories.remove(run).map_err(failed("fold"))?;
        let mut blocks = self.inner().open_table(BLOCKS).map_err(failed("fold"))?;
        blocks.retain_in((run, 0)..=(run, u32::MAX), |_, _| false).map_err(failed("fold"))
    }

    fn remove_name(&mut self, name: &str, record: RecordId) -> Result<(), PersistenceError> {
        let mut records = self.inner().open_table(RECORDS).map_err(failed("cleanup"))?;
        let id = records.get(name).map_err(failed("cleanup"))?.map(|id| id.value());
        if id == Some(record) {
            records.remove(name).map_err(failed("cleanup"))?;
        }
        Ok(())
    }

    fn forget_writers(&mut self) -> Result<(), PersistenceError> {
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

    /// A cleanup that looked before the name got a new id must not take that away.
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
