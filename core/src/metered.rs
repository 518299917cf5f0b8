//! A backend that reports the duration and the outcome of every call to an observer, such as the
//! metrics of a service. Calls and results pass through unchanged.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use serde_json::Value;

use crate::aggregate::{Aggregate, BucketPage, BucketStream};
use crate::backend::PersistenceBackend;
use crate::batch::{Batch, BatchId, Row};
use crate::cleanup::{CleanupPlan, Swept};
use crate::erasure::Erasure;
use crate::error::{PersistenceError, Result};
use crate::follow::{FollowPage, FollowParams};
use crate::guarantees::Guarantees;
use crate::page::PageRows;
use crate::pattern::Grammar;
use crate::predicate::Predicate;
use crate::query::{QueryParams, RecordSummary, StoredValue};
use crate::stream::RowStream;

/// One finished call to a backend.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Call {
    /// The method of [`PersistenceBackend`], such as `store_batch`.
    pub method: &'static str,
    /// The rows that were passed in (`store`, `store_batch`), returned (`query`, `query_stream`,
    /// `query_where`, `follow_page`) or removed or changed (`cleanup`, `cleanup_plan`, `sweep`, `erase`,
    /// `correct`), and the records or buckets of a listing or an
    /// aggregate. A stream counts what was read of it.
    pub items: u64,
    /// From the call to its result; a follower's call may have waited for rows. A stream lasts until its end or until it is dropped.
    pub elapsed: Duration,
    /// How the call ended.
    pub result: CallResult,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// It succeeded.
    Ok,
    /// The backend refused it: the input is invalid, or it is something that the backend cannot do.
    Refused,
    /// It failed.
    Error,
    /// The caller dropped the future, or the stream before its end.
    Cancelled,
}

impl CallResult {
    fn of(error: &PersistenceError) -> Self {
        let is_unsupported = matches!(error, PersistenceError::Unsupported(_));
        if error.is_invalid_input() || is_unsupported { Self::Refused } else { Self::Error }
    }

    /// `ok`, `refused`, `error` or `cancelled`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

type Observer = Arc<dyn Fn(Call) + Send + Sync>;

/// A backend whose calls are observed.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use annals_core::{MemoryBackend, Metered, PersistenceBackend, StoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rows = Arc::new(AtomicU64::new(0));
/// let stored = rows.clone();
/// let history = Metered::new(MemoryBackend::new(), move |call| {
///     if call.method == "store_batch" {
///         stored.fetch_add(call.items, Ordering::Relaxed);
///     }
/// });
/// history.put("attic", &21.5).await?;
/// assert_eq!(rows.load(Ordering::Relaxed), 1);
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Metered<B> {
    inner: B,
    observer: Observer,
}

impl<B: PersistenceBackend> Metered<B> {
    /// Wraps `inner`. `observer` runs at the end of each call, on the thread that ends it, and must
    /// not block. A provided method that `inner` builds from its own methods is one call.
    pub fn new(inner: B, observer: impl Fn(Call) + Send + Sync + 'static) -> Self {
        Self { inner, observer: Arc::new(observer) }
    }

    /// The wrapped backend. Calls to it are not observed.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn begin(&self, method: &'static str) -> Timer {
        Timer {
            observer: self.observer.clone(),
            since: Instant::now(),
            method,
            items: 0,
            result: CallResult::Cancelled,
        }
    }
}

/// A call that is running. Dropping it reports the call.
struct Timer {
    observer: Observer,
    since: Instant,
    method: &'static str,
    items: u64,
    result: CallResult,
}

impl Timer {
    /// Notes the result of the call and reports it.
    fn end<T>(mut self, result: Result<T>, items: impl FnOnce(&T) -> u64) -> Result<T> {
        self.items = result.as_ref().map_or(0, items);
        self.note(&result);
        result
    }

    /// Goes on with the stream, if there is one.
    fn rows(mut self, result: Result<RowStream>) -> Result<RowStream> {
        match result {
            Ok(rows) => {
                let pages = rows.into_pages();
                let count = |page: &Vec<PageRows>| page.iter().map(PageRows::len).sum();
                Ok(RowStream::from_page_rows(Timed { pages, timer: Some(self), count }))
            }
            Err(error) => {
                self.result = CallResult::of(&error);
                Err(error)
            }
        }
    }

