//! What the server's and the driver's errors mean: one pure function, and the way to it.

use std::error::Error as _;
use std::io;

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError};
use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::Severity;

/// How this backend calls itself in errors.
pub(crate) const ENGINE: &str = "postgres";

/// A native error, reduced to what its meaning depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native<'a> {
    /// The server reported a SQLSTATE; after a fatal one it ends the connection.
    Server { code: &'a str, fatal: bool },
    /// The connection ended without a word.
    Closed,
    /// The operating system reported something about the connection.
    Io(io::ErrorKind),
    /// The client's limit for a step ran out.
    Timeout,
    /// No connection became free in time, or the write queue stayed full.
    Wait,
    /// The driver refused: a missing password, a method of authentication it does not know.
    Driver,
}

/// How far a transaction had come when the error arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The commit had not been sent.
    Before,
    /// The commit had been sent and was not answered.
    Commit,
}

/// The kind of an error and what is known about the rows. The kind decides whether to try again.
pub(crate) fn classify(native: Native<'_>, phase: Phase) -> (ErrorKind, Outcome) {
    let kind = match native {
        Native::Server { code, .. } => kind_of_code(code),
        Native::Closed => ErrorKind::Connection,
        Native::Io(io::ErrorKind::TimedOut) | Native::Timeout => ErrorKind::Timeout,
        Native::Io(io::ErrorKind::PermissionDenied) => ErrorKind::Permission,
        Native::Io(_) => ErrorKind::Connection,
        Native::Wait => ErrorKind::Timeout,
        Native::Driver => ErrorKind::Config,
    };
    let outcome = match (phase, native) {
        (Phase::Before, _) | (Phase::Commit, Native::Wait) => Outcome::NotApplied,
        // 08007: transaction resolution unknown; 40003: statement completion unknown.
        (Phase::Commit, Native::Server { code: "08007" | "40003", .. }) => Outcome::Unknown,
        // An ERROR in answer to COMMIT rolls back. A FATAL may have come between the commit and
        // the answer to it.
        (Phase::Commit, Native::Server { fatal: false, .. }) => Outcome::NotApplied,
        (Phase::Commit, _) => Outcome::Unknown,
    };
    (kind, outcome)
}

/// By SQLSTATE, or its first two characters, the class.
fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        // Ended by an administrator, crashed, starting up, idle for too long.
        "57P01" | "57P02" | "57P03" | "57P05" => ErrorKind::Connection,
        "57014" | "25P03" | "25P04" => ErrorKind::Timeout,
        // Failed to lock in time; the object is in use.
        "55P03" | "55006" => ErrorKind::Busy,
        // A standby, or `default_transaction_read_only`.
        "25006" | "42501" => ErrorKind::Permission,
        "3D000" | "57P04" | "3F000" | "42939" => ErrorKind::Config,
        // Tables or columns that are not there, or are something else.
        "42P01" | "42703" | "42809" | "42804" => ErrorKind::Corrupt,
        _ => match code.get(..2) {
            Some("08") => ErrorKind::Connection,
            Some("28") => ErrorKind::Permission,
            Some("40") => ErrorKind::Busy,
            Some("53") => ErrorKind::Full,
            Some("58") => ErrorKind::Io,
            Some("XX") => ErrorKind::Corrupt,
            _ => ErrorKind::Other,
        },
    }
}

/// Reduces an error of the driver.
pub(crate) fn reduce(error: &tokio_postgres::Error) -> Native<'_> {
    if let Some(reported) = error.as_db_error() {
        let fatal = match reported.parsed_severity() {
            Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
            None => false,
        };
        return Native::Server { code: reported.code().code(), fatal };
    }
    if error.is_closed() {
        return Native::Closed;
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Native::Io(io.kind());
        }
        source = inner.source();
    }
    Native::Driver
}

/// An error of the driver during `operation`.
pub(crate) fn driver(
    operation: &'static str,
    error: tokio_postgres::Error,
    phase: Phase,
) -> PersistenceError {
    let (kind, outcome) = classify(reduce(&error), phase);
    let message = match error.as_db_error() {
        Some(reported) => {
            let advice = advice(reported.code().code());
            format!("{} (SQLSTATE {}){advice}", reported.message(), reported.code().code())
        }
        None => with_sources(&error),
    };
    let message = message.replace('\n', " ");
    BackendError::new(ENGINE, operation, kind, message)
        .with_outcome(outcome)
        .with_source(error)
        .into()
}

/// `error connecting to server: Connection refused (os error 111)`
fn with_sources(error: &tokio_postgres::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        message.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    message
}

