//! A query's rows, page by page, from one snapshot.

use std::sync::Arc;

use annals_core::{Order, Query, RawRow, Result};

use super::{RecordMerge, View};
use crate::engine::{RecordId, Snapshot};

/// A page is full when it has this many rows or bytes of text. The first page is small and therefore
/// soon there. Each page has room for twice as many rows as the one before, until the hand-over
/// between threads no longer matters.
const FIRST_PAGE_ROWS: usize = 1 << 10;
const MOST_PAGE_ROWS: usize = 1 << 13;
const PAGE_BYTES: usize = 512 << 10;

/// The rows that are fetched at once.
pub(crate) type Page = Vec<RawRow>;

/// The position of a query. Between pages it holds the snapshot, and one block of each run that is
/// being read.
pub(crate) struct Scan<S> {
    view: View<S>,
    records: std::vec::IntoIter<(RecordId, Arc<str>)>,
    query: Query,
    current: Option<Current>,
    /// The size of the next page.
    page_rows: usize,
}

/// The record being read.
struct Current {
    name: Arc<str>,
    rows: RecordMerge,
    /// How many rows are still wanted.
    limit: u64,
}

impl<S: Snapshot> Scan<S> {
    pub(crate) fn new(view: View<S>, query: Query) -> Result<Self> {
        let records = view.tables()?.records(&query.pattern)?.into_iter();
        Ok(Self { view, records, query, current: None, page_rows: FIRST_PAGE_ROWS })
    }

    /// Fetches the next page; an empty one is the end.
    pub(crate) fn next_page(&mut self) -> Result<Page> {
        let mut page = Page::new();
        let mut bytes = 0;
        while page.len() < self.page_rows && bytes < PAGE_BYTES {
            let begun = match self.current.take() {
                Some(current) => Some(current),
                None => self.next_record()?,
            };
            let Some(mut current) = begun else { break };
            if self.fill(&mut page, &mut bytes, &mut current)? {
                self.current = Some(current);
            }
        }
        self.page_rows = (2 * self.page_rows).min(MOST_PAGE_ROWS);
        Ok(page)
    }

    fn next_record(&mut self) -> Result<Option<Current>> {
        let Some((id, name)) = self.records.next() else { return Ok(None) };
        let Query { from, to, limit, order, .. } = self.query;
        let rows = match (order, limit) {
            (Order::OldestFirst, Some(limit)) => {
                // The newest N, oldest first: goes to the Nth newest and back, so that memory stays
                // that of a page.
                let newest = RecordMerge::new(&self.view, id, (from, to), Order::NewestFirst)?;
                let mut newest = newest.keep_exhausted();
                newest.skip(&self.view, limit)?;
                RecordMerge::reversed(newest, &self.view)?
            }
            _ => RecordMerge::new(&self.view, id, (from, to), order)?,
        };
        Ok(Some(Current { name, rows, limit: limit.unwrap_or(u64::MAX) }))
    }

    /// Appends rows of one record until the page is full. Returns whether the record may have more.
    fn fill(&self, page: &mut Page, bytes: &mut usize, current: &mut Current) -> Result<bool> {
        let Current { name, rows, limit } = current;
        while *limit > 0 {
            if page.len() >= self.page_rows || *bytes >= PAGE_BYTES {
                return Ok(true);
            }
            let Some(next) = rows.next(&self.view)? else { break };
            let (stored_at, json) = rows.row(&next);
            *bytes += json.len();
            page.push(RawRow::new(name.clone(), json.into(), stored_at));
            *limit -= 1;
            if *limit > 0 {
                rows.advance(&self.view, next)?;
            }
        }
        Ok(false)
    }
}
