//! Rows enter, those that satisfy a predicate leave.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, StreamExt};

use super::Predicate;
use crate::backend::PersistenceBackend;
use crate::error::PersistenceError;
use crate::query::{Order, QueryParams, RawRow};
use crate::stream::RowStream;

/// After so many warnings about rows that are no JSON, one query says no more.
const WARNINGS: u64 = 100;

/// How many rows are tested before other tasks get a turn.
const ROWS_PER_TURN: usize = 1_024;

/// Tests the rows of one query, and warns of those whose text is no longer JSON. These satisfy no
/// predicate.
#[derive(Debug, Clone)]
pub struct Selector {
    predicate: Predicate,
    warnings: u64,
}

impl Selector {
    /// Takes the rows that satisfy `predicate`.
    pub fn new(predicate: Predicate) -> Self {
        Self { predicate, warnings: 0 }
    }

    /// Whether a row of `record` at `stored_at` (Unix milliseconds) is taken.
    pub fn takes(&mut self, record: &str, stored_at: u64, json: &str) -> bool {
        let error = match self.predicate.test(json) {
            Ok(holds) => return holds,
            Err(error) => error,
        };
        self.warnings += 1;
        if self.warnings <= WARNINGS {
            tracing::warn!(record, stored_at, %error, "a stored value is not valid JSON: skipped");
        }
        if self.warnings == WARNINGS {
            tracing::warn!("further skipped values of this query are not reported");
        }
        false
    }
}

/// What [`query_where`](PersistenceBackend::query_where) does by default: tests the rows of
/// [`query_stream`](PersistenceBackend::query_stream).
///
/// # Errors
/// As [`query_where`](PersistenceBackend::query_where).
pub async fn by_rows<B: PersistenceBackend + ?Sized>(
    backend: &B,
    record_pattern: &str,
    params: QueryParams,
    predicate: &Predicate,
) -> Result<RowStream, PersistenceError> {
    let asked = match params.limit_per_record {
        Some(0) | None => params,
        Some(_) => params.with_limit_per_record(None),
    };
    Ok(filtered(params, predicate, backend.query_stream(record_pattern, asked).await?))
}

/// The rows of a query that satisfy `predicate`, up to the limit of `params`. `rows` are those of the
/// same query without the limit.
///
/// Memory is what `rows` holds, and for the newest N rows oldest first, N rows of one record.
pub(crate) fn filtered(params: QueryParams, predicate: &Predicate, rows: RowStream) -> RowStream {
    let filter = Filter {
        rows,
        selector: Selector::new(predicate.clone()),
        limit: params.limit_per_record.unwrap_or(usize::MAX),
        newest_last: params.order == Order::OldestFirst && params.limit_per_record.is_some(),
        record: None,
        taken: VecDeque::new(),
        count: 0,
    };
    RowStream::from_pages(stream::try_unfold(filter, |mut filter| async move {
        Ok(filter.page().await?.map(|page| (page, filter)))
    }))
}

struct Filter {
    rows: RowStream,
    selector: Selector,
    limit: usize,
    /// The rows come oldest first, and only the newest of each record are wanted.
    newest_last: bool,
    record: Option<Arc<str>>,
    /// The newest rows of the record so far, if the newest come last.
    taken: VecDeque<RawRow>,
    /// How many rows of the record were taken, if the newest come first.
    count: usize,
}

impl Filter {
    /// The rows of one turn, at least one; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<RawRow>>, PersistenceError> {
        let mut page = Vec::new();
        loop {
            for _ in 0..ROWS_PER_TURN {
                let Some(row) = self.rows.next().await.transpose()? else {
                    page.extend(self.taken.drain(..));
                    return Ok((!page.is_empty()).then_some(page));
                };
                self.take(row, &mut page);
            }
            if !page.is_empty() {
                return Ok(Some(page));
            }
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, row: RawRow, page: &mut Vec<RawRow>) {
        if self.record.as_deref() != Some(&*row.record) {
            page.extend(self.taken.drain(..));
            self.record = Some(row.record.clone());
            self.count = 0;
        }
        let is_enough = !self.newest_last && self.count >= self.limit;
        if is_enough || !self.selector.takes(&row.record, row.stored_at, &row.json) {
            return;
        }
        if !self.newest_last {
            self.count += 1;
            page.push(row);
            return;
        }
        if self.taken.len() >= self.limit {
            self.taken.pop_front();
        }
        self.taken.push_back(row);
    }
}
