//! Puts the values of one record into the recorder, and warns of those that do not get there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use annals_core::{RecordHandle, RecorderError};
use parking_lot::Mutex;
use serde::Serialize;

use crate::notice::{Notice, error, unheard};

/// A record's handle on the recorder, with the rate-limited warnings about values it did not get.
pub(crate) struct Capture {
    record: RecordHandle,
    lost: Mutex<Notice>,
    rejected: Mutex<Notice>,
}

impl Capture {
    pub(crate) fn new(record: RecordHandle) -> Self {
        Self { record, lost: Mutex::default(), rejected: Mutex::default() }
    }

    /// Records a value with the current time. Never waits and never panics: it runs within a push,
    /// and a panic in a value's `Serialize` must not reach the producer.
    pub(crate) fn record<T: Serialize + ?Sized>(&self, value: &T) {
        let recorded = catch_unwind(AssertUnwindSafe(|| self.record.try_record(value)));
        let Ok(recorded) = recorded else {
            self.lost(1, "it panicked while it was serialized");
            return;
        };
        match recorded {
            Ok(()) => {}
            Err(RecorderError::Rejected(refusal)) => {
                tell(&self.rejected, 1, |values| {
                    let record = self.record.name().as_str();
                    if unheard() {
                        eprintln!("annals-aimdb: {record}: {values} values rejected: {refusal}");
                    } else {
                        tracing::warn!(record, values, error = %refusal, "values cannot be stored: rejected");
                    }
                });
            }
            Err(refusal) => self.lost(1, &refusal.to_string()),
        }
    }

    /// Logs that the record's buffer is a mailbox.
    pub(crate) fn warn_of_mailbox(&self) {
        error(format_args!(
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
        tell(&self.lost, values, |values| {
            let record = self.record.name().as_str();
            if unheard() {
                let plural = if values == 1 { "" } else { "s" };
                eprintln!("annals-aimdb: {record}: {values} value{plural} lost: {why}");
            } else {
                tracing::warn!(record, values, why, "values lost: they are not in the history");
            }
        });
    }
}

fn tell(notice: &Mutex<Notice>, values: u64, speak: impl FnOnce(u64)) {
    let due = notice.lock().count(values, Instant::now());
    if let Some(values) = due {
        speak(values);
    }
}
