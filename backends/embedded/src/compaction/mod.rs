//! Compaction.
//!
//! Enters: the blocks of the head, runs, and cleanup plans, all read from snapshots. Leaves: version
//! edits, which the writer applies whole or not at all. One thread, the compactor, does all of it:
//! it *flushes* the head into a run, *merges* runs, and removes expired rows. A flush takes
//! precedence: a merge or a cleanup pauses for it between two blocks. If another process has changed
//! the runs meanwhile, the edit is refused and the work is planned again.

mod convert;
mod rest;
mod retention;

use std::sync::Arc;

use annals_core::{BackendError, CleanupPlan, ErrorKind, Outcome, PersistenceError, Result};
use tokio::sync::{mpsc, oneshot};

use crate::coordination::{Coordination, Reply, Task};
use crate::engine::{Engine, Snapshot, Tables, Writer};
use crate::error::contain;
use crate::error::{corrupt, format_error, log_failure};
use crate::format::{self, Block, Form, FormatError, MergeInput, NewRun, NewRuns};
use crate::ids::{RecordId, Run, RunId, RunOrder};
use crate::read::{Caches, View};
use crate::reserve::Reserve;
use crate::state::State;
use crate::tuning::{HeadSize, Tuning};
use crate::write::{Job, Store, VersionEdit};
use crate::{Map, Set};

pub use convert::{Conversion, adopt};
use retention::Sweep;

/// The compactor's thread.
pub(crate) struct Compactor<E: Engine> {
    engine: Arc<E>,
    name: &'static str,
    caches: Arc<Caches>,
    coordination: Arc<Coordination<Store<E::Writer>>>,
    jobs: mpsc::Sender<Job>,
    tuning: Tuning,
    reserve: Arc<Reserve>,
    /// The position of each record among all names in byte order. Ids are not reused, so entries are
    /// missing at worst, and never wrong relative to each other.
    ranks: Arc<Map<RecordId, u32>>,
    /// There may be runs to merge.
    may_merge: bool,
    /// Runs of an older version, or not at rest, that could not be rewritten.
    unreadable: Set<RunId>,
}

/// Why a merge stopped.
enum MergeError {
    /// Another process has removed the run.
    Vanished,
    Format(FormatError),
    Other(PersistenceError),
}

impl From<PersistenceError> for MergeError {
    fn from(error: PersistenceError) -> Self {
        Self::Other(error)
    }
}

impl From<FormatError> for MergeError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl<E: Engine> Compactor<E> {
    pub(crate) fn new(
        engine: Arc<E>,
        caches: Arc<Caches>,
        coordination: Arc<Coordination<Store<E::Writer>>>,
        jobs: mpsc::Sender<Job>,
        tuning: Tuning,
        reserve: Arc<Reserve>,
    ) -> Self {
        let name = caches.engine;
        Self {
            engine,
            name,
            caches,
            coordination,
            jobs,
            tuning,
            reserve,
            ranks: Arc::default(),
            may_merge: true,
            unreadable: Set::default(),
        }
    }

    /// Runs until the store is closed and has done what was accepted. The writer closes afterwards.
    pub(crate) fn run(mut self) {
        let end =
            EndOfCompactor { coordination: self.coordination.clone(), jobs: self.jobs.clone() };
        loop {
            match self.coordination.next(!self.may_merge) {
                Task::Flush => self.flush_if_due(),
                Task::Cleanup(plan, reply) => self.clean_up(&plan, reply),
                Task::Compact(end, reply) => {
                    let reserve = self.reserve.clone();
                    let step =
                        reserve.lend(|| contain(self.name, "compact", || self.compact_step(end)));
                    drop(reply.send(step));
                }
                Task::Idle => match contain(self.name, "compact", || self.merge_or_rest()) {
                    Ok(merged) => {
                        self.may_merge = merged;
                        if !merged {
                            self.reserve.keep();
                        }
                    }
                    Err(error) => {
                        self.may_merge = false;
                        log_failure(self.name, "merging runs", &error);
                        self.reserve.keep();
                    }
                },
                Task::Close => break,
            }
        }
        drop(end);
    }

