//! A query's rows, page by page, from one snapshot.

use std::ops::Range;
use std::sync::Arc;

use annals_core::page::{PageRows, Values};
use annals_core::{Order, Predicate, Query, RawRow, Result, Selector};
use tokio::sync::Semaphore;

use super::{Filter, RecordMerge, Steps, View};
use crate::engine::Snapshot;
use crate::format::Block;
use crate::ids::RecordId;

/// A page is full when it has this many rows or bytes of text. The first page is small and therefore
/// soon there. Each page has room for twice as many rows as the one before, until the hand-over
/// between threads no longer matters.
const FIRST_PAGE_ROWS: usize = 1 << 10;
const MOST_PAGE_ROWS: usize = 1 << 13;
const PAGE_BYTES: usize = 512 << 10;

/// A step ends, with an empty page if need be, when this many rows did not satisfy the predicate.
const TESTED_ROWS: usize = 1 << 16;

/// The most blocks in columns that a page holds. Rows of further blocks come as text.
const MOST_BLOCKS: usize = 8;

/// The rows that are fetched at once.
type Page = Vec<PageRows>;

/// The position of a query. Between pages it holds one block of each run that is being read.
pub(crate) struct Scan {
    records: std::vec::IntoIter<(RecordId, Arc<str>)>,
    query: Query,
    /// Tests the text of rows that the filter does not know.
    selector: Option<Selector>,
    filter: Option<Arc<Filter>>,
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

impl<S: Snapshot> Steps<S> for Scan {
    type Item = Page;

    /// Fetches the next page.
    fn step(&mut self, view: &View<S>, _readers: &Arc<Semaphore>) -> Result<Option<Page>> {
        let (mut filling, mut ended) = (Filling::new(self.page_rows), false);
        while !filling.is_full() {
            let begun = match self.current.take() {
                Some(current) => Some(current),
                None => self.next_record(view)?,
            };
            let Some(mut current) = begun else {
                ended = true;
                break;
            };
            if self.fill(view, &mut filling, &mut current)? {
                self.current = Some(current);
            }
        }
        self.page_rows = (2 * self.page_rows).min(MOST_PAGE_ROWS);
        Ok((filling.rows > 0 || !ended).then_some(filling.page))
    }
}

impl Scan {
    pub(crate) fn new<S: Snapshot>(
        view: &View<S>,
        query: Query,
        predicate: Option<Predicate>,
    ) -> Result<Self> {
        let records = view.records(&query.pattern)?.into_iter();
        let filter = predicate.clone().map(Filter::new);
        let selector = predicate.map(Selector::new);
        Ok(Self { records, query, selector, filter, current: None, page_rows: FIRST_PAGE_ROWS })
    }

    fn next_record<S: Snapshot>(&mut self, view: &View<S>) -> Result<Option<Current>> {
        let Some((id, name)) = self.records.next() else { return Ok(None) };
        let Query { from, to, limit, order, .. } = self.query;
        let merge = |order| -> Result<RecordMerge> {
            let rows = RecordMerge::new(view, id, (from, to), order)?;
            Ok(rows.with_filter(self.filter.clone()))
        };
        let rows = match (order, limit) {
            (Order::OldestFirst, Some(limit)) => {
                // The newest N, oldest first: goes to the Nth newest and back, so that memory stays
                // that of a page.
                let mut newest = merge(Order::NewestFirst)?.keep_exhausted();
                match &mut self.selector {
                    None => newest.skip(view, limit)?,
                    Some(selector) => skip_where(view, &mut newest, limit, selector, &name)?,
                }
                RecordMerge::reversed(newest, view)?
            }
            _ => merge(order)?,
        };
        Ok(Some(Current { name, rows, limit: limit.unwrap_or(u64::MAX) }))
    }

    /// Appends rows of one record until the page is full. Returns whether the record may have more.
    fn fill<S: Snapshot>(
        &mut self,
        view: &View<S>,
        filling: &mut Filling,
        current: &mut Current,
    ) -> Result<bool> {
        let Current { name, rows, limit } = current;
        while *limit > 0 {
            if filling.is_full() {
                return Ok(true);
            }
            let Some(next) = rows.next(view)? else { break };
            filling.tested += rows.count_passed();
            let stored_at = rows.time(&next);
            if let Some(selector) = &mut self.selector
                && !rows.is_chosen(&next)
                && !selector.takes(name, stored_at, rows.row(&next).1)
            {
                filling.tested += 1;
                rows.advance(view, next)?;
                continue;
            }
            let most = usize::try_from(*limit).unwrap_or(usize::MAX).min(filling.room());
            let stretch = rows.is_in_columns(&next).then(|| rows.stretch(view, &next, most));
            let taken = match stretch.flatten() {
                Some((block, range)) => filling.push(name, block, range, self.query.order),
                None => filling.push_row(name, rows.row(&next).1.into(), stored_at),
            };
            *limit -= taken as u64;
            if *limit > 0 {
                rows.advance_by(view, next, taken)?;
            }
        }
        Ok(false)
    }
}

/// A page that is being filled.
struct Filling {
    page: Page,
    rows: usize,
    most_rows: usize,
    /// Bytes of text, about.
    bytes: usize,
    /// Rows that did not satisfy the predicate.
    tested: usize,
    /// The block in columns that the page holds last, and how many it holds.
    last: Option<Arc<Block>>,
    blocks: usize,
}

impl Filling {
    fn new(most_rows: usize) -> Self {
        let (page, last) = (Page::new(), None);
        Self { page, rows: 0, most_rows, bytes: 0, tested: 0, last, blocks: 0 }
    }

    fn room(&self) -> usize {
        self.most_rows.saturating_sub(self.rows)
    }

    fn is_full(&self) -> bool {
        self.room() == 0 || self.bytes >= PAGE_BYTES || self.tested >= TESTED_ROWS
    }

    /// Appends rows of a block in columns. Returns how many.
    fn push(
        &mut self,
        name: &Arc<str>,
        block: &Arc<Block>,
        range: Range<usize>,
        order: Order,
    ) -> usize {
        if !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, block)) {
            if self.blocks == MOST_BLOCKS {
                let row = if order == Order::NewestFirst { range.end - 1 } else { range.start };
                return self.push_row(name, block.text(row), block.time(row));
            }
            self.blocks += 1;
            self.last = Some(block.clone());
        }
        let rows = range.len();
        self.rows += rows;
        self.bytes += rows * block.text_bytes() / block.len().max(1);
        self.page.push(PageRows::new(name.clone(), block.clone(), range, order));
        rows
    }

    /// Appends a row with its text. Returns how many.
    fn push_row(&mut self, name: &Arc<str>, json: Arc<str>, stored_at: u64) -> usize {
        self.rows += 1;
        self.bytes += json.len();
        self.page.push(RawRow::new(name.clone(), json, stored_at).into());
        1
    }
}

/// Consumes rows until so many of them satisfied the predicate, or all.
fn skip_where<S: Snapshot>(
    view: &View<S>,
    rows: &mut RecordMerge,
    mut wanted: u64,
    selector: &mut Selector,
    name: &str,
) -> Result<()> {
    while wanted > 0
        && let Some(next) = rows.next(view)?
    {
        let is_wanted = rows.is_chosen(&next) || {
            let (stored_at, json) = rows.row(&next);
            selector.takes(name, stored_at, json)
        };
        wanted -= u64::from(is_wanted);
        rows.advance(view, next)?;
    }
    Ok(())
}
