//! A query's rows, page by page, under one snapshot.

use std::sync::Arc;

use annals_core::{Order, PersistenceError, Query, RawRow};

use crate::engine::{Page, RecordId, Snapshot};
use crate::rows::RecordRows;
use crate::state::State;

/// A page is full after so many rows or bytes of text, whichever comes first. The first one is there
/// soon; each has room for twice as many rows as the one before, until the hand-over between threads
/// does not count any more. Memory does not either.
const FIRST_PAGE_ROWS: usize = 1 << 10;
const MOST_PAGE_ROWS: usize = 1 << 13;
const PAGE_BYTES: usize = 512 << 10;

/// Where a query is. Between pages it holds the snapshot, and a block of each run that is being
/// read.
pub(crate) struct PagedScan<S> {
    state: State<S>,
    records: std::vec::IntoIter<(RecordId, Arc<str>)>,
    query: Query,
    current: Option<Current>,
    /// How many rows the next page has room for.
    page_rows: usize,
}

/// The record being read and what is left of it.
struct Current {
    name: Arc<str>,
    rows: RecordRows,
    /// Rows still wanted.
    limit: u64,
}

impl<S: Snapshot> PagedScan<S> {
    pub(crate) fn new(state: State<S>, query: Query) -> Result<Self, PersistenceError> {
        let records = state.tables()?.records(&query.pattern)?.into_iter();
        Ok(Self { state, records, query, current: None, page_rows: FIRST_PAGE_ROWS })
    }

    /// The next rows; an empty page is the end.
    pub(crate) fn next_page(&mut self) -> Result<Page, PersistenceError> {
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

    fn next_record(&mut self) -> Result<Option<Current>, PersistenceError> {
        let Some((id, name)) = self.records.next() else { return Ok(None) };
        let Query { from, to, limit, order, .. } = self.query;
        let rows = match (order, limit) {
            (Order::OldestFirst, Some(limit)) => {
                // The newest N, oldest first: goes to the Nth newest and back, so that memory
                // stays a page.
                let newest = RecordRows::new(&self.state, id, (from, to), Order::NewestFirst)?;
                let mut newest = newest.remember_spent();
                newest.pass_over(&self.state, limit)?;
                RecordRows::given_by(newest, &self.state)?
            }
            _ => RecordRows::new(&self.state, id, (from, to), order)?,
        };
        Ok(Some(Current { name, rows, limit: limit.unwrap_or(u64::MAX) }))
    }

    /// Appends rows of one record until the page is full; answers whether there may be more of it.
    fn fill(
        &self,
        page: &mut Page,
        bytes: &mut usize,
        current: &mut Current,
    ) -> Result<bool, PersistenceError> {
        let Current { name, rows, limit } = current;
        while *limit > 0 {
            if page.len() >= self.page_rows || *bytes >= PAGE_BYTES {
                return Ok(true);
            }
            let Some(next) = rows.next(&self.state)? else { break };
            let (stored_at, json) = rows.row(&next);
            *bytes += json.len();
            page.push(RawRow::new(name.clone(), json.into(), stored_at));
            *limit -= 1;
            if *limit > 0 {
                rows.advance(&self.state, next)?;
            }
        }
        Ok(false)
    }
}
