//! Rows come to rest: runs become final and are written in columns.
//!
//! Merges bring most rows to rest by themselves. What is left are runs that an older release wrote, which
//! the compactor rewrites while it has nothing else to do, and small runs, which wait for others. A
//! compaction ([`Embedded::compact`](crate::Embedded::compact)) merges these now, step by step.

use std::ops::Range;

use annals_core::Result;

use super::{Compactor, in_order};
use crate::coordination::Compacted;
use crate::engine::{Engine, Snapshot, Writer};
use crate::error::log_failure;
use crate::format::Form;
use crate::ids::Run;
use crate::state::State;
use crate::tuning::Tuning;
use crate::write::VersionEdit;

/// A run, and whether its rows are at rest.
type Known = (Run, bool);

impl<E: Engine> Compactor<E> {
    /// Rewrites one run that is not merged any more and whose rows are not at rest. Returns whether
    /// there was one.
    pub(super) fn rest_one(&mut self) -> Result<bool> {
        let runs = self.known_runs()?;
        let is_due = |(run, rest): &Known| {
            !rest && self.tuning.is_final(run) && !self.unreadable.contains(&run.id)
        };
        let Some(at) = runs.iter().position(is_due) else { return Ok(false) };
        if let Err(error) = self.bring_to_rest(&runs, at..at + 1) {
            // The others are rewritten all the same.
            self.unreadable.insert(runs[at].0.id);
            log_failure(self.name, "bringing a run to rest", &error);
        }
        Ok(true)
    }

    /// Takes a step of a compaction: `end` is that of the step before, if there was one.
    pub(super) fn compact_step(&mut self, end: Option<u64>) -> Result<Compacted> {
        if end.is_none() {
            self.flush(true)?;
        }
        let mut runs = self.known_runs()?;
        let end = end.unwrap_or_else(|| runs.last().map_or(0, |(run, _)| run.order.head));
        runs.retain(|(run, _)| run.order.head <= end);
        let due = due(&self.tuning, &runs);
        let Some(first) = due.first().cloned() else {
            self.ask(|store| {
                store.writer.checkpoint(true);
                Ok(())
            })?;
            return Ok(Compacted { rows: 0, left: 0, end });
        };
        let rows =
            |range: &Range<usize>| runs[range.clone()].iter().map(|(run, _)| run.rows).sum::<u64>();
        let (done, all) = (rows(&first), due.iter().map(rows).sum::<u64>());
        self.bring_to_rest(&runs, first)?;
        // At least one, so that another step finds out that nothing is left.
        Ok(Compacted { rows: done, left: (all - done).max(1), end })
    }

    fn known_runs(&self) -> Result<Vec<Known>> {
        let snapshot = self.engine.snapshot()?;
        let tables = snapshot.tables()?;
        let runs = self.caches.runs(tables, &State::of(self.name, tables)?)?;
        runs.iter()
            .map(|run| Ok((*run, self.caches.run_index(tables, run)?.is_at_rest())))
            .collect()
    }

    /// Merges neighbours into one run at rest. Does nothing if another process has changed them.
    fn bring_to_rest(&mut self, runs: &[Known], range: Range<usize>) -> Result<()> {
        let opening = self.caches.opening();
        let merged: Vec<Run> = runs[range.clone()].iter().map(|(run, _)| *run).collect();
        let [.., last] = merged[..] else { return Ok(()) };
        // The second part of a split run, if it is not among these, keeps its place.
        let next = runs.get(range.end);
        let is_split = next.is_some_and(|(run, _)| run.order.head == last.order.head);
        let is_part = merged.len() == 1 && last.order.part > 0;
        let split = self.tuning.form(&merged).split && !is_split && !is_part;
        let form = Form { split, rest: true };
        let Some(new) = self.merge_runs(&merged, &|_| 0, form)? else { return Ok(()) };
        let mut added = in_order(last.order.head, new);
        if let ([(order, _)], [_]) = (&mut added[..], &merged[..]) {
            *order = last.order;
        }
        let removed = merged.iter().map(|run| run.id).collect();
        self.install(VersionEdit { opening, flushed: None, removed, added })?;
        Ok(())
    }
}

/// The neighbours that are to be merged, or the single runs to be rewritten, the oldest first.
fn due(tuning: &Tuning, runs: &[Known]) -> Vec<Range<usize>> {
    let mut due = Vec::new();
    let mut start = 0;
    while start < runs.len() {
        let (run, rest) = &runs[start];
        if tuning.is_final(run) {
            if !rest {
                due.push(start..start + 1);
            }
            start += 1;
            continue;
        }
        let small = runs[start..].iter().take_while(|(run, _)| !tuning.is_final(run));
        let merged = tuning.mergeable(small.map(|(run, _)| run));
        if !is_at_rest(&runs[start..start + merged]) {
            due.push(start..start + merged);
        }
        start += merged;
    }
    due
}

/// Whether these small runs are one that is at rest, or the newest rows of a run.
fn is_at_rest(runs: &[Known]) -> bool {
    match runs {
        [(run, rest)] => *rest || run.order.part > 0,
        [(main, rest), (fresh, _)] => *rest && main.order.head == fresh.order.head,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunOrder;

    /// Runs of (block of the head, part, rows, at rest); 100 rows are final.
    fn found(runs: &[(u64, u8, u64, bool)]) -> Vec<(usize, usize)> {
        let tuning =
            Tuning { tier_rows: [10, 50, 100], tier_bytes: [u64::MAX / 4; 3], ..Tuning::default() };
        let run = |&(head, part, rows, rest): &(u64, u8, u64, bool)| {
            let order = RunOrder { head, part };
            (
                Run {
                    id: head * 2 + u64::from(part),
                    order,
                    rows,
                    first: 0,
                    last: 0,
                    bytes: rows,
                    sealed: true,
                },
                rest,
            )
        };
        let due = due(&tuning, &runs.iter().map(run).collect::<Vec<_>>());
        due.into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn what_is_at_rest_stays() {
        assert_eq!(found(&[]), []);
        assert_eq!(
            found(&[(1, 0, 500, true), (1, 1, 5, false), (2, 0, 90, true), (2, 1, 5, false)]),
            [(1, 4)]
        );
        assert_eq!(
            found(&[(1, 0, 500, true), (1, 1, 5, false), (2, 0, 500, true), (2, 1, 5, false)]),
            []
        );
        assert_eq!(found(&[(1, 0, 90, true), (1, 1, 5, false)]), []);
        assert_eq!(found(&[(1, 0, 9, true)]), []);
    }

    #[test]
    fn final_runs_are_rewritten_alone_and_small_ones_together() {
        assert_eq!(found(&[(1, 0, 500, false), (2, 0, 9, false)]), [(0, 1), (1, 2)]);
        assert_eq!(
            found(&[(1, 0, 9, false), (2, 0, 9, true), (3, 0, 500, true), (4, 0, 9, false)]),
            [(0, 2), (3, 4)]
        );
        // At most twice as many rows as make a run final.
        assert_eq!(
            found(&[(1, 0, 90, false), (2, 0, 90, false), (3, 0, 90, false)]),
            [(0, 2), (2, 3)]
        );
        assert_eq!(found(&[(1, 0, 90, true), (1, 1, 9, false), (2, 0, 120, false)]), [(2, 3)]);
    }
}
