//! Rows for typed reads: without text, if they are in columns.

use std::cell::RefCell;
use std::sync::Arc;

use annals_core::page::{ScalarRef, Shape};

use super::{Block, Values};

/// A buffer that grew larger than this is not kept.
const KEPT_BUFFER: usize = 64 << 10;

thread_local! {
    /// Where rows are printed.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Block {
    /// Whether the rows are in columns.
    pub fn is_in_columns(&self) -> bool {
        matches!(self.values, Values::Columns(_))
    }
}

impl annals_core::page::Values for Block {
    fn shape(&self, row: usize) -> Option<&Shape> {
        match &self.values {
            Values::Text { .. } => None,
            Values::Columns(columns) => columns.shape(row),
        }
    }

    fn scalar(&self, row: usize, number: usize) -> Option<ScalarRef<'_>> {
        match &self.values {
            Values::Text { .. } => None,
            Values::Columns(columns) => columns.scalar(row, number),
        }
    }

    fn text(&self, row: usize) -> Arc<str> {
        let Values::Columns(columns) = &self.values else { return self.json(row).into() };
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.shrink_to(KEPT_BUFFER);
            columns.print_row(row, buffer);
            // All parts are UTF-8.
            std::str::from_utf8(buffer).unwrap_or_default().into()
        })
    }

    fn stored_at(&self, row: usize) -> u64 {
        self.time(row)
    }
}
