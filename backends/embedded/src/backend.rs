//! A backend made of an engine.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, current};

use annals_core::{
    BackendError, Batch, CleanupPlan, ErrorKind, Grammar, Guarantees, Outcome, Pattern,
    PersistenceBackend, PersistenceError, Query, QueryParams, RecordSummary, Row, RowStream,
    StoredValue, Swept, Value, async_trait,
};
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::cache::{Caches, lock};
use crate::config::EmbeddedConfig;
use crate::engine::{Engine, Page};
use crate::folder::Folder;
use crate::parking::{Parked, Parking};
use crate::scan::PagedScan;
use crate::state::State;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::writer::{self, Job};

/// A [`PersistenceBackend`] over an embedded engine.
///
/// Clones share one store. Dropping the last one waits until everything accepted is stored.
pub struct Embedded<E: Engine>(Arc<Inner<E>>);

struct Inner<E: Engine> {
    engine: Arc<E>,
    caches: Arc<Caches>,
    name: &'static str,
    max_value_bytes: usize,
    /// Gone once closing began.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    tasks: Arc<Tasks<E::Writer>>,
    /// The folding one and the writer's, which ends after it.
    threads: Mutex<Vec<JoinHandle<()>>>,
    ended: watch::Receiver<Option<Result<(), PersistenceError>>>,
    closed: Arc<AtomicBool>,
    /// How many pages are fetched at once; a stream that nobody reads holds none of these.
    readers: Arc<Semaphore>,
    /// Where streams stand between two pages, if they may not keep their snapshots for ever.
    parking: Option<Parking<PagedScan<E::Snapshot>>>,
}

impl<E: Engine> Clone for Embedded<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Engine> fmt::Debug for Embedded<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("engine", &self.0.name)
            .field("closed", &self.0.closed.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl<E: Engine> Embedded<E> {
    /// Starts the writer's thread and the folding one.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        name: &'static str,
        engine: E,
        writer: E::Writer,
        config: &EmbeddedConfig,
    ) -> Result<Self, PersistenceError> {
        let (jobs, queue) = mpsc::channel(config.queue_capacity.clamp(1, Semaphore::MAX_PERMITS));
        let (end, ended) = watch::channel(None);
        let engine = Arc::new(engine);
        let caches = Arc::new(Caches::new(name));
        let tasks = Arc::new(Tasks::new());
        let writer = writer::Thread {
            engine: name,
            store: Store::new(writer, caches.clone()),
            jobs: queue,
            tasks: tasks.clone(),
            tuning: config.tuning.clone(),
        };
        let folder = Folder::new(
            engine.clone(),
            caches.clone(),
            tasks.clone(),
            jobs.clone(),
            config.tuning.clone(),
        );
        let parking = match config.snapshot_timeout {
            Some(limit) => Some(Parking::new(limit, |watch| {
                spawn(name, format!("annals-{name}-idle"), watch)
            })?),
            None => None,
        };
        // Should the second one not start, the first one ends: nobody can send to it any more.
        let writer = spawn(name, format!("annals-{name}"), move || writer.run(&end))?;
        let folder = spawn(name, format!("annals-{name}-fold"), move || folder.run())?;
        Ok(Self(Arc::new(Inner {
            engine,
            caches,
            name,
            max_value_bytes: config.max_value_bytes,
            jobs: Mutex::new(Some(jobs)),
            tasks,
            threads: Mutex::new(vec![folder, writer]),
            ended,
            closed: Arc::default(),
            readers: Arc::new(Semaphore::new(config.readers.clamp(1, Semaphore::MAX_PERMITS))),
            parking,
        })))
    }

    async fn ask<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(writer::Reply<T>) -> Job,
    ) -> Result<T, PersistenceError> {
        let jobs = lock(&self.0.jobs).clone().ok_or(PersistenceError::BackendShutdown)?;
        let (reply, answer) = oneshot::channel();
        // A full queue waits here, on no thread at all.
        let sent = jobs.send(job(reply)).await;
        drop(jobs);
        match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.ended(operation, Outcome::Unknown))),
            Err(_) => Err(self.ended(operation, Outcome::NotApplied)),
        }
    }

    /// Why there is no answer.
    fn ended(&self, operation: &'static str, outcome: Outcome) -> PersistenceError {
        if self.0.closed.load(Ordering::Acquire) {
            return PersistenceError::BackendShutdown;
        }
        let message = "the writer's thread ended unexpectedly; open the store again";
        // Not the values' fault: whoever retries must not take it for that.
        BackendError::new(self.0.name, operation, ErrorKind::Io, message)
            .with_outcome(outcome)
            .into()
    }

    /// Runs a read on a thread that may block, with at most `readers` of them at once.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(State<E::Snapshot>) -> Result<T, PersistenceError> + Send + 'static,
    ) -> Result<T, PersistenceError> {
        let (engine, caches) = (self.0.engine.clone(), self.0.caches.clone());
        self.fetch(move || read(State::new(engine.snapshot()?, caches)?)).await
    }

    /// Does work that may block on a thread that may.
    async fn fetch<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PersistenceError> + Send + 'static,
    ) -> Result<T, PersistenceError> {
        let Inner { name, closed, readers, .. } = &*self.0;
        let permit =
            readers.clone().acquire_owned().await.map_err(|_| PersistenceError::BackendShutdown)?;
        if closed.load(Ordering::Acquire) {
            return Err(PersistenceError::BackendShutdown);
        }
        let name = *name;
        blocking::unblock(move || {
            // The permit is held by the work itself: a caller who leaves does not free the thread.
            let _permit = permit;
            // A page that makes no sense can make an engine panic; the caller is not to blame. The
            // work owns what it touches, and that is gone with it.
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                let message = "reading panicked; the file may be damaged";
                Err(BackendError::new(name, "query", ErrorKind::Corrupt, message).into())
            })
        })
        .await
    }
}

