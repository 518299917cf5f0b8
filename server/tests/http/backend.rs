//! A backend that blocks and fails on command.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use annals_core::{
    Aggregate, BackendError, Batch, BatchId, BucketStream, CleanupPlan, Cursor, Erasure, ErrorKind,
    FollowFrom, FollowPage, FollowParams, Grammar, Guarantees, MemoryBackend, Outcome,
    PersistenceBackend, PersistenceError, Predicate, QueryParams, RawRow, RecordSummary, Row,
    RowStream, StoredValue, Swept, Value, async_trait,
};
use futures::stream;
use tokio::sync::{Semaphore, watch};

/// A message of the engine, which no client may see.
pub const SECRET: &str = "host=db.internal role=ada";

pub struct Controlled {
    pub memory: MemoryBackend,
    /// Stores wait while it is false.
    pub open: watch::Sender<bool>,
    /// A permit for each store that has begun.
    pub begun: Semaphore,
    fails_with: Mutex<Option<(ErrorKind, Outcome)>>,
    shut: AtomicBool,
    /// Cursors are refused.
    pub forgets: AtomicBool,
    /// Whether rows can be erased.
    pub erases: AtomicBool,
    /// So many calls to erase succeed.
    pub erases_left: AtomicUsize,
    /// Streams fail after this many rows.
    pub breaks_after: Mutex<Option<usize>>,
}

impl Default for Controlled {
    fn default() -> Self {
        Self {
            memory: MemoryBackend::new(),
            open: watch::Sender::new(true),
            begun: Semaphore::new(0),
            fails_with: Mutex::default(),
            shut: AtomicBool::new(false),
            forgets: AtomicBool::new(false),
            erases: AtomicBool::new(true),
            erases_left: AtomicUsize::new(usize::MAX),
            breaks_after: Mutex::default(),
        }
    }
}

impl Controlled {
    pub fn fail(&self, kind: ErrorKind, outcome: Outcome) {
        *self.fails_with.lock().unwrap_or_else(PoisonError::into_inner) = Some((kind, outcome));
    }

    pub fn work(&self) {
        *self.fails_with.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes it report that it was closed.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    fn refuse(&self) -> Result<(), PersistenceError> {
        if self.shut.load(Ordering::SeqCst) {
            return Err(PersistenceError::BackendShutdown);
        }
        let fails_with = *self.fails_with.lock().unwrap_or_else(PoisonError::into_inner);
        fails_with.map_or(Ok(()), |(kind, outcome)| {
            Err(BackendError::new("test", "call", kind, SECRET).with_outcome(outcome).into())
        })
    }

    async fn pass_gate(&self) {
        self.begun.add_permits(1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for Controlled {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        self.pass_gate().await;
        self.refuse()?;
        self.memory.store(record_name, value, timestamp).await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        self.pass_gate().await;
        self.refuse()?;
        self.memory.store_batch(batch).await
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool, PersistenceError> {
        self.memory.has_batch(id).await
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.refuse()?;
        self.memory.query(record_pattern, params).await
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        self.refuse()?;
        let breaks_after = *self.breaks_after.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rows) = breaks_after else {
            return self.memory.query_stream(record_pattern, params).await;
        };
        let row = RawRow::new("a".into(), "1".into(), 1);
        let broken = BackendError::new("test", "query", ErrorKind::Connection, SECRET);
        Ok(RowStream::from_pages(stream::iter([Ok(vec![row; rows]), Err(broken.into())])))
    }

    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream, PersistenceError> {
        self.refuse()?;
        self.memory.query_where(record_pattern, params, predicate).await
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream, PersistenceError> {
        self.refuse()?;
        self.memory.aggregate_stream(record_pattern, aggregate).await
    }

    async fn follow_page(
        &self,
        record_pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage, PersistenceError> {
        self.refuse()?;
        let forgotten = |cursor: &Cursor| Err(cursor.refuse("the store was restored since"));
        match &params.from {
            FollowFrom::Cursor(cursor) if self.forgets.load(Ordering::SeqCst) => forgotten(cursor),
            _ => self.memory.follow_page(record_pattern, params).await,
        }
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        self.refuse()?;
        self.memory.records(record_pattern, grammar).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.memory.cleanup(older_than).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.memory.cleanup_plan(plan).await
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        self.memory.sweep(plan).await
    }

    async fn initialize(&self) -> Result<(), PersistenceError> {
        self.memory.initialize().await
    }

    async fn erase(&self, erasure: &Erasure) -> Result<u64, PersistenceError> {
        self.pass_gate().await;
        self.refuse()?;
        if self.erases_left.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(BackendError::new("test", "erase", ErrorKind::Connection, SECRET).into());
        }
        self.memory.erase(erasure).await
    }

    async fn correct(&self, row: &Row) -> Result<bool, PersistenceError> {
        self.refuse()?;
        self.memory.correct(row).await
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.refuse()?;
        self.memory.health().await
    }

    /// Does not close the memory, so that the test can read it.
    async fn close(&self) -> Result<(), PersistenceError> {
        Ok(())
    }

    fn guarantees(&self) -> Guarantees {
        self.memory.guarantees().with_erasure(self.erases.load(Ordering::SeqCst))
    }
}
