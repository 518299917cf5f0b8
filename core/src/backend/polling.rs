//! Following by time, for backends that only answer queries.
//!
//! The rows of the last minute are read again and again, and those that were delivered are left out:
//! of each record everything up to the time of its last row. The cursor says which those are.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;

use super::PersistenceBackend;
use crate::bytes::{from_hexadecimal, hexadecimal};
use crate::clock::{Clock, SystemClock};
use crate::error::PersistenceError;
use crate::follow::{Cursor, FollowFrom, FollowPage, FollowParams};
use crate::query::{MAX_TIMESTAMP, Order, QueryParams, RawRow};

/// By how many milliseconds a row may be late: stored after later rows of other records.
const LATE_MS: u64 = 60_000;

const KIND: &str = "time";

/// What was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Marks {
    /// Rows before this time are not read.
    floor: u64,
    /// Of each record with rows since then, the time of the last row, and how many rows have it.
    seen: BTreeMap<Arc<str>, (u64, u64)>,
}

/// The default of [`follow_page`](PersistenceBackend::follow_page).
pub(crate) async fn poll_page<B: PersistenceBackend + ?Sized>(
    backend: &B,
    pattern: &str,
    params: &FollowParams,
) -> Result<FollowPage, PersistenceError> {
    let poller = Poller { backend, pattern, params };
    let marks = match &params.from {
        FollowFrom::Now => poller.now().await?,
        FollowFrom::Time(since) => Marks { floor: *since, ..Marks::default() },
        FollowFrom::Cursor(cursor) => Marks::parse(cursor)?,
        FollowFrom::Latest(newest) => {
            let (rows, marks) = poller.latest(*newest).await?;
            if !rows.is_empty() {
                return Ok(FollowPage::new(rows, marks.cursor()?, true));
            }
            marks
        }
    };
    loop {
        let page = poller.page(&marks).await?;
        if !(page.rows.is_empty() && params.wait) {
            return Ok(page);
        }
        tokio::time::sleep(params.poll_interval).await;
    }
}

struct Poller<'a, B: ?Sized> {
    backend: &'a B,
    pattern: &'a str,
    params: &'a FollowParams,
}

impl<B: PersistenceBackend + ?Sized> Poller<'_, B> {
    fn query(&self) -> QueryParams {
        let query = QueryParams::default().with_order(Order::OldestFirst);
        query.with_grammar(self.params.grammar)
    }

    /// Everything that is there counts as delivered.
    async fn now(&self) -> Result<Marks, PersistenceError> {
        let newest = self.query().with_limit_per_record(1);
        let mut rows = self.backend.query_stream(self.pattern, newest).await?;
        let mut last = 0;
        while let Some(row) = rows.next().await {
            last = last.max(row?.stored_at);
        }
        let mut marks = Marks::default();
        marks.advance(last);
        let since = self.query().with_start_time(marks.floor);
        let mut rows = self.backend.query_stream(self.pattern, since).await?;
        while let Some(row) = rows.next().await {
            marks.deliver(&row?);
        }
        Ok(marks)
    }

    /// The newest rows of each record. All are read in one query: between two, rows may be stored.
    async fn latest(&self, newest: usize) -> Result<(Vec<RawRow>, Marks), PersistenceError> {
        let mut stream = self.backend.query_stream(self.pattern, self.query()).await?;
        let mut marks = Marks::default();
        let (mut rows, mut record) = (Vec::<RawRow>::new(), 0);
        let mut last = 0;
        while let Some(row) = stream.next().await {
            let row = row?;
            marks.deliver(&row);
            last = last.max(row.stored_at);
            if rows.last().is_some_and(|before| before.record != row.record) {
                record = rows.len();
            }
            rows.push(row);
            // Removed in bulk, so that each row is moved once.
            if rows.len() - record > newest.saturating_mul(2).saturating_add(1_000) {
                rows.drain(record..rows.len() - newest);
            }
        }
        let mut kept = Vec::new();
        for rows in rows.chunk_by(|one, next| one.record == next.record) {
            kept.extend_from_slice(&rows[rows.len().saturating_sub(newest)..]);
        }
        marks.advance(last);
        Ok((kept, marks))
    }

    async fn page(&self, before: &Marks) -> Result<FollowPage, PersistenceError> {
        let since = self.query().with_start_time(before.floor);
        let mut stream = self.backend.query_stream(self.pattern, since).await?;
        let mut marks = before.clone();
        let mut rows: Vec<RawRow> = Vec::new();
        let mut last = 0;
        // The rows at the time of a record's last row that are to be passed over.
        let (mut record, mut equals): (Option<Arc<str>>, u64) = (None, 0);
        let mut complete = true;
        while let Some(row) = stream.next().await {
            let row = row?;
            last = last.max(row.stored_at);
            if record.as_ref() != Some(&row.record) {
                record = Some(row.record.clone());
                equals = 0;
            }
            if let Some((time, count)) = before.seen.get(&row.record) {
                equals += u64::from(row.stored_at == *time);
                if row.stored_at < *time || (row.stored_at == *time && equals <= *count) {
                    continue;
                }
            }
            if rows.len() >= self.params.page_rows {
                complete = false;
                break;
            }
            marks.deliver(&row);
            rows.push(row);
        }
        if complete {
            marks.advance(last);
        }
        let delivered: Vec<_> =
            rows.iter().map(|row| (row.record.clone(), row.stored_at)).collect();
        let before = before.clone();
        Ok(FollowPage::new(rows, marks.cursor()?, complete).with_row_cursors(move |rows| {
            let mut marks = before.clone();
            for (record, stored_at) in delivered.iter().take(rows) {
                marks.note(record, *stored_at);
            }
            marks.cursor().ok()
        }))
    }
}

