//! The background thread: a runtime that belongs to the backend and does all work.
//!
//! With a runtime of its own, the backend works under any executor. An operation whose future is
//! dropped still runs to its end, so that no connection is returned half used. And a caller that blocks
//! the main thread until the backend is closed cannot starve the connections it waits for.

use std::future::Future;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use annals_core::{Batch, ErrorKind, PersistenceError, Result};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};

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
    Running(Running, mpsc::UnboundedSender<Job>),
    /// The queue is closed. Its batches are being stored, or are stored.
    Closed(Option<Running>),
}

#[derive(Clone)]
struct Running {
    handle: Handle,
    thread: ThreadId,
    /// Becomes true, or loses its sender, when the thread has finished.
    ended: watch::Receiver<bool>,
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
            *state = State::Running(start(self.engine.clone(), jobs)?, queue);
        }
        match &*state {
            State::Running(running, queue) => Ok((running.handle.clone(), queue.clone())),
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
    fn close_queue(&self) -> Option<Running> {
        let mut state = self.state.lock();
        let running = match std::mem::replace(&mut *state, State::Closed(None)) {
            State::Running(running, _) => Some(running),
            State::Closed(running) => running,
            State::Idle => None,
        };
        *state = State::Closed(running.clone());
        self.engine.pools.closing.begin(self.config().close_timeout);
        running
    }

    /// Closes the queue and waits until everything in it is stored, or the time is up, and the thread has
    /// ended.
    pub(crate) async fn close(&self) -> Result<()> {
        if let Some(mut running) = self.close_queue() {
            // An error means that the sender is gone, and with it the thread.
            let _ = running.ended.wait_for(|ended| *ended).await;
        }
        self.engine.pools.closing.result()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(mut running) = self.close_queue() else { return };
        // Nothing on the backend's thread holds a handle, but a thread that waits for itself never ends.
        if running.thread == thread::current().id() {
            return;
        }
        // `Handle::block_on` panics within a runtime; a std channel works everywhere.
        let (done, wait) = std::sync::mpsc::channel::<()>();
        running.handle.spawn(async move {
            let _held = done;
            let _ = running.ended.wait_for(|ended| *ended).await;
        });
        // Always an error: the sender is dropped with the runtime, or at once if that has ended.
        let _ = wait.recv();
        if let Err(error) = self.engine.pools.closing.result() {
            tracing::error!(%error, "the last handle was dropped before all rows were stored");
        }
    }
}

/// Starts the thread. It ends when the queue is closed and everything in it is answered.
fn start(engine: Arc<Engine>, jobs: mpsc::UnboundedReceiver<Job>) -> Result<Running> {
    let failed = |error: std::io::Error| {
        let message = format!("the background thread could not be started: {error}");
        error::own("start", ErrorKind::Full, message)
    };
    let (end, ended) = watch::channel(false);
    let (started, starting) = std::sync::mpsc::channel();
    // The runtime is created on the thread: if there is no thread, nothing may remain here whose drop
    // panics within the caller's runtime.
    let work = move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let _ = started.send(Ok(runtime.handle().clone()));
            runtime.block_on(write::run(engine, jobs));
            // Connections, streams and waiting operations end here, outside any async context. A lookup
            // of a host name may hang on a thread that cannot be stopped.
            runtime.shutdown_timeout(LOOKUPS);
            end.send_replace(true);
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    };
    let thread = thread::Builder::new().name("annals-postgres".to_owned()).spawn(work);
    let thread = thread.map_err(failed)?.thread().id();
    let gone = || Err(std::io::Error::other("it ended before it was ready"));
    let handle = starting.recv().unwrap_or_else(|_| gone()).map_err(failed)?;
    Ok(Running { handle, thread, ended })
}
