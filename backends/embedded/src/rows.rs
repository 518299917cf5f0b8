//! The rows of one record, from all places where it has any, in order of time.

use std::ops::Range;
use std::sync::Arc;

use annals_core::{Order, PersistenceError};

use crate::cache::corrupt;
use crate::engine::{RecordId, Snapshot};
use crate::format::{Columns, Directory, Extent};
use crate::head::Segment;
use crate::state::State;

/// What is left of one record, as a lazy merge: a run is looked at only once it could have the next
/// row, so that the newest rows of a long history cost no more than those of a short one.
pub(crate) struct RecordRows {
    record: RecordId,
    /// Times wanted, inclusive.
    from: u64,
    to: u64,
    order: Order,
    /// How many runs, in order of time, have been looked at.
    looked_at: usize,
    open: Vec<Cursor>,
    /// Those that gave rows and have none left, where that is asked for.
    spent: Option<Vec<Cursor>>,
}

/// A part of the record's rows that lies in one place, sorted by time and arrival.
struct Cursor {
    /// Where it stands in order of arrival: runs first, then the head's segments.
    arrival: usize,
    source: Source,
    /// The rows that are left, counted from the first of the record in this place.
    rows: Range<u32>,
    /// Where `rows` ended at first.
    end: u32,
    /// The next row's time, or a bound for it as long as it is not `exact`.
    time: u64,
    exact: bool,
}

enum Source {
    Run {
        run: usize,
        directory: Arc<Directory>,
        extent: Extent,
        /// The block last read and which rows it has.
        block: Option<(Range<u32>, Arc<Columns>)>,
    },
    Head {
        segment: Arc<Segment>,
        first: usize,
    },
}

impl RecordRows {
    pub(crate) fn new<S: Snapshot>(
        state: &State<S>,
        record: RecordId,
        (from, to): (u64, u64),
        order: Order,
    ) -> Result<Self, PersistenceError> {
        let mut rows =
            Self { record, from, to, order, looked_at: 0, open: Vec::new(), spent: None };
        for (place, segment) in state.head.iter().enumerate() {
            let places = segment.rows_of(record);
            if places.is_empty() {
                continue;
            }
            let (first, last) = (segment.time(places.start), segment.time(places.end - 1));
            let source = Source::Head { segment: segment.clone(), first: places.start };
            rows.open(state.runs.len() + place, source, places.len() as u32, first, last);
        }
        Ok(rows)
    }

    /// The same rows from the other end: those that `newest` has given, the oldest of them first.
    /// `newest` must [remember](Self::remember_spent).
    pub(crate) fn given_by<S: Snapshot>(
        newest: Self,
        state: &State<S>,
    ) -> Result<Self, PersistenceError> {
        let mut open: Vec<Cursor> = newest.spent.into_iter().flatten().chain(newest.open).collect();
        open.retain_mut(|cursor| {
            cursor.rows = cursor.rows.end..cursor.end;
            cursor.exact && !cursor.rows.is_empty()
        });
        for cursor in &mut open {
            cursor.time = cursor.time_of(state, cursor.rows.start)?;
        }
        let looked_at = state.runs.len();
        Ok(Self { order: Order::OldestFirst, looked_at, open, spent: None, ..newest })
    }

    /// Keeps what [`given_by`](Self::given_by) and [`given`](Self::given) want to know.
    pub(crate) fn remember_spent(mut self) -> Self {
        self.spent = Some(Vec::new());
        self
    }

    /// How many rows each run has given, newest first.
    pub(crate) fn given(&self) -> impl Iterator<Item = (usize, u32)> {
        let cursors = self.spent.iter().flatten().chain(&self.open);
        cursors.filter_map(|cursor| match cursor.source {
            Source::Run { run, .. } if cursor.exact => Some((run, cursor.end - cursor.rows.end)),
            _ => None,
        })
    }

    fn newest_first(&self) -> bool {
        self.order == Order::NewestFirst
    }

    fn open(&mut self, arrival: usize, source: Source, rows: u32, first: u64, last: u64) {
        if first > self.to || last < self.from {
            return;
        }
        let time = if self.newest_first() { last.min(self.to) } else { first.max(self.from) };
        self.open.push(Cursor { arrival, source, rows: 0..rows, end: rows, time, exact: false });
    }

    /// Whether a place in time and arrival comes before another in the order wanted.
    fn comes_first(&self, one: (u64, usize), other: (u64, usize)) -> bool {
        if self.newest_first() { one > other } else { one < other }
    }

    /// Finds the place that has the next row; `None` at the end.
    pub(crate) fn next<S: Snapshot>(
        &mut self,
        state: &State<S>,
    ) -> Result<Option<Next>, PersistenceError> {
        loop {
            let mut chosen: Option<usize> = None;
            for (place, cursor) in self.open.iter().enumerate() {
                if chosen.is_none_or(|other| self.comes_first(cursor.key(), self.open[other].key()))
                {
                    chosen = Some(place);
                }
            }
            if self.look_further(state, chosen.map(|place| self.open[place].key()))? {
                continue;
            }
            let Some(place) = chosen else { return Ok(None) };
            if self.open[place].exact {
                return Ok(Some(Next(place)));
            }
            if !self.open[place].make_exact(state, self.order, self.from, self.to)? {
                self.open.swap_remove(place);
            }
        }
    }