fn spawn(
    engine: &'static str,
    name: String,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, PersistenceError> {
    std::thread::Builder::new().name(name).spawn(work).map_err(|error| {
        BackendError::new(engine, "open", ErrorKind::Other, "a thread did not start")
            .with_source(error)
            .into()
    })
}

/// A scan between two pages.
enum Waiting<S> {
    Here(Box<PagedScan<S>>),
    Parked(Parked<PagedScan<S>>),
}

impl<E: Engine> Embedded<E> {
    fn park(&self, scan: PagedScan<E::Snapshot>) -> Waiting<E::Snapshot> {
        match &self.0.parking {
            Some(parking) => Waiting::Parked(parking.park(scan)),
            None => Waiting::Here(Box::new(scan)),
        }
    }

    /// The scan, or why it is gone.
    fn unpark(
        &self,
        waiting: Waiting<E::Snapshot>,
    ) -> Result<PagedScan<E::Snapshot>, PersistenceError> {
        let parked = match waiting {
            Waiting::Here(scan) => return Ok(*scan),
            Waiting::Parked(parked) => parked,
        };
        parked.take().ok_or_else(|| {
            let limit = self.0.parking.as_ref().map(Parking::limit).unwrap_or_default();
            let message = format!(
                "the stream was not read for {limit:?} and has lost its snapshot; query again, or \
                 allow more (snapshot_timeout_ms)"
            );
            BackendError::new(self.0.name, "query", ErrorKind::Timeout, message).into()
        })
    }
}

/// The rest of a query as a stream of pages. It keeps the store open, as a handle does.
fn pages<E: Engine>(store: Embedded<E>, scan: PagedScan<E::Snapshot>, first: Page) -> RowStream {
    let scan = store.park(scan);
    RowStream::from_pages(stream::try_unfold((store, scan, first), |state| async move {
        let (store, mut scan, mut page) = state;
        if page.is_empty() {
            let mut unparked = store.unpark(scan)?;
            (unparked, page) = store
                .fetch(move || {
                    let page = unparked.next_page()?;
                    Ok((unparked, page))
                })
                .await?;
            scan = store.park(unparked);
        }
        Ok((!page.is_empty()).then_some((page, (store, scan, Page::new()))))
    }))
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Engine> PersistenceBackend for Embedded<E> {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        let row = Row::with_limit(record_name, value, timestamp, self.0.max_value_bytes)?;
        let batch = Batch::new([row]);
        self.ask("store", |reply| Job::Store(batch, reply)).await
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.query_stream(record_pattern, params).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.cleanup_plan(&CleanupPlan::older_than(older_than)).await
    }

    async fn initialize(&self) -> Result<(), PersistenceError> {
        self.health().await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        batch.validate(self.0.max_value_bytes)?;
        let batch = batch.clone();
        self.ask("store", |reply| Job::Store(batch, reply)).await
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        let query = Query::new(record_pattern, &params)?;
        if query.is_empty() {
            return self.fetch(|| Ok(RowStream::from_rows(Vec::new()))).await;
        }
        let (scan, first) = self
            .read(move |state| {
                let mut scan = PagedScan::new(state, query)?;
                let first = scan.next_page()?;
                Ok((scan, first))
            })
            .await?;
        if first.is_empty() {
            return Ok(RowStream::from_rows(first));
        }
        Ok(pages(self.clone(), scan, first))
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let pattern = Pattern::new(record_pattern, grammar)?;
        self.read(move |state| {
            let mut summaries = Vec::new();
            for (id, name) in state.tables()?.records(&pattern)? {
                if let Some(summary) = state.summary(id)? {
                    summaries.push(RecordSummary::new(
                        name.as_ref().to_owned(),
                        summary.count,
                        summary.first,
                        summary.last,
                    ));
                }
            }
            Ok(summaries)
        })
        .await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        if lock(&self.0.jobs).is_none() {
            return Err(PersistenceError::BackendShutdown);
        }
        let (reply, answer) = oneshot::channel();
        if self.0.tasks.clean_up(plan.clone(), reply).is_err() {
            return Err(self.ended("cleanup", Outcome::NotApplied));
        }
        answer.await.unwrap_or_else(|_| Err(self.ended("cleanup", Outcome::Unknown)))
    }

    /// Two processes that sweep one file take turns: its write lock sees to that.
    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        let removed = self.cleanup_plan(plan).await?;
        Ok(Swept::finished(removed))
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.ask("health", Job::Health).await?;
        self.read(|_| Ok(())).await
    }

    async fn close(&self) -> Result<(), PersistenceError> {
        let jobs = lock(&self.0.jobs).take();
        self.0.closed.store(true, Ordering::Release);
        if let Some(jobs) = jobs
            && !self.0.tasks.close()
        {
            // Nobody else tells the writer. If it is gone as well, what follows says how it ended.
            drop(jobs.send(Job::Close).await);
        }
        // Whoever closes waits for the end, the second one too.
        match self.0.ended.clone().wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ok(())),
            Err(_) => {
                let message = "the writer's thread had ended unexpectedly";
                Err(BackendError::new(self.0.name, "close", ErrorKind::Other, message)
                    .with_outcome(Outcome::Unknown)
                    .into())
            }
        }
    }

    fn guarantees(&self) -> Guarantees {
        self.0.engine.guarantees()
    }
}

impl<E: Engine> Drop for Inner<E> {
    fn drop(&mut self) {
        self.tasks.close();
        // The writer ends when the last sender is gone, or the folding tells it to.
        lock(&self.jobs).take();
        let threads = std::mem::take(&mut *lock(&self.threads));
        // A task that is woken on one of these very threads may drop the last handle there.
        if threads.iter().any(|thread| thread.thread().id() == current().id()) {
            return;
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(engine = self.name, "a thread of the store had panicked");
            }
        }
    }
}
