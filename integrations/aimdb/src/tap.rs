//! Reads AimDB's buffers into the recorder: one [`Tap`] per record with `.persist`, and [`Taps`]
//! for all of them.
//!
//! Every value that a buffer delivers is recorded once; what it reports as overwritten is counted
//! as lost. Stopping the taps reads what the buffers still hold.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use annals_core::RecordHandle;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::capture::Capture;

/// The most values that one thread records in a row. A tap runs on the threads that push, and
/// none of them should work for the others for long.
const MAX_PER_THREAD: usize = 1024;

/// The most values read to catch up, so that a producer that is faster than the tap cannot keep it
/// busy forever.
const MAX_CATCH_UP: usize = 1 << 20;

/// The result of reading a buffer.
pub(crate) enum Read<T> {
    Value(T),
    /// The number of values that were overwritten before they were read.
    Lagged(u64),
    Empty,
    Closed,
}

/// A subscription to a buffer, of either AimDB line.
pub(crate) trait Source: Send + 'static {
    type Value: Serialize + Send;

    /// The next value. Must be cancel safe: a value that was not returned is not lost.
    fn recv(&mut self) -> impl Future<Output = Read<Self::Value>> + Send;

    fn try_recv(&mut self) -> Read<Self::Value>;
}

/// A request to a tap to read what its buffer holds, answered when it has.
type CatchUp = oneshot::Sender<()>;

/// Reads one buffer into the recorder until the buffer is closed, or until its [`Taps`] are stopped;
/// then it catches up for the last time.
pub(crate) struct Tap<S> {
    source: S,
    /// A subscription made before `source`, kept until the first value shows whether the buffer is
    /// a mailbox.
    probe: Option<S>,
    capture: Capture,
    requests: mpsc::UnboundedReceiver<CatchUp>,
    /// Continues the work when a pushing thread has recorded [`MAX_PER_THREAD`] values.
    reader: Option<Handle>,
    /// Last, so that the other fields are dropped before the tap counts as ended.
    _alive: Alive,
}

/// The state of a buffer after a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buffer {
    /// It may hold more values.
    Filled,
    Empty,
    Closed,
}

impl<S: Source> Tap<S> {
    pub(crate) async fn run(mut self) {
        loop {
            let read = tokio::select! {
                // Requests are rare. In the other order a busy record would starve them.
                biased;
                request = self.requests.recv() => {
                    let buffer = self.read(MAX_CATCH_UP);
                    match request {
                        // The requester may have been dropped.
                        Some(done) => drop(done.send(())),
                        None => return,
                    }
                    if buffer == Buffer::Closed { return } else { continue }
                }
                read = self.source.recv() => read,
            };
            let buffer = match self.record(read) {
                Buffer::Closed => return,
                _ => self.read(MAX_PER_THREAD),
            };
            match buffer {
                Buffer::Filled => ContinueOn(self.reader.clone()).await,
                Buffer::Empty => {}
                Buffer::Closed => return,
            }
        }
    }

    /// Reads what the buffer holds, at most `max` values.
    fn read(&mut self, max: usize) -> Buffer {
        for _ in 0..max {
            let read = self.source.try_recv();
            match self.record(read) {
                Buffer::Filled => {}
                other => return other,
            }
        }
        Buffer::Filled
    }

    fn record(&mut self, read: Read<S::Value>) -> Buffer {
        match read {
            Read::Value(value) => {
                // Every reader of a ring or a `SingleLatest` sees each value; only in a mailbox the
                // earlier subscription has nothing to read.
                if let Some(mut probe) = self.probe.take()
                    && matches!(probe.try_recv(), Read::Empty)
                {
                    self.capture.warn_of_mailbox();
                }
                self.capture.record(&value);
                Buffer::Filled
            }
            Read::Lagged(values) => {
                self.capture.lagged(values);
                Buffer::Filled
            }
            Read::Empty => Buffer::Empty,
            Read::Closed => Buffer::Closed,
        }
    }
}

/// Pending once; the next poll happens on the given runtime.
struct ContinueOn(Option<Handle>);

impl Future for ContinueOn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(runtime) = self.0.take() else { return Poll::Ready(()) };
        let waker = cx.waker().clone();
        runtime.spawn(async move { waker.wake() });
        Poll::Pending
    }
}

/// The taps of a database.
pub(crate) struct Taps {
    requests: Mutex<Option<Vec<mpsc::UnboundedSender<CatchUp>>>>,
    alive: watch::Sender<usize>,
}

/// Counts a tap as alive until it is dropped.
struct Alive(watch::Sender<usize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|taps| *taps -= 1);
    }
}

impl Taps {
    pub(crate) fn new() -> Self {
        Self { requests: Mutex::new(Some(Vec::new())), alive: watch::Sender::new(0) }
    }

    /// A tap, to be run by the caller. Once the taps are stopped it reads what is left and ends.
    ///
    /// `probe` is a subscription to the same buffer, made before `source`.
    pub(crate) fn add<S: Source>(
        &self,
        probe: S,
        source: S,
        record: RecordHandle,
        reader: Option<Handle>,
    ) -> Tap<S> {
        let (request, requests) = mpsc::unbounded_channel();
        if let Some(taps) = &mut *self.requests.lock() {
            taps.push(request);
        }
        self.alive.send_modify(|taps| *taps += 1);
        let _alive = Alive(self.alive.clone());
        let capture = Capture::new(record);
        Tap { source, probe: Some(probe), capture, requests, reader, _alive }
    }

    /// Waits until every tap has read what its buffer held when this was called.
    pub(crate) async fn catch_up(&self) {
        let requests = self.requests.lock().clone();
        let mut answers = Vec::new();
        for tap in requests.into_iter().flatten() {
            let (done, answer) = oneshot::channel();
            if tap.send(done).is_ok() {
                answers.push(answer);
            }
        }
        for answer in answers {
            // A tap that has ended has read everything.
            let _ = answer.await;
        }
    }

    /// Makes every tap read what its buffer holds and end.
    pub(crate) fn stop(&self) {
        let requests = self.requests.lock().take();
        // Not under the lock: this wakes the taps, which then run on this thread.
        drop(requests);
    }

    /// Waits until every tap has ended. The future does not borrow `self`.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut alive = self.alive.subscribe();
        async move {
            // If the sender is dropped, all taps have ended.
            let _ = alive.wait_for(|taps| *taps == 0).await;
        }
    }
}
