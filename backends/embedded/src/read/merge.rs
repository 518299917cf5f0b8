//! The rows of one record, merged from the head and the runs in order of time.

use std::ops::Range;
use std::sync::Arc;

use annals_core::{Order, Result};

use super::View;
use crate::engine::{RecordId, Snapshot};
use crate::error::corrupt;
use crate::format::{Block, Extent, RunIndex};
use crate::head::Segment;

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
}

/// The record's rows in one run or segment, sorted by time and arrival.
struct Cursor {
    /// The position in order of arrival: runs first, then the head's segments.
    arrival: usize,
    location: Location,
    /// The remaining rows, counted from the record's first row there.
    rows: Range<u32>,
    /// The initial end of `rows`.
    end: u32,
    /// The next row's time, or a bound of it until the cursor is `exact`.
    time: u64,
    exact: bool,
}

enum Location {
    Run {
        run: usize,
        index: Arc<RunIndex>,
        extent: Extent,
        /// The block read last, and its rows.
        block: Option<(Range<u32>, Arc<Block>)>,
    },
    Head {
        segment: Arc<Segment>,
        first: usize,
    },
}

impl RecordMerge {
    pub(crate) fn new<S: Snapshot>(
        view: &View<S>,
        record: RecordId,
        (from, to): (u64, u64),
        order: Order,
    ) -> Result<Self> {
        let mut rows =
            Self { record, from, to, order, visited: 0, open: Vec::new(), exhausted: None };
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
        let mut open: Vec<Cursor> =
            newest.exhausted.into_iter().flatten().chain(newest.open).collect();
        open.retain_mut(|cursor| {
            cursor.rows = cursor.rows.end..cursor.end;
            cursor.exact && !cursor.rows.is_empty()
        });
        for cursor in &mut open {
            cursor.time = cursor.time_of(view, cursor.rows.start)?;
        }
        let visited = view.runs.len();
        Ok(Self { order: Order::OldestFirst, visited, open, exhausted: None, ..newest })
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
        self.open.push(Cursor { arrival, location, rows: 0..rows, end: rows, time, exact: false });
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
            if !self.open[place].seek(view, self.order, self.from, self.to)? {
                self.open.swap_remove(place);
            }
        }
    }

    /// The time and the text of the next row.
    pub(crate) fn row(&self, next: &Next) -> (u64, &str) {
        let cursor = &self.open[next.0];
        (cursor.time, cursor.json(self.order))
    }

    /// Consumes the next row.
    pub(crate) fn advance<S: Snapshot>(&mut self, view: &View<S>, next: Next) -> Result<()> {
        let cursor = &mut self.open[next.0];
        match self.order {
            Order::NewestFirst => cursor.rows.end -= 1,
            Order::OldestFirst => cursor.rows.start += 1,
        }
        if !cursor.rows.is_empty() {
            cursor.time = cursor.time_of(view, cursor.next_row(self.order))?;
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
    pub(crate) fn skip<S: Snapshot>(&mut self, view: &View<S>, rows: u64) -> Result<()> {
        for _ in 0..rows {
            let Some(next) = self.next(view)? else { break };
            self.advance(view, next)?;
        }
        Ok(())
    }

    /// Opens the next run if it could have a row before `best`. Returns whether it visited one.
    fn open_next_run<S: Snapshot>(
        &mut self,
        view: &View<S>,
        best: Option<(u64, usize)>,
    ) -> Result<bool> {
        let Some(run) = view.by_time(self.newest_first()).get(self.visited).copied() else {
            return Ok(false);
        };
        let bounds = &view.runs[run];
        let time = if self.newest_first() { bounds.last } else { bounds.first };
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

impl Cursor {
    fn key(&self) -> (u64, usize) {
        (self.time, self.arrival)
    }

    fn next_row(&self, order: Order) -> u32 {
        match order {
            Order::NewestFirst => self.rows.end - 1,
            Order::OldestFirst => self.rows.start,
        }
    }

    /// Finds the first row in the window. Returns whether there is one.
    fn seek<S: Snapshot>(
        &mut self,
        view: &View<S>,
        order: Order,
        from: u64,
        to: u64,
    ) -> Result<bool> {
        match order {
            Order::NewestFirst => {
                self.rows.end = self.rows_up_to(view, to)?;
                self.end = self.rows.end;
            }
            Order::OldestFirst => {
                if let Some(before) = from.checked_sub(1) {
                    self.rows.start = self.rows_up_to(view, before)?;
                }
            }
        }
        if self.rows.is_empty() {
            return Ok(false);
        }
        self.time = self.time_of(view, self.next_row(order))?;
        self.exact = true;
        Ok((from..=to).contains(&self.time))
    }

    fn rows_up_to<S: Snapshot>(&self, view: &View<S>, time: u64) -> Result<u32> {
        match &self.location {
            Location::Run { run, index, extent, .. } => view.rows_up_to(*run, index, *extent, time),
            Location::Head { segment, first } => {
                Ok(segment.rows_up_to(*first..*first + self.end as usize, time) as u32)
            }
        }
    }

    /// Reads the time of a row, and its block.
    fn time_of<S: Snapshot>(&mut self, view: &View<S>, row: u32) -> Result<u64> {
        match &mut self.location {
            Location::Head { segment, first } => Ok(segment.time(*first + row as usize)),
            Location::Run { run, index, extent, block } => {
                let row = extent.first_row + row;
                let (rows, block_read) = match block.take() {
                    Some((rows, block_read)) if rows.contains(&row) => {
                        block.insert((rows, block_read))
                    }
                    _ => {
                        let number = index.block_of(row);
                        let block_read = view.block(*run, index, number)?;
                        block.insert((index.block_rows(number), block_read))
                    }
                };
                let time = block_read.times().get(row.wrapping_sub(rows.start) as usize);
                time.copied().ok_or_else(|| corrupt(view.caches.engine, "a block lacks rows"))
            }
        }
    }

    /// The text of the next row, whose time was read last.
    fn json(&self, order: Order) -> &str {
        let row = self.next_row(order);
        match &self.location {
            Location::Head { segment, first } => segment.json(*first + row as usize),
            Location::Run { extent, block, .. } => {
                block.as_ref().map_or("", |(rows, block_read)| {
                    block_read.json((extent.first_row + row - rows.start) as usize)
                })
            }
        }
    }

    /// Releases the block.
    fn release(&mut self) {
        if let Location::Run { block, .. } = &mut self.location {
            *block = None;
        }
    }
}
