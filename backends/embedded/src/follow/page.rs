//! One page of what arrived.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_core::{
    Cursor, FollowFrom, FollowPage, FollowParams, Order, Pattern, Position, Query, QueryParams,
    RawRow, Result, Within,
};
use tokio::sync::Semaphore;

use crate::Map;
use crate::engine::{Snapshot, Tables};
use crate::format::Block;
use crate::ids::{RecordId, Run};
use crate::read::{Caches, Scan, Steps, View};
use crate::state::State;

/// A page ends after the number with which it reaches this many bytes of text.
const PAGE_BYTES: usize = 4 << 20;
/// A page ends within a number only if more rows, or more bytes, arrived under that number alone.
const MOST_ROWS: usize = 1 << 15;
const MOST_BYTES: usize = 32 << 20;
/// The rows that one page may examine, matching or not, before it gives way to other readers.
const SCANNED_ROWS: usize = 1 << 18;
/// How many blocks of the head are read at a time.
const HEAD_BLOCKS: u64 = 256;

/// What a follower asks for.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) pattern: Pattern,
    pub(crate) params: FollowParams,
}

/// The number of the last block that was appended to the head.
pub(super) fn last_number(engine: &'static str, tables: &dyn Tables) -> Result<u64> {
    Ok(State::of(engine, tables)?.last_block())
}

/// What arrived, from one state of the store.
pub(crate) fn page<S: Snapshot>(
    snapshot: S,
    caches: &Arc<Caches>,
    request: &Request,
    readers: &Arc<Semaphore>,
) -> Result<FollowPage> {
    let Request { pattern, params } = request;
    let state = State::of(caches.engine, snapshot.tables()?)?;
    let last = state.last_block();
    caches.news.seen(last);
    let first = Position { history: state.history, ..Position::default() };
    let position = match &params.from {
        FollowFrom::Cursor(cursor) => Position::resume(caches.engine, state.history, cursor)?,
        FollowFrom::Time(since) => Position { since: *since, ..first },
        FollowFrom::Latest(newest) => {
            let end = Position { arrival: last, ..first };
            let view = View::new(snapshot, caches.clone())?;
            return latest(&view, pattern, *newest, end, readers);
        }
        _ => Position { arrival: last, ..first },
    };
    // Numbers above the last one are of rows that a loss of power has taken.
    let arrival = position.arrival.min(last);
    let within = position.within.filter(|within| within.arrival <= last);
    let position = Position { arrival, within, ..position };
    let tables = snapshot.tables()?;
    let mut page = Page {
        caches,
        tables,
        state,
        pattern,
        params,
        position,
        names: Map::default(),
        rows: Vec::new(),
        marks: Vec::new(),
        bytes: 0,
        scanned: 0,
    };
    page.fill(last)?;
    page.finish(last)
}

/// The newest rows of each record, oldest first.
fn latest<S: Snapshot>(
    view: &View<S>,
    pattern: &Pattern,
    newest: usize,
    end: Position,
    readers: &Arc<Semaphore>,
) -> Result<FollowPage> {
    let params = QueryParams::latest(newest).with_order(Order::OldestFirst);
    let query = Query::new(pattern.as_str(), &params.with_grammar(pattern.grammar()))?;
    let mut rows = Vec::new();
    if !query.is_empty() {
        let mut scan = Scan::new(view, query, None)?;
        while let Some(page) = scan.step(view, readers)? {
            rows.extend(page.into_iter().flatten());
        }
    }
    // If there are none, what arrives is waited for.
    let caught_up = true;
    Ok(FollowPage::new(rows, end.cursor(view.caches.engine)?, caught_up))
}

