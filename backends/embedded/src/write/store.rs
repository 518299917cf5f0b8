//! What the writer does in transactions.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use annals_core::{Batch, RecordName, Result, Row};

use crate::engine::{
    ExternalChange, RecordId, Run, RunId, RunOrder, RunToWrite, Tables, Transaction, Writer,
};
use crate::error::{corrupt, format_error};
use crate::format::{Block, NewRun, RunIndex};
use crate::read::Caches;
use crate::tuning::HeadSize;
use crate::{Map, Set};

/// Ids by name.
type Names = Map<RecordName, RecordId>;

/// A block of the head exceeds this by at most one value: SQLite refuses blobs of a gigabyte.
const HEAD_BLOCK_BYTES: usize = 64 << 20;

/// The engine's writer, and what it remembers between transactions.
pub(crate) struct Store<W> {
    pub(crate) writer: W,
    caches: Arc<Caches>,
    /// Ids by name. Cleared whenever a transaction fails or another process has written.
    names: Names,
    /// Numbers and sizes of the blocks that were appended here and are not flushed yet.
    appended: VecDeque<(u64, HeadSize)>,
    /// The sum of these sizes.
    pub(crate) head: HeadSize,
}

/// The result of a flush, a merge or a step of a cleanup. It is applied whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct VersionEdit {
    /// The [opening](Caches::opening) of the state that it was made from.
    pub(crate) opening: u64,
    /// The blocks of the head that `added` contains: the first of all to the last, inclusive.
    pub(crate) flushed: Option<(u64, u64)>,
    pub(crate) removed: Vec<RunId>,
    pub(crate) added: Vec<(RunOrder, NewRun)>,
}

/// Names that had no rows in one state.
#[derive(Debug)]
pub(crate) struct OrphanedNames {
    /// The [opening](Caches::opening) of that state.
    pub(crate) opening: u64,
    pub(crate) records: Map<RecordId, Arc<str>>,
    /// The runs of that state.
    pub(crate) runs: Set<RunId>,
    /// The last block in the head of that state.
    pub(crate) last_block: Option<u64>,
}

impl<W: Writer> Store<W> {
    pub(crate) fn new(writer: W, caches: Arc<Caches>) -> Self {
        Self {
            writer,
            caches,
            names: Names::default(),
            appended: VecDeque::new(),
            head: HeadSize::default(),
        }
    }

    /// Commits `work`, which gets names that are valid in its transaction.
    fn commit<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction, &mut Names) -> Result<T>,
    ) -> Result<T> {
        let Self { writer, caches, names, appended, head } = self;
        let mut begin = None;
        let done = writer.commit(operation, |transaction| {
            let change = transaction.external_change();
            if change == ExternalChange::Reopened {
                caches.clear();
                // Some of it is lost, and its numbers are allocated again.
                appended.clear();
                *head = HeadSize::default();
            }
            if change != ExternalChange::None {
                names.clear();
                let bounds = transaction.tables().head_bounds()?;
                begin = Some(bounds.map_or(u64::MAX, |(first, _)| first));
            }
            work(transaction, names)
        });
        if done.is_err() {
            self.names.clear();
        } else if let Some(begin) = begin {
            // Another process may have flushed what was appended here.
            self.flushed_below(begin);
        }
        done
    }

    /// Stores all batches, in order, in one transaction.
    pub(crate) fn store(&mut self, batches: &[Batch]) -> Result<()> {
        let engine = self.caches.engine;
        let appended = self.commit("store", |transaction, names| {
            let mut rows: Vec<&[Row]> = Vec::with_capacity(batches.len());
            for batch in batches {
                if batch.id().map_or(Ok(true), |id| transaction.claim(id))? {
                    rows.push(batch.rows());
                }
            }
            let records = intern(engine, transaction, names, &rows)?;
            let mut appended = Vec::new();
            let mut block = Block::new();
            for (row, record) in rows.iter().copied().flatten().zip(records) {
                block.push(record, row.stored_at, row.value.as_str());
                if block.text_bytes() >= HEAD_BLOCK_BYTES {
                    let full = std::mem::take(&mut block);
                    appended.push(append(engine, transaction, full)?);
                }
            }
            if !block.is_empty() {
                appended.push(append(engine, transaction, block)?);
            }
            Ok(appended)
        })?;
        for (number, block) in appended {
            let size = HeadSize::of(&block);
            self.head.add(size);
            self.appended.push_back((number, size));
            self.caches.head.insert(number, block);
        }
        Ok(())
    }

    /// Applies an edit. Returns false, without an effect, if another process was faster.
    pub(crate) fn install(&mut self, edit: &VersionEdit) -> Result<bool> {
        let caches = self.caches.clone();
        let done = self.commit("compact", |transaction, _| {
            if edit.opening != caches.opening() || !still_fits(transaction.tables(), edit)? {
                return Ok(false);
            }
            if let Some((_, last)) = edit.flushed {
                transaction.remove_head(last)?;
            }
            for run in &edit.removed {
                transaction.remove_run(*run)?;
            }
            for (order, run) in &edit.added {
                add_run(caches.engine, transaction, *order, run)?;
            }
            Ok(true)
        })?;
        if let (true, Some((_, last))) = (done, edit.flushed) {
            self.flushed_below(last.saturating_add(1));
            self.caches.head.flushed(last);
        }
        Ok(done)
    }

    /// Removes those of the names that still have no rows, and writers that stored long ago.
    pub(crate) fn forget(&mut self, orphans: OrphanedNames) -> Result<()> {
        let caches = self.caches.clone();
        let forgotten = self.commit("cleanup", |transaction, _| {
            transaction.forget_writers()?;
            if orphans.opening != caches.opening() {
                return Ok(Map::default());
            }
            let records = still_without_rows(caches.engine, transaction.tables(), orphans)?;
            for (record, name) in &records {
                transaction.remove_name(name, *record)?;
            }
            Ok(records)
        })?;
        if !forgotten.is_empty() {
            self.names.retain(|_, record| !forgotten.contains_key(record));
        }
        Ok(())
    }

    fn flushed_below(&mut self, begin: u64) {
        while let Some((number, size)) = self.appended.front().copied() {
            if number >= begin {
                break;
            }
            self.appended.pop_front();
            self.head.subtract(size);
        }
    }
}

