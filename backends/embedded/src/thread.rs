//! Threads that outlive no owner.

use std::thread::{Builder, JoinHandle, current};

use annals_core::{BackendError, ErrorKind, Result};

/// A thread that is joined when this is dropped. It needs no runtime, unlike
/// [`RuntimeThread`](annals_core::RuntimeThread). Whoever owns it tells the thread to end first.
pub(crate) struct JoinOnDrop(Option<JoinHandle<()>>);

impl JoinOnDrop {
    /// Starts a thread.
    ///
    /// # Errors
    /// When the system refuses one.
    pub(crate) fn spawn(
        engine: &'static str,
        purpose: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<Self> {
        let name = format!("annals-{engine}-{purpose}");
        let thread = Builder::new().name(name).spawn(work).map_err(|error| {
            BackendError::new(engine, "open", ErrorKind::Other, "a thread could not be started")
                .with_source(error)
        })?;
        Ok(Self(Some(thread)))
    }

    pub(crate) fn is_current(&self) -> bool {
        self.0.as_ref().is_some_and(|thread| thread.thread().id() == current().id())
    }

    /// Lets the thread end without being waited for.
    pub(crate) fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        let Some(thread) = self.0.take() else { return };
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!(name, "a thread of the store panicked");
        }
    }
}
