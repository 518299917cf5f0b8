//! Errors of the file's content, panics of an engine, and errors that only the log can report.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError, Result};

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

/// Whether an error says that the disk is full, and that nothing was applied.
pub fn is_full(error: &PersistenceError) -> bool {
    error.outcome() == Outcome::NotApplied
        && matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Full)
}

/// Runs work of an engine that may panic at a page that makes no sense.
///
/// # Errors
/// The error of `work`; [`ErrorKind::Corrupt`] if it panicked.
pub fn contain<T>(
    engine: &'static str,
    operation: &'static str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    // The work owns what it touches, or its caller uses it no longer.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "the engine panicked; the file is probably damaged";
        Err(BackendError::new(engine, operation, ErrorKind::Corrupt, message).into())
    })
}

/// Logs a failure of background work, which no call can report.
pub(crate) fn log_failure(engine: &'static str, what: &'static str, error: &PersistenceError) {
    tracing::error!(engine, %error, "{what} failed and will be tried again");
}