    /// The time and the text of the next row.
    pub(crate) fn row(&self, next: &Next) -> (u64, &str) {
        let cursor = &self.open[next.0];
        (cursor.time, cursor.json(self.order))
    }

    /// Goes on to the row after the next one.
    pub(crate) fn advance<S: Snapshot>(
        &mut self,
        state: &State<S>,
        next: Next,
    ) -> Result<(), PersistenceError> {
        let cursor = &mut self.open[next.0];
        match self.order {
            Order::NewestFirst => cursor.rows.end -= 1,
            Order::OldestFirst => cursor.rows.start += 1,
        }
        if !cursor.rows.is_empty() {
            cursor.time = cursor.time_of(state, cursor.next_row(self.order))?;
            if (self.from..=self.to).contains(&cursor.time) {
                return Ok(());
            }
        }
        let mut cursor = self.open.swap_remove(next.0);
        if let Some(spent) = &mut self.spent {
            cursor.let_go();
            spent.push(cursor);
        }
        Ok(())
    }

    /// Passes over so many rows, or over all there are.
    pub(crate) fn pass_over<S: Snapshot>(
        &mut self,
        state: &State<S>,
        rows: u64,
    ) -> Result<(), PersistenceError> {
        for _ in 0..rows {
            let Some(next) = self.next(state)? else { break };
            self.advance(state, next)?;
        }
        Ok(())
    }

    /// Looks at the next run, if it could have a row before `best`. Answers whether it did.
    fn look_further<S: Snapshot>(
        &mut self,
        state: &State<S>,
        best: Option<(u64, usize)>,
    ) -> Result<bool, PersistenceError> {
        let Some(run) = state.by_time(self.newest_first()).get(self.looked_at).copied() else {
            return Ok(false);
        };
        let bounds = &state.runs[run];
        let time = if self.newest_first() { bounds.last } else { bounds.first };
        if best.is_some_and(|best| !self.comes_first((time, run), best)) {
            return Ok(false);
        }
        let beyond = if self.newest_first() { time < self.from } else { time > self.to };
        if beyond {
            // And so are all that follow.
            self.looked_at = state.runs.len();
            return Ok(true);
        }
        self.looked_at += 1;
        if bounds.first > self.to || bounds.last < self.from {
            return Ok(true);
        }
        let directory = state.directory(run)?;
        if let Some(extent) = directory.find(self.record) {
            let (rows, first, last) = (extent.rows, extent.first, extent.last);
            self.open(run, Source::Run { run, directory, extent, block: None }, rows, first, last);
        }
        Ok(true)
    }
}

/// Where the next row is.
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

    /// Finds the first row wanted; answers whether there is one.
    fn make_exact<S: Snapshot>(
        &mut self,
        state: &State<S>,
        order: Order,
        from: u64,
        to: u64,
    ) -> Result<bool, PersistenceError> {
        match order {
            Order::NewestFirst => {
                self.rows.end = self.rows_up_to(state, to)?;
                self.end = self.rows.end;
            }
            Order::OldestFirst => {
                if let Some(before) = from.checked_sub(1) {
                    self.rows.start = self.rows_up_to(state, before)?;
                }
            }
        }
        if self.rows.is_empty() {
            return Ok(false);
        }
        self.time = self.time_of(state, self.next_row(order))?;
        self.exact = true;
        Ok((from..=to).contains(&self.time))
    }

    fn rows_up_to<S: Snapshot>(
        &self,
        state: &State<S>,
        time: u64,
    ) -> Result<u32, PersistenceError> {
        match &self.source {
            Source::Run { run, directory, extent, .. } => {
                state.rows_up_to(*run, directory, *extent, time)
            }
            Source::Head { segment, first } => {
                Ok(segment.rows_up_to(*first..*first + self.end as usize, time) as u32)
            }
        }
    }

    /// Reads the time of a row, and the block it is in.
    fn time_of<S: Snapshot>(
        &mut self,
        state: &State<S>,
        row: u32,
    ) -> Result<u64, PersistenceError> {
        match &mut self.source {
            Source::Head { segment, first } => Ok(segment.time(*first + row as usize)),
            Source::Run { run, directory, extent, block } => {
                let row = extent.first_row + row;
                let (rows, columns) = match block.take() {
                    Some((rows, columns)) if rows.contains(&row) => block.insert((rows, columns)),
                    _ => {
                        let number = directory.block_of(row);
                        let columns = state.block(*run, directory, number)?;
                        block.insert((directory.block_rows(number), columns))
                    }
                };
                let time = columns.times().get(row.wrapping_sub(rows.start) as usize);
                time.copied().ok_or_else(|| corrupt(state.caches.engine, "a block lacks rows"))
            }
        }
    }

    /// The text of the next row, whose time was read last.
    fn json(&self, order: Order) -> &str {
        let row = self.next_row(order);
        match &self.source {
            Source::Head { segment, first } => segment.json(*first + row as usize),
            Source::Run { extent, block, .. } => block.as_ref().map_or("", |(rows, columns)| {
                columns.json((extent.first_row + row - rows.start) as usize)
            }),
        }
    }

    /// Keeps no block.
    fn let_go(&mut self) {
        if let Source::Run { block, .. } = &mut self.source {
            *block = None;
        }
    }
}
