//! An engine in memory that keeps every committed state, fails on demand, and lets several stores
//! use one disk.

mod damage;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::{BackendError, Durability, ErrorKind, Guarantees, PersistenceError};
use annals_embedded::format::{Place, RunIndex, unseal};
use annals_embedded::{
    Embedded, EmbeddedConfig, Engine, ExternalChange, LastBatch, RecordId, Reserve, Run, RunId,
    Snapshot, State, Tables, Transaction, Tuning, Visit, VisitName, Writer,
};

type Bytes = Arc<[u8]>;

/// One committed state.
#[derive(Clone)]
pub(crate) struct Data {
    records: BTreeMap<Arc<str>, RecordId>,
    head: BTreeMap<u64, Bytes>,
    runs: BTreeMap<RunId, (Run, Bytes)>,
    blocks: BTreeMap<(RunId, u32), Bytes>,
    writers: BTreeMap<u128, LastBatch>,
    state: State,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            head: BTreeMap::new(),
            runs: BTreeMap::new(),
            blocks: BTreeMap::new(),
            writers: BTreeMap::new(),
            state: State::FIRST,
        }
    }
}

impl Data {
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The rows of the runs, and how many of them are at rest; those of the newest rows of another run are not.
    pub(crate) fn rows_at_rest(&self) -> (u64, u64) {
        let (mut all, mut at_rest) = (0, 0);
        for (run, index) in self.runs.values() {
            all += run.rows;
            let index = unseal(Place::Index(run.id), index).and_then(RunIndex::decode);
            let is_at_rest = index.is_ok_and(|index| index.is_at_rest());
            at_rest += if is_at_rest || run.order.part > 0 { run.rows } else { 0 };
        }
        (all, at_rest)
    }

    /// How many blocks are in columns.
    pub(crate) fn blocks_in_columns(&self) -> usize {
        self.blocks.values().filter(|block| block.first() == Some(&2)).count()
    }

    pub(crate) fn head_blocks(&self) -> usize {
        self.head.len()
    }

    pub(crate) fn names(&self) -> usize {
        self.records.len()
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
    /// How many blocks of runs were read.
    blocks_read: Arc<AtomicU64>,
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

    /// How many blocks of runs were read since the last call.
    pub(crate) fn take_blocks_read(&self) -> u64 {
        self.blocks_read.swap(0, Ordering::SeqCst)
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
        Embedded::start("disk", self.clone(), writer, &config, Arc::new(Reserve::none())).unwrap()
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
            .with_erasure(true)
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
    fn state(&self) -> Result<Option<Vec<u8>>, PersistenceError> {
        self.disk.call()?;
        Ok(Some(self.data.state.encode()))
    }

    fn names(&self, visit: &mut VisitName<'_>) -> Result<(), PersistenceError> {
        self.disk.call()?;
        self.data.records.iter().try_for_each(|(name, id)| visit(name, *id))
    }

    fn writer(&self, writer: u128) -> Result<Option<LastBatch>, PersistenceError> {
        self.disk.call()?;
        Ok(self.data.writers.get(&writer).copied())
    }

    fn writers(&self) -> Result<Vec<(u128, LastBatch)>, PersistenceError> {
        self.disk.call()?;
        Ok(self.data.writers.iter().map(|(writer, last)| (*writer, *last)).collect())
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
        self.disk.blocks_read.fetch_add(1, Ordering::SeqCst);
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
        mut work: impl FnMut(&mut dyn Transaction) -> Result<T, PersistenceError>,
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
        let mut edit = Edit { state: view.data.state, view, change };
        let done = work(&mut edit)?;
        self.disk.call()?;
        edit.view.data.state = edit.state;
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
    state: State,
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

    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn put_name(&mut self, name: &str, record: RecordId) -> Result<(), PersistenceError> {
        assert_eq!(self.data()?.records.insert(name.into(), record), None, "{name}");
        Ok(())
    }

    fn remove_name(&mut self, name: &str) -> Result<(), PersistenceError> {
        self.data()?.records.remove(name).unwrap();
        Ok(())
    }

    fn put_writer(&mut self, writer: u128, last: LastBatch) -> Result<(), PersistenceError> {
        self.data()?.writers.insert(writer, last);
        Ok(())
    }

    fn remove_writer(&mut self, writer: u128) -> Result<(), PersistenceError> {
        self.data()?.writers.remove(&writer).unwrap();
        Ok(())
    }

    fn put_head(&mut self, number: u64, block: &[u8]) -> Result<(), PersistenceError> {
        self.data()?.head.insert(number, block.into());
        Ok(())
    }

    fn remove_head(&mut self, last: u64) -> Result<(), PersistenceError> {
        self.data()?.head.retain(|number, _| *number > last);
        Ok(())
    }

    fn put_run(&mut self, run: &Run, index: &[u8]) -> Result<(), PersistenceError> {
        self.data()?.runs.insert(run.id, (*run, index.into()));
        Ok(())
    }

    fn put_block(&mut self, run: RunId, number: u32, block: &[u8]) -> Result<(), PersistenceError> {
        self.data()?.blocks.insert((run, number), block.into());
        Ok(())
    }

    fn remove_run(&mut self, run: RunId) -> Result<(), PersistenceError> {
        let data = self.data()?;
        data.runs.remove(&run).unwrap();
        data.blocks.retain(|(id, _), _| *id != run);
        Ok(())
    }
}
