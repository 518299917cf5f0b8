//! Making a run.

use super::{Columns, Directory, FormatError};
use crate::engine::RecordId;

/// How runs are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// A block has at most so many rows.
    pub block_rows: usize,
    /// And at most so many bytes of text, unless it is a single row.
    pub block_text: usize,
    /// How many of each record's newest rows go into the fresh part when a run is split.
    pub fresh_rows: u32,
    /// A run is worth splitting when its records have at least so many rows on average.
    pub fresh_from: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self { block_rows: 2048, block_text: 128 << 10, fresh_rows: 8, fresh_from: 32 }
    }
}

/// A run that is not in any file yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRun {
    /// What it holds.
    pub directory: Directory,
    /// Its blocks, in order.
    pub blocks: Vec<Vec<u8>>,
    /// How many bytes of text its rows have.
    pub text_bytes: u64,
}

/// Cuts rows into blocks. They have to come in order: all rows of a record in a row, in order of
/// time, and the records in byte order of their names.
#[derive(Debug)]
pub struct RunBuilder<'a> {
    layout: &'a Layout,
    block: Columns,
    run: NewRun,
}

impl<'a> RunBuilder<'a> {
    /// A run without rows.
    pub fn new(layout: &'a Layout) -> Self {
        Self { layout, block: Columns::new(), run: NewRun::default() }
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    #[inline]
    pub fn push(
        &mut self,
        record: RecordId,
        stored_at: u64,
        json: &str,
    ) -> Result<(), FormatError> {
        let text = self.block.text_bytes() + json.len();
        if self.block.len() >= self.layout.block_rows || text > self.layout.block_text {
            self.end_block()?;
        }
        self.block.push(record, stored_at, json);
        self.run.directory.push(record, stored_at);
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), FormatError> {
        if !self.block.is_empty() {
            self.run.blocks.push(self.block.encode()?);
            self.run.text_bytes += self.block.text_bytes() as u64;
            self.run.directory.end_block();
            self.block.clear();
        }
        Ok(())
    }

    /// The run.
    ///
    /// # Errors
    /// [`FormatError::Compressor`]; [`FormatError::Damaged`] when a record's rows came twice.
    pub fn finish(mut self) -> Result<NewRun, FormatError> {
        self.end_block()?;
        self.run.directory.index()?;
        Ok(self.run)
    }
}
