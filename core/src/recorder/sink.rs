//! One record of a recorder as a sink of values.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Sink;
use serde::Serialize;

use super::error::RecorderError;
use super::handle::RecordHandle;

type Pending = Pin<Box<dyn Future<Output = Result<(), RecorderError>> + Send>>;

/// One record of a [`Recorder`](crate::Recorder) as a [`Sink`] of values, made by
/// [`RecordHandle::sink`].
///
/// It is ready while the recorder's queue has room, or always if the recorder drops values instead
/// ([`Overflow`](crate::Overflow)). Flushing, and closing as well, waits until all that the recorder
/// has accepted is stored, as [`Recorder::flush`](crate::Recorder::flush) does. Closing leaves the
/// recorder open.
#[must_use = "sinks do nothing unless polled"]
pub struct RecordSink<T> {
    handle: RecordHandle,
    /// A value that waits for room.
    waiting: Option<Pending>,
    flushing: Option<Pending>,
    values: PhantomData<fn(T)>,
}

impl RecordHandle {
    /// This record as a sink of values, for streams to be forwarded to.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use annals_core::{MemoryBackend, Recorder, RecorderConfig};
    /// use futures::{StreamExt, stream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), annals_core::RecorderError> {
    /// let recorder = Recorder::new(Arc::new(MemoryBackend::new()), RecorderConfig::default());
    /// let readings = stream::iter([21.5, 21.7, 22.0]);
    /// // Ends when the readings do, and all of them are stored.
    /// readings.map(Ok).forward(recorder.handle("temperature")?.sink()).await?;
    /// assert_eq!(recorder.stats().total.stored, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sink<T: Serialize + Send + 'static>(&self) -> RecordSink<T> {
        RecordSink::new(self.clone())
    }
}

impl<T> RecordSink<T> {
    pub(super) fn new(handle: RecordHandle) -> Self {
        Self { handle, waiting: None, flushing: None, values: PhantomData }
    }
}

/// Waits for what is pending, if anything is.
fn poll(pending: &mut Option<Pending>, cx: &mut Context<'_>) -> Poll<Result<(), RecorderError>> {
    let Some(future) = pending else { return Poll::Ready(Ok(())) };
    let done = ready!(future.as_mut().poll(cx));
    *pending = None;
    Poll::Ready(done)
}

impl<T: Serialize + Send + 'static> Sink<T> for RecordSink<T> {
    type Error = RecorderError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RecorderError>> {
        poll(&mut self.waiting, cx)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), RecorderError> {
        match self.handle.try_record(&value) {
            Err(RecorderError::Full) => {
                let handle = self.handle.clone();
                self.waiting = Some(Box::pin(async move { handle.record(&value).await }));
                Ok(())
            }
            done => done,
        }
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RecorderError>> {
        ready!(poll(&mut self.waiting, cx))?;
        if self.flushing.is_none() {
            let handle = self.handle.clone();
            self.flushing = Some(Box::pin(async move { handle.flush().await }));
        }
        poll(&mut self.flushing, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RecorderError>> {
        self.poll_flush(cx)
    }
}

impl<T> fmt::Debug for RecordSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecordSink").field(&self.handle).finish()
    }
}
