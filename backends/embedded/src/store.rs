//! What the writer's thread does in transactions.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use annals_core::{Batch, PersistenceError, RecordName, Row};

use crate::cache::{Caches, corrupt, damaged};
use crate::engine::{
    RecordId, Run, RunId, RunOrder, RunToWrite, Since, Tables, Transaction, Writer,
};
use crate::format::{Columns, Directory, FormatError, NewRun};
use crate::map::{Map, Set};
use crate::tuning::HeadSize;

/// Ids by name.
type Names = Map<RecordName, RecordId>;

/// A block of the head is not larger than this by more than one value: SQLite refuses blobs of a
/// gigabyte.
const HEAD_BLOCK_BYTES: usize = 64 << 20;

/// The engine's writer and what is remembered beside it.
pub(crate) struct Store<W> {
    pub(crate) writer: W,
    caches: Arc<Caches>,
    /// Ids by name. Forgotten whenever a transaction failed or somebody else wrote.
    names: Names,
    /// Sizes of the blocks that were appended here and are not folded yet, by their numbers.
    appended: VecDeque<(u64, HeadSize)>,
    /// Their sum.
    pub(crate) head: HeadSize,
}

/// What folding, merging and cleaning up come to: all of it, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// The [opening](Caches::opening) in which it was worked out.
    pub(crate) opening: u64,
    /// The blocks of the head that are in `added` now: from the first of all, both inclusive.
    pub(crate) folded: Option<(u64, u64)>,
    pub(crate) removed: Vec<RunId>,
    pub(crate) added: Vec<(RunOrder, NewRun)>,
}

/// Names that had no row in a certain state.
#[derive(Debug)]
pub(crate) struct Nameless {
    /// The [opening](Caches::opening) of that state.
    pub(crate) opening: u64,
    pub(crate) records: Map<RecordId, Arc<str>>,
    /// The runs of that state.
    pub(crate) runs: Set<RunId>,
    /// The last block that was ever in the head in that state, if that is known.
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

