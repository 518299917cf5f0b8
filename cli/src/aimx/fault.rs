//! Errors of the connection to an AimX server.

use std::io;

use annals::{BackendError, ErrorKind, PersistenceError};

use super::address::Address;
use crate::screen::is_unsafe;

/// The largest answer that is accepted.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The number of characters of a server's message that are passed on.
const MESSAGE_CHARACTERS: usize = 300;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection could not be opened.
    Connect(io::Error),
    /// The connection broke.
    Io(io::Error),
    /// The connection and the hello took too long.
    ConnectTimeout,
    /// The answer took too long.
    Timeout,
    /// The server closed the connection before the first byte of an answer.
    Closed,
    /// The server closed the connection in the middle of an answer.
    CutOff,
    /// The answer is larger than this program accepts.
    TooLarge,
    /// The server did not answer in AimX.
    Malformed(&'static str),
    /// The server uses another version, if it tells which.
    Version(Option<String>),
    /// The server requires a token, or another one.
    Token { sent: bool },
    /// AimDB 1.x: no handler for `record.query` is registered.
    NoHandler,
    /// The server does not know `record.query` at all.
    NoMethod,
    /// The server refuses.
    Denied,
    /// AimDB 2.x: the query failed, and the protocol has no field for the reason.
    Internal,
    /// Another error of the server.
    Refused { code: String, message: String },
    /// Even the smallest page does not fit in an answer: one millisecond has too many values, or one
    /// value is too large.
    PageTooLarge,
}

impl Fault {
    /// The server's message, shortened and on one line.
    pub(crate) fn refused(code: &str, message: &str) -> Self {
        let short = |text: &str| -> String {
            let printable = text.chars().map(|c| if is_unsafe(c) { ' ' } else { c });
            printable.take(MESSAGE_CHARACTERS).collect()
        };
        Self::Refused { code: short(code), message: short(message) }
    }

    /// Whether a smaller page may succeed. Over TCP, AimDB 2.x closes the connection if an answer is
    /// larger than its frames.
    pub(crate) fn asks_for_less(&self, address: &Address) -> bool {
        match self {
            Self::TooLarge => true,
            Self::Closed => matches!(address, Address::Tcp(_)),
            _ => false,
        }
    }

    /// The error with its kind and message.
    pub(crate) fn at(self, address: &Address) -> PersistenceError {
        let operation = match self {
            Self::Connect(_) | Self::ConnectTimeout | Self::Version(_) | Self::Token { .. } => {
                "connect"
            }
            _ => "query",
        };
        let (kind, message) = self.describe(address);
        let error = BackendError::new("aimx", operation, kind, message);
        match self {
            Self::Connect(source) | Self::Io(source) => error.with_source(source).into(),
            _ => error.into(),
        }
    }

    fn describe(&self, address: &Address) -> (ErrorKind, String) {
        let server = format!("the server at {address}");
        match self {
            Self::Connect(error) => no_connection(error, address),
            Self::Io(error) => {
                (ErrorKind::Connection, format!("the connection to {address} broke: {error}"))
            }
            Self::ConnectTimeout => {
                (ErrorKind::Timeout, format!("{server} did not answer the hello in time"))
            }
            Self::Timeout => {
                let hint = "--timeout gives it longer";
                (ErrorKind::Timeout, format!("{server} did not answer in time; {hint}"))
            }
            Self::Closed => {
                let hint = match address {
                    Address::Unix(_) => "its log may say why",
                    Address::Tcp(_) => {
                        "over TCP AimDB does so when the answer is larger than its frames (64 KiB \
                         unless set), and a Unix socket has no such limit"
                    }
                };
                (
                    ErrorKind::Connection,
                    format!("{server} closed the connection instead of answering; {hint}"),
                )
            }
            Self::CutOff => (
                ErrorKind::Connection,
                format!("{server} closed the connection before its answer was complete"),
            ),
            Self::TooLarge => (
                ErrorKind::Other,
                format!(
                    "the answer of {server} is larger than {} MiB; narrow the pattern",
                    MAX_ANSWER_BYTES >> 20
                ),
            ),
            Self::PageTooLarge => (
                ErrorKind::Other,
                format!(
                    "{server} has a value, or more values in one millisecond, than fit in one \
                     answer"
                ),
            ),
            Self::Malformed(what) => (ErrorKind::Other, format!("{server} {what}")),
            Self::Version(theirs) => {
                let theirs = theirs.as_deref().map_or_else(
                    || "does not speak AimX 1.0 or 3.0".to_owned(),
                    |version| format!("speaks AimX {version}"),
                );
                let ours = match address {
                    Address::Unix(_) => "this program speaks 1.0 and 3.0",
                    Address::Tcp(_) => "over TCP this program speaks 3.0",
                };
                (ErrorKind::Other, format!("{server} {theirs}; {ours}"))
            }
            Self::Token { sent: false } => (
                ErrorKind::Permission,
                format!("{server} asks for a token; put it in ANNALS_AIMX_TOKEN"),
            ),
            Self::Token { sent: true } => (
                ErrorKind::Permission,
                format!("{server} does not accept the token in ANNALS_AIMX_TOKEN"),
            ),
            Self::NoHandler => (
                ErrorKind::Other,
                format!("{server} keeps no history: persistence is not configured there"),
            ),
            Self::NoMethod => {
                (ErrorKind::Other, format!("{server} does not know the method record.query"))
            }
            Self::Denied => (ErrorKind::Permission, format!("{server} denies record.query")),
            Self::Internal => (
                ErrorKind::Other,
                format!(
                    "{server} failed without saying why: it keeps no history (persistence is not \
                     configured there), or the query failed and its log says how"
                ),
            ),
            Self::Refused { code, message } => {
                (ErrorKind::Other, format!("{server} refuses: {message} ({code})"))
            }
        }
    }
}

fn no_connection(error: &io::Error, address: &Address) -> (ErrorKind, String) {
    match (error.kind(), address) {
        (io::ErrorKind::NotFound, Address::Unix(path)) => (
            ErrorKind::Connection,
            format!("there is no socket at {}; is the AimDB program running?", path.display()),
        ),
        (io::ErrorKind::PermissionDenied, Address::Unix(path)) => (
            ErrorKind::Permission,
            format!(
                "the socket {} may not be opened by this user: permission denied",
                path.display()
            ),
        ),
        (io::ErrorKind::ConnectionRefused, _) => (
            ErrorKind::Connection,
            format!("nothing listens at {address}; is the AimDB program running?"),
        ),
        _ => (ErrorKind::Connection, format!("no connection to {address}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_opened_is_a_matter_of_permission() {
        let address = Address::Unix("/run/a.sock".into());
        let error = Fault::Connect(io::ErrorKind::PermissionDenied.into()).at(&address);
        assert_eq!(
            error.to_string(),
            "aimx: connect failed: the socket /run/a.sock may not be opened by this user: \
             permission denied"
        );
        assert!(!error.is_retryable());
    }

    #[test]
    fn a_servers_words_are_short_and_on_one_line() {
        let fault = Fault::refused("query_error", &format!("bad\n\u{1b}[2J{}", "x".repeat(1000)));
        let text = fault.at(&Address::Tcp("h:1".into())).to_string();
        assert!(text.contains("refuses: bad  [2Jxxx"), "{text}");
        assert!(text.ends_with("(query_error)") && text.len() < 400, "{text}");
    }
}
