//! An engine in memory that keeps every committed state, fails on demand, and lets several stores
//! use one disk.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::{
    BackendError, BatchId, Durability, ErrorKind, Guarantees, Pattern, PersistenceError,
};
use annals_embedded::{
    Embedded, EmbeddedConfig, Engine, ExternalChange, RecordId, Run, RunId, RunToWrite, Snapshot,
    Tables, Transaction, Tuning, Visit, Writer,
};

type Bytes = Arc<[u8]>;

/// One committed state.
#[derive(Clone, Default)]
pub(crate) struct Data {
    records: BTreeMap<Arc<str>, RecordId>,
    head: BTreeMap<u64, Bytes>,
    runs: BTreeMap<RunId, (Run, Bytes)>,
    blocks: BTreeMap<(RunId, u32), Bytes>,
    writers: BTreeMap<u128, u64>,
    next_record: RecordId,
    next_block: u64,
    next_run: RunId,
}

impl Data {
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn head_blocks(&self) -> usize {
        self.head.len()
    }

    pub(crate) fn names(&self) -> usize {
        self.records.len()
    }

    /// Changes what the table of runs says of each.
    pub(crate) fn with_runs(&self, change: impl Fn(&mut Run)) -> Self {
        let mut data = self.clone();
        data.runs.values_mut().for_each(|(run, _)| change(run));
        data
    }

    /// Changes a byte of every blob.
    pub(crate) fn damaged(&self) -> Self {
        let damage = |bytes: &mut Bytes| {
            let mut changed = bytes.to_vec();
            let middle = changed.len() / 2;
            changed[middle] ^= 0x55;
            *bytes = changed.into();
        };
        let mut data = self.clone();
        data.head.values_mut().for_each(damage);
        data.blocks.values_mut().for_each(damage);
        data
    }
}

/// What was committed, or what the test noted, in order.
#[derive(Clone)]
pub(crate) enum Event {
    Committed(Arc<Data>),
    Note(usize),
}

#[derive(Clone, Default)]
pub(crate) struct Disk {
    data: Arc<Mutex<Arc<Data>>>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    /// Calls until one fails; 0: none does.
    fuse: Arc<AtomicU64>,
    /// After a failure, the number of calls until the next one.
    every: Arc<AtomicU64>,
    /// The writer's next transaction reports that the file was reopened.
    reopened: Arc<AtomicBool>,
}

impl Disk {
    pub(crate) fn with(data: Arc<Data>) -> Self {
        Self { data: Arc::new(Mutex::new(data)), ..Self::default() }
    }

    pub(crate) fn data(&self) -> Arc<Data> {
        self.data.lock().unwrap().clone()
    }

    /// Loses what was committed since, as an engine can that reopens its file.
    pub(crate) fn fall_back_to(&self, data: Arc<Data>) {
        *self.data.lock().unwrap() = data;
        self.reopened.store(true, Ordering::SeqCst);
    }

    pub(crate) fn note(&self, note: usize) {
        self.events.lock().unwrap().push(Event::Note(note));
    }

    /// Lets every `calls`-th call fail; 0: none.
    pub(crate) fn fail_every(&self, calls: u64) {
        self.every.store(calls, Ordering::SeqCst);
        self.fuse.store(calls, Ordering::SeqCst);
    }

    fn call(&self) -> Result<(), PersistenceError> {
        let burn = |fuse: u64| fuse.checked_sub(1);
        let burnt = self.fuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, burn);
        if burnt == Ok(1) {
            self.fuse.store(self.every.load(Ordering::SeqCst), Ordering::SeqCst);
            return Err(
                BackendError::new("disk", "call", ErrorKind::Busy, "a planned failure").into()
            );
        }
        Ok(())
    }

    pub(crate) fn open(&self, tuning: Tuning) -> Embedded<Disk> {
        self.open_with(EmbeddedConfig { tuning, ..EmbeddedConfig::new("", 0) })
    }

    pub(crate) fn open_with(&self, config: EmbeddedConfig) -> Embedded<Disk> {
        let writer = DiskWriter { disk: self.clone(), seen: None };
        Embedded::start("disk", self.clone(), writer, &config).unwrap()
    }
}

impl Engine for Disk {
    type Writer = DiskWriter;
    type Snapshot = View;

    fn snapshot(&self) -> Result<View, PersistenceError> {
        self.call()?;
        Ok(View { disk: self.clone(), data: Data::clone(&self.data()) })
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees::default()
            .with_durability(Durability::Volatile)
            .with_atomic_batches(true)
            .with_idempotent_batches(true)
            .with_snapshot_queries(true)
            .with_streamed_queries(true)
            .with_selective_cleanup(true)
            .with_many_processes(true)
    }
}

/// A snapshot, or what a transaction sees.
pub(crate) struct View {
    disk: Disk,
    data: Data,
}

impl Snapshot for View {
    fn tables(&self) -> Result<&dyn Tables, PersistenceError> {
        Ok(self)
    }
}

impl Tables for View {
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError> {
        self.disk.call()?;
        let records = self.data.records.iter().filter(|(name, _)| pattern.matches(name));
        Ok(records.map(|(name, id)| (*id, name.clone())).collect())
    }