    /// Runs `work` in a transaction with names that are true in it.
    fn transaction<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction, &mut Names) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        let Self { writer, caches, names, appended, head } = self;
        let mut begin = None;
        let done = writer.transaction(operation, |transaction| {
            match transaction.since() {
                Since::Nothing => {}
                Since::OthersWrote => names.clear(),
                Since::Reopened => {
                    names.clear();
                    caches.clear();
                    // Some of it is lost, and its numbers come again.
                    appended.clear();
                    *head = HeadSize::default();
                }
            }
            if transaction.since() != Since::Nothing {
                begin =
                    Some(transaction.tables().head_bounds()?.map_or(u64::MAX, |(first, _)| first));
            }
            work(transaction, names)
        });
        if done.is_err() {
            self.names.clear();
        } else if let Some(begin) = begin {
            // Others may have folded what was appended here.
            self.folded_below(begin);
        }
        done
    }

    /// Stores all batches, in order, in one transaction.
    pub(crate) fn store(&mut self, batches: &[Batch]) -> Result<(), PersistenceError> {
        let engine = self.caches.engine;
        let appended = self.transaction("store", |transaction, names| {
            let mut rows: Vec<&[Row]> = Vec::with_capacity(batches.len());
            for batch in batches {
                if batch.id().map_or(Ok(true), |id| transaction.claim(id))? {
                    rows.push(batch.rows());
                }
            }
            let records = intern(engine, transaction, names, &rows)?;
            let mut appended = Vec::new();
            let mut block = Columns::new();
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
            let size = HeadSize { rows: block.len(), bytes: block.text_bytes(), blocks: 1 };
            self.head.add(size);
            self.appended.push_back((number, size));
            self.caches.head.insert(number, block);
        }
        Ok(())
    }

    /// Applies a change; answers false, and has done nothing, if another process was faster.
    pub(crate) fn install(&mut self, change: &Change) -> Result<bool, PersistenceError> {
        let engine = self.caches.engine;
        let caches = self.caches.clone();
        let done = self.transaction("fold", |transaction, _| {
            if change.opening != caches.opening() || !still_fits(transaction.tables(), change)? {
                return Ok(false);
            }
            if let Some((_, last)) = change.folded {
                transaction.remove_head(last)?;
            }
            for run in &change.removed {
                transaction.remove_run(*run)?;
            }
            for (order, run) in &change.added {
                add(engine, transaction, *order, run)?;
            }
            Ok(true)
        })?;
        if let (true, Some((_, last))) = (done, change.folded) {
            self.folded_below(last.saturating_add(1));
            self.caches.head.folded(last);
        }
        Ok(done)
    }

    /// Removes those of the names that have no row now, and writers that stored long ago.
    pub(crate) fn forget(&mut self, nameless: Nameless) -> Result<(), PersistenceError> {
        let engine = self.caches.engine;
        let caches = self.caches.clone();
        let forgotten = self.transaction("cleanup", |transaction, _| {
            transaction.forget_writers()?;
            if nameless.opening != caches.opening() {
                return Ok(Map::default());
            }
            let records = still_without_rows(engine, transaction.tables(), nameless)?;
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

    fn folded_below(&mut self, begin: u64) {
        while let Some((number, size)) = self.appended.front().copied() {
            if number >= begin {
                break;
            }
            self.appended.pop_front();
            self.head.rows -= size.rows;
            self.head.bytes -= size.bytes;
            self.head.blocks -= size.blocks;
        }
    }
}

/// The id of each row's record. Those that are not known are asked for together, in the order of the
/// engine's index.
fn intern(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    names: &mut Names,
    rows: &[&[Row]],
) -> Result<Vec<RecordId>, PersistenceError> {
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
    // A row without an id would be lost without a word: as many come out as went in.
    let no_id = || corrupt(engine, "a name got no id");
    records.into_iter().map(|record| record.ok_or_else(no_id)).collect()
}

fn append(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    block: Columns,
) -> Result<(u64, Arc<Columns>), PersistenceError> {
    let encoded = block.encode().map_err(|error| damaged(engine, error))?;
    Ok((transaction.append(&encoded)?, Arc::new(block)))
}

/// Writes a run.
pub(crate) fn add(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    order: RunOrder,
    run: &NewRun,
) -> Result<(), PersistenceError> {
    let NewRun { directory, blocks, text_bytes } = run;
    let encoded = directory.encode().map_err(|error| damaged(engine, error))?;
    let run = Run {
        id: 0,
        order,
        rows: u64::from(directory.rows()),
        first: directory.first(),
        last: directory.last(),
        bytes: *text_bytes,
    };
    transaction.add_run(&RunToWrite { run, directory: &encoded, blocks })
}

/// Whether all that a change removes is there, and the head begins as it did.
fn still_fits(tables: &dyn Tables, change: &Change) -> Result<bool, PersistenceError> {
    if let Some((first, last)) = change.folded {
        // Numbers only grow, and only the first ones are removed.
        let fits = tables.head_bounds()?.is_some_and(|(begin, end)| begin == first && end >= last);
        if !fits {
            return Ok(false);
        }
    }
    if change.removed.is_empty() {
        return Ok(true);
    }
    let there: Set<RunId> = tables.runs()?.iter().map(|run| run.id).collect();
    Ok(change.removed.iter().all(|run| there.contains(run)))
}

/// Under the write lock: looks only at what has come since.
fn still_without_rows(
    engine: &'static str,
    tables: &dyn Tables,
    nameless: Nameless,
) -> Result<Map<RecordId, Arc<str>>, PersistenceError> {
    let Nameless { mut records, runs, last_block, .. } = nameless;
    if records.is_empty() {
        return Ok(records);
    }
    let decoded = |error: FormatError| damaged(engine, error);
    let next = last_block.map_or(0, |last| last.saturating_add(1));
    tables.head(next..=u64::MAX, &mut |_, encoded| {
        for record in Columns::decode(encoded).map_err(decoded)?.records() {
            records.remove(record);
        }
        Ok(())
    })?;
    for run in tables.runs()? {
        if runs.contains(&run.id) {
            continue;
        }
        if let Some(encoded) = tables.directory(run.id)? {
            for extent in Directory::decode(&encoded).map_err(decoded)?.iter() {
                records.remove(&extent.record);
            }
        }
    }
    Ok(records)
}
