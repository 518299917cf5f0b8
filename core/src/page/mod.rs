//! Rows on their way from a backend, whose values need not be text.
//!
//! A backend that keeps values in columns hands out [`PageRows`] with [`Values`]: typed reads deserialize
//! straight from these, and text is made only for those who ask for it. What a typed read returns is what
//! `serde_json` makes of the text: where the two might differ, the text is made and read.

mod de;
mod key;
mod shape;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::query::{Order, RawRow};

pub use shape::Shape;

/// Rows in memory whose values are kept in another form than text.
pub trait Values: Send + Sync {
    /// Where the scalars of a row are; `None` if its text has to be read.
    fn shape(&self, row: usize) -> Option<&Shape>;

    /// A scalar of a row, by its number in the shape; `None` if the text of the row has to be read.
    fn scalar(&self, row: usize, number: usize) -> Option<ScalarRef<'_>>;

    /// The JSON text of a row.
    fn text(&self, row: usize) -> Arc<str>;

    /// The time of a row, in Unix milliseconds.
    fn stored_at(&self, row: usize) -> u64;
}

/// A scalar as `serde_json` would read it from the text.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ScalarRef<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 0 to `u64::MAX`.
    Unsigned(u64),
    /// An integer below 0.
    Signed(i64),
    /// Any other number, as its nearest double.
    Float(f64),
    /// A string that is written without escapes.
    Text(&'a str),
}

/// Rows of one record that follow each other: one with its text, or any number of those of [`Values`].
///
/// As an iterator, it makes their text.
#[derive(Clone)]
pub struct PageRows {
    record: Arc<str>,
    rows: Rows,
}

#[derive(Clone)]
enum Rows {
    Text(Option<(u64, Arc<str>)>),
    Values { values: Arc<dyn Values>, rows: Range<usize>, order: Order },
}

impl PageRows {
    /// These rows of `values`, all of them of `record`, from the first to the last or, with
    /// [`Order::NewestFirst`], from the last to the first.
    pub fn new(
        record: Arc<str>,
        values: Arc<dyn Values>,
        rows: Range<usize>,
        order: Order,
    ) -> Self {
        Self { record, rows: Rows::Values { values, rows, order } }
    }

    /// How many rows are left.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Text(row) => usize::from(row.is_some()),
            Rows::Values { rows, .. } => rows.len(),
        }
    }

    /// Whether no rows are left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next row and reads its value as `T`.
    ///
    /// # Errors
    /// In the row, serde_json's for text that does not deserialize as `T`.
    pub fn read_next<T: DeserializeOwned>(
        &mut self,
    ) -> Option<(u64, Result<T, serde_json::Error>)> {
        match &mut self.rows {
            Rows::Text(row) => {
                let (stored_at, json) = row.take()?;
                Some((stored_at, serde_json::from_str(&json)))
            }
            Rows::Values { values, rows, order } => {
                let row = next(rows, *order)?;
                let value = match de::read(&**values, row) {
                    Some(value) => Ok(value),
                    None => serde_json::from_str(&values.text(row)),
                };
                Some((values.stored_at(row), value))
            }
        }
    }

    pub(crate) fn record(&self) -> &Arc<str> {
        &self.record
    }
}

/// Takes the next row.
fn next(rows: &mut Range<usize>, order: Order) -> Option<usize> {
    match order {
        Order::OldestFirst => rows.next(),
        Order::NewestFirst => rows.next_back(),
    }
}

impl Iterator for PageRows {
    type Item = RawRow;

    fn next(&mut self) -> Option<RawRow> {
        let (stored_at, json) = match &mut self.rows {
            Rows::Text(row) => row.take()?,
            Rows::Values { values, rows, order } => {
                let row = next(rows, *order)?;
                (values.stored_at(row), values.text(row))
            }
        };
        Some(RawRow::new(self.record.clone(), json, stored_at))
    }
}

impl From<RawRow> for PageRows {
    fn from(row: RawRow) -> Self {
        Self { record: row.record, rows: Rows::Text(Some((row.stored_at, row.json))) }
    }
}

impl fmt::Debug for PageRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

#[cfg(test)]
mod tests;
