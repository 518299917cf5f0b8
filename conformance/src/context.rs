//! What a case works with: fresh stores, claims and children.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use annals_core::{Batch, Durability, Guarantees, PersistenceBackend, QueryParams, Row, Value};
use tokio::sync::RwLock;

use crate::check::{During, Plain, Verdict, failure, plain, skip};
use crate::harness::Harness;
use crate::suite::Suite;

/// How many rows the suite hands over in one batch when it fills a store.
const LOAD_BATCH: usize = 1_000;

/// Held until a new process says that it runs, and shared while a store is opened.
///
/// Until the new process runs its program it holds copies of all open files, their locks among
/// them, and for a moment after the system has told the parent that it does. A store that another
/// case closes meanwhile would still be in use when it is opened again.
pub(crate) static STARTING: RwLock<()> = RwLock::const_new(());

/// The surroundings of one case.
pub(crate) struct Context {
    pub(crate) suite: Suite,
    /// Raised with each use of the harness: a long case on a busy machine is slow, but does not hang.
    progress: Arc<AtomicU64>,
    created: Mutex<Vec<String>>,
}

impl Context {
    pub(crate) fn new(suite: &Suite, progress: Arc<AtomicU64>) -> Self {
        Self { suite: suite.clone(), progress, created: Mutex::default() }
    }

    /// After how long a single call counts as hanging. It is far longer than any call takes on a
    /// busy machine; it only tells which call of a case hangs.
    pub(crate) fn patience(&self) -> Duration {
        self.suite.timeout / 3
    }

    pub(crate) fn harness(&self) -> &dyn Harness {
        self.progress.fetch_add(1, Ordering::Relaxed);
        &*self.suite.harness
    }

    /// A place for a store that nobody has opened yet.
    pub(crate) async fn location(&self) -> Verdict<String> {
        let location = self.harness().create().await.during("making a store")?;
        self.created.lock().unwrap_or_else(PoisonError::into_inner).push(location.clone());
        Ok(location)
    }

    /// A new and empty store.
    pub(crate) async fn fresh(&self) -> Verdict<Store> {
        let location = self.location().await?;
        self.open(&location).await
    }

    /// A new and empty store that is there again when it is opened again, or the case is skipped.
    pub(crate) async fn fresh_durable(&self) -> Verdict<Store> {
        let store = self.fresh().await?;
        store.must_claim(store.guarantees().durability >= Durability::Process, "any durability")?;
        Ok(store)
    }

    /// Opens and initializes a store.
    pub(crate) async fn open(&self, location: &str) -> Verdict<Store> {
        let opened = {
            let _nothing_starts = STARTING.read().await;
            self.harness().open(location).await
        };
        let backend = opened.during("opening a store")?;
        backend.initialize().await.during("initializing a store")?;
        Ok(Store { location: location.to_owned(), backend })
    }

    /// Closes a store and opens it again.
    pub(crate) async fn reopen(&self, store: Store) -> Verdict<Store> {
        store.close().await.during("closing a store")?;
        let Store { location, backend } = store;
        drop(backend);
        self.open(&location).await
    }

    /// Removes what the case created. The case is over: a failure here is only told.
    pub(crate) async fn remove_stores(&self) {
        let created =
            std::mem::take(&mut *self.created.lock().unwrap_or_else(PoisonError::into_inner));
        for location in created {
            if let Err(error) = self.harness().remove(&location).await {
                eprintln!("{}: cannot remove {location}: {error}", self.suite.name());
            }
        }
    }
}

/// An open store.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) location: String,
    pub(crate) backend: Arc<dyn PersistenceBackend>,
}

impl Deref for Store {
    type Target = Arc<dyn PersistenceBackend>;

    fn deref(&self) -> &Self::Target {
        &self.backend
    }
}

impl Store {
    /// Skips the case unless the backend claims what it is about.
    pub(crate) fn must_claim(&self, claimed: bool, claim: &str) -> Verdict {
        if claimed { Ok(()) } else { skip(format!("the backend does not claim {claim}")) }
    }

    pub(crate) fn claims(&self) -> Guarantees {
        self.backend.guarantees()
    }

    /// Stores one row.
    #[track_caller]
    pub(crate) fn put(
        &self,
        record: &str,
        value: impl Into<Value>,
        stored_at: u64,
    ) -> impl Future<Output = Verdict> + Send {
        let at = std::panic::Location::caller();
        let (backend, value) = (self.backend.clone(), value.into());
        let record = record.to_owned();
        async move {
            let stored = backend.store(&record, &value, stored_at).await;
            stored.during(format!("storing {record:?} at {stored_at} ({at})"))
        }
    }

    /// Stores many rows in batches, in order.
    pub(crate) async fn load(&self, rows: impl IntoIterator<Item = Row>) -> Verdict {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let batch: Vec<Row> = rows.by_ref().take(LOAD_BATCH).collect();
            self.store_batch(&Batch::new(batch)).await.during("storing a batch of valid rows")?;
        }
        Ok(())
    }

    /// The rows that a query returns.
    pub(crate) async fn rows(&self, pattern: &str, params: QueryParams) -> Verdict<Vec<Plain>> {
        let rows = self.query(pattern, params).await;
        Ok(plain(rows.during(format!("querying {pattern:?} with {params:?}"))?))
    }

    /// All rows of the store.
    pub(crate) async fn all(&self) -> Verdict<Vec<Plain>> {
        self.rows("*", QueryParams::default()).await
    }

    /// The names of the records that a query returns rows of, each once, in the query's order.
    pub(crate) async fn names(&self, pattern: &str, params: QueryParams) -> Verdict<Vec<String>> {
        let mut names: Vec<String> =
            self.rows(pattern, params).await?.into_iter().map(|(record, ..)| record).collect();
        names.dedup();
        Ok(names)
    }

    /// The values that a query returns.
    pub(crate) async fn values(&self, pattern: &str, params: QueryParams) -> Verdict<Vec<Value>> {
        Ok(self.rows(pattern, params).await?.into_iter().map(|(.., value)| value).collect())
    }
}

/// A row that is valid for certain.
pub(crate) fn row(record: &str, value: impl Into<Value>, stored_at: u64) -> Verdict<Row> {
    Row::new(record, &value.into(), stored_at).during("making a row")
}

/// `future` must end within the time, or the clause is broken by hanging.
#[track_caller]
pub(crate) fn within<T>(
    time: Duration,
    what: &str,
    future: impl Future<Output = T> + Send,
) -> impl Future<Output = Verdict<T>> + Send {
    let late = failure(what, format!("an end within {time:?}"), "none: it hangs");
    async move { tokio::time::timeout(time, future).await.map_err(|_| late) }
}

/// Polls once, and returns whether the future is still waiting.
pub(crate) async fn is_pending(mut future: Pin<&mut (impl Future + Send)>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// A task's result, with a panic as a failure.
pub(crate) fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Verdict<T> {
    result.during("a task of the case")
}
