//! Runs become one run, or two.

use std::ops::Range;

use super::run::SplitBuilder;
use super::{Arrivals, Block, Form, FormatError, Layout, NewRuns, RunIndex};
use crate::Set;
use crate::ids::RecordId;

/// A run to be merged.
#[derive(Clone, Copy)]
pub struct MergeInput<'a> {
    /// Its index.
    pub index: &'a RunIndex,
    /// When its rows arrived.
    pub arrivals: &'a Arrivals,
    /// How many of a record's oldest rows are left out.
    pub dropped: &'a dyn Fn(RecordId) -> u32,
}

/// Merges runs, which come in their order of arrival, into one. Holds one block of each at a time.
/// If it is to be split, the newest rows of each record go into a second run if the records have
/// [enough rows](Layout::fresh_from) on average.
///
/// `fetch` reads a block, by the position of its run in `sources` and its number there. `rank` is a
/// record's position among all names in byte order.
///
/// # Errors
/// The error of `fetch`; [`FormatError::Damaged`] if an index is not in that order or contradicts its
/// blocks.
pub fn merge<E: From<FormatError>>(
    sources: &[MergeInput<'_>],
    fetch: &mut dyn FnMut(usize, u32) -> Result<Block, E>,
    rank: &dyn Fn(RecordId) -> u32,
    layout: &Layout,
    form: Form,
) -> Result<NewRuns, E> {
    let mut inputs: Vec<Input<'_>> =
        sources.iter().enumerate().map(|(place, source)| Input::new(place, *source)).collect();
    for input in &mut inputs {
        input.next_extent(rank)?;
    }
    let (rows, records) = count(sources);
    let mut runs = SplitBuilder::new(layout, form, rows, records);
    while let Some(key) = inputs.iter().filter_map(|input| input.key).min() {
        let mut open: Vec<_> = inputs.iter_mut().filter(|input| input.key == Some(key)).collect();
        let mut left = open.iter().map(|input| u64::from(input.left())).sum::<u64>();
        for input in &mut open {
            input.load(fetch)?;
        }
        while let Some((chosen, limit)) = choose(&open) {
            let input = &mut open[chosen];
            // Most runs do not overlap, so long stretches come from one of them.
            while input.time().is_some_and(|time| limit.is_none_or(|limit| (time, chosen) < limit))
            {
                input.copy(&mut runs, left)?;
                input.load(fetch)?;
                left -= 1;
            }
        }
        for input in open {
            input.next_extent(rank)?;
        }
    }
    Ok(runs.finish()?)
}

/// How many rows the result has, of how many records.
fn count(sources: &[MergeInput<'_>]) -> (u64, usize) {
    let mut records = Set::default();
    let mut rows = 0;
    for source in sources {
        for extent in source.index.iter() {
            let kept = extent.rows.saturating_sub((source.dropped)(extent.record));
            if kept > 0 {
                records.insert(extent.record);
                rows += u64::from(kept);
            }
        }
    }
    (rows, records.len())
}

/// The input with the next row (the earlier run among equal times), and the position of the next row
/// of any other input.
fn choose(open: &[&mut Input<'_>]) -> Option<(usize, Option<(u64, usize)>)> {
    let rows = || open.iter().enumerate().filter_map(|(at, input)| Some((input.time()?, at)));
    let (_, chosen) = rows().min()?;
    Some((chosen, rows().filter(|(_, at)| *at != chosen).min()))
}

/// The position in one run.
struct Input<'a> {
    source: MergeInput<'a>,
    /// The run's position among the sources.
    place: usize,
    /// The extent after the current one.
    next: usize,
    /// Rank and id of the current record; `None` at the end.
    key: Option<(u32, RecordId)>,
    /// The remaining rows of that record, and the range of their times.
    rows: Range<u32>,
    times: (u64, u64),
    block: Block,
    block_rows: Range<u32>,
}

impl<'a> Input<'a> {
    fn new(place: usize, source: MergeInput<'a>) -> Self {
        Self {
            source,
            place,
            next: 0,
            key: None,
            rows: 0..0,
            times: (0, 0),
            block: Block::new(),
            block_rows: 0..0,
        }
    }

    /// Advances to the next record that has rows which are not left out.
    fn next_extent(&mut self, rank: &dyn Fn(RecordId) -> u32) -> Result<(), FormatError> {
        let previous = self.key.take();
        while self.next < self.source.index.len() {
            let extent = self.source.index.get(self.next);
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

    /// Reads the current row's block, unless it is there.
    fn load<E: From<FormatError>>(
        &mut self,
        fetch: &mut dyn FnMut(usize, u32) -> Result<Block, E>,
    ) -> Result<(), E> {
        let row = self.rows.start;
        if self.rows.is_empty() || self.block_rows.contains(&row) {
            return Ok(());
        }
        let number = self.source.index.block_of(row);
        self.block_rows = self.source.index.block_rows(number);
        self.block = fetch(self.place, number)?;
        if self.block.len() != self.block_rows.len() {
            return Err(FormatError::Damaged("a block contradicts the index of its run").into());
        }
        Ok(())
    }

    /// The current row's position in its block.
    fn at(&self) -> usize {
        (self.rows.start - self.block_rows.start) as usize
    }

    /// The current row's time, unless the record is exhausted.
    fn time(&self) -> Option<u64> {
        (!self.rows.is_empty()).then(|| self.block.time(self.at()))
    }

    /// Copies the current row and advances. `left` counts the record's remaining rows.
    fn copy(&mut self, runs: &mut SplitBuilder<'_>, left: u64) -> Result<(), FormatError> {
        let at = self.at();
        let (record, time) = (self.block.record(at), self.block.time(at));
        let (first, last) = self.times;
        if self.key.is_none_or(|(_, id)| id != record) || !(first..=last).contains(&time) {
            return Err(FormatError::Damaged("a block contradicts the index of its run"));
        }
        let arrival = self.source.arrivals.of(self.rows.start);
        runs.push(left, arrival, record, time, self.block.json(at))?;
        self.times.0 = time;
        self.rows.start += 1;
        Ok(())
    }
}
