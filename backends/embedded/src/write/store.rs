//! What the writer does in transactions.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use annals_core::{Batch, RecordName, Result, Row};

use super::changes::{self, AddedNames};
use crate::engine::{ExternalChange, Tables, Transaction, Writer};
use crate::error::contain;
use crate::error::{corrupt, format_error};
use crate::format::{Block, NewRun};
use crate::head;
use crate::ids::{RecordId, Run, RunId, RunOrder};
use crate::read::Caches;
use crate::state::{State, Sum};
use crate::tuning::HeadSize;
use crate::{Map, Set};

/// Ids by name.
pub(super) type Names = Map<RecordName, RecordId>;

/// A block of the head exceeds this by at most one value: SQLite refuses blobs of a gigabyte.
const HEAD_BLOCK_BYTES: usize = 64 << 20;

/// The engine's writer, and what it remembers between transactions.
pub(crate) struct Store<W> {
    pub(crate) writer: W,
    pub(super) caches: Arc<Caches>,
    /// Ids by name. Cleared whenever a transaction fails or another process has written.
    pub(super) names: Names,
    /// Numbers and sizes of the blocks that were appended here and are not flushed yet.
    appended: VecDeque<(u64, HeadSize)>,
    /// The sum of these sizes.
    pub(crate) head: HeadSize,
    /// The writers of the file were checked.
    checked: bool,
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
            checked: false,
        }
    }

    /// Commits `work`, which gets names that are valid in its transaction.
    pub(super) fn commit<T>(
        &mut self,
        operation: &'static str,
        mut work: impl FnMut(&mut dyn Transaction, &mut Names) -> Result<T>,
    ) -> Result<T> {
        let Self { writer, caches, names, appended, head, checked } = self;
        let mut begin = None;
        let mut attempted = false;
        let done = contain(caches.engine, operation, || {
            writer.commit(operation, |transaction| {
                if std::mem::replace(&mut attempted, true) {
                    // Ids of an attempt that was rolled back.
                    names.clear();
                }
                let change = transaction.external_change();
                if change == ExternalChange::Reopened {
                    caches.clear();
                    // Some of it is lost, and its numbers are allocated again.
                    appended.clear();
                    *head = HeadSize::default();
                }
                if change != ExternalChange::None {
                    names.clear();
                    begin = Some(transaction.state().head);
                }
                if change == ExternalChange::Reopened || !*checked {
                    // Names and runs are checked whenever they have changed. Writers are many.
                    let state = *transaction.state();
                    changes::check_writers(caches.engine, transaction.tables(), &state)?;
                    *checked = true;
                }
                work(transaction, names)
            })
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
        let caches = self.caches.clone();
        let engine = caches.engine;
        let (appended, added) = self.commit("store", |transaction, names| {
            let mut rows: Vec<&[Row]> = Vec::with_capacity(batches.len());
            for batch in batches {
                if batch.id().map_or(Ok(true), |id| changes::claim(transaction, id))? {
                    rows.push(batch.rows());
                }
            }
            let before = transaction.state().names;
            let (records, added) = intern(&caches, transaction, names, &rows)?;
            let added = Added { before, after: transaction.state().names, names: added };
            let rows = rows.iter().copied().flatten().zip(records);
            let rows = rows.map(|(row, record)| (record, row.stored_at, row.value.as_str()));
            Ok((append_all(engine, transaction, rows)?, added))
        })?;
        if !added.names.is_empty() {
            self.caches.names.added(added.before, added.after, added.names);
        }
        self.appended(appended);
        Ok(())
    }

    fn appended(&mut self, blocks: Vec<(u64, Arc<Block>)>) {
        for (number, block) in blocks {
            let size = HeadSize::of(&block);
            self.head.add(size);
            self.appended.push_back((number, size));
            self.caches.head.insert(number, block);
            self.caches.news.arrived(number);
        }
    }

    /// The blocks of the head up to `last`, if there is one, became a run.
    pub(super) fn flushed(&mut self, last: Option<u64>) {
        if let Some(last) = last {
            self.flushed_below(last.saturating_add(1));
            self.caches.head.flushed(last);
        }
    }

    /// Applies an edit. Returns false, without an effect, if another process was faster.
    pub(crate) fn install(&mut self, edit: &VersionEdit) -> Result<bool> {
        let caches = self.caches.clone();
        let done = self.commit("compact", |transaction, _| {
            if edit.opening != caches.opening() {
                return Ok(false);
            }
            let state = *transaction.state();
            let Some(removed) = still_fits(&caches, transaction.tables(), &state, edit)? else {
                return Ok(false);
            };
            if let Some((_, last)) = edit.flushed {
                changes::remove_head(transaction, last)?;
            }
            for run in &removed {
                changes::remove_run(transaction, run)?;
            }
            for (order, run) in &edit.added {
                changes::add_run(caches.engine, transaction, *order, run)?;
            }
            Ok(true)
        })?;
        if done {
            self.flushed(edit.flushed.map(|(_, last)| last));
        }
        Ok(done)
    }

    /// Removes those of the names that still have no rows, and writers that stored long ago.
    pub(crate) fn forget(&mut self, orphans: OrphanedNames) -> Result<()> {
        let caches = self.caches.clone();
        let forgotten = self.commit("cleanup", |transaction, _| {
            changes::forget_writers(transaction)?;
            if orphans.opening != caches.opening() {
                return Ok(Map::default());
            }
            let state = *transaction.state();
            let tables = transaction.tables();
            let names = caches.names.exact_list(tables, &state)?;
            let mut records = still_without_rows(&caches, tables, &state, &orphans)?;
            // Another process may have removed the name and allocated a new id for it.
            records.retain(|record, name| names.find(name) == Some(*record));
            for (record, name) in &records {
                changes::remove_name(transaction, name, *record)?;
            }
            Ok(records)
        })?;
        if !forgotten.is_empty() {
            self.caches.names.clear();
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

/// Names that a transaction has added, and the sums before and after it.
struct Added {
    before: Sum,
    after: Sum,
    names: AddedNames,
}

/// The id of each row's record, and the names that are new. Unknown names are looked up together.
fn intern(
    caches: &Caches,
    transaction: &mut dyn Transaction,
    names: &mut Names,
    rows: &[&[Row]],
) -> Result<(Vec<RecordId>, AddedNames)> {
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
    let mut added = AddedNames::new();
    if !unknown.is_empty() {
        let texts: Vec<&str> = unknown.iter().map(|name| name.as_str()).collect();
        let state = *transaction.state();
        let found = caches.names.find(transaction.tables(), &state, &texts)?;
        for (name, found) in unknown.into_iter().zip(found) {
            let record = match found {
                Some(record) => record,
                None => {
                    let record = changes::add_name(caches.engine, transaction, name.as_str())?;
                    added.push((name.as_str().into(), record));
                    record
                }
            };
            names.insert(name.clone(), record);
        }
        for (row, record) in rows().zip(&mut records) {
            *record = record.or_else(|| names.get(&row.record).copied());
        }
    }
    // A row without an id would be lost silently.
    let no_id = || corrupt(caches.engine, "a name got no id");
    let records = records.into_iter().map(|record| record.ok_or_else(no_id));
    Ok((records.collect::<Result<_>>()?, added))
}

/// Appends rows to the head, in order, and returns its new blocks.
fn append_all<'a>(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    rows: impl IntoIterator<Item = (RecordId, u64, &'a str)>,
) -> Result<Vec<(u64, Arc<Block>)>> {
    let mut appended = Vec::new();
    let mut block = Block::new();
    for (record, stored_at, json) in rows {
        block.push(record, stored_at, json);
        if block.text_bytes() >= HEAD_BLOCK_BYTES {
            let full = std::mem::take(&mut block);
            appended.push(append(engine, transaction, full)?);
        }
    }
    if !block.is_empty() {
        appended.push(append(engine, transaction, block)?);
    }
    Ok(appended)
}

fn append(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    block: Block,
) -> Result<(u64, Arc<Block>)> {
    let encoded = block.encode().map_err(|error| format_error(engine, error))?;
    Ok((changes::append(transaction, &encoded)?, Arc::new(block)))
}

/// The runs that an edit removes, if all of them are there and the head begins as it did.
fn still_fits(
    caches: &Caches,
    tables: &dyn Tables,
    state: &State,
    edit: &VersionEdit,
) -> Result<Option<Vec<Run>>> {
    if let Some((first, last)) = edit.flushed {
        // Numbers only grow, and blocks are removed from the beginning.
        let fits = state.head_bounds().is_some_and(|(begin, end)| begin == first && end >= last);
        if !fits {
            return Ok(None);
        }
    }
    let runs = caches.runs(tables, state)?;
    let find = |id: &RunId| runs.iter().find(|run| run.id == *id).copied();
    Ok(edit.removed.iter().map(find).collect())
}

/// Holds the write lock, therefore reads only what was written since.
fn still_without_rows(
    caches: &Caches,
    tables: &dyn Tables,
    state: &State,
    orphans: &OrphanedNames,
) -> Result<Map<RecordId, Arc<str>>> {
    let OrphanedNames { runs, last_block, .. } = orphans;
    let mut records = orphans.records.clone();
    if records.is_empty() {
        return Ok(records);
    }
    let next = last_block.map_or(0, |last| last.saturating_add(1)).max(state.head);
    if next < state.next_block {
        tables.head(next..=state.next_block - 1, &mut |number, stored| {
            for record in head::decode(caches.engine, state, number, stored)?.records() {
                records.remove(record);
            }
            Ok(())
        })?;
    }
    for run in caches.runs(tables, state)?.iter().filter(|run| !runs.contains(&run.id)) {
        for extent in caches.run_index(tables, run)?.iter() {
            records.remove(&extent.record);
        }
    }
    Ok(records)
}
