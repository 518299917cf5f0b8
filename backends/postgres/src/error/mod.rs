//! Turns errors of the driver and of this crate into [`PersistenceError`], with advice where it is known.

mod classify;

use std::error::Error as _;

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError};
use tokio_postgres::error::SqlState;

pub(crate) use classify::{Native, Phase};
use classify::{classify, reduce};

/// The name of this backend in errors.
pub(crate) const ENGINE: &str = "postgres";

/// The operation that checks the server and creates the schema.
pub(crate) const INITIALIZE: &str = "initialize";

/// Why no connection was made. It contains no secret.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) source: Option<Box<tokio_postgres::Error>>,
}

impl ConnectError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Whether a later attempt may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        use ErrorKind::{Busy, Connection, Full, Timeout};
        matches!(self.kind, Busy | Connection | Full | Timeout)
    }
}

/// An error of the driver during `operation`.
pub(crate) fn driver(
    operation: &'static str,
    error: tokio_postgres::Error,
    phase: Phase,
) -> PersistenceError {
    let (kind, outcome) = classify(reduce(&error), phase);
    let kind = if operation == INITIALIZE { without_rows(kind) } else { kind };
    BackendError::new(ENGINE, operation, kind, message(&error))
        .with_outcome(outcome)
        .with_source(error)
        .into()
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

/// The report and the advice, in one line.
fn message(error: &tokio_postgres::Error) -> String {
    let message = match error.as_db_error() {
        Some(reported) => {
            let code = reported.code().code();
            // The server's messages may be translated; the names of its settings are not.
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
            // The driver has no kind for this error.
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

const PASSWORD_ADVICE: &str = "; set it in the URL, in `password_file`, in the variable PGPASSWORD or \
                               in `passfile`";

const POOLER_ADVICE: &str = "; PgBouncer must pool transactions or sessions, not statements, and accepts \
                             no `options` in the URL unless it is configured to ignore them";

/// The setting that limits the server's lock table.
const LOCKS: &str = "max_locks_per_transaction";
const LOCKS_ADVICE: &str = "; raise `max_locks_per_transaction` on the server, query shorter times, keep \
                            fewer partitions or chunks, or lower `pool_size`";

/// The server did not run the statement that it was sent, and did not say why.
pub(crate) fn not_obeyed(operation: &'static str) -> PersistenceError {
    let message = format!(
        "the server ran another statement than the one it was sent, or ran it outside of the \
         transaction; nothing was stored{POOLER_ADVICE}"
    );
    own(operation, ErrorKind::Config, message)
}

/// What to do about an error, where that is known.
fn advice(code: &str) -> &'static str {
    match code {
        "53300" => "; lower `pool_size`, or raise `max_connections` on the server",
        "42501" => {
            "; the role needs CREATE on the database the first time, and its own tables later"
        }
        "25006" | "0A000" => {
            "; `target_session_attrs=read-write` finds the primary among several hosts"
        }
        "28000" => "; `sslmode`, `sslcert` and the server's pg_hba.conf must match",
        "23502" => "; if the history has been distributed meanwhile, add `distribute=require`",
        // COPY uses a named statement for a moment, which a server session of the pooler may know
        // from another client.
        "26000" | "42P05" => "; another client uses this pooler with prepared statements",
        "42P07" => "; the schema already has a table of that name: choose another with `schema=`",
        _ => "",
    }
}

/// Whether a row found no partition: the only check violation without a constraint's name.
pub(crate) fn no_partition(error: &PersistenceError) -> bool {
    let PersistenceError::Backend(error) = error else { return false };
    let source = error.source().and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    source.and_then(tokio_postgres::Error::as_db_error).is_some_and(|reported| {
        *reported.code() == SqlState::CHECK_VIOLATION && reported.constraint().is_none()
    })
}

/// Whether a query failed because of what it read: a value that is not what an expression expects, or
/// that exceeds a limit.
pub(crate) fn is_data(error: &PersistenceError) -> bool {
    let PersistenceError::Backend(error) = error else { return false };
    let source = error.source().and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    let code = source.and_then(tokio_postgres::Error::code).map(SqlState::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("54"))
}

/// A lock that did not become free, a deadlock or a conflict: a repetition may succeed.
pub(crate) fn is_busy(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Busy)
}

/// A limit of the client expired.
pub(crate) fn timeout(
    operation: &'static str,
    native: Native<'_>,
    phase: Phase,
    message: &str,
) -> PersistenceError {
    let (kind, outcome) = classify(native, phase);
    BackendError::new(ENGINE, operation, kind, message).with_outcome(outcome).into()
}

/// An error that this crate finds itself.
pub(crate) fn own(
    operation: &'static str,
    kind: ErrorKind,
    message: impl Into<String>,
) -> PersistenceError {
    BackendError::new(ENGINE, operation, kind, message).into()
}

/// A writer ended without answering.
pub(crate) fn unanswered(operation: &'static str) -> PersistenceError {
    BackendError::new(ENGINE, operation, ErrorKind::Other, "a bug: the writer panicked")
        .with_outcome(Outcome::Unknown)
        .into()
}

/// A configuration that cannot work.
pub(crate) fn config(message: impl Into<String>) -> PersistenceError {
    own("configure", ErrorKind::Config, message)
}
