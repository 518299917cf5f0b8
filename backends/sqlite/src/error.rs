//! SQLite's errors in terms of the contract.

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError};
use rusqlite::{ErrorCode, ffi};

use crate::ENGINE;

/// What kind of failure a SQLite error is. The low byte of the extended code is the primary code,
/// which is what rusqlite's `ErrorCode` holds.
pub(crate) fn classify(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error().map(|native| native.extended_code) {
        // The index of the log could not grow, usually because the disk is full.
        Some(ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_SHMMAP) => {
            return ErrorKind::Full;
        }
        Some(ffi::SQLITE_PROTOCOL) => return ErrorKind::Busy,
        _ => {}
    }
    // A column that has not what was stored there.
    if let rusqlite::Error::Utf8Error(..)
    | rusqlite::Error::FromSqlConversionFailure(..)
    | rusqlite::Error::IntegralValueOutOfRange(..)
    | rusqlite::Error::InvalidColumnType(..)
    | rusqlite::Error::QueryReturnedNoRows = error
    {
        return ErrorKind::Corrupt;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            ErrorKind::Permission
        }
        Some(ErrorCode::AuthorizationForStatementDenied) => ErrorKind::Permission,
        Some(ErrorCode::SystemIoFailure) => ErrorKind::Io,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        _ => ErrorKind::Other,
    }
}

/// Whether a sync failed: earlier writes may be lost without a further error.
pub(crate) fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let native = error.sqlite_error().map(|native| native.extended_code);
    matches!(native, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => "; another process has locked the file, try again when it is done",
        ErrorKind::Full => "; free space on the disk",
        ErrorKind::Permission => "; check the path and its permissions",
        ErrorKind::Corrupt => "; the file is damaged or is not a SQLite database",
        _ => "",
    }
}

/// A failed statement. Its transaction is rolled back, so nothing was applied.
pub(crate) fn failed(
    operation: &'static str,
) -> impl Fn(rusqlite::Error) -> PersistenceError + Copy {
    move |error| {
        let kind = classify(&error);
        BackendError::new(ENGINE, operation, kind, format!("{error}{}", advice(kind)))
            .with_source(error)
            .into()
    }
}

/// A failed commit. If the medium failed, the transaction may be on it and reappear after a crash.
/// Otherwise SQLite has rolled it back.
pub(crate) fn commit_failed(operation: &'static str, error: rusqlite::Error) -> PersistenceError {
    let kind = classify(&error);
    let outcome = match kind {
        ErrorKind::Busy | ErrorKind::Full | ErrorKind::Permission => Outcome::NotApplied,
        _ => Outcome::Unknown,
    };
    BackendError::new(ENGINE, operation, kind, format!("{error}{}", advice(kind)))
        .with_outcome(outcome)
        .with_source(error)
        .into()
}

/// A file or configuration that cannot be opened as a history.
pub(crate) fn refused(kind: ErrorKind, message: String) -> PersistenceError {
    BackendError::new(ENGINE, "open", kind, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn native_codes_have_a_kind_a_retry_and_an_outcome() {
        use ErrorKind::*;
        for (code, kind, retryable, commit_outcome) in [
            (ffi::SQLITE_BUSY, Busy, true, Outcome::NotApplied),
            (ffi::SQLITE_BUSY_SNAPSHOT, Busy, true, Outcome::NotApplied),
            (ffi::SQLITE_LOCKED, Busy, true, Outcome::NotApplied),
            (ffi::SQLITE_FULL, Full, true, Outcome::NotApplied),
            (ffi::SQLITE_READONLY, Permission, false, Outcome::NotApplied),
            (ffi::SQLITE_READONLY_DBMOVED, Permission, false, Outcome::NotApplied),
            (ffi::SQLITE_CANTOPEN, Permission, false, Outcome::NotApplied),
            (ffi::SQLITE_IOERR_FSYNC, Io, false, Outcome::Unknown),
            (ffi::SQLITE_IOERR_SHMSIZE, Full, true, Outcome::NotApplied),
            (ffi::SQLITE_PROTOCOL, Busy, true, Outcome::NotApplied),
            (ffi::SQLITE_IOERR_WRITE, Io, false, Outcome::Unknown),
            (ffi::SQLITE_CORRUPT, Corrupt, false, Outcome::Unknown),
            (ffi::SQLITE_NOTADB, Corrupt, false, Outcome::Unknown),
            (ffi::SQLITE_NOMEM, Other, true, Outcome::Unknown),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Other, true, Outcome::Unknown),
        ] {
            assert_eq!(classify(&native(code)), kind, "{code}");
            let rolled_back = failed("store")(native(code));
            assert_eq!(rolled_back.is_retryable(), retryable, "{code}");
            assert_eq!(rolled_back.outcome(), Outcome::NotApplied, "{code}");
            assert_eq!(commit_failed("store", native(code)).outcome(), commit_outcome, "{code}");
        }
    }
}
