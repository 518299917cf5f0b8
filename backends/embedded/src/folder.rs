//! The folding thread: does what takes time, from snapshots, and leaves the writer short errands.

use std::sync::Arc;

use annals_core::{BackendError, CleanupPlan, ErrorKind, Outcome, Pattern, PersistenceError};
use tokio::sync::{mpsc, oneshot};

use crate::cache::{Caches, corrupt, damaged};
use crate::cleanup::Sweep;
use crate::engine::{Engine, RecordId, Run, RunOrder, Snapshot, Tables, Writer};
use crate::format::{self, Columns, FormatError, Merged, Source};
use crate::head::size_of;
use crate::map::Map;
use crate::state::{State, runs_in_order};
use crate::store::{Change, Store};
use crate::tasks::{Task, Tasks};
use crate::tuning::{Tuning, log_failure};
use crate::writer::{Job, Reply};

/// The folding thread.
pub(crate) struct Folder<E: Engine> {
    pub(crate) engine: Arc<E>,
    pub(crate) name: &'static str,
    pub(crate) caches: Arc<Caches>,
    pub(crate) tasks: Arc<Tasks<E::Writer>>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) tuning: Tuning,
    /// The places of records among all names in byte order. Ids are not used twice, so that it is
    /// only ever incomplete.
    ranks: Arc<Map<RecordId, u32>>,
    /// Runs may be due for merging.
    may_merge: bool,
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

impl<E: Engine> Folder<E> {
    pub(crate) fn new(
        engine: Arc<E>,
        caches: Arc<Caches>,
        tasks: Arc<Tasks<E::Writer>>,
        jobs: mpsc::Sender<Job>,
        tuning: Tuning,
    ) -> Self {
        let name = caches.engine;
        Self { engine, name, caches, tasks, jobs, tuning, ranks: Arc::default(), may_merge: true }
    }

    /// Runs until the store closes and what was accepted is done. The writer closes afterwards.
    pub(crate) fn run(mut self) {
        let end = EndOfFolding { tasks: self.tasks.clone(), jobs: self.jobs.clone() };
        loop {
            match self.tasks.next(!self.may_merge) {
                Task::Fold => self.fold_if_due(),
                Task::Cleanup(plan, reply) => self.clean_up(&plan, reply),
                Task::Idle => match self.merge() {
                    Ok(merged) => self.may_merge = merged,
                    Err(error) => {
                        self.may_merge = false;
                        log_failure(self.name, "merging runs", &error);
                    }
                },
                Task::Close => break,
            }
        }
        drop(end);
    }

