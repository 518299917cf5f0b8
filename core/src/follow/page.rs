//! What arrived behind a cursor.

use std::fmt;

use super::{Cursor, Origin};
use crate::query::RawRow;

type RowCursor = Box<dyn Fn(usize) -> Option<Cursor> + Send + Sync>;

/// Rows in the order in which they are delivered, and where to go on behind them.
pub struct FollowPage {
    /// The rows. There may be none although `cursor` has advanced: other records were written.
    pub rows: Vec<RawRow>,
    /// The place behind the last row.
    pub cursor: Cursor,
    /// Nothing was stored behind `cursor` when the page was made.
    pub caught_up: bool,
    /// Where the history comes from, if it was restored from a backup and the store knows that.
    pub origin: Option<Origin>,
    row_cursor: Option<RowCursor>,
}

impl FollowPage {
    /// A page that ends at `cursor`.
    pub fn new(rows: Vec<RawRow>, cursor: Cursor, caught_up: bool) -> Self {
        Self { rows, cursor, caught_up, origin: None, row_cursor: None }
    }

    /// Sets where the history comes from.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<Option<Origin>>) -> Self {
        self.origin = origin.into();
        self
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

    /// Leaves rows out. The cursors of the others stay what they are.
    pub fn retain(&mut self, keep: impl FnMut(&RawRow) -> bool) {
        let kept: Vec<bool> = self.rows.iter().map(keep).collect();
        let places: Vec<usize> =
            (1..).zip(&kept).filter_map(|(place, kept)| kept.then_some(place)).collect();
        let mut kept = kept.into_iter();
        self.rows.retain(|_| kept.next().unwrap_or(false));
        if let Some(row_cursor) = self.row_cursor.take() {
            self.row_cursor =
                Some(Box::new(move |rows| row_cursor(*places.get(rows.checked_sub(1)?)?)));
        }
    }

    /// The number under which a row arrived, where the store numbers what arrives.
    pub fn arrival_of(&self, row: usize) -> Option<u64> {
        let cursor = self.row_cursor.as_ref()?(row + 1)?;
        let (_, position) = cursor.position()?;
        Some(position.within.map_or(position.arrival, |within| within.arrival))
    }

    /// The same, of a page that had this many rows.
    pub(crate) fn cursor_of(&self, rows: usize, all: usize) -> Option<Cursor> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_left_out_take_no_cursor_along() {
        let row = |at| RawRow::new("a".into(), "1".into(), at);
        let cursor = |at: usize| Cursor::new(format!("t-{at}")).ok();
        let rows = (1..=5).map(row).collect();
        let mut page = FollowPage::new(rows, cursor(9).unwrap(), true).with_row_cursors(cursor);
        page.retain(|row| row.stored_at % 2 == 0);
        assert_eq!(page.rows.iter().map(|row| row.stored_at).collect::<Vec<_>>(), [2, 4]);
        assert_eq!([0, 1, 2].map(|rows| page.cursor_after(rows)), [None, cursor(2), cursor(9)]);
        page.retain(|_| false);
        assert_eq!((page.rows.len(), page.cursor_after(1)), (0, cursor(9)));
    }
}
