//! The write pipeline in front of a backend: a bounded queue, batches, retries, and an account of
//! every value.
//!
//! A value goes from a [`Recorder`], a [`RecordHandle`] or a [`RecordSink`] to the `pipeline`, which
//! serializes it; through its `filter` into the `queue`; and with the next batch to `delivery`, which
//! hands it to the backend.

mod config;
mod delivery;
mod error;
mod filter;
mod handle;
mod pipeline;
mod queue;
mod sink;
mod stats;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use crate::backend::PersistenceBackend;

use pipeline::Pipeline;
use queue::Target;

pub use config::{Overflow, RecorderConfig, RetryPolicy};
pub use error::RecorderError;
pub use filter::Filter;
pub use handle::RecordHandle;
pub use sink::RecordSink;
pub use stats::{FilteredStats, RecordStats, RecorderStats};

/// The write pipeline in front of a backend.
///
/// Values are serialized by the caller, wait in a bounded queue, and are stored in batches by a
/// thread of the recorder's own, in the order they came. What fails is retried; what can never be
/// stored is rejected alone. Every value is accounted for: see [`stats`](Self::stats).
///
/// The recorder works in any executor, and in none. Clones are cheap and share everything; a
/// [`RecordHandle`] is one of them.
///
/// # The end
/// [`close`](Self::close) stores what was accepted and then ends. Dropping the last clone does the
/// same and **blocks** meanwhile, so inside async code call `close().await` first: a backend whose
/// connections live on the very thread that is blocked could not store anything.
///
/// # What a retry may do
/// A batch is sent again under the same [`BatchId`](crate::BatchId), so that a backend with
/// [`idempotent_batches`](crate::Guarantees::idempotent_batches) stores it once. Where that is not
/// claimed, a batch whose outcome was unknown may be stored twice. A backend without
/// [`atomic_batches`](crate::Guarantees::atomic_batches) is given one row at a time, so that at
/// most that row is.
///
/// # What the recorder does with an error
///
/// | error of the backend | [`is_retryable`] | rows of the batch |
/// |---|---|---|
/// | kind `Busy`, `Connection`, `Timeout`, `Full` | yes | sent again, after a growing delay, until they are stored |
/// | kind `Permission`, `Io`, `Corrupt`, `NewerSchema`, `Config`; `NotConfigured` | no: an operator has to act | kept and sent again, since no row is at fault |
/// | kind `Other`, a panic, any error not named here | yes | sent again; one row is rejected if it is proven at fault |
/// | `InvalidRow` | no | the named row is rejected, the others are sent again |
/// | `InvalidRecordName`, `ValueTooLarge`, `ValueTooDeep`, `TimestampOutOfRange`, `Serialization` | no | the batch is split until the row is found, which is rejected |
/// | `PartialBatch` | as its source | the rows that were not stored are sent again |
/// | `BackendShutdown` | no | the recorder stops; its rows are dropped |
///
/// After an error of unknown kind the batch is split. A row is at fault if it fails five times alone
/// while others are stored, or ten times if no other row is left to try. A row that fails and has no
/// others beside it waits for company: an outage cannot be told from a bad value. Under
/// [`give_up_after`](RetryPolicy::give_up_after) rows are dropped when the time is over.
///
/// [`is_retryable`]: crate::PersistenceError::is_retryable
///
/// ```
/// # use std::sync::Arc;
/// # use annals_core::{MemoryBackend, QueryExt, Recorder, RecorderConfig};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let history = Arc::new(MemoryBackend::new());
/// let recorder = Recorder::new(history.clone(), RecorderConfig::default());
/// recorder.record("temperature", &21.5).await?;
/// recorder.record("temperature", &22.0).await?;
/// recorder.flush().await?;
/// assert_eq!(recorder.stats().total.stored, 2);
/// recorder.close().await?;
/// assert_eq!(history.query_latest::<f64>("temperature", 1).await?, [22.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Recorder {
    pipeline: Arc<Pipeline>,
}

impl Recorder {
    /// Starts recording into `backend`. Needs no runtime: the recorder has a thread of its own.
    ///
    /// The backend is not asked for anything yet. Should the thread not start, which only happens
    /// when the system has no more of them, every call answers
    /// [`Stopped`](RecorderError::Stopped) with the reason.
    pub fn new(backend: Arc<dyn PersistenceBackend>, config: RecorderConfig) -> Self {
        Self { pipeline: Arc::new(Pipeline::start(backend, config, pipeline::runtime)) }
    }