    /// Has the writer run a task, and waits for it.
    fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Store<E::Writer>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.coordination.leave(Box::new(move |store| drop(reply.send(task(store)))));
        // If the queue is full, the writer is awake.
        drop(self.jobs.try_send(Job::Wake));
        answer.blocking_recv().unwrap_or_else(|_| {
            let message = "the writer's thread ended unexpectedly; open the store again";
            Err(BackendError::new(self.name, "compact", ErrorKind::Io, message)
                .with_outcome(Outcome::Unknown)
                .into())
        })
    }

    /// Has the writer apply an edit. Returns false if another process was faster. The caller should
    /// hold no snapshot, so that the log can start over.
    fn install(&mut self, edit: VersionEdit) -> Result<bool> {
        let installed = self.ask(move |store| {
            let installed = store.install(&edit);
            store.writer.checkpoint(false);
            installed
        })?;
        self.may_merge |= installed;
        Ok(installed)
    }

    fn view(&self) -> Result<View<E::Snapshot>> {
        View::new(self.engine.snapshot()?, self.caches.clone())
    }

    fn flush_if_due(&mut self) {
        let flushed = contain(self.name, "compact", || self.flush(false));
        match &flushed {
            // The file has grown. A store that is always busy would come to a full disk without a reserve.
            Ok(()) => self.reserve.keep(),
            Err(error) => log_failure(self.name, "flushing the head", error),
        }
        self.coordination.flushed(flushed);
    }

    /// Pauses long work for a flush, if one is due.
    fn pause(&mut self) {
        if self.coordination.take_flush() {
            self.flush_if_due();
        }
    }

    /// Turns the head into a run, or two, if that is due or `forced`.
    fn flush(&mut self, forced: bool) -> Result<()> {
        loop {
            let opening = self.caches.opening();
            let snapshot = self.engine.snapshot()?;
            let tables = snapshot.tables()?;
            let writer_waits = self.coordination.writer_waits();
            let state = State::of(self.name, tables)?;
            let Some((first, last)) = state.head_bounds() else {
                drop(snapshot);
                // The writer may not know that another process has flushed the head.
                return if writer_waits {
                    self.install(VersionEdit::default()).map(drop)
                } else {
                    Ok(())
                };
            };
            let blocks = self.caches.head.blocks(tables, &state, first..=last)?;
            let mut size = HeadSize::default();
            blocks.iter().for_each(|(_, block)| size.add(HeadSize::of(block)));
            let is_due = self.tuning.flush_is_due(size) && !self.reserve.is_short();
            if !(forced || writer_waits || is_due) {
                return Ok(());
            }
            for (_, block) in &blocks {
                self.rank_all(tables, &state, block.records().iter().copied())?;
            }
            // SQLite's log cannot start over while a snapshot is held.
            drop(snapshot);
            let rank = |record| self.ranks.get(&record).copied().unwrap_or(u32::MAX);
            let rows = blocks.iter().map(|(_, block)| &**block);
            let split = size.rows as u64 >= self.tuning.split_rows;
            let runs = format::flush(rows, &rank, &self.tuning.layout, split)
                .map_err(|error| format_error(self.name, error))?
                .numbered(|position| blocks[position].0);
            let edit = VersionEdit {
                opening,
                flushed: Some((first, last)),
                removed: Vec::new(),
                added: in_order(last, runs),
            };
            // If another process has flushed, what it left may still be due.
            if self.install(edit)? {
                return Ok(());
            }
        }
    }

    /// Does what may be done while nobody waits. Returns whether there was anything.
    fn merge_or_rest(&mut self) -> Result<bool> {
        Ok(!self.reserve.is_short() && (self.merge()? || self.rest_one()?))
    }

    /// Merges what is due. Returns whether anything was.
    fn merge(&mut self) -> Result<bool> {
        let opening = self.caches.opening();
        let runs = {
            let snapshot = self.engine.snapshot()?;
            let tables = snapshot.tables()?;
            self.caches.runs(tables, &State::of(self.name, tables)?)?
        };
        let Some(due) = self.tuning.due_merge(&runs) else { return self.seal(&runs, opening) };
        let Some(last) = due.last() else { return Ok(false) };
        // If another process is faster, other runs may be due.
        if let Some(merged) = self.merge_runs(due, &|_| 0, self.tuning.form(due))? {
            self.install(VersionEdit {
                opening,
                flushed: None,
                removed: due.iter().map(|run| run.id).collect(),
                added: in_order(last.order.head, merged),
            })?;
        }
        Ok(true)
    }

    /// Rewrites the first run of an older version, if there is one: its blocks do not say where they
    /// belong. Returns whether there was one.
    fn seal(&mut self, runs: &[Run], opening: u64) -> Result<bool> {
        let old = |run: &&Run| !run.sealed && !self.unreadable.contains(&run.id);
        let Some(run) = runs.iter().find(old).copied() else { return Ok(false) };
        let form = Form { split: false, ..self.tuning.form(&[run]) };
        match self.merge_runs(&[run], &|_| 0, form) {
            Ok(Some(same)) => {
                let added = same.main.map(|same| (run.order, same)).into_iter().collect();
                let removed = vec![run.id];
                self.install(VersionEdit { opening, flushed: None, removed, added })?;
            }
            Ok(None) => {}
            Err(error) => {
                // The others are rewritten all the same.
                self.unreadable.insert(run.id);
                log_failure(self.name, "rewriting a run of an older version", &error);
            }
        }
        Ok(true)
    }

    /// Merges neighbouring runs, without the first `dropped` rows of a record in each. Returns `None`
    /// if another process has removed one of them.
    ///
    /// Each block is read from a snapshot of its own, because one for all would be held too long.
    fn merge_runs(
        &mut self,
        runs: &[Run],
        dropped: &dyn Fn(RecordId) -> u32,
        form: Form,
    ) -> Result<Option<NewRuns>> {
        let mut indexes = Vec::with_capacity(runs.len());
        let mut arrivals = Vec::with_capacity(runs.len());
        {
            let snapshot = self.engine.snapshot()?;
            let tables = snapshot.tables()?;
            let state = State::of(self.name, tables)?;
            for run in runs {
                if tables.run_index(run.id)?.is_none() {
                    return Ok(None);
                }
                let index = self.caches.run_index(tables, run)?;
                self.rank_all(tables, &state, index.iter().map(|extent| extent.record))?;
                arrivals.push(self.caches.arrivals(tables, run)?);
                indexes.push(index);
            }
        }
        let inputs: Vec<MergeInput<'_>> = indexes
            .iter()
            .zip(&arrivals)
            .map(|(index, arrivals)| MergeInput { index, arrivals, dropped })
            .collect();
        let ranks = self.ranks.clone();
        let rank = |record| ranks.get(&record).copied().unwrap_or(u32::MAX);
        let layout = self.tuning.layout.clone();
        let mut fetch = |input: usize, number: u32| -> Result<Block, MergeError> {
            self.pause();
            let run = &runs[input];
            let snapshot = self.engine.snapshot()?;
            let tables = snapshot.tables()?;
            let block = self.caches.read_block(tables, run, &indexes[input], number);
            if block.is_err() && tables.run_index(run.id)?.is_none() {
                return Err(MergeError::Vanished);
            }
            Ok(block?)
        };
        match format::merge(&inputs, &mut fetch, &rank, &layout, form) {
            Ok(merged) => Ok(Some(merged)),
            Err(MergeError::Vanished) => Ok(None),
            Err(MergeError::Format(error)) => Err(format_error(self.name, error)),
            Err(MergeError::Other(error)) => Err(error),
        }
    }

    /// Makes sure that all these records have a rank.
    fn rank_all(
        &mut self,
        tables: &dyn Tables,
        state: &State,
        records: impl Iterator<Item = RecordId>,
    ) -> Result<()> {
        let mut read = false;
        for record in records {
            if self.ranks.contains_key(&record) {
                continue;
            }
            if !read {
                let names = self.caches.names.list(tables, state)?;
                self.ranks = Arc::new(names.ranks());
                read = true;
            }
            if !self.ranks.contains_key(&record) {
                return Err(corrupt(self.name, "a row's record has no name"));
            }
        }
        Ok(())
    }

    fn clean_up(&mut self, plan: &CleanupPlan, reply: Reply<u64>) {
        let mut sweep = Sweep::new(plan);
        let reserve = self.reserve.clone();
        let swept = reserve.lend_to_remove(|| {
            contain(self.name, "cleanup", || sweep.run(self, &|| reply.is_closed()))
        });
        let answer = match swept {
            Err(error) => Err(error.after_removing(sweep.removed())),
            Ok(()) => Ok(sweep.removed()),
        };
        drop(reply.send(answer));
    }
}

/// New runs with the order of the blocks or runs they were made of.
fn in_order(head: u64, runs: NewRuns) -> Vec<(RunOrder, NewRun)> {
    let parts = [(0, runs.main), (1, runs.fresh)];
    parts.into_iter().filter_map(|(part, run)| Some((RunOrder { head, part }, run?))).collect()
}

/// However the compactor ends, the writer closes if the store is being closed, and nobody waits for
/// an answer that will not come.
struct EndOfCompactor<W: Writer> {
    coordination: Arc<Coordination<Store<W>>>,
    jobs: mpsc::Sender<Job>,
}

impl<W: Writer> Drop for EndOfCompactor<W> {
    fn drop(&mut self) {
        if self.coordination.end_compactor() {
            // This fails only if the writer has ended already.
            drop(self.jobs.blocking_send(Job::Close));
        }
    }
}
