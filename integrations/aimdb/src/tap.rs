//! Reading AimDB's buffers into the recorder.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use annals_core::RecordHandle;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::capture::Capture;

/// How many values one thread records in a row. A tap runs on the threads of those who push, and
/// none of them should work for the others for long.
const TURN: usize = 1024;

/// The most that is read to catch up: a producer that pushes faster than it is read would never
/// let it end.
const MOST_TO_CATCH_UP: usize = 1 << 20;

/// What reading a buffer gives.
pub(crate) enum Read<T> {
    Value(T),
    /// So many values were overwritten before they were read.
    Lagged(u64),
    Nothing,
    Closed,
}

/// A subscription to a buffer, of either AimDB line.
pub(crate) trait Source: Send + 'static {
    type Value: Serialize + Send;

    /// The next value. Must be cancel safe: what was not returned is not lost.
    fn recv(&mut self) -> impl Future<Output = Read<Self::Value>> + Send;

    fn try_recv(&mut self) -> Read<Self::Value>;
}

/// Asks a tap to read what its buffer holds, and to say when it has.
type CatchUp = oneshot::Sender<()>;

/// Reads one buffer into the recorder until it is closed, or until nobody can ask it to catch up
/// any more; then it catches up for the last time.
pub(crate) struct Tap<S> {
    source: S,
    /// A subscription made before `source`, until the first value tells what the buffer is.
    probe: Option<S>,
    capture: Capture,
    requests: mpsc::UnboundedReceiver<CatchUp>,
    /// A thread that works for the others when one has done enough.
    elsewhere: Option<Handle>,
    /// Last, so that the rest is gone when the tap counts as ended.
    _living: Living,
}

/// What a buffer looks like after it was read once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Buffer {
    /// There may be more.
    Filled,
    Empty,
    Closed,
}

impl<S: Source> Tap<S> {
    pub(crate) async fn run(mut self) {
        loop {
            let read = tokio::select! {
                // Requests are rare; the other order would let a busy record starve them.
                biased;
                request = self.requests.recv() => {
                    let buffer = self.read(MOST_TO_CATCH_UP);
                    match request {
                        // Whoever asked may have gone.
                        Some(done) => drop(done.send(())),
                        None => return,
                    }
                    if buffer == Buffer::Closed { return } else { continue }
                }
                read = self.source.recv() => read,
            };
            let buffer = match self.take(read) {
                Buffer::Closed => return,
                _ => self.read(TURN),
            };
            match buffer {
                Buffer::Filled => Elsewhere(self.elsewhere.clone()).await,
                Buffer::Empty => {}
                Buffer::Closed => return,
            }
        }
    }

    /// Reads what the buffer holds, `most` values at most.
    fn read(&mut self, most: usize) -> Buffer {
        for _ in 0..most {
            let read = self.source.try_recv();
            match self.take(read) {
                Buffer::Filled => {}
                other => return other,
            }
        }
        Buffer::Filled
    }

    fn take(&mut self, read: Read<S::Value>) -> Buffer {
        match read {
            Read::Value(value) => {
                // Every reader of a ring and of a `SingleLatest` sees each value.
                if let Some(mut probe) = self.probe.take()
                    && matches!(probe.try_recv(), Read::Nothing)
                {
                    self.capture.takes_from_others();
                }
                self.capture.take(&value);
                Buffer::Filled
            }
            Read::Lagged(values) => {
                self.capture.lagged(values);
                Buffer::Filled
            }
            Read::Nothing => Buffer::Empty,
            Read::Closed => Buffer::Closed,
        }
    }
}

/// Pending once; the next poll is on another thread.
struct Elsewhere(Option<Handle>);

impl Future for Elsewhere {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(elsewhere) = self.0.take() else { return Poll::Ready(()) };
        let waker = cx.waker().clone();
        elsewhere.spawn(async move { waker.wake() });
        Poll::Pending
    }
}

/// The taps of a database.
pub(crate) struct Taps {
    requests: Mutex<Option<Vec<mpsc::UnboundedSender<CatchUp>>>>,
    living: watch::Sender<usize>,
}

/// Counts a tap as alive.
struct Living(watch::Sender<usize>);

impl Drop for Living {
    fn drop(&mut self) {
        self.0.send_modify(|taps| *taps -= 1);
    }
}

impl Taps {
    pub(crate) fn new() -> Self {
        Self { requests: Mutex::new(Some(Vec::new())), living: watch::Sender::new(0) }
    }

    /// A tap, to be run. When the taps have been stopped it reads what there is and ends.
    ///
    /// `probe` is a subscription to the same buffer, made before `source`.
    pub(crate) fn add<S: Source>(
        &self,
        probe: S,
        source: S,
        record: RecordHandle,
        elsewhere: Option<Handle>,
    ) -> Tap<S> {
        let (request, requests) = mpsc::unbounded_channel();
        if let Some(taps) = &mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            taps.push(request);
        }
        self.living.send_modify(|taps| *taps += 1);
        let _living = Living(self.living.clone());
        let capture = Capture::new(record);
        Tap { source, probe: Some(probe), capture, requests, elsewhere, _living }
    }

    /// Waits until every tap has read what its buffer held when this was called.
    pub(crate) async fn catch_up(&self) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut asked = Vec::new();
        for tap in requests.into_iter().flatten() {
            let (done, told) = oneshot::channel();
            if tap.send(done).is_ok() {
                asked.push(told);
            }
        }
        for told in asked {
            // A tap that has ended has read everything.
            let _ = told.await;
        }
    }

    /// Lets every tap read what there is and end.
    pub(crate) fn stop(&self) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not under the lock: it wakes the taps, which run right here.
        drop(requests);
    }

    /// Waits until no tap is left. Holds nothing of `self`.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut living = self.living.subscribe();
        async move {
            // If the sender is gone, so are the taps.
            let _ = living.wait_for(|taps| *taps == 0).await;
        }
    }
}
