//! The rows of one record, merged from the head and the runs in order of time.

use std::ops::Range;
use std::sync::Arc;

use annals_core::{Order, Result};

use super::cursor::{Cursor, Location};
use super::{Filter, View};
use crate::engine::Snapshot;
use crate::format::Block;
use crate::ids::RecordId;

/// The remaining rows of one record, as a lazy merge. A run is opened only when it could have the next
/// row, so the newest rows of a long history cost no more than those of a short one.
pub(crate) struct RecordMerge {
    record: RecordId,
    /// The window of time, inclusive.
    from: u64,
    to: u64,
    order: Order,
    /// How many runs, in order of time, have been visited.
    visited: usize,
    open: Vec<Cursor>,
    /// Cursors without rows left, if they are to be kept.
    exhausted: Option<Vec<Cursor>>,
    /// Rows that do not satisfy it are passed over, where columns tell.
    filter: Option<Arc<Filter>>,
    /// How many rows were passed over and not yet [counted](Self::count_passed).
    passed: usize,
}

impl RecordMerge {
    pub(crate) fn new<S: Snapshot>(
        view: &View<S>,
        record: RecordId,
        (from, to): (u64, u64),
        order: Order,
    ) -> Result<Self> {
        let mut rows = Self {
            record,
            from,
            to,
            order,
            visited: 0,
            open: Vec::new(),
            exhausted: None,
            filter: None,
            passed: 0,
        };
        for (place, segment) in view.head.iter().enumerate() {
            let places = segment.rows_of(record);
            if places.is_empty() {
                continue;
            }
            let (first, last) = (segment.time(places.start), segment.time(places.end - 1));
            let location = Location::Head { segment: segment.clone(), first: places.start };
            rows.open(view.runs.len() + place, location, places.len() as u32, first, last);
        }
        Ok(rows)
    }

    /// The rows that `newest` has consumed, in the opposite order. `newest` must
    /// [keep exhausted cursors](Self::keep_exhausted).
    pub(crate) fn reversed<S: Snapshot>(newest: Self, view: &View<S>) -> Result<Self> {
        let (order, mut passed, mut open) = (Order::OldestFirst, newest.passed, Vec::new());
        for mut cursor in newest.exhausted.into_iter().flatten().chain(newest.open) {
            cursor.rows = cursor.rows.end..cursor.end;
            if !cursor.exact {
                continue;
            }
            passed += cursor.pass_over(view, order, newest.filter.as_deref())?;
            if !cursor.rows.is_empty() {
                cursor.read_time(view, order)?;
                open.push(cursor);
            }
        }
        let visited = view.runs.len();
        Ok(Self { order, visited, open, exhausted: None, passed, ..newest })
    }

    /// Passes over rows that do not satisfy a filter, where columns tell. The others are to be tested unless
    /// they [are chosen](Self::is_chosen).
    pub(crate) fn with_filter(mut self, filter: Option<Arc<Filter>>) -> Self {
        self.filter = filter;
        self
    }

    /// Whether the next row is known to satisfy the filter.
    pub(crate) fn is_chosen(&self, next: &Next) -> bool {
        self.open[next.0].is_chosen
    }

    /// How many rows were passed over since this was last called.
    pub(crate) fn count_passed(&mut self) -> usize {
        std::mem::take(&mut self.passed)
    }

    /// Keeps exhausted cursors, for [`reversed`](Self::reversed) and [`consumed`](Self::consumed).
    pub(crate) fn keep_exhausted(mut self) -> Self {
        self.exhausted = Some(Vec::new());
        self
    }

    /// How many rows of each run have been consumed, newest first.
    pub(crate) fn consumed(&self) -> impl Iterator<Item = (usize, u32)> {
        let cursors = self.exhausted.iter().flatten().chain(&self.open);
        cursors.filter_map(|cursor| match cursor.location {
            Location::Run { run, .. } if cursor.exact => Some((run, cursor.end - cursor.rows.end)),
            _ => None,
        })
    }

    fn newest_first(&self) -> bool {
        self.order == Order::NewestFirst
    }

    fn open(&mut self, arrival: usize, location: Location, rows: u32, first: u64, last: u64) {
        if first > self.to || last < self.from {
            return;
        }
        let time = if self.newest_first() { last.min(self.to) } else { first.max(self.from) };
        self.open.push(Cursor::new(arrival, location, rows, time));
    }

    /// Whether one position in time and arrival comes before another in the requested order.
    fn precedes(&self, one: (u64, usize), other: (u64, usize)) -> bool {
        if self.newest_first() { one > other } else { one < other }
    }

    /// Finds the cursor with the next row; `None` at the end.
    pub(crate) fn next<S: Snapshot>(&mut self, view: &View<S>) -> Result<Option<Next>> {
        loop {
            let mut chosen: Option<usize> = None;
            for (place, cursor) in self.open.iter().enumerate() {
                if chosen.is_none_or(|other| self.precedes(cursor.key(), self.open[other].key())) {
                    chosen = Some(place);
                }
            }
            if self.open_next_run(view, chosen.map(|place| self.open[place].key()))? {
                continue;
            }
            let Some(place) = chosen else { return Ok(None) };
            if self.open[place].exact {
                return Ok(Some(Next(place)));
            }
            let cursor = &mut self.open[place];
            let (window, filter) = ((self.from, self.to), self.filter.as_deref());
            let found = cursor.seek(view, self.order, window, filter)?;
            self.passed += found.unwrap_or(0);
            if found.is_none() {
                self.open.swap_remove(place);
            }
        }
    }

