//! A backend that opens its store at the first call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{
    Aggregate, Batch, BatchId, BucketStream, CleanupPlan, Erasure, FollowPage, FollowParams,
    Grammar, Guarantees, PersistenceBackend, PersistenceError, Predicate, QueryParams,
    RecordSummary, Result, Row, RowStream, StoredValue, Swept, Value, async_trait,
};
use tokio::sync::OnceCell;

use crate::scheme::Scheme;

/// Forwards every call to the store of one URL, which the first call opens.
pub(crate) struct Lazy {
    scheme: Arc<Scheme>,
    url: String,
    store: OnceCell<Arc<dyn PersistenceBackend>>,
    closed: AtomicBool,
}

impl Lazy {
    pub(crate) fn new(scheme: Arc<Scheme>, url: String) -> Self {
        Self { scheme, url, store: OnceCell::new(), closed: AtomicBool::new(false) }
    }

    /// The open store. A failed or dropped attempt to open it leaves the next one to the next
    /// caller.
    async fn opened(&self) -> Result<&dyn PersistenceBackend> {
        self.check_open()?;
        let store = self.store.get_or_try_init(|| self.scheme.open(self.url.clone())).await?;
        // Closed while it was being opened: `close` did not see this store.
        if self.check_open().is_err() {
            store.close().await?;
        }
        self.check_open()?;
        Ok(&**store)
    }

    fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::SeqCst) {
            true => Err(PersistenceError::BackendShutdown),
            false => Ok(()),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for Lazy {
    async fn store(&self, record_name: &str, value: &Value, timestamp: u64) -> Result<()> {
        self.opened().await?.store(record_name, value, timestamp).await
    }

    async fn query(&self, record_pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        self.opened().await?.query(record_pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        self.opened().await?.cleanup(older_than).await
    }

    async fn initialize(&self) -> Result<()> {
        self.opened().await?.initialize().await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        self.opened().await?.store_batch(batch).await
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        self.opened().await?.has_batch(id).await
    }

    async fn query_stream(&self, record_pattern: &str, params: QueryParams) -> Result<RowStream> {
        self.opened().await?.query_stream(record_pattern, params).await
    }

    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        self.opened().await?.query_where(record_pattern, params, predicate).await
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream> {
        self.opened().await?.aggregate_stream(record_pattern, aggregate).await
    }

    async fn follow_page(&self, record_pattern: &str, params: &FollowParams) -> Result<FollowPage> {
        self.opened().await?.follow_page(record_pattern, params).await
    }

    async fn records(&self, record_pattern: &str, grammar: Grammar) -> Result<Vec<RecordSummary>> {
        self.opened().await?.records(record_pattern, grammar).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64> {
        self.opened().await?.cleanup_plan(plan).await
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept> {
        self.opened().await?.sweep(plan).await
    }

    async fn erase(&self, erasure: &Erasure) -> Result<u64> {
        self.opened().await?.erase(erasure).await
    }

    async fn correct(&self, row: &Row) -> Result<bool> {
        self.opened().await?.correct(row).await
    }

    async fn health(&self) -> Result<()> {
        self.opened().await?.health().await
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        match self.store.get() {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }

    fn guarantees(&self) -> Guarantees {
        self.store.get().map_or(self.scheme.guarantees, |store| store.guarantees())
    }
}
