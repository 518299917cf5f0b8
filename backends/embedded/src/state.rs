//! One state of the store, as readers and the folding see it.

use std::sync::Arc;

use annals_core::PersistenceError;

use crate::cache::{Caches, corrupt};
use crate::engine::{RecordId, Run, Snapshot, Tables};
use crate::format::{Columns, Directory, Extent};
use crate::head::HeadView;

/// A snapshot with its runs and its head.
pub(crate) struct State<S> {
    snapshot: S,
    pub(crate) caches: Arc<Caches>,
    /// In order of arrival.
    pub(crate) runs: Vec<Run>,
    pub(crate) head: HeadView,
    /// Places in `runs`, by the greatest and by the smallest time.
    by_last: Vec<usize>,
    by_first: Vec<usize>,
}

/// What a listing tells of a record's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl<S: Snapshot> State<S> {
    pub(crate) fn new(snapshot: S, caches: Arc<Caches>) -> Result<Self, PersistenceError> {
        let tables = snapshot.tables()?;
        let runs = runs_in_order(tables)?;
        let head = caches.head.view(tables)?;
        let mut by_last: Vec<usize> = (0..runs.len()).collect();
        let mut by_first = by_last.clone();
        by_last.sort_unstable_by_key(|place| std::cmp::Reverse((runs[*place].last, *place)));
        by_first.sort_unstable_by_key(|place| (runs[*place].first, *place));
        Ok(Self { snapshot, caches, runs, head, by_last, by_first })
    }

    pub(crate) fn tables(&self) -> Result<&dyn Tables, PersistenceError> {
        self.snapshot.tables()
    }

    /// The runs with the greatest times first, or those with the smallest.
    pub(crate) fn by_time(&self, newest_first: bool) -> &[usize] {
        if newest_first { &self.by_last } else { &self.by_first }
    }

    pub(crate) fn directory(&self, run: usize) -> Result<Arc<Directory>, PersistenceError> {
        self.caches.directory(self.tables()?, &self.runs[run])
    }

    pub(crate) fn block(
        &self,
        run: usize,
        directory: &Directory,
        number: u32,
    ) -> Result<Arc<Columns>, PersistenceError> {
        self.caches.block(self.tables()?, self.runs[run].id, directory, number)
    }

    /// How many rows of an extent are at a time or before it. Only blocks are read whose times
    /// the directory does not tell.
    pub(crate) fn rows_up_to(
        &self,
        run: usize,
        directory: &Directory,
        extent: Extent,
        time: u64,
    ) -> Result<u32, PersistenceError> {
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
            let number = directory.block_of(middle);
            let rows = directory.block_rows(number);
            let block = self.block(run, directory, number)?;
            // All of the extent in this block, at once.
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

    pub(crate) fn summary(&self, record: RecordId) -> Result<Option<Summary>, PersistenceError> {
        let mut summary: Option<Summary> = None;
        let mut add = |count: u64, first: u64, last: u64| {
            let sum = summary.get_or_insert(Summary { count: 0, first, last });
            sum.count += count;
            sum.first = sum.first.min(first);
            sum.last = sum.last.max(last);
        };
        for run in 0..self.runs.len() {
            if let Some(extent) = self.directory(run)?.find(record) {
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

pub(crate) fn runs_in_order(tables: &dyn Tables) -> Result<Vec<Run>, PersistenceError> {
    let mut runs = tables.runs()?;
    runs.sort_unstable_by_key(|run| run.order);
    Ok(runs)
}
