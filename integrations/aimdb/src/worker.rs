//! A thread with its own runtime, so that the work on it and AimDB's tasks cannot delay each other.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use annals_core::log;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The result of a task; `None` if the thread ended before the task did.
pub(crate) type TaskResult<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// A thread that runs tasks until it is dropped.
pub(crate) struct Worker {
    /// `None` when the system could not start a thread: tasks then run where they are awaited.
    running: Option<Running>,
}

struct Running {
    handle: Handle,
    thread: ThreadId,
    stop: Option<oneshot::Sender<()>>,
    /// Carries no message; it disconnects when the thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
    stop_timeout: Duration,
}

impl Worker {
    /// Starts a thread. Dropping the worker stops it: the thread awaits `at_end` and ends, and the
    /// drop waits for that, at most `stop_timeout`.
    pub(crate) fn start(
        name: &str,
        stop_timeout: Duration,
        at_end: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = mpsc::channel::<()>();
        let (ready, started) = mpsc::sync_channel(1);
        let body = move || {
            // Dropped last: it signals that the thread and all its tasks have ended.
            let _alive = alive;
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            if ready.send((runtime.handle().clone(), thread::current().id())).is_err() {
                return;
            }
            runtime.block_on(async {
                // Dropping the sender is the signal to stop.
                let _ = stopped.await;
                at_end.await;
            });
        };
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
        let running = spawned.ok().and_then(|_| started.recv().ok());
        if running.is_none() {
            log::error(format_args!(
                "the thread {name} did not start: AimDB's own tasks do its work instead"
            ));
        }
        let running = running.map(|(handle, thread)| Running {
            handle,
            thread,
            stop: Some(stop),
            ended: Mutex::new(ended),
            stop_timeout,
        });
        Self { running }
    }

    /// The thread's runtime; `None` when there is no thread.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.running.as_ref().map(|running| running.handle.clone())
    }

    /// Runs `work` to its end, whether or not the returned future is awaited.
    pub(crate) fn run<F>(&self, work: F) -> TaskResult<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.running {
            Some(running) => {
                let task = running.handle.spawn(work);
                Box::pin(async move { task.await.ok() })
            }
            None => Box::pin(async move { Some(work.await) }),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Some(running) = &mut self.running else { return };
        drop(running.stop.take());
        // A task on this thread may hold the last handle, and a thread cannot wait for itself.
        if running.thread == thread::current().id() {
            return;
        }
        if let Err(RecvTimeoutError::Timeout) =
            running.ended.lock().recv_timeout(running.stop_timeout)
        {
            log::error(format_args!(
                "a thread of the persistence did not end within {:?}: it is left running",
                running.stop_timeout
            ));
        }
    }
}
