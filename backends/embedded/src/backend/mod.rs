//! The backend made of an engine: checks arguments, queues writes, and runs reads on a pool.

mod maintenance;
mod reads;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::aggregate::Plan;
use annals_core::{
    Aggregate, BackendError, Batch, BatchId, BucketStream, CleanupPlan, Erasure, ErrorKind,
    FollowFrom, FollowPage, FollowParams, Grammar, Guarantees, Outcome, Pattern,
    PersistenceBackend, PersistenceError, Predicate, Query, QueryParams, RecordSummary, Result,
    Row, RowStream, StoredValue, Swept, Value, async_trait,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::compaction::Compactor;
use crate::config::EmbeddedConfig;
use crate::coordination::{Coordination, Reply};
use crate::engine::Engine;
use crate::follow::{self, Request, Watcher};
use crate::read::{Aggregation, Caches, Leases, View};
use crate::reserve::Reserve;
use crate::thread::JoinOnDrop;
use crate::tuning::Tuning;
use crate::write::{Job, Store, WriterThread, check_writers};

/// A [`PersistenceBackend`] on an embedded engine.
///
/// Clones share one store. Dropping the last one waits until everything accepted is stored.
pub struct Embedded<E: Engine>(Arc<Inner<E>>);

struct Inner<E: Engine> {
    engine: Arc<E>,
    caches: Arc<Caches>,
    name: &'static str,
    max_value_bytes: usize,
    tuning: Tuning,
    /// There is no writer.
    read_only: bool,
    /// `None` once closing has begun, and where there is no writer.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    coordination: Arc<Coordination<Store<E::Writer>>>,
    ended: watch::Receiver<Option<Result<()>>>,
    closed: AtomicBool,
    /// Limits the threads that read at once. A stream that nobody reads takes none of them.
    readers: Arc<Semaphore>,
    /// Where streams keep their snapshots between two steps, if there is a limit.
    leases: Option<Leases<View<E::Snapshot>>>,
    /// Looks for what other processes store while a follower waits.
    watcher: Watcher,
    /// The compactor, and the writer, which ends after it; none where nothing is written.
    threads: Vec<JoinOnDrop>,
}

/// The threads of a store, the way to them, and the end of the last one.
struct Running {
    jobs: Option<mpsc::Sender<Job>>,
    ended: watch::Receiver<Option<Result<()>>>,
    threads: Vec<JoinOnDrop>,
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
    /// Starts the writer and the compactor, which keeps the reserve.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        name: &'static str,
        engine: E,
        writer: E::Writer,
        config: &EmbeddedConfig,
        reserve: Arc<Reserve>,
    ) -> Result<Self> {
        let (jobs, queue) = mpsc::channel(config.queue_capacity.clamp(1, Semaphore::MAX_PERMITS));
        let (end, ended) = watch::channel(None);
        let engine = Arc::new(engine);
        let caches = Arc::new(Caches::new(name));
        let coordination = Arc::new(Coordination::new());
        let writer = WriterThread {
            engine: name,
            store: Store::new(writer, caches.clone()),
            jobs: queue,
            coordination: coordination.clone(),
            tuning: config.tuning.clone(),
            reserve: reserve.clone(),
        };
        let compactor = Compactor::new(
            engine.clone(),
            caches.clone(),
            coordination.clone(),
            jobs.clone(),
            config.tuning.clone(),
            reserve,
        );
        let writer = JoinOnDrop::spawn(name, "writer", move || writer.run(&end))?;
        let compactor = match JoinOnDrop::spawn(name, "compactor", move || compactor.run()) {
            Ok(compactor) => compactor,
            Err(error) => {
                // The writer ends when its last sender is gone.
                drop(jobs);
                return Err(error);
            }
        };
        let running = Running { jobs: Some(jobs), ended, threads: vec![compactor, writer] };
        Self::with(engine, caches, coordination, running, config)
    }

    /// Opens a store that is only read: it has no writer and no compactor.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn read_only(name: &'static str, engine: E, config: &EmbeddedConfig) -> Result<Self> {
        let (_, ended) = watch::channel(Some(Ok(())));
        let running = Running { jobs: None, ended, threads: Vec::new() };
        let caches = Arc::new(Caches::new(name));
        Self::with(Arc::new(engine), caches, Arc::new(Coordination::new()), running, config)
    }

    fn with(
        engine: Arc<E>,
        caches: Arc<Caches>,
        coordination: Arc<Coordination<Store<E::Writer>>>,
        Running { jobs, ended, threads }: Running,
        config: &EmbeddedConfig,
    ) -> Result<Self> {
        let name = caches.engine;
        Ok(Self(Arc::new(Inner {
            engine,
            caches,
            name,
            max_value_bytes: config.max_value_bytes,
            tuning: config.tuning.clone(),
            read_only: jobs.is_none(),
            jobs: Mutex::new(jobs),
            coordination,
            ended,
            closed: AtomicBool::new(false),
            readers: Arc::new(Semaphore::new(config.readers.clamp(1, Semaphore::MAX_PERMITS))),
            leases: config.snapshot_timeout.map(|limit| Leases::new(name, limit)).transpose()?,
            watcher: Watcher::new(),
            threads,
        })))
    }

    async fn ask<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> Result<T> {
        self.must_be_writable(operation)?;
        let jobs = self.0.jobs.lock().clone().ok_or(PersistenceError::BackendShutdown)?;
        let (reply, answer) = oneshot::channel();
        // Waits here if the queue is full, without a thread.
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
        let message = "a thread of the store ended unexpectedly; open the store again";
        // Not `Other`, which a caller could take for a fault of the values.
        BackendError::new(self.0.name, operation, ErrorKind::Io, message)
            .with_outcome(outcome)
            .into()
    }
}
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<E: Engine> PersistenceBackend for Embedded<E> {
    async fn store(&self, record_name: &str, value: &Value, timestamp: u64) -> Result<()> {
        let row = Row::with_limit(record_name, value, timestamp, self.0.max_value_bytes)?;
        let batch = Batch::new([row]);
        self.ask("store", |reply| Job::Store(batch, reply)).await
    }

    async fn query(&self, record_pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        self.query_stream(record_pattern, params).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        self.cleanup_plan(&CleanupPlan::older_than(older_than)).await
    }

    async fn initialize(&self) -> Result<()> {
        self.health().await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        batch.validate(self.0.max_value_bytes)?;
        let batch = batch.clone();
        self.ask("store", |reply| Job::Store(batch, reply)).await
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        self.read(move |view| {
            let tables = view.tables()?;
            check_writers(view.caches.engine, tables, &view.state)?;
            Ok(tables.writer(id.writer)?.is_some_and(|last| last.number >= id.number))
        })
        .await
    }

    async fn query_stream(&self, record_pattern: &str, params: QueryParams) -> Result<RowStream> {
        self.rows(Query::new(record_pattern, &params)?, None).await
    }

    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        self.rows(Query::new(record_pattern, &params)?, Some(predicate.clone())).await
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream> {
        let plan = Arc::new(Plan::new(record_pattern, aggregate)?);
        let tuning = self.0.tuning.clone();
        let none = || BucketStream::from_buckets(Vec::new());
        if plan.is_empty() {
            return self.unblock(move || Ok(none())).await;
        }
        let records = self.stream(move |view| Aggregation::new(view, plan, &tuning)).await?;
        Ok(records.map_or_else(none, BucketStream::new))
    }

    async fn follow_page(&self, record_pattern: &str, params: &FollowParams) -> Result<FollowPage> {
        let Inner { engine, caches, watcher, .. } = &*self.0;
        let pattern = Pattern::new(record_pattern, params.grammar)?;
        let mut request = Request { pattern, params: params.clone() };
        let mut news = caches.news.subscribe();
        let _waiting = caches.news.wait();
        loop {
            news.borrow_and_update();
            let (engine_here, caches_here) = (engine.clone(), caches.clone());
            let (readers, asked) = (self.0.readers.clone(), request.clone());
            let page =
                move || follow::page(engine_here.snapshot()?, &caches_here, &asked, &readers);
            let page = self.unblock(page).await?;
            if !page.rows.is_empty() || !params.wait {
                return Ok(page);
            }
            request.params.from = FollowFrom::Cursor(page.cursor);
            if !page.caught_up {
                continue;
            }
            if engine.guarantees().many_processes {
                watcher.wake(engine, caches)?;
            }
            news.changed().await.map_err(|_| PersistenceError::BackendShutdown)?;
        }
    }

    async fn records(&self, record_pattern: &str, grammar: Grammar) -> Result<Vec<RecordSummary>> {
        let pattern = Pattern::new(record_pattern, grammar)?;
        self.read(move |view| {
            let mut summaries = Vec::new();
            for (id, name) in view.records(&pattern)? {
                if let Some(summary) = view.summary(id)? {
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

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64> {
        self.must_be_writable("cleanup")?;
        let (reply, answer) = oneshot::channel();
        if self.0.coordination.clean_up(plan.clone(), reply).is_err() {
            return Err(self.ended("cleanup", Outcome::NotApplied));
        }
        answer.await.unwrap_or_else(|_| Err(self.ended("cleanup", Outcome::Unknown)))
    }

    /// Two processes that sweep one file take turns: each step holds the write lock.
    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept> {
        let removed = self.cleanup_plan(plan).await?;
        Ok(Swept::finished(removed))
    }

    /// Stores wait while it runs.
    async fn erase(&self, erasure: &Erasure) -> Result<u64> {
        let erasure = erasure.clone();
        self.ask("erase", |reply| Job::Erase(erasure, reply)).await
    }

    async fn correct(&self, row: &Row) -> Result<bool> {
        row.validate(self.0.max_value_bytes)?;
        let row = row.clone();
        self.ask("correct", |reply| Job::Correct(row, reply)).await
    }

    async fn health(&self) -> Result<()> {
        if !self.0.read_only {
            self.ask("health", Job::Health).await?;
        }
        self.read(|_| Ok(())).await
    }

    async fn close(&self) -> Result<()> {
        self.0.closed.store(true, Ordering::Release);
        let jobs = self.0.jobs.lock().take();
        // Before the writer closes the store: the watcher would open it again.
        let watcher = self.0.watcher.close();
        blocking::unblock(move || drop(watcher)).await;
        self.0.caches.news.closed();
        if let Some(jobs) = jobs
            && !self.0.coordination.close()
        {
            // The compactor is gone and does not tell the writer. If the writer is gone too, `ended`
            // says so.
            drop(jobs.send(Job::Close).await);
        }
        if self.0.read_only {
            let engine = self.0.engine.clone();
            return blocking::unblock(move || engine.close()).await;
        }
        // Every caller waits for the end, not only the first.
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
        if let Some(watcher) = self.watcher.close() {
            // A waker that runs on this thread may drop the last handle there.
            if watcher.is_current() { watcher.detach() } else { drop(watcher) }
        }
        self.coordination.close();
        // The writer ends when the last sender is gone, or when the compactor tells it to.
        self.jobs.lock().take();
        // Here as well.
        if self.threads.iter().any(JoinOnDrop::is_current) {
            self.threads.drain(..).for_each(JoinOnDrop::detach);
        }
    }
}