/// The id of each row's record. Unknown names are looked up together, in the order of the engine's
/// index.
fn intern(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    names: &mut Names,
    rows: &[&[Row]],
) -> Result<Vec<RecordId>> {
    let rows = || rows.iter().copied().flatten();
    let mut unknown = BTreeSet::new();
    let mut records: Vec<Option<RecordId>> = Vec::with_capacity(rows().count());
    for row in rows() {
        let record = names.get(&row.record).copied();
        if record.is_none() {
            unknown.insert(&row.record);
        }
        records.push(record);
    }
    if !unknown.is_empty() {
        let texts: Vec<&str> = unknown.iter().map(|name| name.as_str()).collect();
        let ids = transaction.intern(&texts)?;
        names.extend(unknown.into_iter().cloned().zip(ids));
        for (row, record) in rows().zip(&mut records) {
            *record = record.or_else(|| names.get(&row.record).copied());
        }
    }
    // A row without an id would be lost silently.
    let no_id = || corrupt(engine, "a name got no id");
    records.into_iter().map(|record| record.ok_or_else(no_id)).collect()
}

fn append(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    block: Block,
) -> Result<(u64, Arc<Block>)> {
    let encoded = block.encode().map_err(|error| format_error(engine, error))?;
    Ok((transaction.append(&encoded)?, Arc::new(block)))
}

/// Encodes and writes a run.
pub(crate) fn add_run(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    order: RunOrder,
    run: &NewRun,
) -> Result<()> {
    let NewRun { index, blocks, text_bytes } = run;
    let encoded = index.encode().map_err(|error| format_error(engine, error))?;
    let run = Run {
        id: 0,
        order,
        rows: u64::from(index.rows()),
        first: index.first(),
        last: index.last(),
        bytes: *text_bytes,
    };
    transaction.add_run(&RunToWrite { run, index: &encoded, blocks })
}

/// Whether everything that an edit removes is there, and the head begins as it did.
fn still_fits(tables: &dyn Tables, edit: &VersionEdit) -> Result<bool> {
    if let Some((first, last)) = edit.flushed {
        // Numbers only grow, and blocks are removed from the beginning.
        let fits = tables.head_bounds()?.is_some_and(|(begin, end)| begin == first && end >= last);
        if !fits {
            return Ok(false);
        }
    }
    if edit.removed.is_empty() {
        return Ok(true);
    }
    let there: Set<RunId> = tables.runs()?.iter().map(|run| run.id).collect();
    Ok(edit.removed.iter().all(|run| there.contains(run)))
}

/// Holds the write lock, therefore reads only what was written since.
fn still_without_rows(
    engine: &'static str,
    tables: &dyn Tables,
    orphans: OrphanedNames,
) -> Result<Map<RecordId, Arc<str>>> {
    let OrphanedNames { mut records, runs, last_block, .. } = orphans;
    if records.is_empty() {
        return Ok(records);
    }
    let next = last_block.map_or(0, |last| last.saturating_add(1));
    tables.head(next..=u64::MAX, &mut |_, encoded| {
        let block = Block::decode(encoded).map_err(|error| format_error(engine, error))?;
        for record in block.records() {
            records.remove(record);
        }
        Ok(())
    })?;
    for run in tables.runs()?.iter().filter(|run| !runs.contains(&run.id)) {
        if let Some(encoded) = tables.run_index(run.id)? {
            let index = RunIndex::decode(&encoded).map_err(|error| format_error(engine, error))?;
            for extent in index.iter() {
                records.remove(&extent.record);
            }
        }
    }
    Ok(records)
}
