//! The signals that end the program.

use std::io;

use tokio::sync::oneshot;

use crate::failure::{Failure, stop_at_once};

/// Ctrl-C, and SIGTERM on Unix. SIGHUP keeps its meaning, because `nohup` sets it to be ignored.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    /// Starts to catch the signals: they no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Self::new().map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))
    }

    /// Is told of the first signal. A second one ends the program at once: it may hang in writing to a
    /// pipe that nobody reads.
    pub(crate) fn first() -> Result<oneshot::Receiver<()>, Failure> {
        let mut signals = Self::listen()?;
        let (told, first) = oneshot::channel();
        tokio::spawn(async move {
            signals.next().await;
            // Whoever listened has ended.
            let _ = told.send(());
            signals.next().await;
            stop_at_once("stopped at once")
        });
        Ok(first)
    }

    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(windows)]
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
}
