//! Why a recorder did not take a value, or could not keep it.

use std::fmt;

use crate::error::PersistenceError;

/// Why a recorder did not take a value, or could not keep what it had taken.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The value or its name can never be stored. Counted as recorded and rejected.
    #[error("the value was rejected: {0}")]
    Rejected(#[source] PersistenceError),
    /// The queue is full, and the call was not to wait. Not counted: the caller still has the
    /// value.
    #[error("the recorder's queue is full")]
    Full,
    /// The recorder was closed. Not counted: the caller still has the value.
    #[error("the recorder is closed")]
    Closed,
    /// The recorder came to an end by itself and says why: its backend was closed, or its thread
    /// could not go on. Not counted: the caller still has the value.
    #[error("the recorder has stopped: {0}")]
    Stopped(#[source] PersistenceError),
    /// The backend rejected accepted values for good. Counted as rejected.
    #[error("the backend rejected {rows} accepted values{}: {source}", and_dropped(*.dropped))]
    RowsRejected {
        /// How many were rejected.
        rows: u64,
        /// How many others were dropped meanwhile.
        dropped: u64,
        /// Why the first one was rejected.
        #[source]
        source: PersistenceError,
    },
    /// Values that had been accepted were dropped: pushed out of a full queue, given up on, or
    /// left when the recorder closed. Counted as dropped.
    #[error("{rows} accepted values were dropped{}", because(.source))]
    Dropped {
        /// How many.
        rows: u64,
        /// The last thing the backend said; `None` if the queue was full.
        #[source]
        source: Option<PersistenceError>,
    },
}

fn and_dropped(dropped: u64) -> String {
    match dropped {
        0 => String::new(),
        dropped => format!(" ({dropped} others were dropped)"),
    }
}

/// One line, as `main` prints an error that it returns.
impl fmt::Debug for RecorderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn because(source: &Option<PersistenceError>) -> String {
    source.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
}
