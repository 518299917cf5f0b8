//! A thread with its own runtime, so that the work on it and AimDB's tasks cannot delay each other.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use annals_core::{RuntimeThread, log};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The result of a task; `None` if the thread ended before the task did.
pub(crate) type TaskResult<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// A thread that runs tasks until it is dropped.
pub(crate) struct Worker {
    /// `None` when the system could not start a thread: tasks then run where they are awaited.
    thread: Option<RuntimeThread>,
    stop: Option<oneshot::Sender<()>>,
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
        let main = async {
            // Dropping the sender is the signal to stop.
            let _ = stopped.await;
            at_end.await;
        };
        let thread = RuntimeThread::start(name, stop_timeout, main);
        if let Err(error) = &thread {
            log::error(format_args!(
                "the thread {name} did not start ({error}): AimDB's own tasks do its work instead"
            ));
        }
        Self { thread: thread.ok(), stop: Some(stop), stop_timeout }
    }

    /// The thread's runtime; `None` when there is no thread.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.thread.as_ref().map(|thread| thread.handle().clone())
    }

    /// Runs `work` to its end, whether or not the returned future is awaited.
    pub(crate) fn run<F>(&self, work: F) -> TaskResult<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.thread {
            Some(thread) => {
                let task = thread.handle().spawn(work);
                Box::pin(async move { task.await.ok() })
            }
            None => Box::pin(async move { Some(work.await) }),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.as_ref().is_some_and(|thread| !thread.wait_ended(self.stop_timeout)) {
            log::error(format_args!(
                "a thread of the persistence did not end within {:?}: it is left running",
                self.stop_timeout
            ));
        }
    }
}