    /// Records `value` for `name`, captured now.
    ///
    /// Value and time are taken when this is called, not when the future is polled. The time is
    /// never before that of an earlier value, even if the clock stepped back; a clock that was far
    /// ahead for a moment therefore leaves the times there until it catches up.
    ///
    /// `Ok` means that the value was accepted, or that the queue was full and the
    /// [`Overflow`] policy dropped a value, which [`stats`](Self::stats) counts and the log tells.
    /// When the value is stored, [`flush`](Self::flush) tells.
    ///
    /// # Errors
    /// [`Rejected`](RecorderError::Rejected), [`Closed`](RecorderError::Closed) or
    /// [`Stopped`](RecorderError::Stopped).
    ///
    /// # Cancel safety
    /// Only waits under [`Overflow::Wait`]. Dropping the future then leaves the value accepted or
    /// not, and counted accordingly.
    pub fn record<'a, T: Serialize + ?Sized>(
        &'a self,
        name: &'a str,
        value: &T,
    ) -> impl Future<Output = Result<(), RecorderError>> + Send + use<'a, T> {
        self.pipeline.record(Target::Name(name), value, None)
    }

    /// As [`record`](Self::record), with a time of its own: Unix milliseconds, at most `i64::MAX`.
    /// It is taken as it is and has no influence on the times of other values.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    ///
    /// # Cancel safety
    /// As [`record`](Self::record).
    pub fn record_at<'a, T: Serialize + ?Sized>(
        &'a self,
        name: &'a str,
        value: &T,
        stored_at: u64,
    ) -> impl Future<Output = Result<(), RecorderError>> + Send + use<'a, T> {
        self.pipeline.record(Target::Name(name), value, Some(stored_at))
    }

    /// As [`record`](Self::record), without ever waiting.
    ///
    /// # Errors
    /// As [`record`](Self::record), and [`Full`](RecorderError::Full) under [`Overflow::Wait`]: the
    /// value is then in no count, since the caller still has it and may offer it again. A caller
    /// that throws it away says so with [`add_lost`](Self::add_lost).
    pub fn try_record<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<(), RecorderError> {
        self.pipeline.try_record(Target::Name(name), value, None)
    }

    /// As [`record_at`](Self::record_at), without ever waiting.
    ///
    /// # Errors
    /// As [`try_record`](Self::try_record).
    pub fn try_record_at<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
        stored_at: u64,
    ) -> Result<(), RecorderError> {
        self.pipeline.try_record(Target::Name(name), value, Some(stored_at))
    }

    /// The record `name`, checked and looked up once for all its values.
    ///
    /// # Errors
    /// [`Rejected`](RecorderError::Rejected) when the name is not allowed; nothing is counted.
    pub fn handle(&self, name: &str) -> Result<RecordHandle, RecorderError> {
        RecordHandle::new(&self.pipeline, name, None)
    }

    /// The record `name`, filtered by `filter` from here on, in place of the filter that the
    /// configuration has for it.
    ///
    /// # Errors
    /// [`Rejected`](RecorderError::Rejected) when the name is not allowed or a rule of the filter
    /// cannot work; nothing is counted.
    pub fn handle_with(&self, name: &str, filter: &Filter) -> Result<RecordHandle, RecorderError> {
        RecordHandle::new(&self.pipeline, name, Some(filter))
    }

    /// Counts `values` of `name` that their source lost before they reached the recorder. A name
    /// that is not allowed counts among [`invalid_names`](RecorderStats::invalid_names).
    pub fn add_lost(&self, name: &str, values: u64) {
        self.pipeline.add_lost(Target::Name(name), values);
    }

    /// Waits until everything accepted before is stored. While the backend is away this waits with
    /// it.
    ///
    /// # Errors
    /// [`RowsRejected`](RecorderError::RowsRejected) if the backend has rejected rows since the
    /// previous flush, [`Dropped`](RecorderError::Dropped) if rows were dropped meanwhile or given
    /// up since then, [`Stopped`](RecorderError::Stopped) if the recorder had stopped by itself.
    /// Each rejected row is reported once; everything else is stored.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: the next flush reports what this one would have.
    pub async fn flush(&self) -> Result<(), RecorderError> {
        self.pipeline.flush().await
    }

    /// Accepts nothing more, waits until everything accepted is stored, and lets go of the
    /// backend.
    ///
    /// Values that wait for room go back to their callers with [`Closed`](RecorderError::Closed).
    /// The wait ends when the backend has neither stored nor refused a row for
    /// [`drain_timeout`](RecorderConfig::drain_timeout); a backend that is slow but works is given
    /// all the time it needs. Closing again, from any clone, gives the same answer.
    ///
    /// # Errors
    /// [`RowsRejected`](RecorderError::RowsRejected) when the backend has rejected rows since the
    /// last flush; [`Dropped`](RecorderError::Dropped) when the recorder left values behind, now or
    /// when it stopped by itself. [`Stopped`](RecorderError::Stopped) when the backend blocks the thread
    /// that calls it, for five seconds more than `drain_timeout`: what is pending then is stored or
    /// dropped when it comes back, if it ever does.
    ///
    /// # Cancel safety
    /// From the first poll on the recorder closes, even if the future is dropped.
    pub async fn close(&self) -> Result<(), RecorderError> {
        self.pipeline.close().await
    }

    /// The account at this moment: all counters are read at once.
    ///
    /// Costs time and memory in proportion to the number of records.
    pub fn stats(&self) -> RecorderStats {
        self.pipeline.queue.stats()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.pipeline.queue.with(|state| state.ledger.total);
        f.debug_struct("Recorder").field("total", &total).finish_non_exhaustive()
    }
}
