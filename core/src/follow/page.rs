//! What arrived behind a cursor.

use std::fmt;

use super::Cursor;
use crate::stream::RawRow;

type RowCursor = Box<dyn Fn(usize) -> Option<Cursor> + Send + Sync>;

/// Rows in the order in which they are delivered, and where to go on behind them.
pub struct FollowPage {
    /// The rows. There may be none although `cursor` has advanced: other records were written.
    pub rows: Vec<RawRow>,
    /// The place behind the last row.
    pub cursor: Cursor,
    /// Nothing was stored behind `cursor` when the page was made.
    pub caught_up: bool,
    row_cursor: Option<RowCursor>,
}

impl FollowPage {
    /// A page that ends at `cursor`.
    pub fn new(rows: Vec<RawRow>, cursor: Cursor, caught_up: bool) -> Self {
        Self { rows, cursor, caught_up, row_cursor: None }
    }

    /// Adds the cursors within the page: `row_cursor(n)` is the place behind its first `n` rows, for
    /// `n` from 1 to their number.
    #[must_use]
    pub fn with_row_cursors(
        mut self,
        row_cursor: impl Fn(usize) -> Option<Cursor> + Send + Sync + 'static,
    ) -> Self {
        self.row_cursor = Some(Box::new(row_cursor));
        self
    }

    /// The place behind the first `rows` rows. `None` before the first, and in the middle of the
    /// newest rows that [`FollowFrom::Latest`](super::FollowFrom::Latest) begins with: to resume there,
    /// begin again.
    pub fn cursor_after(&self, rows: usize) -> Option<Cursor> {
        self.cursor_of(rows, self.rows.len())
    }

    /// The number under which a row arrived, where the store numbers what arrives.
    pub fn arrival_of(&self, row: usize) -> Option<u64> {
        let cursor = self.row_cursor.as_ref()?(row + 1)?;
        let (_, position) = cursor.position()?;
        Some(position.within.map_or(position.arrival, |within| within.arrival))
    }

    /// The same, of a page that had this many rows.
    pub(super) fn cursor_of(&self, rows: usize, all: usize) -> Option<Cursor> {
        match rows {
            0 => None,
            rows if rows >= all => Some(self.cursor.clone()),
            rows => self.row_cursor.as_ref().and_then(|cursor| cursor(rows)),
        }
    }
}

impl fmt::Debug for FollowPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowPage")
            .field("rows", &self.rows)
            .field("cursor", &self.cursor)
            .field("caught_up", &self.caught_up)
            .finish_non_exhaustive()
    }
}
