//! A query's rows, page by page, under one snapshot.

use std::sync::Arc;

use annals_core::{Order, PersistenceError, Query, RawRow};

use crate::engine::{Key, Page, RecordId, Snapshot};

/// A page is full after so many rows or bytes of text, whichever comes first: large enough that
/// the hand-over between threads does not count, small enough that memory does not either.
const PAGE_ROWS: usize = 2048;
const PAGE_BYTES: usize = 512 << 10;

/// Where a query is. Between pages it holds the snapshot and nothing else.
pub(crate) struct PagedScan<S> {
    snapshot: S,
    records: std::vec::IntoIter<(RecordId, Arc<str>)>,
    query: Query,
    current: Option<Current>,
}

/// The record being read and what is left of it.
struct Current {
    id: RecordId,
    name: Arc<str>,
    from: Key,
    to: Key,
    /// Rows still wanted.
    limit: u64,
}

impl<S: Snapshot> PagedScan<S> {
    pub(crate) fn new(snapshot: S, query: Query) -> Result<Self, PersistenceError> {
        let records = snapshot.records(&query.pattern)?.into_iter();
        Ok(Self { snapshot, records, query, current: None })
    }

    /// The next rows; an empty page is the end.
    pub(crate) fn next_page(&mut self) -> Result<Page, PersistenceError> {
        let mut page = Page::new();
        let mut bytes = 0;
        while page.len() < PAGE_ROWS && bytes < PAGE_BYTES {
            let begun = match self.current.take() {
                Some(current) => Some(current),
                None => self.next_record()?,
            };
            let Some(mut current) = begun else { break };
            if self.fill(&mut page, &mut bytes, &mut current)? {
                self.current = Some(current);
            }
        }
        Ok(page)
    }

    fn next_record(&mut self) -> Result<Option<Current>, PersistenceError> {
        let Some((id, name)) = self.records.next() else { return Ok(None) };
        let mut from = Key::first_at(self.query.from);
        let to = Key::last_at(self.query.to);
        let limit = self.query.limit.unwrap_or(u64::MAX);
        if self.query.order == Order::OldestFirst && self.query.limit.is_some() {
            // The newest N, oldest first: start at the Nth newest, so that memory stays a page.
            from = self.snapshot.nth_newest(id, from, to, limit)?.unwrap_or(from);
        }
        Ok(Some(Current { id, name, from, to, limit }))
    }

    /// Appends rows of one record until the page is full; answers whether there may be more of it.
    fn fill(
        &self,
        page: &mut Page,
        bytes: &mut usize,
        current: &mut Current,
    ) -> Result<bool, PersistenceError> {
        let Current { id, name, from, to, limit } = current;
        let mut last = None;
        self.snapshot.scan(*id, *from, *to, self.query.order, &mut |key, json| {
            *bytes += json.len();
            page.push(RawRow { record: name.clone(), json: json.into(), stored_at: key.stored_at });
            *limit -= 1;
            last = Some(key);
            *limit > 0 && page.len() < PAGE_ROWS && *bytes < PAGE_BYTES
        })?;
        let full = page.len() >= PAGE_ROWS || *bytes >= PAGE_BYTES;
        let (true, true, Some(last)) = (full, *limit > 0, last) else { return Ok(false) };
        let beyond = match self.query.order {
            Order::NewestFirst => last.previous().map(|key| *to = key),
            Order::OldestFirst => last.next().map(|key| *from = key),
        };
        Ok(beyond.is_some() && from <= to)
    }
}
