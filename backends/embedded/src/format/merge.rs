//! Runs become one, or two.

use std::ops::Range;

use super::split::Split;
use super::{Columns, Directory, FormatError, Layout, Merged};
use crate::engine::RecordId;
use crate::map::Set;

/// A run to be merged.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// What it holds.
    pub directory: &'a Directory,
    /// How many of a record's oldest rows in it are left out.
    pub dropped: &'a dyn Fn(RecordId) -> u32,
}

/// Makes one run of several, which come in their order of arrival; holds one block of each source
/// at a time. With `split`, the newest rows of each record go into a run of their own if the records
/// have [enough rows](Layout::fresh_from) on average.
///
/// `fetch` reads a block, by the place of its source and its number there. `rank` is a record's place
/// among all names in byte order.
///
/// # Errors
/// What `fetch` reports; [`FormatError::Damaged`] when a directory is not in that order or does not
/// agree with its blocks.
pub fn merge<E: From<FormatError>>(
    sources: &[Source<'_>],
    fetch: &mut dyn FnMut(usize, u32) -> Result<Columns, E>,
    rank: &dyn Fn(RecordId) -> u32,
    layout: &Layout,
    split: bool,
) -> Result<Merged, E> {
    let mut cursors: Vec<Cursor<'_>> =
        sources.iter().enumerate().map(|(place, source)| Cursor::new(place, *source)).collect();
    for cursor in &mut cursors {
        cursor.next_extent(rank)?;
    }
    let (rows, records) = count(sources);
    let mut runs = Split::new(layout, split, rows, records);
    while let Some(key) = cursors.iter().filter_map(|cursor| cursor.key).min() {
        let mut open: Vec<_> =
            cursors.iter_mut().filter(|cursor| cursor.key == Some(key)).collect();
        let mut left = open.iter().map(|cursor| u64::from(cursor.left())).sum::<u64>();
        for cursor in &mut open {
            cursor.load(fetch)?;
        }
        while let Some((chosen, limit)) = choose(&open) {
            let cursor = &mut open[chosen];
            // Most runs do not overlap: whole stretches come from one of them.
            while cursor.time().is_some_and(|time| limit.is_none_or(|limit| (time, chosen) < limit))
            {
                cursor.copy(&mut runs, left)?;
                cursor.load(fetch)?;
                left -= 1;
            }
        }
        for cursor in open {
            cursor.next_extent(rank)?;
        }
    }
    Ok(runs.finish()?)
}

/// How many rows there will be, of how many records.
fn count(sources: &[Source<'_>]) -> (u64, usize) {
    let mut records = Set::default();
    let mut rows = 0;
    for source in sources {
        for extent in source.directory.iter() {
            let kept = extent.rows.saturating_sub((source.dropped)(extent.record));
            if kept > 0 {
                records.insert(extent.record);
                rows += u64::from(kept);
            }
        }
    }
    (rows, records.len())
}

/// Which of the cursors has the next row, the earlier run among equals, and the row of another one
/// that comes next after its own.
fn choose(open: &[&mut Cursor<'_>]) -> Option<(usize, Option<(u64, usize)>)> {
    let rows = || open.iter().enumerate().filter_map(|(at, cursor)| Some((cursor.time()?, at)));
    let (_, chosen) = rows().min()?;
    Some((chosen, rows().filter(|(_, at)| *at != chosen).min()))
}

/// Where the merge is in one run.
struct Cursor<'a> {
    source: Source<'a>,
    /// The run's place among the sources.
    place: usize,
    /// The extent after the current one.
    next: usize,
    /// Rank and id of the current record; `None` at the end.
    key: Option<(u32, RecordId)>,
    /// What is left of its rows, and of their times.
    rows: Range<u32>,
    times: (u64, u64),
    block: Columns,
    block_rows: Range<u32>,
}

impl<'a> Cursor<'a> {
    fn new(place: usize, source: Source<'a>) -> Self {
        Self {
            source,
            place,
            next: 0,
            key: None,
            rows: 0..0,
            times: (0, 0),
            block: Columns::new(),
            block_rows: 0..0,
        }
    }

    /// Goes to the next record with rows that are not left out.
    fn next_extent(&mut self, rank: &dyn Fn(RecordId) -> u32) -> Result<(), FormatError> {
        let previous = self.key.take();
        while self.next < self.source.directory.len() {
            let extent = self.source.directory.get(self.next);
            self.next += 1;
            let dropped = (self.source.dropped)(extent.record).min(extent.rows);
            if dropped < extent.rows {
                let key = Some((rank(extent.record), extent.record));
                if key <= previous {
                    return Err(FormatError::Damaged("its records are out of order"));
                }
                self.key = key;
                self.rows = extent.first_row + dropped..extent.first_row + extent.rows;
                self.times = (extent.first, extent.last);
                break;
            }
        }
        Ok(())
    }

    fn left(&self) -> u32 {
        self.rows.end - self.rows.start
    }

    /// Makes sure that the current row's block is there.
    fn load<E: From<FormatError>>(
        &mut self,
        fetch: &mut dyn FnMut(usize, u32) -> Result<Columns, E>,
    ) -> Result<(), E> {
        let row = self.rows.start;
        if self.rows.is_empty() || self.block_rows.contains(&row) {
            return Ok(());
        }
        let number = self.source.directory.block_of(row);
        self.block_rows = self.source.directory.block_rows(number);
        self.block = fetch(self.place, number)?;
        if self.block.len() != self.block_rows.len() {
            return Err(FormatError::Damaged("a block has not the rows it should have").into());
        }
        Ok(())
    }

    /// The current row's place in its block.
    fn at(&self) -> usize {
        (self.rows.start - self.block_rows.start) as usize
    }

    /// The current row's time, unless the record is done.
    fn time(&self) -> Option<u64> {
        (!self.rows.is_empty()).then(|| self.block.time(self.at()))
    }

    /// Copies the current row, of `left` that are left of its record, and goes on to the next.
    fn copy(&mut self, runs: &mut Split<'_>, left: u64) -> Result<(), FormatError> {
        let at = self.at();
        let (record, time) = (self.block.record(at), self.block.time(at));
        let (first, last) = self.times;
        if self.key.is_none_or(|(_, id)| id != record) || !(first..=last).contains(&time) {
            return Err(FormatError::Damaged("a block has other rows than it should have"));
        }
        runs.push(left, record, time, self.block.json(at))?;
        self.times.0 = time;
        self.rows.start += 1;
        Ok(())
    }
}
