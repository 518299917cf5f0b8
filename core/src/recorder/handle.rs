//! One record of a recorder, looked up once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use super::error::RecorderError;
use super::filter::Filter;
use super::pipeline::Pipeline;
use super::queue::{RecordId, Target};
use super::stats::RecordStats;
use crate::name::RecordName;

/// One record of a [`Recorder`](crate::Recorder), checked and looked up once: the way to record
/// many values.
///
/// A handle keeps the recorder open as a clone of it does.
///
/// ```
/// # use std::sync::Arc;
/// # use annals_core::{MemoryBackend, Recorder, RecorderConfig};
/// let recorder = Recorder::new(Arc::new(MemoryBackend::new()), RecorderConfig::default());
/// let temperature = recorder.handle("temperature")?;
/// for celsius in [21.5, 21.7, 22.0] {
///     temperature.try_record(&celsius)?;
/// }
/// assert_eq!(temperature.stats().recorded, 3);
/// # Ok::<(), annals_core::RecorderError>(())
/// ```
#[derive(Clone)]
pub struct RecordHandle {
    pipeline: Arc<Pipeline>,
    record: RecordId,
    name: RecordName,
}

impl RecordHandle {
    pub(super) fn new(
        pipeline: &Arc<Pipeline>,
        name: &str,
        filter: Option<&Filter>,
    ) -> Result<Self, RecorderError> {
        let (record, name) = pipeline.open(name, filter).map_err(RecorderError::Rejected)?;
        Ok(Self { pipeline: Arc::clone(pipeline), record, name })
    }

    /// The record's name.
    pub fn name(&self) -> &RecordName {
        &self.name
    }

    /// As [`Recorder::record`](crate::Recorder::record).
    ///
    /// # Errors
    /// As [`Recorder::record`](crate::Recorder::record).
    ///
    /// # Cancel safety
    /// As [`Recorder::record`](crate::Recorder::record).
    pub fn record<'a, T: Serialize + ?Sized>(
        &'a self,
        value: &T,
    ) -> impl Future<Output = Result<(), RecorderError>> + Send + use<'a, T> {
        self.pipeline.record(Target::Id(self.record), value, None)
    }

    /// As [`Recorder::record_at`](crate::Recorder::record_at).
    ///
    /// # Errors
    /// As [`Recorder::record`](crate::Recorder::record).
    ///
    /// # Cancel safety
    /// As [`Recorder::record`](crate::Recorder::record).
    pub fn record_at<'a, T: Serialize + ?Sized>(
        &'a self,
        value: &T,
        stored_at: u64,
    ) -> impl Future<Output = Result<(), RecorderError>> + Send + use<'a, T> {
        self.pipeline.record(Target::Id(self.record), value, Some(stored_at))
    }

    /// As [`Recorder::try_record`](crate::Recorder::try_record).
    ///
    /// # Errors
    /// As [`Recorder::try_record`](crate::Recorder::try_record).
    pub fn try_record<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), RecorderError> {
        self.pipeline.try_record(Target::Id(self.record), value, None)
    }

    /// As [`Recorder::try_record_at`](crate::Recorder::try_record_at).
    ///
    /// # Errors
    /// As [`Recorder::try_record`](crate::Recorder::try_record).
    pub fn try_record_at<T: Serialize + ?Sized>(
        &self,
        value: &T,
        stored_at: u64,
    ) -> Result<(), RecorderError> {
        self.pipeline.try_record(Target::Id(self.record), value, Some(stored_at))
    }

    pub(super) async fn flush(&self) -> Result<(), RecorderError> {
        self.pipeline.flush().await
    }

    /// Tells the record's filter what is stored already: a value that has not changed since is then
    /// not recorded again after a restart. It counts as the last one that passed, at `stored_at`
    /// (Unix milliseconds), unless there has been another. Without a filter nothing happens.
    ///
    /// # Errors
    /// [`Rejected`](RecorderError::Rejected) if the value does not serialize; nothing is counted.
    pub fn resume<T: Serialize + ?Sized>(
        &self,
        value: &T,
        stored_at: u64,
    ) -> Result<(), RecorderError> {
        let resumed = self.pipeline.resume(self.record, value, stored_at);
        resumed.map_err(RecorderError::Rejected)
    }

    /// Counts values that the source lost before they reached the recorder.
    pub fn add_lost(&self, values: u64) {
        self.pipeline.add_lost(Target::Id(self.record), values);
    }

    /// This record's account at this moment.
    pub fn stats(&self) -> RecordStats {
        self.pipeline.queue.with(|state| state.ledger.account(self.record))
    }
}

impl fmt::Debug for RecordHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordHandle").field("name", &self.name).finish_non_exhaustive()
    }
}
