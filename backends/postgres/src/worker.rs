//! The background thread: a runtime that belongs to the backend and does all work.
//!
//! With a runtime of its own, the backend works under any executor. An operation whose future is
//! dropped still runs to its end, so that no connection is returned half used. And a caller that blocks
//! the main thread until the backend is closed cannot starve the connections it waits for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Batch, ErrorKind, PersistenceError, Result, RuntimeThread};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::config::PostgresConfig;
use crate::engine::Engine;
use crate::error;
use crate::write::{self, Budget, Job};

/// How long the thread waits for unfinished lookups of host names when it ends.
const LOOKUPS: Duration = Duration::from_secs(1);

/// Owns the thread. Dropping it waits until everything accepted is stored.
pub(crate) struct Worker {
    engine: Arc<Engine>,
    budget: Budget,
    state: Mutex<State>,
}

enum State {
    /// Not used yet.
    Idle,
    /// The thread ends when the queue is closed and everything in it is answered.
    Running(Arc<RuntimeThread>, mpsc::UnboundedSender<Job>),
    /// The queue is closed. Its batches are being stored, or are stored.
    Closed(Option<Arc<RuntimeThread>>),
}

impl Worker {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let budget = Budget::new(config.wait_timeout);
        let engine = Arc::new(Engine::new(config));
        Self { engine, budget, state: Mutex::new(State::Idle) }
    }

    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.engine.config
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The runtime and the write queue. The first call starts both.
    fn running(&self) -> Result<(Handle, mpsc::UnboundedSender<Job>)> {
        let mut state = self.state.lock();
        if let State::Idle = *state {
            self.config().check()?;
            let (queue, jobs) = mpsc::unbounded_channel();
            // A lookup of a host name may hang on a thread that cannot be stopped.
            let work = write::run(self.engine.clone(), jobs);
            let thread =
                RuntimeThread::start("annals-postgres", LOOKUPS, work).map_err(|error| {
                    let message = format!("the background thread could not be started: {error}");
                    error::own("start", ErrorKind::Full, message)
                })?;
            *state = State::Running(Arc::new(thread), queue);
        }
        match &*state {
            State::Running(thread, queue) => Ok((thread.handle().clone(), queue.clone())),
            State::Idle | State::Closed(_) => Err(PersistenceError::BackendShutdown),
        }
    }

    /// Runs an operation on the backend's thread. It continues when the caller drops the future.
    pub(crate) async fn run<T, F>(&self, operation: impl FnOnce(Arc<Engine>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (handle, _) = self.running()?;
        match handle.spawn(operation(self.engine.clone())).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                Err(error::own("work", ErrorKind::Other, "a bug: the operation panicked"))
            }
            Err(_) => Err(PersistenceError::BackendShutdown),
        }
    }

    /// As [`run`](Self::run), but the operation ends when the caller drops the future, and its
    /// transaction is rolled back.
    pub(crate) async fn run_while_wanted<T, F>(
        &self,
        operation: impl FnOnce(Arc<Engine>) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (wanted, dropped) = oneshot::channel::<()>();
        let result = self.run(|engine| {
            let operation = operation(engine);
            async move {
                tokio::select! {
                    biased;
                    result = operation => result,
                    _ = dropped => Err(PersistenceError::BackendShutdown),
                }
            }
        });
        let result = result.await;
        drop(wanted);
        result
    }

    /// Fails once the backend is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.running().map(drop)
    }

    /// Starts a task on the backend's thread.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let (handle, _) = self.running()?;
        handle.spawn(task);
        Ok(())
    }

    /// Queues a batch and waits for its answer. Once it is in the queue it is stored, whether or not the
    /// caller still waits.
    pub(crate) async fn write(&self, operation: &'static str, batch: Batch) -> Result<()> {
        if batch.rows().is_empty() && batch.id().is_none() {
            return self.check_open();
        }
        let (handle, queue) = self.running()?;
        let (reply, answer) = oneshot::channel();
        match self.budget.try_take(&batch) {
            Some(share) => {
                write::enqueue(&queue, Job { batch, operation, reply, share })?;
                // A sender keeps the queue from closing, and this future may never be polled again.
                drop(queue);
            }
            None => {
                drop(queue);
                // The limit on the wait needs the timer of the backend's runtime.
                let budget = self.budget.clone();
                let waiting = async move {
                    let share = budget.take(operation, &batch).await;
                    share.map(|share| Job { batch, operation, reply, share })
                };
                let job = handle.spawn(waiting).await;
                let job = job.map_err(|_| PersistenceError::BackendShutdown)??;
                let (_, queue) = self.running()?;
                write::enqueue(&queue, job)?;
            }
        }
        drop(handle);
        answer.await.unwrap_or_else(|_| Err(error::unanswered(operation)))
    }

    /// Closes the queue and sets the deadline. Returns the thread if it was started.
    fn close_queue(&self) -> Option<Arc<RuntimeThread>> {
        let mut state = self.state.lock();
        let thread = match std::mem::replace(&mut *state, State::Closed(None)) {
            State::Running(thread, _) => Some(thread),
            State::Closed(thread) => thread,
            State::Idle => None,
        };
        *state = State::Closed(thread.clone());
        self.engine.pools.closing.begin(self.config().close_timeout);
        thread
    }

    /// Closes the queue and waits until everything in it is stored, or the time is up, and the thread has
    /// ended.
    pub(crate) async fn close(&self) -> Result<()> {
        if let Some(thread) = self.close_queue() {
            thread.ended().await;
        }
        self.engine.pools.closing.result()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(thread) = self.close_queue() else { return };
        // The deadline was set with the closing.
        thread.wait_ended(Duration::MAX);
        if let Err(error) = self.engine.pools.closing.result() {
            tracing::error!(%error, "the last handle was dropped before all rows were stored");
        }
    }
}
