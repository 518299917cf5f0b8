//! redb's errors in terms of the contract.

use std::io;

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError};
use redb::Error;

use crate::ENGINE;

/// What kind of failure a redb error is.
pub(crate) fn classify(error: &Error) -> ErrorKind {
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch | Error::TransactionInProgress => {
            ErrorKind::Busy
        }
        Error::Io(error) => match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorKind::Full,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotFound
            | io::ErrorKind::IsADirectory => ErrorKind::Permission,
            // What redb reports for a file of another kind.
            io::ErrorKind::InvalidData => ErrorKind::Corrupt,
            _ => ErrorKind::Io,
        },
        Error::PreviousIo => ErrorKind::Io,
        Error::Corrupted(_)
        | Error::UpgradeRequired(_)
        | Error::TableTypeMismatch { .. }
        | Error::TableIsMultimap(_)
        | Error::TypeDefinitionChanged { .. } => ErrorKind::Corrupt,
        _ => ErrorKind::Other,
    }
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Full => "; free space on the disk and open the file again",
        ErrorKind::Permission => "; check the path and its permissions",
        ErrorKind::Corrupt => "; the file is damaged or is not a redb database of this format",
        ErrorKind::Io => "; check the disk and open the file again",
        _ => "",
    }
}

/// A failure that left nothing applied.
pub(crate) fn failed<E: Into<Error>>(
    operation: &'static str,
) -> impl Fn(E) -> PersistenceError + Copy {
    move |error| backend_error(operation, error.into()).into()
}

/// A failed commit, which may have reached the medium.
pub(crate) fn commit_failed(operation: &'static str, error: impl Into<Error>) -> PersistenceError {
    backend_error(operation, error.into()).with_outcome(Outcome::Unknown).into()
}

fn backend_error(operation: &'static str, error: Error) -> BackendError {
    let kind = classify(&error);
    BackendError::new(ENGINE, operation, kind, format!("{error}{}", advice(kind)))
        .with_source(error)
}

/// A file or configuration that cannot be opened as a history.
pub(crate) fn refused(kind: ErrorKind, message: String) -> PersistenceError {
    BackendError::new(ENGINE, "open", kind, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_errors_have_a_kind_and_a_retry() {
        let io = |kind: io::ErrorKind| Error::Io(kind.into());
        for (error, kind, retryable) in [
            (Error::DatabaseAlreadyOpen, ErrorKind::Busy, true),
            (io(io::ErrorKind::StorageFull), ErrorKind::Full, true),
            (io(io::ErrorKind::PermissionDenied), ErrorKind::Permission, false),
            (io(io::ErrorKind::InvalidData), ErrorKind::Corrupt, false),
            (io(io::ErrorKind::Other), ErrorKind::Io, false),
            (Error::PreviousIo, ErrorKind::Io, false),
            (Error::Corrupted("page".into()), ErrorKind::Corrupt, false),
            (Error::ValueTooLarge(1), ErrorKind::Other, true),
        ] {
            assert_eq!(classify(&error), kind, "{error}");
            let shown = error.to_string();
            let error = failed("store")(error);
            assert_eq!(error.is_retryable(), retryable, "{shown}");
            assert_eq!(error.outcome(), Outcome::NotApplied);
        }
        assert_eq!(commit_failed("store", Error::PreviousIo).outcome(), Outcome::Unknown);
    }
}
