//! Classifies the errors of the server and of the driver: one pure function and its input.

use std::error::Error as _;
use std::io;

use annals_core::{ErrorKind, Outcome};
use tokio_postgres::error::Severity;

/// A native error, reduced to what its classification depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native<'a> {
    /// The server reported a SQLSTATE. `aborted`: with the severity ERROR, which rolls the
    /// transaction back and leaves the connection usable.
    Server { code: &'a str, aborted: bool },
    /// A pooler reported an error of its own. PgBouncer uses one SQLSTATE, 08P01, for nearly
    /// everything. `refused`: it does not support the request, so a retry is useless.
    Pooler { code: &'a str, refused: bool },
    /// The connection ended without an error message.
    Closed,
    /// The operating system reported an error of the connection.
    Io(io::ErrorKind),
    /// The client's limit for a step expired.
    Timeout,
    /// No connection became free in time, or the write queue remained full.
    Wait,
    /// The driver refused, for example because of a missing password or an unknown authentication method.
    Driver,
}

/// How far a transaction was when the error arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The commit had not been sent.
    Before,
    /// The commit had been sent and was not answered.
    Commit,
}

/// The kind of an error, which decides whether a retry makes sense, and what is known about the rows.
pub(crate) fn classify(native: Native<'_>, phase: Phase) -> (ErrorKind, Outcome) {
    let kind = match native {
        Native::Server { code, .. } => kind_of_code(code),
        Native::Pooler { refused: true, .. } => ErrorKind::Config,
        // The pooler's server is away or starting, or none of its connections is free.
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
        // An ERROR in answer to COMMIT rolls back. A FATAL may come between the commit and its
        // answer, and a pooler knows as little about that as the client.
        (Phase::Commit, Native::Server { code, aborted: true }) if !of_the_connection(code) => {
            Outcome::NotApplied
        }
        (Phase::Commit, _) => Outcome::Unknown,
    };
    (kind, outcome)
}

/// Whether the code reports the end of the connection or of the server, so that no more is known than
/// after a connection that broke; 40003 says explicitly that the outcome is unknown.
fn of_the_connection(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P0") || code == "40003"
}

/// The kind by SQLSTATE, or by its class, the first two characters.
///
/// `Other` means that the row is at fault: it is reserved for errors that a row can cause.
fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        // Terminated by an administrator, crashed, starting up, idle for too long.
        "57P01" | "57P02" | "57P03" | "57P05" => ErrorKind::Connection,
        "57014" | "25P03" | "25P04" => ErrorKind::Timeout,
        // Lock timeout; object in use.
        "55P03" | "55006" => ErrorKind::Busy,
        // A standby (which calls READ WRITE a feature it does not have), or
        // `default_transaction_read_only`.
        "25006" | "0A000" | "42501" => ErrorKind::Permission,
        // An invalid setting, an exhausted sequence, a protocol violation, or a NOT NULL column that
        // annals does not fill: a retry does not help.
        "22023" | "2200H" | "08P01" | "23502" => ErrorKind::Config,
        // Tables or columns that are missing or have another type.
        "42P01" | "42703" | "42809" | "42804" => ErrorKind::Corrupt,
        _ => match code.get(..2) {
            Some("08") => ErrorKind::Connection,
            Some("28") => ErrorKind::Permission,
            Some("40") => ErrorKind::Busy,
            Some("53") => ErrorKind::Full,
            Some("58") => ErrorKind::Io,
            Some("XX") => ErrorKind::Corrupt,
            // Invalid data, a constraint, a limit of the server.
            Some("22" | "23" | "54") => ErrorKind::Other,
            // Missing prepared statements, functions or triggers of users, and everything unknown:
            // once an operator has mended that, the row can be stored.
            _ => ErrorKind::Config,
        },
    }
}

/// Reduces an error of the driver to its classification.
pub(crate) fn reduce(error: &tokio_postgres::Error) -> Native<'_> {
    if let Some(reported) = error.as_db_error() {
        let code = reported.code().code();
        // The severity that is never translated. PostgreSQL always sends it; PgBouncer does not in
        // its own errors.
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

#[cfg(test)]
mod tests {
    use ErrorKind::*;
    use Outcome::{NotApplied, Unknown};

    use super::*;

    /// Every class that occurs, before and after the commit was sent.
    #[test]
    fn every_class_has_its_kind_and_outcome() {
        let error = |code| Native::Server { code, aborted: true };
        // A FATAL of the server, or an error without a severity.
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
