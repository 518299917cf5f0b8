//! The backend under test behind a connection that is not quite right, for the recorder's clauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::{
    Aggregate, BackendError, Batch, BatchId, BucketStream, CleanupPlan, Erasure, ErrorKind,
    FollowPage, FollowParams, Grammar, Guarantees, Outcome, PersistenceBackend, PersistenceError,
    Predicate, QueryParams, RecordSummary, Row, RowStream, StoredValue, Swept, Value,
};
use async_trait::async_trait;

/// What goes wrong with writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Every other call fails before anything is applied, and would succeed if repeated.
    Busy,
    /// Every other call is applied and then answered with an error, as if the connection had
    /// broken in between.
    AnswerLost,
    /// The rows of the record `poison` are too large for this backend.
    Poison,
    /// The first [`OUTAGE_CALLS`] calls fail with an error of unknown kind.
    Outage,
}

/// The record that [`Fault::Poison`] is about.
pub(crate) const POISON: &str = "poison";

/// How long [`Fault::Outage`] lasts.
const OUTAGE_CALLS: u64 = 40;

pub(crate) struct Faulty {
    inner: Arc<dyn PersistenceBackend>,
    fault: Fault,
    calls: AtomicU64,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn PersistenceBackend>, fault: Fault) -> Arc<Self> {
        Arc::new(Self { inner, fault, calls: AtomicU64::new(0) })
    }

    fn is_turn(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
    }

    fn before(&self) -> Result<(), PersistenceError> {
        if matches!(self.fault, Fault::Busy) && self.is_turn() {
            return Err(BackendError::new("faulty", "store", ErrorKind::Busy, "try again").into());
        }
        if matches!(self.fault, Fault::Outage)
            && self.calls.fetch_add(1, Ordering::SeqCst) < OUTAGE_CALLS
        {
            return Err(BackendError::new("faulty", "store", ErrorKind::Other, "away").into());
        }
        Ok(())
    }

    fn after(&self) -> Result<(), PersistenceError> {
        if matches!(self.fault, Fault::AnswerLost) && self.is_turn() {
            let error = BackendError::new("faulty", "store", ErrorKind::Connection, "it broke");
            return Err(error.with_outcome(Outcome::Unknown).into());
        }
        Ok(())
    }

    fn check(&self, record: &str) -> Result<(), PersistenceError> {
        match self.fault {
            Fault::Poison if record == POISON => {
                Err(PersistenceError::ValueTooLarge { size: 2, limit: 1 })
            }
            _ => Ok(()),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for Faulty {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        self.check(record_name)?;
        self.before()?;
        self.inner.store(record_name, value, timestamp).await?;
        self.after()
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.inner.query(record_pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.inner.cleanup(older_than).await
    }

    async fn initialize(&self) -> Result<(), PersistenceError> {
        self.inner.initialize().await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        for (index, row) in batch.rows().iter().enumerate() {
            self.check(row.record.as_str()).map_err(|source| PersistenceError::InvalidRow {
                index,
                source: Box::new(source),
            })?;
        }
        self.before()?;
        self.inner.store_batch(batch).await?;
        self.after()
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool, PersistenceError> {
        self.inner.has_batch(id).await
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        self.inner.query_stream(record_pattern, params).await
    }

    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream, PersistenceError> {
        self.inner.query_where(record_pattern, params, predicate).await
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream, PersistenceError> {
        self.inner.aggregate_stream(record_pattern, aggregate).await
    }

    async fn follow_page(
        &self,
        record_pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage, PersistenceError> {
        self.inner.follow_page(record_pattern, params).await
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        self.inner.records(record_pattern, grammar).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.inner.cleanup_plan(plan).await
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        self.inner.sweep(plan).await
    }

    async fn erase(&self, erasure: &Erasure) -> Result<u64, PersistenceError> {
        self.inner.erase(erasure).await
    }

    async fn correct(&self, row: &Row) -> Result<bool, PersistenceError> {
        self.inner.correct(row).await
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
