//! One state of the store, as readers and the compactor see it.

use std::cell::RefCell;
use std::sync::Arc;

use annals_core::{Pattern, Result};

use super::step_blocks::StepBlocks;
use super::{Caches, NameList, Runs};
use crate::engine::{Snapshot, Tables};
use crate::error::corrupt;
use crate::format::{Block, Extent, RunIndex};
use crate::head::Segment;
use crate::ids::RecordId;
use crate::state::State;

/// A snapshot with its runs and its head.
pub(crate) struct View<S> {
    snapshot: S,
    pub(crate) state: State,
    pub(crate) caches: Arc<Caches>,
    /// In order of arrival.
    pub(crate) runs: Arc<Runs>,
    /// In order of arrival.
    pub(crate) head: Vec<Arc<Segment>>,
    blocks: RefCell<StepBlocks>,
}

/// What a listing says of a record's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl<S: Snapshot> View<S> {
    pub(crate) fn new(snapshot: S, caches: Arc<Caches>) -> Result<Self> {
        let tables = snapshot.tables()?;
        let state = State::of(caches.engine, tables)?;
        let runs = caches.runs(tables, &state)?;
        let head = caches.head.segments(tables, &state)?;
        let blocks = RefCell::default();
        Ok(Self { snapshot, state, caches, runs, head, blocks })
    }

    pub(crate) fn tables(&self) -> Result<&dyn Tables> {
        self.snapshot.tables()
    }

    /// The names of records, in byte order. Some may have no rows.
    pub(crate) fn names(&self) -> Result<Arc<NameList>> {
        self.caches.names.list(self.tables()?, &self.state)
    }

    /// The records that match, in byte order of their names. Some may have no rows.
    pub(crate) fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>> {
        Ok(self.names()?.matching(pattern))
    }

    pub(crate) fn run_index(&self, run: usize) -> Result<Arc<RunIndex>> {
        self.caches.run_index(self.tables()?, &self.runs[run])
    }

    pub(crate) fn block(&self, run: usize, index: &RunIndex, number: u32) -> Result<Arc<Block>> {
        if let Some(block) = self.cached_block(run, number) {
            return Ok(block);
        }
        let block = self.caches.read_block(self.tables()?, &self.runs[run], index, number)?;
        Ok(self.cache_block(run, number, block))
    }

    /// A block, if it was read lately.
    pub(super) fn cached_block(&self, run: usize, number: u32) -> Option<Arc<Block>> {
        let id = self.runs[run].id;
        let known = self.blocks.borrow().get(id, number).cloned();
        known.or_else(|| self.caches.cached_block(id, number))
    }

    pub(super) fn cache_block(&self, run: usize, number: u32, block: Block) -> Arc<Block> {
        let (id, block) = (self.runs[run].id, Arc::new(block));
        self.blocks.borrow_mut().put(id, number, block.clone());
        self.caches.cache_block(id, number, block.clone());
        block
    }

    /// Releases what it holds for the step that has ended.
    pub(crate) fn end_step(&self) {
        self.blocks.borrow_mut().clear();
    }

    /// How many rows of an extent have this time or an earlier one. A binary search, which reads only
    /// blocks whose times the run index does not determine.
    pub(crate) fn rows_up_to(
        &self,
        run: usize,
        index: &RunIndex,
        extent: Extent,
        time: u64,
    ) -> Result<u32> {
        if extent.last <= time {
            return Ok(extent.rows);
        }
        if extent.first > time {
            return Ok(0);
        }
        // Row 0 is not beyond the time, the last row is.
        let (mut before, mut beyond) = (0, extent.rows.saturating_sub(1));
        while beyond - before > 1 {
            let middle = extent.first_row + before + (beyond - before) / 2;
            let number = index.block_of(middle);
            let rows = index.block_rows(number);
            let block = self.block(run, index, number)?;
            // All of the extent in this block at once.
            let begin = rows.start.max(extent.first_row + before + 1);
            let end = rows.end.min(extent.first_row + beyond);
            let times =
                block.times().get((begin - rows.start) as usize..(end - rows.start) as usize);
            let times = times.ok_or_else(|| corrupt(self.caches.engine, "a block lacks rows"))?;
            let upto = begin + times.partition_point(|other| *other <= time) as u32;
            if upto > begin {
                before = upto - 1 - extent.first_row;
            }
            if upto < end {
                beyond = upto - extent.first_row;
            }
        }
        Ok(before + 1)
    }

    pub(crate) fn summary(&self, record: RecordId) -> Result<Option<Summary>> {
        let mut summary: Option<Summary> = None;
        let mut add = |count: u64, first: u64, last: u64| {
            let sum = summary.get_or_insert(Summary { count: 0, first, last });
            sum.count += count;
            sum.first = sum.first.min(first);
            sum.last = sum.last.max(last);
        };
        for run in 0..self.runs.len() {
            if let Some(extent) = self.run_index(run)?.find(record) {
                add(u64::from(extent.rows), extent.first, extent.last);
            }
        }
        for segment in &self.head {
            let rows = segment.rows_of(record);
            if !rows.is_empty() {
                let last = segment.time(rows.end - 1);
                add(rows.len() as u64, segment.time(rows.start), last);
            }
        }
        Ok(summary)
    }
}
