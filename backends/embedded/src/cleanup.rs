//! Cleaning up: whole runs go, and runs that hold what stays as well are written anew without the
//! rest.

use std::sync::Arc;

use annals_core::{CleanupPlan, Order, Pattern, PersistenceError};

use crate::cache::is_corrupt;
use crate::engine::{Engine, RecordId, Run, RunId, Snapshot, Writer};
use crate::folder::Folder;
use crate::format::Directory;
use crate::map::Map;
use crate::rows::RecordRows;
use crate::state::State;
use crate::store::{Change, Nameless};

/// One cleanup and how far it got.
pub(crate) struct Sweep<'a> {
    plan: &'a CleanupPlan,
    removed: u64,
    /// Why a run could not be cleaned up.
    damage: Option<PersistenceError>,
}

/// The records that the plan is for, and up to which time their rows go, inclusive.
type CutOffs = Map<RecordId, u64>;

/// How many of a record's rows in a run stay whatever their age.
type Kept = Map<(RunId, RecordId), u32>;

/// What goes of one run.
struct Share {
    rows: u64,
    /// By record the first so many; records without are not in it.
    by_record: Map<RecordId, u32>,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(plan: &'a CleanupPlan) -> Self {
        Self { plan, removed: 0, damage: None }
    }

    /// How many rows are removed so far.
    pub(crate) fn removed(&self) -> u64 {
        self.removed
    }

    /// Removes what the plan lets go, or ends early once `given_up` says that nobody wants it.
    pub(crate) fn run<E: Engine>(
        &mut self,
        folder: &mut Folder<E>,
        given_up: &dyn Fn() -> bool,
    ) -> Result<(), PersistenceError> {
        if self.concerns_the_head(&folder.state()?)? {
            folder.fold(true)?;
        }
        // Once more from the beginning whenever another process has changed the runs meanwhile.
        while !given_up() && !self.pass(folder, given_up)? {}
        if !given_up() {
            self.forget_names(folder)?;
        }
        if self.removed > 0 {
            folder.ask(|store| {
                store.writer.settle(true);
                Ok(())
            })?;
        }
        self.damage.take().map_or(Ok(()), Err)
    }

    fn concerns_the_head<S: Snapshot>(&self, state: &State<S>) -> Result<bool, PersistenceError> {
        let cut_offs = self.cut_offs(state)?;
        let expired = |(record, first)| {
            cut_offs.get(&record).is_some_and(|last_removed| first <= *last_removed)
        };
        Ok(state.head.iter().any(|segment| segment.firsts().any(expired)))
    }

    fn cut_offs<S: Snapshot>(&self, state: &State<S>) -> Result<CutOffs, PersistenceError> {
        let names = state.tables()?.records(&Pattern::all())?;
        let cut_off = |(record, name)| {
            let name: Arc<str> = name;
            Some((record, self.plan.last_removed(&name)?))
        };
        Ok(names.into_iter().filter_map(cut_off).collect())
    }

