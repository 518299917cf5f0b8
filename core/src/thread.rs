//! A thread with a tokio runtime of its own, for backends and integrations.

use std::future::Future;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// A thread with a tokio runtime of its own. Work on it needs no executor of the caller, and runs to
/// its end whether or not the caller still waits.
///
/// The thread ends when its main future does, which is for the owner to bring about; then the owner
/// waits for it.
pub struct RuntimeThread {
    handle: Handle,
    id: ThreadId,
    /// Loses its sender when the thread ends.
    ended: watch::Receiver<()>,
    /// The same for threads.
    ended_blocking: Mutex<mpsc::Receiver<()>>,
}

impl RuntimeThread {
    /// Starts the thread `name`. It runs `main`, drops what other tasks there are, waits for those
    /// that block, at most for `grace`, and ends.
    ///
    /// # Errors
    /// When the system refuses a thread or a runtime.
    pub fn start(
        name: &str,
        grace: Duration,
        main: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = watch::channel(());
        let (end_blocking, ended_blocking) = mpsc::channel();
        let (ready, starting) = mpsc::channel();
        // The runtime is created on the thread: if there is no thread, nothing may remain here whose
        // drop panics within the caller's runtime.
        let work = move || {
            // Dropped last.
            let _ends = (end, end_blocking);
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            if ready.send(Ok(runtime.handle().clone())).is_ok() {
                runtime.block_on(main);
            }
            runtime.shutdown_timeout(grace);
        };
        let id = thread::Builder::new().name(name.to_owned()).spawn(work)?.thread().id();
        let gone = |_| Err(io::Error::other("it ended before it was ready"));
        let handle = starting.recv().unwrap_or_else(gone)?;
        Ok(Self { handle, id, ended, ended_blocking: Mutex::new(ended_blocking) })
    }

    /// Its runtime, to spawn tasks on.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the thread has ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ended(&self) {
        // Nothing is ever sent.
        let _ = self.ended.clone().changed().await;
    }

    /// Blocks until the thread has ended; false if `patience` ran out before. On the thread itself,
    /// which would wait forever, it does not wait.
    pub fn wait_ended(&self, patience: Duration) -> bool {
        thread::current().id() == self.id
            || self.ended_blocking.lock().recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn its_end_is_waited_for_but_not_on_the_thread_itself() {
        let (stop, stopped) = oneshot::channel::<()>();
        let main = async { drop(stopped.await) };
        let thread = Arc::new(RuntimeThread::start("test", Duration::ZERO, main).unwrap());
        assert!(!thread.wait_ended(Duration::ZERO));
        let own = Arc::clone(&thread);
        let waits = thread.handle().spawn(async move { own.wait_ended(Duration::MAX) });
        assert!(waits.await.unwrap());
        drop(stop);
        assert!(thread.wait_ended(Duration::MAX));
        thread.ended().await;
    }
}
