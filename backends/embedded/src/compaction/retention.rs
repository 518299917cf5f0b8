//! Removal of expired rows: a run of which all rows expired is removed, and a run of which some did
//! is rewritten without them. Steps that free space come before those that take some, so that a full disk
//! can be cleaned up.

use std::sync::Arc;

use annals_core::{CleanupPlan, Order, Pattern, PersistenceError, Result};

use super::Compactor;
use crate::Map;
use crate::engine::{Engine, Snapshot, Writer};
use crate::error::{is_corrupt, is_full};
use crate::format::{Form, NewRun, RunIndex};
use crate::ids::{RecordId, Run, RunId};
use crate::read::{RecordMerge, View};
use crate::write::{OrphanedNames, VersionEdit};

/// One cleanup and its progress.
pub(super) struct Sweep<'a> {
    plan: &'a CleanupPlan,
    removed: u64,
    /// Why a run could not be cleaned up.
    damage: Option<PersistenceError>,
}

/// The records that the plan applies to, and the time up to which their rows expired, inclusive.
type CutOffs = Map<RecordId, u64>;

/// How many of a record's rows in a run stay whatever their age.
type Kept = Map<(RunId, RecordId), u32>;

/// The expired rows of a run.
struct Expired {
    rows: u64,
    /// Of the run.
    at_rest: bool,
    /// How many of each record's oldest rows; records without expired rows are left out.
    by_record: Map<RecordId, u32>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(plan: &'a CleanupPlan) -> Self {
        Self { plan, removed: 0, damage: None }
    }

    /// How many rows have been removed so far.
    pub(super) fn removed(&self) -> u64 {
        self.removed
    }

    /// Removes expired rows, or ends early when `canceled` says that the caller has left. Continues where
    /// it failed before.
    pub(super) fn run<E: Engine>(
        &mut self,
        compactor: &mut Compactor<E>,
        canceled: &dyn Fn() -> bool,
    ) -> Result<()> {
        let swept = loop {
            let before = self.removed;
            match self.remove_expired(compactor, canceled) {
                // What has become free may be room enough.
                Err(error) if is_full(&error) && self.removed > before => {}
                swept => break swept,
            }
        };
        let swept = match canceled() {
            false => swept.and_then(|()| self.forget_names(compactor)),
            true => swept,
        };
        if self.removed > 0 {
            compactor.ask(|store| {
                store.writer.checkpoint(true);
                Ok(())
            })?;
        }
        swept.and(self.damage.take().map_or(Ok(()), Err))
    }

    /// Removes expired rows from the runs first, which frees space, and then from the head, which takes some.
    fn remove_expired<E: Engine>(
        &mut self,
        compactor: &mut Compactor<E>,
        canceled: &dyn Fn() -> bool,
    ) -> Result<()> {
        // Before the runs are visited: a flush meanwhile would make a run that nobody visits.
        let in_head = self.concerns_the_head(&compactor.view()?)?;
        let swept = self.passes(compactor, canceled);
        if !in_head || canceled() || swept.as_ref().is_err_and(|error| !is_full(error)) {
            return swept;
        }
        compactor.flush(true)?;
        self.passes(compactor, canceled)
    }

    /// Starts over whenever another process has changed the runs.
    fn passes<E: Engine>(
        &mut self,
        compactor: &mut Compactor<E>,
        canceled: &dyn Fn() -> bool,
    ) -> Result<()> {
        while !canceled() && !self.pass(compactor, canceled)? {}
        Ok(())
    }

    fn concerns_the_head<S: Snapshot>(&self, view: &View<S>) -> Result<bool> {
        let cut_offs = self.cut_offs(view)?;
        let expired = |(record, first)| {
            cut_offs.get(&record).is_some_and(|last_removed| first <= *last_removed)
        };
        Ok(view.head.iter().any(|segment| segment.firsts().any(expired)))
    }

    fn cut_offs<S: Snapshot>(&self, view: &View<S>) -> Result<CutOffs> {
        let names = view.records(&Pattern::all())?;
        let cut_off =
            |(record, name): (RecordId, Arc<str>)| Some((record, self.plan.last_removed(&name)?));
        Ok(names.into_iter().filter_map(cut_off).collect())
    }