/// What to do about it, where that is known.
fn advice(code: &str) -> &'static str {
    match code {
        "53300" => "; lower `pool_size`, or raise `max_connections` on the server",
        "42501" => "; the role needs CREATE on the database once, and then its own tables",
        "25006" => "; `target_session_attrs=read-write` finds the primary among several hosts",
        "42P07" => "; the schema has a table of that name already: choose another with `schema=`",
        _ => "",
    }
}

/// An error of the pool during `operation`; nothing has been sent then.
pub(crate) fn pool(operation: &'static str, error: PoolError) -> PersistenceError {
    let (native, message) = match error {
        PoolError::Backend(error) => return driver(operation, error, Phase::Before),
        PoolError::Closed => return PersistenceError::BackendShutdown,
        PoolError::Timeout(TimeoutType::Wait) => {
            (Native::Wait, "no connection became free within `wait_timeout`".to_owned())
        }
        PoolError::Timeout(_) => {
            (Native::Timeout, "the server did not let us in within `connect_timeout`".to_owned())
        }
        other => (Native::Driver, other.to_string()),
    };
    let (kind, outcome) = classify(native, Phase::Before);
    BackendError::new(ENGINE, operation, kind, message).with_outcome(outcome).into()
}

/// A limit of the client's own ran out.
pub(crate) fn timeout(
    operation: &'static str,
    native: Native<'_>,
    phase: Phase,
    message: &str,
) -> PersistenceError {
    let (kind, outcome) = classify(native, phase);
    BackendError::new(ENGINE, operation, kind, message).with_outcome(outcome).into()
}

/// An error of this backend's own making.
pub(crate) fn own(
    operation: &'static str,
    kind: ErrorKind,
    message: impl Into<String>,
) -> PersistenceError {
    BackendError::new(ENGINE, operation, kind, message).into()
}

/// A writer went away with the job.
pub(crate) fn unanswered(operation: &'static str) -> PersistenceError {
    BackendError::new(ENGINE, operation, ErrorKind::Other, "a bug: the writer panicked")
        .with_outcome(Outcome::Unknown)
        .into()
}

/// Configuration that cannot work.
pub(crate) fn config(message: impl Into<String>) -> PersistenceError {
    own("configure", ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use ErrorKind::*;
    use Outcome::{NotApplied, Unknown};

    use super::*;

    /// Every class that occurs, before the commit was sent and after.
    #[test]
    fn the_table_of_errors() {
        let error = |code| Native::Server { code, fatal: false };
        let fatal = |code| Native::Server { code, fatal: true };
        for (native, kind, at_commit) in [
            (fatal("57P01"), Connection, Unknown),
            (fatal("57P02"), Connection, Unknown),
            (fatal("57P03"), Connection, Unknown),
            (fatal("57P04"), Config, Unknown),
            (fatal("57P05"), Connection, Unknown),
            (error("57014"), Timeout, NotApplied),
            (fatal("25P03"), Timeout, Unknown),
            (error("08006"), Connection, NotApplied),
            (error("08007"), Connection, Unknown),
            (error("40003"), Busy, Unknown),
            (error("40001"), Busy, NotApplied),
            (error("40P01"), Busy, NotApplied),
            (error("55P03"), Busy, NotApplied),
            (error("53100"), Full, NotApplied),
            (error("53200"), Full, NotApplied),
            (fatal("53300"), Full, Unknown),
            (error("25006"), Permission, NotApplied),
            (error("42501"), Permission, NotApplied),
            (fatal("28P01"), Permission, Unknown),
            (fatal("28000"), Permission, Unknown),
            (fatal("3D000"), Config, Unknown),
            (error("3F000"), Config, NotApplied),
            (error("42P01"), Corrupt, NotApplied),
            (error("58030"), Io, NotApplied),
            (error("XX001"), Corrupt, NotApplied),
            (error("22021"), Other, NotApplied),
            (error("23505"), Other, NotApplied),
            (error("54000"), Other, NotApplied),
            (error(""), Other, NotApplied),
            (Native::Closed, Connection, Unknown),
            (Native::Io(io::ErrorKind::ConnectionReset), Connection, Unknown),
            (Native::Io(io::ErrorKind::ConnectionRefused), Connection, Unknown),
            (Native::Io(io::ErrorKind::TimedOut), Timeout, Unknown),
            (Native::Io(io::ErrorKind::PermissionDenied), Permission, Unknown),
            (Native::Timeout, Timeout, Unknown),
            (Native::Wait, Timeout, NotApplied),
            (Native::Driver, Config, Unknown),
        ] {
            assert_eq!(classify(native, Phase::Before), (kind, NotApplied), "{native:?}");
            assert_eq!(classify(native, Phase::Commit), (kind, at_commit), "{native:?}");
        }
    }
}
