//! How a value gets into the recorder, and what is said when it does not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use annals_core::{RecordHandle, RecorderError};
use serde::Serialize;

use crate::notice::{Notice, error, unheard};

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

    /// Records a value, captured now. Never waits, nor panics: this runs within a push, and whoever
    /// pushes is not to blame for how a value serializes.
    pub(crate) fn take<T: Serialize + ?Sized>(&self, value: &T) {
        let taken = catch_unwind(AssertUnwindSafe(|| self.record.try_record(value)));
        let Ok(taken) = taken else {
            self.missed(1, "it panicked while it was serialized");
            return;
        };
        match taken {
            Ok(()) => {}
            Err(RecorderError::Rejected(refusal)) => {
                tell(&self.refused, 1, |values| {
                    let record = self.record.name().as_str();
                    if unheard() {
                        eprintln!("annals-aimdb: {record}: {values} values rejected: {refusal}");
                    } else {
                        tracing::warn!(record, values, error = %refusal, "values cannot be stored: rejected");
                    }
                });
            }
            Err(refusal) => self.missed(1, &refusal.to_string()),
        }
    }

    /// Says that the record's buffer has one reader for each value.
    pub(crate) fn takes_from_others(&self) {
        error(format_args!(
            "{}: its buffer is a Mailbox, which gives each value to one reader only: .persist takes \
             them from the others; use .persist_buffer(cfg, name), which does not",
            self.record.name()
        ));
    }

    /// Counts values that the buffer overwrote before they were read.
    pub(crate) fn lagged(&self, values: u64) {
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
                let plural = if values == 1 { "" } else { "s" };
                eprintln!("annals-aimdb: {record}: {values} value{plural} missed: {why}");
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
