//! Runs before they are written.

use super::{Block, FormatError, RunIndex};
use crate::ids::RecordId;

/// How runs are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The most rows of a block.
    pub block_rows: usize,
    /// The most bytes of text of a block, unless it has a single row.
    pub block_text: usize,
    /// How many of each record's newest rows go into the fresh part when a run is split.
    pub fresh_rows: u32,
    /// A run is split only if its records have this many rows on average.
    pub fresh_from: u32,
    /// The most rows of a block at rest, which is kept in columns.
    pub rest_rows: usize,
    /// The most bytes of text of a block at rest.
    pub rest_text: usize,
    /// Columns are written if they take at most this many percent of the bytes of text.
    pub rest_percent: usize,
    /// A block in columns has statistics of records of which it has this many rows. The numbers of fewer rows
    /// are read in little time, and their statistics would take many bytes.
    pub statistics_rows: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            block_rows: 2048,
            block_text: 128 << 10,
            fresh_rows: 8,
            fresh_from: 32,
            rest_rows: 8192,
            rest_text: 1 << 20,
            rest_percent: 100,
            statistics_rows: 256,
        }
    }
}

/// How a run is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    /// The newest rows of each record go into a run of their own.
    pub split: bool,
    /// The rows come to rest: they are kept in columns where that is smaller. Those of the second run,
    /// if it is split, are not at rest.
    pub rest: bool,
}

/// An encoded run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRun {
    /// Its index.
    pub index: RunIndex,
    /// Its encoded blocks, in order.
    pub blocks: Vec<Vec<u8>>,
    /// The bytes of text of its rows.
    pub text_bytes: u64,
    /// Each row's number of arrival: after a flush the position of its block among those flushed.
    pub arrivals: Vec<u64>,
}

impl NewRun {
    /// No rows.
    fn new(rest: bool) -> Self {
        Self { index: RunIndex::new(rest), ..Self::default() }
    }
}

/// The result of a flush or a merge.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NewRuns {
    /// All rows, or all but the newest of each record; `None` if there are none.
    pub main: Option<NewRun>,
    /// The newest rows of each record, if the run was split. Among equal times they arrived after
    /// those in `main`.
    pub fresh: Option<NewRun>,
}

impl NewRuns {
    /// Replaces the positions of blocks, which a flush leaves, by their numbers.
    #[must_use]
    pub fn numbered(mut self, number: impl Fn(usize) -> u64) -> Self {
        for run in [&mut self.main, &mut self.fresh].into_iter().flatten() {
            run.arrivals.iter_mut().for_each(|arrival| *arrival = number(*arrival as usize));
        }
        self
    }
}

/// Divides rows into blocks. All rows of a record must come together, in order of time, and the
/// records in byte order of their names.
#[derive(Debug)]
pub struct RunBuilder<'a> {
    layout: &'a Layout,
    rest: bool,
    block: Block,
    run: NewRun,
}

impl<'a> RunBuilder<'a> {
    /// A run without rows.
    pub fn new(layout: &'a Layout, rest: bool) -> Self {
        Self { layout, rest, block: Block::new(), run: NewRun::new(rest) }
    }

    /// Appends a row that arrived under a number.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    #[inline]
    pub fn push(
        &mut self,
        arrival: u64,
        record: RecordId,
        stored_at: u64,
        json: &str,
    ) -> Result<(), FormatError> {
        let text = self.block.text_bytes() + json.len();
        let Layout { block_rows, block_text, rest_rows, rest_text, .. } = *self.layout;
        let (most_rows, most_text) =
            if self.rest { (rest_rows, rest_text) } else { (block_rows, block_text) };
        if self.block.len() >= most_rows || text > most_text {
            self.end_block()?;
        }
        self.block.push(record, stored_at, json);
        self.run.index.push(record, stored_at);
        self.run.arrivals.push(arrival);
        Ok(())
    }

