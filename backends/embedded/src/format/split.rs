//! The newest rows of all records, apart from the others.

use super::{FormatError, Layout, NewRun, RunBuilder};
use crate::engine::RecordId;

/// What a fold or a merge comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// All rows, or all but the newest of each record; `None` when there are none.
    pub main: Option<NewRun>,
    /// The newest few rows of each record, where that was worth it: among equals they arrived after
    /// those in `main`.
    pub fresh: Option<NewRun>,
}

/// Builds both parts.
pub(super) struct Split<'a> {
    main: RunBuilder<'a>,
    fresh: RunBuilder<'a>,
    fresh_rows: u32,
}

impl<'a> Split<'a> {
    /// `wanted`: whether to set rows apart, if so many rows of so many records are worth it.
    pub(super) fn new(layout: &'a Layout, wanted: bool, rows: u64, records: usize) -> Self {
        let many = rows >= records as u64 * u64::from(layout.fresh_from);
        let fresh_rows = if wanted && many { layout.fresh_rows } else { 0 };
        Self { main: RunBuilder::new(layout), fresh: RunBuilder::new(layout), fresh_rows }
    }

    /// Appends a row, as [`RunBuilder::push`] does; `left` counts the rows of its record that are
    /// still to come, this one included.
    #[inline]
    pub(super) fn push(
        &mut self,
        left: u64,
        record: RecordId,
        stored_at: u64,
        json: &str,
    ) -> Result<(), FormatError> {
        let is_fresh = left <= u64::from(self.fresh_rows);
        let run = if is_fresh { &mut self.fresh } else { &mut self.main };
        run.push(record, stored_at, json)
    }

    pub(super) fn finish(self) -> Result<Merged, FormatError> {
        let finish = |run: RunBuilder<'a>| -> Result<Option<NewRun>, FormatError> {
            let run = run.finish()?;
            Ok((!run.blocks.is_empty()).then_some(run))
        };
        Ok(Merged { main: finish(self.main)?, fresh: finish(self.fresh)? })
    }
}