    /// Goes through the runs of one snapshot, the oldest first. Answers false when they are not
    /// there any more.
    fn pass<E: Engine>(
        &mut self,
        folder: &mut Folder<E>,
        given_up: &dyn Fn() -> bool,
    ) -> Result<bool, PersistenceError> {
        let opening = folder.caches.opening();
        let state = folder.state()?;
        let cut_offs = self.cut_offs(&state)?;
        let Some(latest) = cut_offs.values().max().copied() else { return Ok(true) };
        let kept = self.kept(folder, &state, &cut_offs)?;
        let runs = state.runs.clone();
        drop(state);
        for run in runs.into_iter().filter(|run| run.first <= latest) {
            folder.between();
            if given_up() {
                return Ok(true);
            }
            let change = Change { opening, removed: vec![run.id], ..Change::default() };
            match self.sweep_run(folder, run, change, &cut_offs, &kept) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // What expires elsewhere goes all the same: the file must not grow for ever.
                Err(error) if is_corrupt(&error) => self.damage = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Removes what expires of one run, with a change that removes the run. Answers false when it is not there any more.
    fn sweep_run<E: Engine>(
        &mut self,
        folder: &mut Folder<E>,
        run: Run,
        mut change: Change,
        cut_offs: &CutOffs,
        kept: &Kept,
    ) -> Result<bool, PersistenceError> {
        // A snapshot each: one for all would keep the log from being copied into the file.
        let state = folder.state()?;
        let place = state.runs.iter().position(|other| other.id == run.id);
        let Some(place) = place else { return Ok(false) };
        let directory = state.directory(place)?;
        let share = share(&state, place, &directory, cut_offs, kept)?;
        drop(state);
        if share.rows == 0 {
            return Ok(true);
        }
        if share.rows < run.rows {
            let dropped = |record| share.by_record.get(&record).copied().unwrap_or(0);
            let merged = folder.merge_runs(&[run], &dropped, false)?;
            let Some(merged) = merged else { return Ok(false) };
            change.added.extend(merged.main.map(|rest| (run.order, rest)));
        }
        let installed = folder.install(change)?;
        if installed {
            self.removed += share.rows;
        }
        Ok(installed)
    }

    /// How many of a record's rows in a run stay whatever their age, since they are among its
    /// newest.
    fn kept<E: Engine>(
        &self,
        folder: &mut Folder<E>,
        state: &State<E::Snapshot>,
        cut_offs: &CutOffs,
    ) -> Result<Kept, PersistenceError> {
        let mut kept = Kept::default();
        if self.plan.keep_newest == 0 {
            return Ok(kept);
        }
        for (record, last_removed) in cut_offs {
            folder.between();
            // The usual case, and cheap: what is to stay need not be looked for.
            let expires = state.summary(*record)?.is_some_and(|rows| rows.first <= *last_removed);
            if !expires {
                continue;
            }
            let all = (0, u64::MAX);
            let mut rows =
                RecordRows::new(state, *record, all, Order::NewestFirst)?.remember_spent();
            rows.pass_over(state, self.plan.keep_newest)?;
            kept.extend(rows.given().map(|(run, rows)| ((state.runs[run].id, *record), rows)));
        }
        Ok(kept)
    }

    /// Removes names that have no rows any more.
    fn forget_names<E: Engine>(&self, folder: &mut Folder<E>) -> Result<(), PersistenceError> {
        let opening = folder.caches.opening();
        let state = folder.state()?;
        let names = state.tables()?.records(&Pattern::all())?;
        let concerns = |name: &str| self.plan.last_removed(name).is_some();
        let mut records: Map<RecordId, Arc<str>> =
            names.into_iter().filter(|(_, name)| concerns(name)).collect();
        for place in 0..state.runs.len() {
            if records.is_empty() {
                break;
            }
            for extent in state.directory(place)?.iter() {
                records.remove(&extent.record);
            }
        }
        for segment in &state.head {
            records.retain(|record, _| segment.rows_of(*record).is_empty());
        }
        let nameless = Nameless {
            opening,
            records,
            runs: state.runs.iter().map(|run| run.id).collect(),
            last_block: state.tables()?.head_bounds()?.map(|(_, last)| last),
        };
        drop(state);
        folder.ask(move |store| store.forget(nameless))
    }
}

/// What goes of one run: of each record a prefix of its rows there.
fn share<S: Snapshot>(
    state: &State<S>,
    run: usize,
    directory: &Directory,
    cut_offs: &CutOffs,
    kept: &Kept,
) -> Result<Share, PersistenceError> {
    let mut share = Share { rows: 0, by_record: Map::default() };
    for extent in directory.iter() {
        let Some(last_removed) = cut_offs.get(&extent.record) else { continue };
        let expired = state.rows_up_to(run, directory, extent, *last_removed)?;
        let kept = kept.get(&(state.runs[run].id, extent.record)).copied().unwrap_or(0);
        let goes = expired.min(extent.rows.saturating_sub(kept));
        if goes > 0 {
            share.rows += u64::from(goes);
            share.by_record.insert(extent.record, goes);
        }
    }
    Ok(share)
}
