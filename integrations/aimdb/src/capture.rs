//! Puts the values of one record into the recorder, and warns of those that do not get there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use annals_core::log::{self, RateLimitedLog};
use annals_core::{RecordHandle, RecorderError};
use parking_lot::Mutex;
use serde::Serialize;

/// A record's handle on the recorder, with the warnings about values that the recorder did not get.
pub(crate) struct Capture {
    record: RecordHandle,
    lost: Mutex<RateLimitedLog>,
    rejected: Mutex<RateLimitedLog>,
}

impl Capture {
    pub(crate) fn new(record: RecordHandle) -> Self {
        Self { record, lost: Mutex::default(), rejected: Mutex::default() }
    }

    /// Records a value with the current time. Never waits and never panics: it runs within a push,
    /// and a panic in a value's `Serialize` must not reach the producer.
    pub(crate) fn record<T: Serialize + ?Sized>(&self, value: &T) {
        match catch_unwind(AssertUnwindSafe(|| self.record.try_record(value))) {
            Ok(Ok(())) => {}
            Ok(Err(RecorderError::Rejected(error))) => {
                self.warn(&self.rejected, 1, "rejected for good", &error.to_string());
            }
            Ok(Err(refusal)) => self.lost(1, &refusal.to_string()),
            Err(_) => self.lost(1, "it panicked while it was serialized"),
        }
    }

    /// Logs that the record's buffer is a mailbox.
    pub(crate) fn warn_of_mailbox(&self) {
        log::error(format_args!(
            "{}: its buffer is a Mailbox, which delivers each value to one reader: .persist takes \
             values away from the others; use .persist_buffer(cfg, name), which does not",
            self.record.name()
        ));
    }

    /// Counts values that the buffer overwrote before they were read.
    pub(crate) fn lagged(&self, values: u64) {
        self.lost(
            values,
            "the buffer overwrote them before they were read; .persist_buffer loses none",
        );
    }

    fn lost(&self, values: u64, why: &str) {
        self.record.add_lost(values);
        self.warn(&self.lost, values, "lost", why);
    }

    fn warn(&self, limit: &Mutex<RateLimitedLog>, values: u64, what: &str, why: &str) {
        if let Some(values) = limit.lock().count(values, Instant::now()) {
            let noun = if values == 1 { "value" } else { "values" };
            log::warn(format_args!("{}: {values} {noun} {what}: {why}", self.record.name()));
        }
    }
}
