//! What the server's and the driver's errors mean: one pure function, and the way to it.

use std::error::Error as _;
use std::io;

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError};
use deadpool::managed::{PoolError, TimeoutType};
use tokio_postgres::error::{Severity, SqlState};

use crate::connect::ConnectError;

/// How this backend calls itself in errors.
pub(crate) const ENGINE: &str = "postgres";

/// What checking the server and creating the schema is called in errors.
pub(crate) const INITIALIZE: &str = "initialize";

/// A native error, reduced to what its meaning depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native<'a> {
    /// The server reported a SQLSTATE. `aborted`: that this is an ERROR, after which a transaction
    /// is rolled back and the connection goes on.
    Server { code: &'a str, aborted: bool },
    /// A pooler before it spoke for itself. PgBouncer has one SQLSTATE for nearly everything,
    /// 08P01. `refused`: it will not do what it was asked for, however often it is asked.
    Pooler { code: &'a str, refused: bool },
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
        Native::Pooler { refused: true, .. } => ErrorKind::Config,
        // Its server is away or starting, or it waits for one that is free.
        Native::Pooler { code: "08P01", .. } => ErrorKind::Connection,
        Native::Pooler { code, .. } => kind_of_code(code),
        Native::Closed => ErrorKind::Connection,
        Native::Io(io::ErrorKind::TimedOut) | Native::Timeout => ErrorKind::Timeout,
        Native::Io(io::ErrorKind::PermissionDenied) => ErrorKind::Permission,
        Native::Io(_) => ErrorKind::Connection,
        Native::Wait => ErrorKind::Timeout,
        Native::Driver => ErrorKind::Config,
    };
    let outcome = match (phase, native) {
        (Phase::Before, _) | (Phase::Commit, Native::Wait) => Outcome::NotApplied,
        // An ERROR in answer to COMMIT rolls back. A FATAL may have come between the commit and
        // the answer to it, and a pooler knows as little of it as we do.
        (Phase::Commit, Native::Server { code, aborted: true }) if !of_the_connection(code) => {
            Outcome::NotApplied
        }
        (Phase::Commit, _) => Outcome::Unknown,
    };
    (kind, outcome)
}

/// Whether the code speaks of the connection or of the server's end, so that no more is known than
/// if the connection had just gone; or says outright that the end is not known (40003).
fn of_the_connection(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P0") || code == "40003"
}

/// By SQLSTATE, or its first two characters, the class.
///
/// `Other` makes the caller give up the row for good: it is only for what a row can cause.
fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        // Ended by an administrator, crashed, starting up, idle for too long.
        "57P01" | "57P02" | "57P03" | "57P05" => ErrorKind::Connection,
        "57014" | "25P03" | "25P04" => ErrorKind::Timeout,
        // Failed to lock in time; the object is in use.
        "55P03" | "55006" => ErrorKind::Busy,
        // A standby (which calls READ WRITE a feature it does not have), or
        // `default_transaction_read_only`.
        "25006" | "0A000" | "42501" => ErrorKind::Permission,
        // A setting's value; a sequence that has come to its end. And the protocol: that is
        // something between us and the server, which no retry mends.
        // So is a column that wants more than is ever sent.
        "22023" | "2200H" | "08P01" | "23502" => ErrorKind::Config,
        // Tables or columns that are not there, or are something else.
        "42P01" | "42703" | "42809" | "42804" => ErrorKind::Corrupt,
        _ => match code.get(..2) {
            Some("08") => ErrorKind::Connection,
            Some("28") => ErrorKind::Permission,
            Some("40") => ErrorKind::Busy,
            Some("53") => ErrorKind::Full,
            Some("58") => ErrorKind::Io,
            Some("XX") => ErrorKind::Corrupt,
            // Data that is not valid, a constraint, a limit of the server's.
            Some("22" | "23" | "54") => ErrorKind::Other,
            // Prepared statements that are not there, functions or triggers of somebody's, and
            // all that is not known: somebody has to see to it, and then the row will do.
            _ => ErrorKind::Config,
        },
    }
}