/// A page that is being filled.
struct Page<'a> {
    caches: &'a Caches,
    tables: &'a dyn Tables,
    state: State,
    pattern: &'a Pattern,
    params: &'a FollowParams,
    position: Position,
    /// The names of matching records, and `None` for others.
    names: Map<RecordId, Option<Arc<str>>>,
    rows: Vec<RawRow>,
    /// The place of each row.
    marks: Vec<Within>,
    bytes: usize,
    scanned: usize,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.rows.len() >= self.params.page_rows
            || self.bytes >= PAGE_BYTES
            || self.scanned >= SCANNED_ROWS
    }

    fn fill(&mut self, last: u64) -> Result<()> {
        if !self.pattern.can_match() {
            self.position = Position { arrival: last, within: None, ..self.position };
            return Ok(());
        }
        let head = self.state.head_bounds();
        if head.is_none_or(|(first, _)| self.position.arrival + 1 < first) {
            let runs = self.caches.runs(self.tables, &self.state)?;
            // The first run that is not wholly before the place says how far one can go. A later one may
            // have rows up to there: a merge takes the newest rows of a run along, without the others.
            while let Some(at) = runs.iter().position(|run| run.order.head > self.position.arrival)
            {
                if self.is_full() {
                    return Ok(());
                }
                let end = runs[at].order.head;
                let mut concerned = Vec::new();
                for run in &runs[at..] {
                    if self.caches.windows.first(self.caches, self.tables, run)? <= end {
                        concerned.push(*run);
                    }
                }
                self.take_from_runs(&concerned, end)?;
                if self.position.within.is_some() {
                    return Ok(());
                }
            }
        }
        while let Some((first, end)) = head
            && self.position.arrival < end
        {
            let first = first.max(self.position.arrival + 1);
            if !self.take_from_head(first..=end.min(first.saturating_add(HEAD_BLOCKS - 1)))? {
                return Ok(());
            }
        }
        // What arrived under the last numbers may have been removed.
        if self.position.arrival < last {
            self.position = Position { arrival: last, within: None, ..self.position };
        }
        Ok(())
    }

    /// Takes a part of all that arrived up to the number `end`, which these runs have.
    fn take_from_runs(&mut self, runs: &[Run], end: u64) -> Result<()> {
        if runs.iter().all(|run| run.last < self.position.since) {
            self.position = Position { arrival: end, within: None, ..self.position };
            return Ok(());
        }
        let after = self.position.arrival;
        let window = self.caches.windows.get(self.caches, self.tables, runs, (after, end))?;
        let mut begin = window.arrivals.partition_point(|number| *number <= after);
        while let Some(number) = window.arrivals.get(begin).copied() {
            if self.is_full() {
                return Ok(());
            }
            let rows = window.arrivals[begin..].partition_point(|other| *other == number);
            let rows: Vec<usize> = (begin..begin + rows).collect();
            begin += rows.len();
            if !self.take(number, &window.rows, &rows)? {
                return Ok(());
            }
        }
        self.position = Position { arrival: window.to, within: None, ..self.position };
        Ok(())
    }

    /// Takes blocks of the head. Returns whether there is space for more.
    fn take_from_head(&mut self, numbers: RangeInclusive<u64>) -> Result<bool> {
        let end = *numbers.end();
        for (number, block) in self.caches.head.blocks(self.tables, &self.state, numbers)? {
            if self.is_full() {
                return Ok(false);
            }
            let mut rows: Vec<usize> = (0..block.len()).collect();
            rows.sort_by_key(|row| (block.record(*row), block.time(*row)));
            if !self.take(number, &block, &rows)? {
                return Ok(false);
            }
        }
        self.position.arrival = self.position.arrival.max(end);
        Ok(true)
    }

    /// Takes all that arrived under one number, or as much as one page may have. Returns whether it
    /// took all.
    fn take(&mut self, number: u64, block: &Block, rows: &[usize]) -> Result<bool> {
        let done = self.position.within.take().filter(|within| within.arrival == number);
        let same = |one: &usize, other: &usize| {
            block.record(*one) == block.record(*other) && block.time(*one) == block.time(*other)
        };
        for equals in rows.chunk_by(same) {
            self.scanned += equals.len();
            let Some(row) = equals.first() else { continue };
            let (record, stored_at) = (block.record(*row), block.time(*row));
            if stored_at < self.position.since {
                continue;
            }
            let Some(name) = self.name(record)? else { continue };
            for (place, row) in equals.iter().enumerate() {
                let left = (equals.len() - 1 - place) as u64;
                let mark = Within { arrival: number, record: record.into(), stored_at, left };
                if done.is_some_and(|done| is_delivered(&mark, &done)) {
                    continue;
                }
                if self.rows.len() >= MOST_ROWS.max(self.params.page_rows)
                    || self.bytes >= MOST_BYTES
                {
                    self.position.within = self.marks.last().copied();
                    return Ok(false);
                }
                let json = block.json(*row);
                self.bytes += json.len();
                self.rows.push(RawRow::new(name.clone(), json.into(), stored_at));
                self.marks.push(mark);
            }
        }
        self.position.arrival = number;
        Ok(true)
    }

    /// The record's name, if it matches.
    fn name(&mut self, record: RecordId) -> Result<Option<Arc<str>>> {
        if let Some(name) = self.names.get(&record) {
            return Ok(name.clone());
        }
        let name = self.caches.names_by_id.get(self.caches, self.tables, &self.state, record)?;
        let name = Some(name).filter(|name| self.pattern.matches(name));
        self.names.insert(record, name.clone());
        Ok(name)
    }

    fn finish(self, last: u64) -> Result<FollowPage> {
        let Self { caches, state, position, rows, marks, .. } = self;
        let caught_up = position.within.is_none() && position.arrival >= last;
        let page = FollowPage::new(rows, position.cursor(caches.engine)?, caught_up);
        let kind = caches.engine;
        let page = page.with_origin(state.origin);
        Ok(page.with_row_cursors(move |rows| {
            let mark = *marks.get(rows.checked_sub(1)?)?;
            within(mark, position, kind)
        }))
    }
}

/// The cursor behind a row of a page that ends at `end`.
fn within(mark: Within, end: Position, kind: &str) -> Option<Cursor> {
    let arrival = mark.arrival.saturating_sub(1);
    Position { arrival, within: Some(mark), ..end }.cursor(kind).ok()
}

/// Whether a row was delivered before, or with, the row that was the last to be.
fn is_delivered(row: &Within, done: &Within) -> bool {
    let place = |within: &Within| (within.record, within.stored_at);
    match place(row).cmp(&place(done)) {
        std::cmp::Ordering::Equal => row.left >= done.left,
        order => order.is_lt(),
    }
}