    /// Announces the rows of a record before its first one. At rest, they begin a block of their own rather than be
    /// divided, if the block is half full: questions read whole blocks, and answer for whole records of
    /// them by statistics.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    fn begin_record(&mut self, rows: u64) -> Result<(), FormatError> {
        let (used, most) = (self.block.len(), self.layout.rest_rows);
        if self.rest && used * 2 >= most && used as u64 + rows > most as u64 {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), FormatError> {
        if !self.rest {
            return self.end_text_block();
        }
        // The text form of the same rows: what is not smaller than this stays like this.
        let mut text = Self::new(self.layout, false);
        let columns = self.block.encode_columns(self.layout.statistics_rows)?;
        for (record, stored_at, json) in self.block.iter() {
            // Its numbers of arrival are not used.
            text.push(0, record, stored_at, json)?;
        }
        text.end_block()?;
        let text_bytes: usize = text.run.blocks.iter().map(Vec::len).sum();
        let most_bytes = text_bytes.saturating_mul(self.layout.rest_percent) / 100;
        match columns.filter(|columns| columns.len() <= most_bytes) {
            Some(columns) => {
                self.run.blocks.push(columns);
                self.run.index.end_block(self.block.len());
            }
            None => {
                self.run.blocks.append(&mut text.run.blocks);
                (0..text.run.index.blocks()).for_each(|block| {
                    self.run.index.end_block(text.run.index.block_rows(block).len())
                });
            }
        }
        self.run.text_bytes += self.block.text_bytes() as u64;
        self.block.clear();
        Ok(())
    }

    fn end_text_block(&mut self) -> Result<(), FormatError> {
        if !self.block.is_empty() {
            self.run.blocks.push(self.block.encode()?);
            self.run.text_bytes += self.block.text_bytes() as u64;
            self.run.index.end_block(self.block.len());
            self.block.clear();
        }
        Ok(())
    }

    /// The run.
    ///
    /// # Errors
    /// [`FormatError::Compressor`]; [`FormatError::Damaged`] if the rows of a record came apart.
    pub fn finish(mut self) -> Result<NewRun, FormatError> {
        self.end_block()?;
        self.run.index.sort_by_id()?;
        Ok(self.run)
    }
}

/// Builds a run, or its two parts.
pub(super) struct SplitBuilder<'a> {
    main: RunBuilder<'a>,
    fresh: RunBuilder<'a>,
    fresh_rows: u32,
    /// The record of the row before.
    last: Option<RecordId>,
}

impl<'a> SplitBuilder<'a> {
    /// Splits if that is `wanted` and this many rows of this many records are worth it.
    pub(super) fn new(layout: &'a Layout, form: Form, rows: u64, records: usize) -> Self {
        let many = rows >= records as u64 * u64::from(layout.fresh_from);
        let fresh_rows = if form.split && many { layout.fresh_rows } else { 0 };
        let (main, fresh) = (RunBuilder::new(layout, form.rest), RunBuilder::new(layout, false));
        Self { main, fresh, fresh_rows, last: None }
    }

    /// Appends a row, as [`RunBuilder::push`] does. `left` counts the record's remaining rows,
    /// including this one.
    #[inline]
    pub(super) fn push(
        &mut self,
        left: u64,
        arrival: u64,
        record: RecordId,
        stored_at: u64,
        json: &str,
    ) -> Result<(), FormatError> {
        let fresh_rows = u64::from(self.fresh_rows);
        let is_fresh = left <= fresh_rows;
        if self.last != Some(record) {
            self.last = Some(record);
            self.main.begin_record(left.saturating_sub(fresh_rows))?;
        }
        let run = if is_fresh { &mut self.fresh } else { &mut self.main };
        run.push(arrival, record, stored_at, json)
    }

    pub(super) fn finish(self) -> Result<NewRuns, FormatError> {
        let finish = |run: RunBuilder<'a>| -> Result<Option<NewRun>, FormatError> {
            let run = run.finish()?;
            Ok((!run.blocks.is_empty()).then_some(run))
        };
        Ok(NewRuns { main: finish(self.main)?, fresh: finish(self.fresh)? })
    }
}