/// Reduces an error of the driver.
pub(crate) fn reduce(error: &tokio_postgres::Error) -> Native<'_> {
    if let Some(reported) = error.as_db_error() {
        let code = reported.code().code();
        // The field that is never translated. PostgreSQL always sends it; PgBouncer, when it
        // speaks for itself, does not.
        return match reported.parsed_severity() {
            Some(severity) => Native::Server { code, aborted: severity == Severity::Error },
            None => {
                let refusals = ["unsupported startup parameter", "statement pooling mode"];
                let refused = refusals.iter().any(|refusal| reported.message().contains(refusal));
                Native::Pooler { code, refused }
            }
        };
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
    // No row is sent there.
    let kind = if operation == INITIALIZE { without_rows(kind) } else { kind };
    reported(operation, error, kind, outcome)
}

/// An error of the driver while a connection was made.
pub(crate) fn connecting(error: tokio_postgres::Error) -> ConnectError {
    let (kind, _) = classify(reduce(&error), Phase::Before);
    let message = message(&error);
    ConnectError { kind: without_rows(kind), message, source: Some(Box::new(error)) }
}

/// The kind of an error that no row can have caused.
fn without_rows(kind: ErrorKind) -> ErrorKind {
    if kind == ErrorKind::Other { ErrorKind::Config } else { kind }
}

fn reported(
    operation: &'static str,
    error: tokio_postgres::Error,
    kind: ErrorKind,
    outcome: Outcome,
) -> PersistenceError {
    BackendError::new(ENGINE, operation, kind, message(&error))
        .with_outcome(outcome)
        .with_source(error)
        .into()
}

/// In one line, what was reported and what to do about it.
fn message(error: &tokio_postgres::Error) -> String {
    let message = match error.as_db_error() {
        Some(reported) => {
            let code = reported.code().code();
            // The server's words may be translated; the names of its settings are not.
            let locks = reported.hint().is_some_and(|hint| hint.contains(LOCKS));
            let advice = match reduce(error) {
                Native::Pooler { refused: true, .. } => POOLER_ADVICE,
                _ if locks => LOCKS_ADVICE,
                _ => advice(code),
            };
            format!("{} (SQLSTATE {code}){advice}", reported.message())
        }
        None => {
            let message = with_sources(error);
            // The driver's words: it has no kind for that.
            let advice = if message.ends_with("password missing") { PASSWORD_ADVICE } else { "" };
            message + advice
        }
    };
    message.replace('\n', " ")
}

/// `error connecting to server: Connection refused (os error 111)`
pub(crate) fn with_sources(error: &tokio_postgres::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        message.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    message
}

const PASSWORD_ADVICE: &str = "; it can be in the URL, in `password_file`, in the variable PGPASSWORD \
                               or in `passfile`";

const POOLER_ADVICE: &str = "; PgBouncer has to pool transactions or sessions, not statements, and \
                             takes no `options` in the URL unless it is told to ignore them";

/// The setting of PostgreSQL's whose room for locks is full.
const LOCKS: &str = "max_locks_per_transaction";
const LOCKS_ADVICE: &str = "; raise `max_locks_per_transaction` on the server, ask for shorter times, \
                            keep fewer partitions or chunks, or lower `pool_size`";

/// The server did not do what it was sent, and did not say why.
pub(crate) fn not_obeyed(operation: &'static str) -> PersistenceError {
    let message = format!(
        "the server ran another statement than the one it was sent, or ran it outside of the \
         transaction; nothing was stored{POOLER_ADVICE}"
    );
    own(operation, ErrorKind::Config, message)
}

/// What to do about it, where that is known.
fn advice(code: &str) -> &'static str {
    match code {
        "53300" => "; lower `pool_size`, or raise `max_connections` on the server",
        "42501" => "; the role needs CREATE on the database once, and then its own tables",
        "25006" | "0A000" => {
            "; `target_session_attrs=read-write` finds the primary among several hosts"
        }
        "28000" => "; `sslmode`, `sslcert` and the server's pg_hba.conf have to fit together",
        "23502" => "; was the history distributed meanwhile? `distribute=require` says so",
        // COPY has a name for a moment, and a server's session may know it from somebody else.
        "26000" | "42P05" => "; something else uses this pooler with prepared statements",
        "42P07" => "; the schema has a table of that name already: choose another with `schema=`",
        _ => "",
    }
}