    /// Lets the writer do something, and waits for it.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut Store<E::Writer>) -> Result<T, PersistenceError> + Send + 'static,
    ) -> Result<T, PersistenceError> {
        let (reply, answer) = oneshot::channel();
        self.tasks.leave(Box::new(move |store| drop(reply.send(errand(store)))));
        // A full queue keeps the writer awake by itself.
        drop(self.jobs.try_send(Job::Wake));
        answer.blocking_recv().unwrap_or_else(|_| {
            let message = "the writer's thread ended unexpectedly; open the store again";
            Err(BackendError::new(self.name, "fold", ErrorKind::Io, message)
                .with_outcome(Outcome::Unknown)
                .into())
        })
    }

    /// Has the writer apply a change; answers false if another process was faster. Best called
    /// without a snapshot, for the log's sake.
    pub(crate) fn install(&mut self, change: Change) -> Result<bool, PersistenceError> {
        let installed = self.ask(move |store| {
            let installed = store.install(&change);
            store.writer.settle(false);
            installed
        })?;
        self.may_merge |= installed;
        Ok(installed)
    }

    pub(crate) fn state(&self) -> Result<State<E::Snapshot>, PersistenceError> {
        State::new(self.engine.snapshot()?, self.caches.clone())
    }

    fn fold_if_due(&mut self) {
        let folded = self.fold(false);
        if let Err(error) = &folded {
            log_failure(self.name, "folding", error);
        }
        self.tasks.folded(folded);
    }

    /// In the middle of something long: folds if that is due, so that nobody waits for it.
    pub(crate) fn between(&mut self) {
        if self.tasks.take_fold() {
            self.fold_if_due();
        }
    }

    /// Makes a run, or two, of the head.
    pub(crate) fn fold(&mut self, whatever_its_size: bool) -> Result<(), PersistenceError> {
        loop {
            let opening = self.caches.opening();
            let snapshot = self.engine.snapshot()?;
            let tables = snapshot.tables()?;
            let writer_waits = self.tasks.writer_waits();
            let Some((first, last)) = tables.head_bounds()? else {
                drop(snapshot);
                // The writer may not know that others have folded.
                return if writer_waits {
                    self.install(Change::default()).map(drop)
                } else {
                    Ok(())
                };
            };
            let blocks = self.caches.head.blocks(tables, first..=last)?;
            let size = size_of(&blocks);
            if !(whatever_its_size || writer_waits || self.tuning.fold_is_due(size)) {
                return Ok(());
            }
            for (_, block) in &blocks {
                self.rank_all(tables, block.records().iter().copied())?;
            }
            // Held as shortly as possible: SQLite cannot begin its log anew meanwhile.
            drop(snapshot);
            let rank = |record| self.ranks.get(&record).copied().unwrap_or(u32::MAX);
            let columns = blocks.iter().map(|(_, block)| &**block);
            let split = size.rows as u64 >= self.tuning.split_rows;
            let merged = format::fold(columns, &rank, &self.tuning.layout, split)
                .map_err(|error| damaged(self.name, error))?;
            let change = Change {
                opening,
                folded: Some((first, last)),
                removed: Vec::new(),
                added: in_order(last, merged),
            };
            // Otherwise another process has folded; what it left may be due still.
            if self.install(change)? {
                return Ok(());
            }
        }
    }

    /// Merges what is due; answers whether anything was.
    fn merge(&mut self) -> Result<bool, PersistenceError> {
        let opening = self.caches.opening();
        let runs = runs_in_order(self.engine.snapshot()?.tables()?)?;
        let Some(due) = self.tuning.due_merge(&runs) else { return Ok(false) };
        let Some(last) = due.last() else { return Ok(false) };
        let rows: u64 = due.iter().map(|run| run.rows).sum();
        // If another process is faster, there may be other runs to merge.
        if let Some(merged) = self.merge_runs(due, &|_| 0, rows >= self.tuning.split_rows)? {
            self.install(Change {
                opening,
                folded: None,
                removed: due.iter().map(|run| run.id).collect(),
                added: in_order(last.order.head, merged),
            })?;
        }
        Ok(true)
    }

    /// Merges neighbouring runs, without the first `dropped` rows of a record in each. `None` when
    /// another process has removed one of them.
    ///
    /// Every block is read from a snapshot of its own: one for all would be held too long.
    pub(crate) fn merge_runs(
        &mut self,
        runs: &[Run],
        dropped: &dyn Fn(RecordId) -> u32,
        split: bool,
    ) -> Result<Option<Merged>, PersistenceError> {
        let mut directories = Vec::with_capacity(runs.len());
        {
            let snapshot = self.engine.snapshot()?;
            let tables = snapshot.tables()?;
            for run in runs {
                if tables.directory(run.id)?.is_none() {
                    return Ok(None);
                }
                let directory = self.caches.directory(tables, run)?;
                self.rank_all(tables, directory.iter().map(|extent| extent.record))?;
                directories.push(directory);
            }
        }
        let sources: Vec<Source<'_>> =
            directories.iter().map(|directory| Source { directory, dropped }).collect();
        let ranks = self.ranks.clone();
        let rank = |record| ranks.get(&record).copied().unwrap_or(u32::MAX);
        let layout = self.tuning.layout.clone();
        let merged = format::merge(
            &sources,
            &mut |source, number| -> Result<Columns, MergeError> {
                self.between();
                let (run, directory) = (runs[source].id, &directories[source]);
                let snapshot = self.engine.snapshot()?;
                let tables = snapshot.tables()?;
                let block = self.caches.read_block(tables, run, directory, number);
                if block.is_err() && tables.directory(run)?.is_none() {
                    return Err(MergeError::Vanished);
                }
                Ok(block?)
            },
            &rank,
            &layout,
            split,
        );
        match merged {
            Ok(merged) => Ok(Some(merged)),
            Err(MergeError::Vanished) => Ok(None),
            Err(MergeError::Format(error)) => Err(damaged(self.name, error)),
            Err(MergeError::Other(error)) => Err(error),
        }
    }

    /// Sees to it that all these records have a rank.
    fn rank_all(
        &mut self,
        tables: &dyn Tables,
        records: impl Iterator<Item = RecordId>,
    ) -> Result<(), PersistenceError> {
        let mut known = false;
        for record in records {
            if self.ranks.contains_key(&record) {
                continue;
            }
            if !known {
                let names = tables.records(&Pattern::all())?;
                let ranks = (0..).zip(names).map(|(rank, (record, _))| (record, rank));
                self.ranks = Arc::new(ranks.collect());
                known = true;
            }
            if !self.ranks.contains_key(&record) {
                return Err(corrupt(self.name, "a row's record has no name"));
            }
        }
        Ok(())
    }

    fn clean_up(&mut self, plan: &CleanupPlan, reply: Reply<u64>) {
        let mut sweep = Sweep::new(plan);
        let swept = sweep.run(self, &|| reply.is_closed());
        let answer = match swept {
            Err(error) => Err(error.after_removing(sweep.removed())),
            Ok(()) => Ok(sweep.removed()),
        };
        drop(reply.send(answer));
    }
}

/// The runs that stand where their sources stood.
fn in_order(head: u64, merged: Merged) -> Vec<(RunOrder, format::NewRun)> {
    let parts = [(0, merged.main), (1, merged.fresh)];
    parts.into_iter().filter_map(|(part, run)| Some((RunOrder { head, part }, run?))).collect()
}

/// However the thread ends: the writer closes then, and nobody waits for what will not come.
struct EndOfFolding<W: Writer> {
    tasks: Arc<Tasks<W>>,
    jobs: mpsc::Sender<Job>,
}

impl<W: Writer> Drop for EndOfFolding<W> {
    fn drop(&mut self) {
        if self.tasks.end() {
            // If the writer is gone already, there is nobody to tell.
            drop(self.jobs.blocking_send(Job::Close));
        }
    }
}
