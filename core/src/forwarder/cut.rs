//! Cuts what arrives into batches.

use super::error::ForwardError;
use super::progress::{RECORDS, Skipped};
use crate::backend::PersistenceBackend;
use crate::batch::Row;
use crate::follow::{Cursor, FollowFrom, FollowPage, FollowParams, Position};
use crate::json::JsonText;
use crate::name::RecordName;
use crate::query::RawRow;

/// The rows of one batch.
pub(super) struct Cut {
    pub(super) rows: Vec<Row>,
    /// The number under which the last of them arrived.
    pub(super) end: u64,
    /// The place behind them.
    pub(super) cursor: Cursor,
    /// Nothing had arrived behind it.
    pub(super) caught_up: bool,
}

/// What bounds a batch.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) skipped: Option<Skipped>,
    /// No row arrived under a greater number.
    pub(super) bound: Option<u64>,
    /// About how many bytes it has at most.
    pub(super) bytes: usize,
}

/// The rows of one page or, if that ends in the middle of what arrived under one number, of several. None of
/// them arrived under a number above the bound.
pub(super) async fn next<S: PersistenceBackend>(
    source: &S,
    pattern: &str,
    mut params: FollowParams,
    Limits { skipped, bound, bytes }: Limits,
) -> Result<Cut, ForwardError> {
    let mut rows = Vec::new();
    loop {
        let mut page = source.follow_page(pattern, &params).await?;
        let (kind, position) = page.cursor.position().ok_or(ForwardError::Source)?;
        let full = if rows.is_empty() { end_within(&page, bytes) } else { None };
        let end = full.into_iter().chain(bound).min();
        if let Some(end) = end.filter(|end| position.arrival > *end) {
            let at = Position { history: position.history, arrival: end, ..Position::default() };
            let cursor = at.cursor(kind)?;
            skip(&mut page, skipped);
            let beyond = first_beyond(&page, end).unwrap_or(page.rows.len());
            page.rows.truncate(beyond);
            rows.extend(page.rows.into_iter().filter_map(row));
            return Ok(Cut { rows, end, cursor, caught_up: false });
        }
        skip(&mut page, skipped);
        let FollowPage { rows: arrived, cursor, caught_up, .. } = page;
        rows.extend(arrived.into_iter().filter_map(row));
        if position.within.is_none() {
            return Ok(Cut { rows, end: position.arrival, cursor, caught_up });
        }
        params = params.with_from(FollowFrom::Cursor(cursor));
    }
}

/// All rows up to those that arrived under the number `end`.
pub(super) async fn up_to<S: PersistenceBackend>(
    source: &S,
    pattern: &str,
    mut params: FollowParams,
    end: u64,
    skipped: Option<Skipped>,
) -> Result<Vec<Row>, ForwardError> {
    let mut rows = Vec::new();
    loop {
        let mut page = source.follow_page(pattern, &params).await?;
        let caught_up = page.caught_up;
        skip(&mut page, skipped);
        let beyond = first_beyond(&page, end);
        let (_, position) = page.cursor.position().ok_or(ForwardError::Source)?;
        let FollowPage { rows: mut arrived, cursor, .. } = page;
        arrived.truncate(beyond.unwrap_or(arrived.len()));
        rows.extend(arrived.into_iter().filter_map(row));
        if beyond.is_some() || position.arrival >= end || caught_up {
            return Ok(rows);
        }
        params = params.with_from(FollowFrom::Cursor(cursor));
    }
}

/// The number that ends a batch of so many bytes, if the page has more: the last one that fits, or the
/// first.
fn end_within(page: &FollowPage, bytes: usize) -> Option<u64> {
    let mut left = bytes;
    let beyond = page.rows.iter().position(|row| {
        let rest = left.checked_sub(row.record.len() + row.json.len());
        left = rest.unwrap_or(0);
        rest.is_none()
    })?;
    let number = page.arrival_of(beyond)?;
    let before = (0..beyond).rev().find_map(|row| page.arrival_of(row).filter(|n| *n < number));
    Some(before.unwrap_or(number))
}

/// The first row that arrived under a greater number.
fn first_beyond(page: &FollowPage, end: u64) -> Option<usize> {
    (0..page.rows.len()).position(|row| page.arrival_of(row).is_none_or(|number| number > end))
}

/// Leaves out the rows that are not forwarded. The cursors of the others stay.
pub(super) fn skip(page: &mut FollowPage, skipped: Option<Skipped>) {
    let Some(Skipped { before, up_to }) = skipped else { return };
    let rows = page.rows.iter().enumerate();
    let mut wanted = rows
        .map(|(place, row)| {
            // Where there is no number the row is not of the rows that were there.
            row.stored_at >= before || page.arrival_of(place).is_none_or(|number| number > up_to)
        })
        .collect::<Vec<_>>()
        .into_iter();
    page.retain(|_| wanted.next().unwrap_or(true));
}

/// As JSON text, it is what it was in the source. A row whose text is no JSON any more is not forwarded.
fn row(RawRow { record, json, stored_at }: RawRow) -> Option<Row> {
    if record.starts_with(RECORDS) {
        return None;
    }
    let name = RecordName::new(record.clone());
    let row = name.and_then(|record| {
        Ok(Row { record, value: JsonText::from_text(json, usize::MAX)?, stored_at })
    });
    row.inspect_err(|error| {
        tracing::warn!(record = &*record, stored_at, %error, "a row is damaged: not forwarded");
    })
    .ok()
}
