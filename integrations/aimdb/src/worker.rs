//! Threads with a runtime of their own: AimDB's tasks never wait for what runs here, nor does it
//! wait for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A task's result; `None` if it was cut short.
pub(crate) type Outcome<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// A thread that runs tasks until it is dropped.
pub(crate) struct Worker {
    /// `None` when the system has no thread left: tasks then run where they are awaited.
    running: Option<Running>,
}

struct Running {
    handle: Handle,
    thread: ThreadId,
    stop: Option<oneshot::Sender<()>>,
    /// Nothing is ever sent; it disconnects when the thread has ended.
    ended: Mutex<mpsc::Receiver<()>>,
    patience: Duration,
}

impl Worker {
    /// Starts a thread that ends when it was asked to and `at_end` is done.
    pub(crate) fn start(
        name: &str,
        patience: Duration,
        at_end: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = mpsc::channel::<()>();
        let (ready, started) = mpsc::sync_channel(1);
        let body = move || {
            // Tells that the thread has ended, tasks and all, when it is dropped as the last.
            let _alive = alive;
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            if ready.send((runtime.handle().clone(), thread::current().id())).is_err() {
                return;
            }
            runtime.block_on(async {
                // Dropping the sender asks for the end as well.
                let _ = stopped.await;
                at_end.await;
            });
        };
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
        let running = spawned.ok().and_then(|_| started.recv().ok());
        if running.is_none() {
            crate::notice::error(format_args!(
                "the thread {name} did not start: AimDB's own tasks do its work"
            ));
        }
        let running = running.map(|(handle, thread)| Running {
            handle,
            thread,
            stop: Some(stop),
            ended: Mutex::new(ended),
            patience,
        });
        Self { running }
    }

    /// Its runtime; `None` when there is no thread.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.running.as_ref().map(|running| running.handle.clone())
    }

    /// Runs `work` to its end, whether or not what this returns is awaited.
    pub(crate) fn run<F>(&self, work: F) -> Outcome<F::Output>
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
        // A task may hold the last handle; its thread cannot wait for itself.
        if running.thread == thread::current().id() {
            return;
        }
        let ended = running.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(running.patience) {
            crate::notice::error(format_args!(
                "a thread of the persistence is busy for {:?}: it is left behind",
                running.patience
            ));
        }
    }
}