/// Whether a row found no partition: a check that failed and has no name.
pub(crate) fn no_partition(error: &PersistenceError) -> bool {
    let PersistenceError::Backend(error) = error else { return false };
    let source = error.source().and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.and_then(tokio_postgres::Error::as_db_error).is_some_and(|reported| {
        *reported.code() == SqlState::CHECK_VIOLATION && reported.constraint().is_none()
    })
}

/// An error of the pool during `operation`; nothing has been sent then.
pub(crate) fn pool(operation: &'static str, error: PoolError<ConnectError>) -> PersistenceError {
    let (native, message) = match error {
        PoolError::Backend(error) => {
            let reported = BackendError::new(ENGINE, operation, error.kind, error.message);
            return match error.source {
                Some(source) => reported.with_source(*source).into(),
                None => reported.into(),
            };
        }
        PoolError::Closed => return PersistenceError::BackendShutdown,
        PoolError::Timeout(TimeoutType::Wait) => {
            (Native::Wait, "no connection became free within `wait_timeout`")
        }
        _ => (Native::Driver, "the pool of connections does not work"),
    };
    timeout(operation, native, Phase::Before, message)
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
        let error = |code| Native::Server { code, aborted: true };
        // A FATAL of the server's, or anything without its own word for how bad it is.
        let fatal = |code| Native::Server { code, aborted: false };
        for (native, kind, at_commit) in [
            (fatal("57P01"), Connection, Unknown),
            (error("57P01"), Connection, Unknown),
            (fatal("57P02"), Connection, Unknown),
            (fatal("57P03"), Connection, Unknown),
            (fatal("57P04"), Config, Unknown),
            (fatal("57P05"), Connection, Unknown),
            (error("57014"), Timeout, NotApplied),
            (fatal("25P03"), Timeout, Unknown),
            (error("08006"), Connection, Unknown),
            (error("08007"), Connection, Unknown),
            (fatal("08006"), Connection, Unknown),
            (fatal("08P01"), Config, Unknown),
            (Native::Pooler { code: "08P01", refused: false }, Connection, Unknown),
            (Native::Pooler { code: "08P01", refused: true }, Config, Unknown),
            (Native::Pooler { code: "28P01", refused: false }, Permission, Unknown),
            (Native::Pooler { code: "53300", refused: false }, Full, Unknown),
            (error("40003"), Busy, Unknown),
            (error("40001"), Busy, NotApplied),
            (fatal("40001"), Busy, Unknown),
            (error("40P01"), Busy, NotApplied),
            (error("55P03"), Busy, NotApplied),
            (error("53100"), Full, NotApplied),
            (error("53200"), Full, NotApplied),
            (fatal("53300"), Full, Unknown),
            (error("25006"), Permission, NotApplied),
            (error("0A000"), Permission, NotApplied),
            (error("42501"), Permission, NotApplied),
            (fatal("28P01"), Permission, Unknown),
            (fatal("28000"), Permission, Unknown),
            (fatal("3D000"), Config, Unknown),
            (error("3F000"), Config, NotApplied),
            (error("42P01"), Corrupt, NotApplied),
            (error("58030"), Io, NotApplied),
            (error("XX001"), Corrupt, NotApplied),
            (error("22021"), Other, NotApplied),
            (error("22023"), Config, NotApplied),
            (error("2200H"), Config, NotApplied),
            (error("23502"), Config, NotApplied),
            (error("23505"), Other, NotApplied),
            (error("54000"), Other, NotApplied),
            (error("25001"), Config, NotApplied),
            (error("26000"), Config, NotApplied),
            (error("42883"), Config, NotApplied),
            (error("55000"), Config, NotApplied),
            (error("P0001"), Config, NotApplied),
            (error("F0000"), Config, NotApplied),
            (error(""), Config, NotApplied),
            (fatal("58000"), Io, Unknown),
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
