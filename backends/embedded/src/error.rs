//! Errors of the file's content, and errors that only the log can report.

use annals_core::{BackendError, ErrorKind, PersistenceError};

use crate::format::FormatError;

/// A block or run index that could not be encoded or decoded.
pub(crate) fn format_error(engine: &'static str, found: FormatError) -> PersistenceError {
    let kind = match &found {
        FormatError::Damaged(_) => ErrorKind::Corrupt,
        FormatError::Compressor(_) => ErrorKind::Other,
    };
    BackendError::new(engine, "query", kind, found.to_string()).with_source(found).into()
}

/// Tables that contradict each other.
pub(crate) fn corrupt(engine: &'static str, what: &str) -> PersistenceError {
    let message = format!("the file is damaged: {what}");
    BackendError::new(engine, "query", ErrorKind::Corrupt, message).into()
}

pub(crate) fn is_corrupt(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Corrupt)
}

/// Logs a failure of background work, which no call can report.
pub(crate) fn log_failure(engine: &'static str, what: &'static str, error: &PersistenceError) {
    tracing::error!(engine, %error, "{what} failed and will be tried again");
}
