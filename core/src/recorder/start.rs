//! The recorder's thread: how it starts and how it ends.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::config::RecorderConfig;
use super::error::RecorderError;
use super::shared::Shared;
use super::worker::Worker;
use crate::backend::PersistenceBackend;
use crate::error::{BackendError, ErrorKind, PersistenceError};

/// How much longer than the worker itself the last handle waits for it. Only a backend that blocks
/// its thread makes the difference.
const GRACE: Duration = Duration::from_secs(5);

/// A running recorder. Its handles share one; the last one's drop drains.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The worker's runtime: everything tokio was built with, since a backend may open its connections
/// here.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

impl Running {
    pub(super) fn start(
        backend: Arc<dyn PersistenceBackend>,
        config: RecorderConfig,
        runtime: fn() -> io::Result<Runtime>,
    ) -> Self {
        let shared = Arc::new(Shared::new(config));
        // If there is no thread, the guard is dropped with the closure, and so ends the recorder.
        let end = EndGuard {
            shared: Arc::clone(&shared),
            reason: Some(broken("its thread did not start")),
        };
        let thread = thread::Builder::new().name("annals-recorder".to_owned());
        let thread = thread.spawn(move || end.after(backend, runtime));
        Self { shared, thread: thread.ok() }
    }

    /// See [`Recorder::close`](super::Recorder::close).
    pub(super) async fn close(&self) -> Result<(), RecorderError> {
        self.shared.begin_close();
        // Only another thread can tell that the recorder's own is blocked, whatever the executor.
        let (answer, told) = oneshot::channel();
        let (shared, patience) = (Arc::clone(&self.shared), self.patience());
        let waiting = thread::Builder::new().name("annals-close".to_owned());
        let waiting = waiting.spawn(move || answer.send(shared.wait_ended_blocking(patience)));
        match waiting {
            Ok(_) if matches!(told.await, Ok(false)) => {
                let pending = self.shared.state().ledger.total().pending;
                let message = format!("the backend blocks: {pending} values are still pending");
                Err(RecorderError::Stopped(self.shared.timed_out(message)))
            }
            _ => self.shared.wait_ended().await,
        }
    }

    fn patience(&self) -> Duration {
        self.shared.config.drain_timeout.saturating_add(GRACE)
    }

    fn is_own_thread(&self, current: ThreadId) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == current)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.begin_close();
        // A backend that holds a handle of its own recorder drops it on the recorder's thread,
        // which cannot wait for itself.
        if self.is_own_thread(thread::current().id()) {
            return;
        }
        if !self.shared.wait_ended_blocking(self.patience()) {
            let pending = self.shared.state().ledger.total().pending;
            tracing::error!(pending, "the recorder's backend blocks: values are left behind");
        } else if let Some(thread) = self.thread.take() {
            // It has ended; a panic was reported by the guard.
            let _ = thread.join();
        }
    }
}

/// Ends the recorder when the worker's thread ends, however it does.
struct EndGuard {
    shared: Arc<Shared>,
    reason: Option<PersistenceError>,
}

impl EndGuard {
    fn after(mut self, backend: Arc<dyn PersistenceBackend>, runtime: fn() -> io::Result<Runtime>) {
        self.reason = Some(broken("its thread panicked"));
        self.reason = match runtime() {
            Ok(runtime) => {
                let worker = Worker::new(Arc::clone(&self.shared), backend);
                let reason = runtime.block_on(worker.run());
                // Not to wait for tasks that a backend left there.
                runtime.shutdown_background();
                reason
            }
            Err(error) => Some(broken(&format!("its runtime did not start: {error}"))),
        };
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.shared.end(self.reason.take());
    }
}

fn broken(what: &str) -> PersistenceError {
    BackendError::new("recorder", "run", ErrorKind::Other, what).into()
}