    /// The time and the text of the next row.
    pub(crate) fn row(&self, next: &Next) -> (u64, &str) {
        let cursor = &self.open[next.0];
        (cursor.time, cursor.json(self.order))
    }

    /// Whether the next row is in columns.
    pub(crate) fn is_in_columns(&self, next: &Next) -> bool {
        self.open[next.0].block_rows().is_some_and(|(block, _)| block.is_in_columns())
    }

    /// The block of the next row, unless that is in the head, and the rows there that come next: `most` at
    /// most, and only one with a filter.
    pub(crate) fn stretch<S: Snapshot>(
        &self,
        view: &View<S>,
        next: &Next,
        most: usize,
    ) -> Option<(&Arc<Block>, Range<usize>)> {
        let cursor = &self.open[next.0];
        let (block, rows) = cursor.block_rows()?;
        let most = if self.filter.is_some() { 1 } else { most.min(rows.len()) };
        let others = self.open.iter().enumerate().filter(|(place, _)| *place != next.0);
        let others = others.map(|(_, other)| other.key());
        let bound = others
            .chain(self.next_run(view))
            .reduce(|one, other| if self.precedes(other, one) { other } else { one });
        let comes_next = |time: &u64| {
            (self.from..=self.to).contains(time)
                && bound.is_none_or(|bound| self.precedes((*time, cursor.arrival), bound))
        };
        // At least the next row, also if the times of a damaged block are in disorder.
        Some((
            block,
            if self.newest_first() {
                let rows = rows.end - most..rows.end;
                let start =
                    block.times().get(rows.clone())?.partition_point(|time| !comes_next(time));
                (rows.start + start).min(rows.end - 1)..rows.end
            } else {
                let rows = rows.start..rows.start + most;
                let count = block.times().get(rows.clone())?.partition_point(comes_next);
                rows.start..rows.start + count.max(1)
            },
        ))
    }

    /// The time of the next row.
    pub(crate) fn time(&self, next: &Next) -> u64 {
        self.open[next.0].time
    }

    /// Consumes the next row.
    pub(crate) fn advance<S: Snapshot>(&mut self, view: &View<S>, next: Next) -> Result<()> {
        self.advance_by(view, next, 1)
    }

    /// Consumes this many rows of a [stretch](Self::stretch).
    pub(crate) fn advance_by<S: Snapshot>(
        &mut self,
        view: &View<S>,
        next: Next,
        rows: usize,
    ) -> Result<()> {
        let cursor = &mut self.open[next.0];
        cursor.step(self.order, rows as u32);
        self.passed += cursor.pass_over(view, self.order, self.filter.as_deref())?;
        if !cursor.rows.is_empty() {
            cursor.read_time(view, self.order)?;
            if (self.from..=self.to).contains(&cursor.time) {
                return Ok(());
            }
        }
        let mut cursor = self.open.swap_remove(next.0);
        if let Some(exhausted) = &mut self.exhausted {
            cursor.release();
            exhausted.push(cursor);
        }
        Ok(())
    }

    /// Consumes this many rows, or all.
    pub(crate) fn skip<S: Snapshot>(&mut self, view: &View<S>, mut rows: u64) -> Result<()> {
        while rows > 0
            && let Some(next) = self.next(view)?
        {
            let most = usize::try_from(rows).unwrap_or(usize::MAX);
            let skipped = self.stretch(view, &next, most).map_or(1, |(_, rows)| rows.len());
            self.advance_by(view, next, skipped)?;
            rows -= skipped as u64;
        }
        Ok(())
    }

    /// The next run to be visited, and the least time, in the requested order, that a row there can have.
    fn next_run<S: Snapshot>(&self, view: &View<S>) -> Option<(u64, usize)> {
        let run = *view.runs.by_time(self.newest_first()).get(self.visited)?;
        let bounds = &view.runs[run];
        Some((if self.newest_first() { bounds.last } else { bounds.first }, run))
    }

    /// Opens the next run if it could have a row before `best`. Returns whether it visited one.
    fn open_next_run<S: Snapshot>(
        &mut self,
        view: &View<S>,
        best: Option<(u64, usize)>,
    ) -> Result<bool> {
        let Some((time, run)) = self.next_run(view) else { return Ok(false) };
        let bounds = &view.runs[run];
        if best.is_some_and(|best| !self.precedes((time, run), best)) {
            return Ok(false);
        }
        let beyond = if self.newest_first() { time < self.from } else { time > self.to };
        if beyond {
            // So are all that follow.
            self.visited = view.runs.len();
            return Ok(true);
        }
        self.visited += 1;
        if bounds.first > self.to || bounds.last < self.from {
            return Ok(true);
        }
        let index = view.run_index(run)?;
        if let Some(extent) = index.find(self.record) {
            let (rows, first, last) = (extent.rows, extent.first, extent.last);
            self.open(run, Location::Run { run, index, extent, block: None }, rows, first, last);
        }
        Ok(true)
    }
}

/// The cursor with the next row.
pub(crate) struct Next(usize);