    fn note<T>(&mut self, result: &Result<T>) {
        self.result = result.as_ref().map_or_else(CallResult::of, |_| CallResult::Ok);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Self { method, items, result, .. } = *self;
        (self.observer)(Call { method, items, elapsed: self.since.elapsed(), result });
    }
}

/// A stream of pages that reports the call when it ends or is dropped.
struct Timed<S, P> {
    pages: S,
    /// `None` when the call is reported.
    timer: Option<Timer>,
    /// How many items a page has.
    count: fn(&P) -> usize,
}

impl<P, S: Stream<Item = Result<P>> + Unpin> Stream for Timed<S, P> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (page, count) = (ready!(self.pages.poll_next_unpin(cx)), self.count);
        match (&page, &mut self.timer) {
            (Some(Ok(page)), Some(timer)) => timer.items += count(page) as u64,
            (Some(Err(error)), Some(timer)) => {
                timer.result = CallResult::of(error);
                self.timer = None;
            }
            (None, Some(timer)) => {
                timer.result = CallResult::Ok;
                self.timer = None;
            }
            (_, None) => {}
        }
        Poll::Ready(page)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: PersistenceBackend> PersistenceBackend for Metered<B> {
    async fn store(&self, record_name: &str, value: &Value, timestamp: u64) -> Result<()> {
        let timer = self.begin("store");
        timer.end(self.inner.store(record_name, value, timestamp).await, |()| 1)
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        let mut timer = self.begin("store_batch");
        timer.items = batch.rows().len() as u64;
        let result = self.inner.store_batch(batch).await;
        timer.note(&result);
        result
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        self.begin("has_batch").end(self.inner.has_batch(id).await, |_| 0)
    }

    async fn query(&self, record_pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        let timer = self.begin("query");
        timer.end(self.inner.query(record_pattern, params).await, |rows| rows.len() as u64)
    }

    async fn query_stream(&self, record_pattern: &str, params: QueryParams) -> Result<RowStream> {
        let timer = self.begin("query_stream");
        timer.rows(self.inner.query_stream(record_pattern, params).await)
    }

    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        let timer = self.begin("query_where");
        timer.rows(self.inner.query_where(record_pattern, params, predicate).await)
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream> {
        let mut timer = self.begin("aggregate_stream");
        match self.inner.aggregate_stream(record_pattern, aggregate).await {
            Ok(buckets) => {
                let (pages, count) = (Box::pin(buckets.into_pages()), BucketPage::len);
                Ok(BucketStream::new(Timed { pages, timer: Some(timer), count }))
            }
            Err(error) => {
                timer.result = CallResult::of(&error);
                Err(error)
            }
        }
    }

    async fn follow_page(&self, record_pattern: &str, params: &FollowParams) -> Result<FollowPage> {
        let timer = self.begin("follow_page");
        let page = self.inner.follow_page(record_pattern, params).await;
        timer.end(page, |page| page.rows.len() as u64)
    }

    async fn records(&self, record_pattern: &str, grammar: Grammar) -> Result<Vec<RecordSummary>> {
        let timer = self.begin("records");
        timer.end(self.inner.records(record_pattern, grammar).await, |found| found.len() as u64)
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        let timer = self.begin("cleanup");
        timer.end(self.inner.cleanup(older_than).await, |removed| *removed)
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64> {
        let timer = self.begin("cleanup_plan");
        timer.end(self.inner.cleanup_plan(plan).await, |removed| *removed)
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept> {
        let timer = self.begin("sweep");
        timer.end(self.inner.sweep(plan).await, |swept| swept.removed)
    }

    async fn erase(&self, erasure: &Erasure) -> Result<u64> {
        let timer = self.begin("erase");
        timer.end(self.inner.erase(erasure).await, |removed| *removed)
    }

    async fn correct(&self, row: &Row) -> Result<bool> {
        let timer = self.begin("correct");
        let corrected = self.inner.correct(row).await;
        timer.end(corrected, |corrected| u64::from(*corrected))
    }

    async fn initialize(&self) -> Result<()> {
        self.begin("initialize").end(self.inner.initialize().await, |()| 0)
    }

    async fn health(&self) -> Result<()> {
        self.begin("health").end(self.inner.health().await, |()| 0)
    }

    async fn close(&self) -> Result<()> {
        self.begin("close").end(self.inner.close().await, |()| 0)
    }

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }
}

impl<B> fmt::Debug for Metered<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{MemoryBackend, Pattern, QueryExt, StoreExt};

    type Calls = Arc<Mutex<Vec<(&'static str, u64, CallResult)>>>;

    fn observed() -> (Metered<MemoryBackend>, Calls) {
        let calls = Calls::default();
        let seen = calls.clone();
        let history = Metered::new(MemoryBackend::new(), move |call: Call| {
            seen.lock().unwrap().push((call.method, call.items, call.result));
        });
        (history, calls)
    }

    #[tokio::test]
    async fn every_call_is_observed_once_with_its_rows_and_result() {
        let (history, calls) = observed();
        for n in 0..3_u64 {
            history.put_at("a", &n, n).await.unwrap();
        }
        history.store("a", &Value::from(3), 3).await.unwrap();
        history.query("*", QueryParams::latest(2)).await.unwrap();
        history.query("", QueryParams::default()).await.unwrap_err();
        assert_eq!(history.query_latest::<u64>("*", 9).await.unwrap().len(), 4);
        assert_eq!(history.aggregate("a", &Aggregate::new()).await.unwrap().len(), 1);
        history.aggregate("", &Aggregate::new()).await.unwrap_err();
        history.records("*", Grammar::Glob).await.unwrap();
        history.cleanup(2).await.unwrap();
        let two = Predicate::parse("= 2").unwrap();
        let rows = history.query_where("a", QueryParams::default(), &two).await.unwrap();
        assert_eq!(rows.into_values().await.unwrap().len(), 1);
        let four = Row::new("a", &Value::from(4), 3).unwrap();
        assert!(history.correct(&four).await.unwrap());
        assert_eq!(history.erase(&Erasure::new(Pattern::all())).await.unwrap(), 2);
        assert!(!history.correct(&four).await.unwrap());
        let expected = [
            ("store_batch", 1, CallResult::Ok),
            ("store_batch", 1, CallResult::Ok),
            ("store_batch", 1, CallResult::Ok),
            ("store", 1, CallResult::Ok),
            ("query", 2, CallResult::Ok),
            ("query", 0, CallResult::Refused),
            ("query_stream", 4, CallResult::Ok),
            ("aggregate_stream", 1, CallResult::Ok),
            ("aggregate_stream", 0, CallResult::Refused),
            ("records", 1, CallResult::Ok),
            ("cleanup", 2, CallResult::Ok),
            ("query_where", 1, CallResult::Ok),
            ("correct", 1, CallResult::Ok),
            ("erase", 2, CallResult::Ok),
            ("correct", 0, CallResult::Ok),
        ];
        assert_eq!(*calls.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_dropped_future_or_stream_is_a_cancelled_call() {
        let (history, calls) = observed();
        history.put("a", &1).await.unwrap();
        calls.lock().unwrap().clear();
        drop(history.health());
        assert!(calls.lock().unwrap().is_empty(), "a future that was never polled is no call");
        let rows = history.query_stream("*", QueryParams::default()).await.unwrap();
        assert!(calls.lock().unwrap().is_empty());
        drop(rows);
        assert_eq!(*calls.lock().unwrap(), [("query_stream", 0, CallResult::Cancelled)]);
    }

    #[test]
    fn what_the_caller_did_wrong_is_no_failure() {
        for (error, result) in [
            (PersistenceError::Unsupported("erasing rows"), CallResult::Refused),
            (PersistenceError::TooManyBuckets { limit: 1 }, CallResult::Refused),
            (PersistenceError::BackendShutdown, CallResult::Error),
        ] {
            assert_eq!(CallResult::of(&error), result, "{error}");
        }
    }
}
