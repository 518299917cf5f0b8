//! The reference with one thing wrong.

use std::sync::Arc;

use annals_core::{
    Aggregate, Batch, BatchId, BucketStream, CleanupPlan, Erasure, FollowPage, FollowParams,
    Grammar, Guarantees, MemoryBackend, PersistenceBackend, PersistenceError, Predicate,
    QueryParams, RawRow, RecordSummary, Row, RowStream, StoredValue, Swept, Value, async_trait,
};
use futures::StreamExt;

pub(crate) type Result<T> = std::result::Result<T, PersistenceError>;

/// What a wrong backend does otherwise than the reference. Everything has the reference's answer
/// as its default.
#[async_trait]
pub(crate) trait Twist: Send + Sync + 'static {
    fn claims(&self, claims: Guarantees) -> Guarantees {
        claims
    }

    /// A row on its way in, by `store` and by `store_batch`.
    fn incoming(&self, row: Row) -> Row {
        row
    }

    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let row = Row::new(record, value, at)?;
        inner.store_batch(&Batch::new(vec![self.incoming(row)])).await
    }

    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let rows: Vec<Row> = batch.rows().iter().cloned().map(|row| self.incoming(row)).collect();
        let rows = Batch::new(rows);
        inner
            .store_batch(&match batch.id() {
                Some(id) => rows.with_id(id),
                None => rows,
            })
            .await
    }

    async fn has_batch(&self, inner: &MemoryBackend, id: BatchId) -> Result<bool> {
        inner.has_batch(id).await
    }

    /// The rows of a query, for `query` and for `query_stream`.
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        select(inner, pattern, params).await
    }

    async fn stream(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream> {
        Ok(RowStream::from_rows(self.select(inner, pattern, params).await?))
    }

    /// The rows of a query with a filter.
    async fn select_where(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        inner.query_where(pattern, params, predicate).await
    }

    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        inner.erase(erasure).await
    }

    async fn correct(&self, inner: &MemoryBackend, row: &Row) -> Result<bool> {
        inner.correct(row).await
    }

    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream> {
        inner.aggregate_stream(pattern, aggregate).await
    }

    async fn follow(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage> {
        inner.follow_page(pattern, params).await
    }

    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        inner.records(pattern, grammar).await
    }

    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        inner.cleanup(older_than).await
    }

    async fn cleanup_plan(&self, inner: &MemoryBackend, plan: &CleanupPlan) -> Result<u64> {
        inner.cleanup_plan(plan).await
    }

    async fn close(&self, inner: &MemoryBackend) -> Result<()> {
        inner.close().await
    }
}

/// What the reference answers.
pub(crate) async fn select(
    inner: &MemoryBackend,
    pattern: &str,
    params: QueryParams,
) -> Result<Vec<RawRow>> {
    let mut stream = inner.query_stream(pattern, params).await?;
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await {
        rows.push(row?);
    }
    Ok(rows)
}

/// A twist in front of the reference.
pub(crate) struct Twisted {
    inner: MemoryBackend,
    twist: Arc<dyn Twist>,
}

impl Twisted {
    pub(crate) fn new(inner: MemoryBackend, twist: Arc<dyn Twist>) -> Self {
        Self { inner, twist }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for Twisted {
    async fn store(&self, record: &str, value: &Value, at: u64) -> Result<()> {
        self.twist.store(&self.inner, record, value, at).await
    }

    async fn query(&self, pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        self.query_stream(pattern, params).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        self.twist.cleanup(&self.inner, older_than).await
    }

    async fn initialize(&self) -> Result<()> {
        self.inner.initialize().await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        self.twist.store_batch(&self.inner, batch).await
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        self.twist.has_batch(&self.inner, id).await
    }

    async fn query_stream(&self, pattern: &str, params: QueryParams) -> Result<RowStream> {
        self.twist.stream(&self.inner, pattern, params).await
    }

    async fn query_where(
        &self,
        pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        self.twist.select_where(&self.inner, pattern, params, predicate).await
    }

    async fn aggregate_stream(&self, pattern: &str, aggregate: &Aggregate) -> Result<BucketStream> {
        self.twist.aggregate(&self.inner, pattern, aggregate).await
    }

    async fn follow_page(&self, pattern: &str, params: &FollowParams) -> Result<FollowPage> {
        self.twist.follow(&self.inner, pattern, params).await
    }

    async fn records(&self, pattern: &str, grammar: Grammar) -> Result<Vec<RecordSummary>> {
        self.twist.records(&self.inner, pattern, grammar).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64> {
        self.twist.cleanup_plan(&self.inner, plan).await
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept> {
        let removed = self.cleanup_plan(plan).await?;
        Ok(Swept::finished(removed))
    }

    async fn erase(&self, erasure: &Erasure) -> Result<u64> {
        self.twist.erase(&self.inner, erasure).await
    }

    async fn correct(&self, row: &Row) -> Result<bool> {
        self.twist.correct(&self.inner, row).await
    }

    async fn health(&self) -> Result<()> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<()> {
        self.twist.close(&self.inner).await
    }

    fn guarantees(&self) -> Guarantees {
        self.twist.claims(self.inner.guarantees())
    }
}
