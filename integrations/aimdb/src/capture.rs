//! How values get from AimDB's buffers to the recorder.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use annals_core::{RecordHandle, RecorderError};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::notice::{Notice, unheard};

/// How many values are read in a row before other records have their turn.
const TURN: usize = 256;

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

/// One record's way into the recorder, and the warnings about what did not get there.
pub(crate) struct Capture {
    record: RecordHandle,
    missed: Mutex<Notice>,
    refused: Mutex<Notice>,
}

impl Capture {
    pub(crate) fn new(record: RecordHandle) -> Self {
        Self { record, missed: Mutex::default(), refused: Mutex::default() }
    }

    /// Records a value. Never waits.
    pub(crate) fn take<T: Serialize + ?Sized>(&self, value: &T) {
        match self.record.try_record(value) {
            Ok(()) => {}
            Err(RecorderError::Rejected(error)) => {
                tell(&self.refused, 1, |values| {
                    let record = self.record.name().as_str();
                    if unheard() {
                        eprintln!("annals-aimdb: {record}: {values} values rejected: {error}");
                    } else {
                        tracing::warn!(record, values, %error, "values cannot be stored: rejected");
                    }
                });
            }
            Err(error) => self.missed(1, &error.to_string()),
        }
    }

    /// Counts values that the buffer overwrote before they were read.
    fn lagged(&self, values: u64) {
        self.missed(
            values,
            "the buffer overwrote them before they were read; persist_buffer misses none",
        );
    }

    fn missed(&self, values: u64, why: &str) {
        self.record.add_lost(values);
        tell(&self.missed, values, |values| {
            let record = self.record.name().as_str();
            if unheard() {
                eprintln!("annals-aimdb: {record}: {values} values missed: {why}");
            } else {
                tracing::warn!(record, values, why, "values missed: they are not in the history");
            }
        });
    }
}

fn tell(notice: &Mutex<Notice>, values: u64, speak: impl FnOnce(u64)) {
    let due = notice.lock().unwrap_or_else(PoisonError::into_inner).count(values, Instant::now());
    if let Some(values) = due {
        speak(values);
    }
}

/// Asks a tap to read what its buffer holds, and to say when it has.
pub(crate) type CatchUp = oneshot::Sender<()>;

/// Reads one buffer into the recorder until it is closed, or until nobody can ask it to catch up
/// any more; then it catches up for the last time.
pub(crate) struct Tap<S> {
    source: S,
    capture: Capture,
    requests: mpsc::UnboundedReceiver<CatchUp>,
    /// Last, so that the rest is gone when the tap counts as ended.
    _living: Living,
}

impl<S: Source> Tap<S> {
    pub(crate) async fn run(mut self) {
        loop {
            let read = tokio::select! {
                // Requests are rare; the other order would let a busy record starve them.
                biased;
                request = self.requests.recv() => match request {
                    Some(done) => {
                        let open = self.catch_up(MOST_TO_CATCH_UP);
                        // Whoever asked may have gone.
                        let _ = done.send(());
                        if open { continue } else { return }
                    }
                    None => {
                        self.catch_up(MOST_TO_CATCH_UP);
                        return;
                    }
                },
                read = self.source.recv() => read,
            };
            if !self.take(read) || !self.catch_up(TURN) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads what the buffer holds, `most` values at most; false if it is closed.
    fn catch_up(&mut self, most: usize) -> bool {
        for _ in 0..most {
            match self.source.try_recv() {
                Read::Nothing => return true,
                read => {
                    if !self.take(read) {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn take(&mut self, read: Read<S::Value>) -> bool {
        match read {
            Read::Value(value) => self.capture.take(&value),
            Read::Lagged(values) => self.capture.lagged(values),
            Read::Nothing => {}
            Read::Closed => return false,
        }
        true
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
    pub(crate) fn add<S: Source>(&self, source: S, record: RecordHandle) -> Tap<S> {
        let (request, requests) = mpsc::unbounded_channel();
        if let Some(taps) = &mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            taps.push(request);
        }
        self.living.send_modify(|taps| *taps += 1);
        let living = Living(self.living.clone());
        Tap { source, capture: Capture::new(record), requests, _living: living }
    }

    /// Waits until every tap has read what its buffer held when this was called.
    pub(crate) async fn catch_up(&self) {
        let asked: Vec<_> = {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let taps = requests.iter_mut().flatten();
            taps.filter_map(|tap| {
                let (done, told) = oneshot::channel();
                tap.send(done).ok().map(|()| told)
            })
            .collect()
        };
        for told in asked {
            // A tap that has ended has read everything.
            let _ = told.await;
        }
    }

    /// Lets every tap read what there is and end.
    pub(crate) fn stop(&self) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