    /// Visits the runs of one snapshot. Returns false if they have changed. Runs that go as a whole are first,
    /// which takes hardly any space. Those that are rewritten follow, the ones of which least is left first.
    fn pass<E: Engine>(
        &mut self,
        compactor: &mut Compactor<E>,
        canceled: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let opening = compactor.caches.opening();
        let view = compactor.view()?;
        let cut_offs = self.cut_offs(&view)?;
        let Some(latest) = cut_offs.values().max().copied() else { return Ok(true) };
        let kept = self.kept(compactor, &view, &cut_offs)?;
        let runs = view.runs.clone();
        drop(view);
        let mut rewritten = Vec::new();
        for run in runs.iter().copied().filter(|run| run.first <= latest) {
            compactor.pause();
            if canceled() {
                return Ok(true);
            }
            let expired = find(compactor, run, &cut_offs, &kept);
            match self.sound(expired)? {
                Some(Some(Expired { rows: 0, .. })) | None => {}
                Some(Some(expired)) if expired.rows < run.rows => {
                    rewritten.push((left(&run, expired.rows), run));
                }
                Some(Some(expired)) => {
                    let removed = self.install(compactor, opening, run, expired.rows, None);
                    if self.sound(removed)? == Some(false) {
                        return Ok(false);
                    }
                }
                Some(None) => return Ok(false),
            }
        }
        rewritten.sort_unstable_by_key(|(left, run)| (*left, run.order));
        for (_, run) in rewritten {
            compactor.pause();
            if canceled() {
                return Ok(true);
            }
            let rewritten = self.rewrite(compactor, opening, run, &cut_offs, &kept);
            if self.sound(rewritten)? == Some(false) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What was read of a run; `None` if it is damaged. Other runs are cleaned up all the same: the file must
    /// not grow forever.
    fn sound<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error) if is_corrupt(&error) => {
                self.damage = Some(error);
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Writes a run anew without its expired rows. Returns false if it is no longer there.
    fn rewrite<E: Engine>(
        &mut self,
        compactor: &mut Compactor<E>,
        opening: u64,
        run: Run,
        cut_offs: &CutOffs,
        kept: &Kept,
    ) -> Result<bool> {
        let Some(expired) = find(compactor, run, cut_offs, kept)? else { return Ok(false) };
        let dropped = |record| expired.by_record.get(&record).copied().unwrap_or(0);
        let form = Form { split: false, rest: expired.at_rest };
        let Some(merged) = compactor.merge_runs(&[run], &dropped, form)? else { return Ok(false) };
        self.install(compactor, opening, run, expired.rows, merged.main)
    }

    /// Replaces a run with `rest`, its rows that did not expire; `expired` is the number of those that did.
    /// Returns false if the run is no longer there.
    fn install<E: Engine>(
        &mut self,
        compactor: &mut Compactor<E>,
        opening: u64,
        run: Run,
        expired: u64,
        rest: Option<NewRun>,
    ) -> Result<bool> {
        let added = rest.map(|rest| (run.order, rest)).into_iter().collect();
        let edit = VersionEdit { opening, flushed: None, removed: vec![run.id], added };
        let installed = compactor.install(edit)?;
        if installed {
            self.removed += expired;
        }
        Ok(installed)
    }

    /// How many of each record's rows in each run stay because they are among its newest.
    fn kept<E: Engine>(
        &self,
        compactor: &mut Compactor<E>,
        view: &View<E::Snapshot>,
        cut_offs: &CutOffs,
    ) -> Result<Kept> {
        let mut kept = Kept::default();
        if self.plan.keep_newest == 0 {
            return Ok(kept);
        }
        for (record, last_removed) in cut_offs {
            compactor.pause();
            // The usual case, and cheap: nothing of the record expired.
            let expires = view.summary(*record)?.is_some_and(|rows| rows.first <= *last_removed);
            if !expires {
                continue;
            }
            let all = (0, u64::MAX);
            let mut rows =
                RecordMerge::new(view, *record, all, Order::NewestFirst)?.keep_exhausted();
            rows.skip(view, self.plan.keep_newest)?;
            kept.extend(rows.consumed().map(|(run, rows)| ((view.runs[run].id, *record), rows)));
        }
        Ok(kept)
    }

    /// Removes names that have no rows any more.
    fn forget_names<E: Engine>(&self, compactor: &mut Compactor<E>) -> Result<()> {
        let opening = compactor.caches.opening();
        let view = compactor.view()?;
        let names = view.records(&Pattern::all())?;
        let mut records: Map<RecordId, Arc<str>> =
            names.into_iter().filter(|(_, name)| self.plan.last_removed(name).is_some()).collect();
        for run in 0..view.runs.len() {
            if records.is_empty() {
                break;
            }
            for extent in view.run_index(run)?.iter() {
                records.remove(&extent.record);
            }
        }
        for segment in &view.head {
            records.retain(|record, _| segment.rows_of(*record).is_empty());
        }
        let orphans = OrphanedNames {
            opening,
            records,
            runs: view.runs.iter().map(|run| run.id).collect(),
            last_block: view.state.head_bounds().map(|(_, last)| last),
        };
        drop(view);
        compactor.ask(move |store| store.forget(orphans))
    }
}

/// The approximate bytes of text of a run without its expired rows. Rewriting it takes about as much space.
fn left(run: &Run, expired: u64) -> u64 {
    (u128::from(run.bytes) * u128::from(run.rows - expired) / u128::from(run.rows)) as u64
}

/// The expired rows of a run; `None` if the run is no longer there.
fn find<E: Engine>(
    compactor: &Compactor<E>,
    run: Run,
    cut_offs: &CutOffs,
    kept: &Kept,
) -> Result<Option<Expired>> {
    // A snapshot for each run: SQLite's log could not be copied while one was held for all of them.
    let view = compactor.view()?;
    let position = view.runs.iter().position(|other| other.id == run.id);
    let Some(position) = position else { return Ok(None) };
    let index = view.run_index(position)?;
    expired(&view, position, &index, cut_offs, kept).map(Some)
}

/// The expired rows of a run: of each record a prefix of its rows there.
fn expired<S: Snapshot>(
    view: &View<S>,
    run: usize,
    index: &RunIndex,
    cut_offs: &CutOffs,
    kept: &Kept,
) -> Result<Expired> {
    let mut all = Expired { rows: 0, at_rest: index.is_at_rest(), by_record: Map::default() };
    for extent in index.iter() {
        let Some(last_removed) = cut_offs.get(&extent.record) else { continue };
        let expired = view.rows_up_to(run, index, extent, *last_removed)?;
        let kept = kept.get(&(view.runs[run].id, extent.record)).copied().unwrap_or(0);
        let removed = expired.min(extent.rows.saturating_sub(kept));
        if removed > 0 {
            all.rows += u64::from(removed);
            all.by_record.insert(extent.record, removed);
        }
    }
    Ok(all)
}
