//! Wraps a backend and measures its calls.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use annals::{
    Aggregate, Batch, BucketStream, CleanupPlan, Grammar, Guarantees, PersistenceBackend,
    PersistenceError, QueryParams, RecordSummary, RowStream, StoredValue, Swept, Value,
    async_trait,
};

use crate::metrics::{Metrics, Outcome};

/// Measures the calls of requests and of the recorder.
///
/// A streamed query takes as long as its reader does, so the reader measures it with a
/// [`QueryTimer`].
pub(crate) struct Metered {
    inner: Arc<dyn PersistenceBackend>,
    metrics: Metrics,
}

impl Metered {
    pub(crate) fn new(inner: Arc<dyn PersistenceBackend>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn stored<T>(&self, rows: usize, since: Instant, result: &Result<T, PersistenceError>) {
        self.metrics.stored(rows, outcome(result), since.elapsed().as_secs_f64());
    }

    fn queried<T>(&self, since: Instant, result: &Result<T, PersistenceError>) {
        self.metrics.queried(outcome(result), since.elapsed().as_secs_f64());
    }
}

fn outcome<T>(result: &Result<T, PersistenceError>) -> Outcome {
    if result.is_ok() { Outcome::Ok } else { Outcome::Error }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for Metered {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        let since = Instant::now();
        let result = self.inner.store(record_name, value, timestamp).await;
        self.stored(1, since, &result);
        result
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        let since = Instant::now();
        let result = self.inner.store_batch(batch).await;
        self.stored(batch.rows().len(), since, &result);
        result
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        let since = Instant::now();
        let result = self.inner.query(record_pattern, params).await;
        self.queried(since, &result);
        result
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let since = Instant::now();
        let result = self.inner.records(record_pattern, grammar).await;
        self.queried(since, &result);
        result
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        self.inner.query_stream(record_pattern, params).await
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream, PersistenceError> {
        self.inner.aggregate_stream(record_pattern, aggregate).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.inner.cleanup(older_than).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.inner.cleanup_plan(plan).await
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        self.inner.sweep(plan).await
    }

    async fn initialize(&self) -> Result<(), PersistenceError> {
        self.inner.initialize().await
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<(), PersistenceError> {
        self.inner.close().await
    }

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").finish_non_exhaustive()
    }
}

/// Measures a streamed query until this is dropped. The query counts as failed unless it was read to
/// its end.
pub(crate) struct QueryTimer {
    metrics: Metrics,
    since: Instant,
    outcome: Outcome,
}

impl QueryTimer {
    pub(crate) fn start(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), since: Instant::now(), outcome: Outcome::Error }
    }

    pub(crate) fn succeeded(&mut self) {
        self.outcome = Outcome::Ok;
    }
}

impl Drop for QueryTimer {
    fn drop(&mut self) {
        self.metrics.queried(self.outcome, self.since.elapsed().as_secs_f64());
    }
}
