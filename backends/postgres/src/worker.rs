//! The thread that does the work: a runtime of the backend's own.
//!
//! Why not the caller's runtime: the futures then work under any executor; an operation whose
//! future is dropped still runs to its end, so that a connection is never returned half used; and
//! somebody who blocks the main thread on a drain cannot starve the connections he waits for.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use annals_core::{Batch, ErrorKind, PersistenceError};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::PostgresConfig;
use crate::engine::Engine;
use crate::error;
use crate::write::{self, Budget, Job};

/// How long the end of look-ups of hosts is waited for.
const LOOKUPS: Duration = Duration::from_secs(1);

/// Owns the thread. Dropping it waits for what was accepted.
pub(crate) struct Worker {
    engine: Arc<Engine>,
    budget: Budget,
    state: Mutex<State>,
}

enum State {
    /// Not used yet.
    Idle,
    Running(Running, mpsc::UnboundedSender<Job>),
    /// The queue is closed; what was in it is being stored, or has been.
    Closed(Option<Running>),
}

#[derive(Clone)]
struct Running {
    handle: Handle,
    thread: ThreadId,
    /// Turns true, or loses its sender, when the thread is done with everything.
    ended: watch::Receiver<bool>,
}

impl Worker {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let budget = Budget::new(config.wait_timeout);
        let engine = Arc::new(Engine::new(config));
        Self { engine, budget, state: Mutex::new(State::Idle) }
    }

    pub(crate) fn config(&self) -> &PostgresConfig {
        self.engine.config()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: a panic leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime and the write queue; starts both with the first call.
    fn running(&self) -> Result<(Handle, mpsc::UnboundedSender<Job>), PersistenceError> {
        let mut state = self.state();
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

    /// Runs an operation on the backend's thread. It goes on when the caller drops the future.
    pub(crate) async fn run<T, F>(
        &self,
        operation: impl FnOnce(Arc<Engine>) -> F,
    ) -> Result<T, PersistenceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PersistenceError>> + Send + 'static,
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

    /// As [`run`](Self::run), but it ends when the caller drops the future: whatever its
    /// transaction did is rolled back.
    pub(crate) async fn run_while_wanted<T, F>(
        &self,
        operation: impl FnOnce(Arc<Engine>) -> F,
    ) -> Result<T, PersistenceError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PersistenceError>> + Send + 'static,
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

    /// An error once the backend is closed.
    pub(crate) fn check_open(&self) -> Result<(), PersistenceError> {
        self.running().map(drop)
    }

    /// Starts a task on the backend's thread.
    pub(crate) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), PersistenceError> {
        let (handle, _) = self.running()?;
        handle.spawn(task);
        Ok(())
    }

    /// Hands a batch to the writers and waits for its answer. From the moment it is in the queue
    /// it is stored, whether or not anybody waits.
    pub(crate) async fn write(
        &self,
        operation: &'static str,
        batch: Batch,
    ) -> Result<(), PersistenceError> {
        if batch.rows().is_empty() && batch.id().is_none() {
            return self.check_open();
        }
        let (handle, queue) = self.running()?;
        let (reply, answer) = oneshot::channel();
        match self.budget.try_take(&batch) {
            Some(share) => {
                write::hand_over(&queue, Job { batch, operation, reply, share })?;
                // Whoever holds a sender keeps the queue from closing, and nobody knows when this
                // future is polled again.
                drop(queue);
            }
            None => {
                drop(queue);
                // The limit on the wait needs the clock of a runtime: ours.
                let budget = self.budget.clone();
                let waiting = async move {
                    let share = budget.take(operation, &batch).await;
                    share.map(|share| Job { batch, operation, reply, share })
                };
                let job = handle.spawn(waiting).await;
                let job = job.map_err(|_| PersistenceError::BackendShutdown)??;
                let (_, queue) = self.running()?;
                write::hand_over(&queue, job)?;
            }
        }
        drop(handle);
        answer.await.unwrap_or_else(|_| Err(error::unanswered(operation)))
    }

    /// Closes the queue, and sets the moment when all ends. Returns what is still running.
    fn close_queue(&self) -> Option<Running> {
        let mut state = self.state();
        let running = match std::mem::replace(&mut *state, State::Closed(None)) {
            State::Running(running, _) => Some(running),
            State::Closed(running) => running,
            State::Idle => None,
        };
        *state = State::Closed(running.clone());
        self.engine.closing.begin(self.config().close_timeout);
        running
    }

    /// Closes the queue and waits until everything in it is stored, or the time is up, and the
    /// thread is gone.
    pub(crate) async fn close(&self) -> Result<(), PersistenceError> {
        if let Some(mut running) = self.close_queue() {
            // An error says that the sender is gone, and it goes with the thread.
            let _ = running.ended.wait_for(|ended| *ended).await;
        }
        self.engine.closing.result()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(mut running) = self.close_queue() else { return };
        // Nothing on the backend's own thread holds a handle, but waiting for oneself is forever.
        if running.thread == thread::current().id() {
            return;
        }
        // `Handle::block_on` panics within a runtime; a plain channel works everywhere.
        let (done, wait) = std::sync::mpsc::channel::<()>();
        running.handle.spawn(async move {
            let _held = done;
            let _ = running.ended.wait_for(|ended| *ended).await;
        });
        // Always an error: the sender goes with the runtime, or at once if that is gone already.
        let _ = wait.recv();
        if let Err(error) = self.engine.closing.result() {
            tracing::error!(%error, "the last handle was dropped with rows that were not stored");
        }
    }
}

/// Starts the thread. It ends when the queue is closed and everything in it is answered.
fn start(
    engine: Arc<Engine>,
    jobs: mpsc::UnboundedReceiver<Job>,
) -> Result<Running, PersistenceError> {
    let failed = |error: std::io::Error| {
        let message = format!("no thread to work on: {error}");
        error::own("start", ErrorKind::Full, message)
    };
    let (end, ended) = watch::channel(false);
    let (started, starting) = std::sync::mpsc::channel();
    // The runtime is made there: if there is no thread, nothing must be left here whose drop
    // panics within the caller's own runtime.
    let work = move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let _ = started.send(Ok(runtime.handle().clone()));
            runtime.block_on(write::run(engine, jobs));
            // Connections, streams and whatever still waits end here, outside any async context.
            // A look-up of a host's address may hang: it is on a thread that nobody can stop.
            runtime.shutdown_timeout(LOOKUPS);
            end.send_replace(true);
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    };
    let thread = thread::Builder::new().name("annals-postgres".to_owned()).spawn(work);
    let thread = thread.map_err(failed)?.thread().id();
    let gone = || Err(std::io::Error::other("it ended before it began"));
    let handle = starting.recv().unwrap_or_else(|_| gone()).map_err(failed)?;
    Ok(Running { handle, thread, ended })
}