impl Marks {
    fn deliver(&mut self, row: &RawRow) {
        self.note(&row.record, row.stored_at);
    }

    fn note(&mut self, record: &Arc<str>, stored_at: u64) {
        let seen = self.seen.entry(record.clone()).or_insert((stored_at, 0));
        *seen = if seen.0 == stored_at { (stored_at, seen.1 + 1) } else { (stored_at, 1) };
    }

    /// Everything up to `last` was read: older rows need not be read again. Times in the future do not
    /// count: a clock that runs ahead must not hide what others store.
    fn advance(&mut self, last: u64) {
        let last = last.min(SystemClock.now_ms()).min(MAX_TIMESTAMP);
        self.floor = self.floor.max(last.saturating_sub(LATE_MS));
        let floor = self.floor;
        self.seen.retain(|_, (time, _)| *time >= floor);
    }

    fn cursor(&self) -> Result<Cursor, PersistenceError> {
        let mut text = format!("{KIND}-{}", self.floor);
        for (record, (time, count)) in &self.seen {
            text.push('-');
            text += &hexadecimal(record.as_bytes());
            text += &format!(".{time}.{count}");
        }
        Cursor::new(text)
    }

    fn parse(cursor: &Cursor) -> Result<Self, PersistenceError> {
        let read = || {
            let mut parts = cursor.as_str().split('-');
            if parts.next() != Some(KIND) {
                return None;
            }
            let floor = parts.next()?.parse().ok()?;
            let seen = parts.map(|part| {
                let mut fields = part.split('.');
                let (record, time, count) = (fields.next()?, fields.next()?, fields.next()?);
                let seen = (time.parse().ok()?, count.parse().ok()?);
                let record = String::from_utf8(from_hexadecimal(record)?).ok()?;
                Some((Arc::from(record), seen)).filter(|_| fields.next().is_none())
            });
            Some(Self { floor, seen: seen.collect::<Option<_>>()? })
        };
        read().ok_or_else(|| cursor.refuse("it was made by another kind of store"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_and_others_are_refused() {
        let mut marks = Marks { floor: 3, ..Marks::default() };
        for (record, time) in [("é-.x", 7), ("é-.x", 7), ("a", 3), ("a", 4)] {
            marks.note(&record.into(), time);
        }
        assert_eq!(marks.seen[&Arc::from("é-.x")], (7, 2));
        assert_eq!(marks.seen[&Arc::from("a")], (4, 1));
        assert_eq!(Marks::parse(&marks.cursor().unwrap()).unwrap(), marks);
        for text in
            ["time", "time-x", "time-3-61", "time-3-61.1.2.3", "time-3-xy.1.2", "memory-1-2"]
        {
            assert!(Marks::parse(&text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
