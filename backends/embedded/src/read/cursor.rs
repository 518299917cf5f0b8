//! The position among the rows of one record in one run or in one segment of the head.

use std::ops::Range;
use std::sync::Arc;

use annals_core::{Order, Result};

use super::{Filter, View};
use crate::engine::Snapshot;
use crate::error::corrupt;
use crate::format::{Block, Extent, RunIndex, Verdict, Verdicts};
use crate::head::Segment;

/// The most rows that are passed over before the caller gets a turn.
const MOST_PASSED: usize = 1 << 16;

/// The record's rows in one run or segment, sorted by time and arrival.
pub(super) struct Cursor {
    /// The position in order of arrival: runs first, then the head's segments.
    pub(super) arrival: usize,
    pub(super) location: Location,
    /// The remaining rows, counted from the record's first row there.
    pub(super) rows: Range<u32>,
    /// The initial end of `rows`.
    pub(super) end: u32,
    /// The next row's time, or a bound of it until the cursor is `exact`.
    pub(super) time: u64,
    pub(super) exact: bool,
    /// Whether the next row is known to satisfy the filter.
    pub(super) is_chosen: bool,
    /// What is known of the rows of a block, and these rows.
    verdicts: Option<(Range<u32>, Option<Arc<Verdicts>>)>,
}

pub(super) enum Location {
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

impl Cursor {
    /// All rows there, which begin or end at `time`.
    pub(super) fn new(arrival: usize, location: Location, rows: u32, time: u64) -> Self {
        Self {
            arrival,
            location,
            rows: 0..rows,
            end: rows,
            time,
            exact: false,
            is_chosen: false,
            verdicts: None,
        }
    }

    /// The position of the next row in time and arrival.
    pub(super) fn key(&self) -> (u64, usize) {
        (self.time, self.arrival)
    }

    fn next_row(&self, order: Order) -> u32 {
        match order {
            Order::NewestFirst => self.rows.end - 1,
            Order::OldestFirst => self.rows.start,
        }
    }

    /// Finds the first row in the window. Returns how many rows it passed over; `None` if there is none.
    pub(super) fn seek<S: Snapshot>(
        &mut self,
        view: &View<S>,
        order: Order,
        (from, to): (u64, u64),
        filter: Option<&Filter>,
    ) -> Result<Option<usize>> {
        // With a filter both ends, so that it is not applied beyond.
        if order == Order::NewestFirst || filter.is_some() {
            self.rows.end = self.rows_up_to(view, to)?;
            self.end = self.rows.end;
        }
        if let Some(before) = from.checked_sub(1)
            && (order == Order::OldestFirst || filter.is_some())
        {
            self.rows.start = self.rows_up_to(view, before)?;
        }
        let passed = self.pass_over(view, order, filter)?;
        if self.rows.is_empty() {
            return Ok(None);
        }
        self.read_time(view, order)?;
        self.exact = true;
        Ok((from..=to).contains(&self.time).then_some(passed))
    }

    /// Advances to the next row that may satisfy the filter, or to the end, but not very far. Returns how many
    /// rows it passed over.
    pub(super) fn pass_over<S: Snapshot>(
        &mut self,
        view: &View<S>,
        order: Order,
        filter: Option<&Filter>,
    ) -> Result<usize> {
        self.is_chosen = false;
        let (Some(filter), Location::Run { run, index, extent, .. }) = (filter, &self.location)
        else {
            return Ok(0);
        };
        let mut passed = 0;
        while !self.rows.is_empty() && passed < MOST_PASSED {
            let number = index.block_of(extent.first_row + self.next_row(order));
            let block = index.block_rows(number);
            let start = block.start.max(extent.first_row + self.rows.start);
            let end = block.end.min(extent.first_row + self.rows.end);
            let here = (start - block.start) as usize..(end - block.start) as usize;
            let verdicts = match &self.verdicts {
                Some((known, verdicts)) if *known == block => verdicts,
                _ => {
                    let verdicts = filter.verdicts(view, *run, index, number, here.clone())?;
                    &self.verdicts.insert((block, verdicts)).1
                }
            };
            let Some(verdicts) = verdicts.as_ref().map(|verdicts| verdicts.of(here)) else { break };
            if verdicts.is_empty() {
                return Err(corrupt(view.caches.engine, "a block lacks rows"));
            }
            let may = |verdict: &Verdict| *verdict != Verdict::No;
            let found = match order {
                Order::NewestFirst => verdicts.iter().rev().position(may),
                Order::OldestFirst => verdicts.iter().position(may),
            };
            let step = found.unwrap_or(verdicts.len()) as u32;
            match order {
                Order::NewestFirst => self.rows.end -= step,
                Order::OldestFirst => self.rows.start += step,
            }
            passed += step as usize;
            if let Some(found) = found {
                let at = match order {
                    Order::NewestFirst => verdicts.len() - 1 - found,
                    Order::OldestFirst => found,
                };
                self.is_chosen = verdicts[at] == Verdict::Yes;
                break;
            }
        }
        Ok(passed)
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

    /// Consumes this many rows, of which there must be as many.
    pub(super) fn step(&mut self, order: Order, rows: u32) {
        match order {
            Order::NewestFirst => self.rows.end -= rows,
            Order::OldestFirst => self.rows.start += rows,
        }
    }

    /// Reads the time of the next row, of which there must be one.
    pub(super) fn read_time<S: Snapshot>(&mut self, view: &View<S>, order: Order) -> Result<()> {
        self.time = self.time_of(view, self.next_row(order))?;
        Ok(())
    }

    /// The text of the next row, whose time was read last.
    pub(super) fn json(&self, order: Order) -> &str {
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

    /// The block of the next row, whose time was read last, and the remaining rows there.
    pub(super) fn block_rows(&self) -> Option<(&Arc<Block>, Range<usize>)> {
        let Location::Run { extent, block: Some((rows, block)), .. } = &self.location else {
            return None;
        };
        let start = rows.start.max(extent.first_row + self.rows.start);
        let end = rows.end.min(extent.first_row + self.rows.end);
        Some((block, (start - rows.start) as usize..(end - rows.start) as usize))
    }

    /// Releases the block.
    pub(super) fn release(&mut self) {
        if let Location::Run { block, .. } = &mut self.location {
            *block = None;
        }
    }
}