    fn last_batch(&self, writer: u128) -> Result<Option<u64>, PersistenceError> {
        self.disk.call()?;
        Ok(self.data.writers.get(&writer).copied())
    }

    fn head_bounds(&self) -> Result<Option<(u64, u64)>, PersistenceError> {
        self.disk.call()?;
        let mut numbers = self.data.head.keys().copied();
        let first = numbers.next();
        Ok(first.map(|first| (first, numbers.next_back().unwrap_or(first))))
    }

    fn head(
        &self,
        numbers: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), PersistenceError> {
        self.disk.call()?;
        self.data.head.range(numbers).try_for_each(|(number, block)| visit(*number, block))
    }

    fn runs(&self) -> Result<Vec<Run>, PersistenceError> {
        self.disk.call()?;
        Ok(self.data.runs.values().map(|(run, _)| *run).collect())
    }

    fn run_index(&self, run: RunId) -> Result<Option<Vec<u8>>, PersistenceError> {
        self.disk.call()?;
        Ok(self.data.runs.get(&run).map(|(_, index)| index.to_vec()))
    }

    fn block(&self, run: RunId, number: u32) -> Result<Option<Vec<u8>>, PersistenceError> {
        self.disk.call()?;
        Ok(self.data.blocks.get(&(run, number)).map(|block| block.to_vec()))
    }
}

pub(crate) struct DiskWriter {
    disk: Disk,
    /// The state after this writer's last transaction.
    seen: Option<Arc<Data>>,
}

impl Writer for DiskWriter {
    fn commit<T>(
        &mut self,
        _operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        self.disk.call()?;
        let mut data = self.disk.data.lock().unwrap();
        let alone = self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &data));
        let change = match self.disk.reopened.swap(false, Ordering::SeqCst) {
            true => ExternalChange::Reopened,
            false if alone => ExternalChange::None,
            false => ExternalChange::Written,
        };
        let view = View { disk: self.disk.clone(), data: Data::clone(&data) };
        let mut edit = Edit { view, change };
        let done = work(&mut edit)?;
        self.disk.call()?;
        let committed = Arc::new(edit.view.data);
        self.seen = Some(committed.clone());
        self.disk.events.lock().unwrap().push(Event::Committed(committed.clone()));
        *data = committed;
        Ok(done)
    }

    fn health(&mut self) -> Result<(), PersistenceError> {
        Ok(())
    }

    fn maintain(&mut self, _idle: bool) {}

    fn checkpoint(&mut self, _after_cleanup: bool) {}

    fn close(self) -> Result<(), PersistenceError> {
        Ok(())
    }
}

struct Edit {
    view: View,
    change: ExternalChange,
}

impl Edit {
    fn data(&mut self) -> Result<&mut Data, PersistenceError> {
        self.view.disk.call()?;
        Ok(&mut self.view.data)
    }
}

impl Transaction for Edit {
    fn tables(&self) -> &dyn Tables {
        &self.view
    }

    fn external_change(&self) -> ExternalChange {
        self.change
    }

    fn claim(&mut self, batch: BatchId) -> Result<bool, PersistenceError> {
        let last = self.data()?.writers.entry(batch.writer).or_default();
        let is_new = batch.number > *last;
        *last = batch.number.max(*last);
        Ok(is_new)
    }

    fn intern(&mut self, names: &[&str]) -> Result<Vec<RecordId>, PersistenceError> {
        let Data { records, next_record, .. } = self.data()?;
        let intern = |name: &&str| {
            *records.entry((*name).into()).or_insert_with(|| {
                *next_record += 1;
                *next_record
            })
        };
        Ok(names.iter().map(intern).collect())
    }

    fn append(&mut self, block: &[u8]) -> Result<u64, PersistenceError> {
        let data = self.data()?;
        data.next_block += 1;
        data.head.insert(data.next_block, block.into());
        Ok(data.next_block)
    }

    fn remove_head(&mut self, last: u64) -> Result<(), PersistenceError> {
        self.data()?.head.retain(|number, _| *number > last);
        Ok(())
    }

    fn add_run(&mut self, run: &RunToWrite<'_>) -> Result<(), PersistenceError> {
        let data = self.data()?;
        data.next_run += 1;
        let id = data.next_run;
        data.runs.insert(id, (Run { id, ..run.run }, run.index.into()));
        let blocks = (0..).zip(run.blocks).map(|(at, block)| ((id, at), block.as_slice().into()));
        data.blocks.extend(blocks);
        Ok(())
    }

    fn remove_run(&mut self, run: RunId) -> Result<(), PersistenceError> {
        let data = self.data()?;
        data.runs.remove(&run).unwrap();
        data.blocks.retain(|(id, _), _| *id != run);
        Ok(())
    }

    fn remove_name(&mut self, name: &str, record: RecordId) -> Result<(), PersistenceError> {
        let records = &mut self.data()?.records;
        if records.get(name) == Some(&record) {
            records.remove(name);
        }
        Ok(())
    }

    fn forget_writers(&mut self) -> Result<(), PersistenceError> {
        self.data().map(drop)
    }
}
