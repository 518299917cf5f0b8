//! What the answers of a server mean.

use std::sync::PoisonError;
use std::time::Duration;

use annals::{ErrorKind, Outcome, PersistenceError};
use reqwest_rustls::header::RETRY_AFTER;
use reqwest_rustls::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use super::HttpHistory;

/// The longest that a server can make us wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// What a server says about a request that it refuses.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Whether a server has a batch.
#[derive(Deserialize)]
pub(super) struct Known {
    pub(super) stored: bool,
}

/// What a server says of a batch that it has.
#[derive(Deserialize)]
pub(super) struct Acknowledged {
    pub(super) stored: Option<u64>,
    pub(super) already_stored: Option<u64>,
}

impl HttpHistory {
    /// An answer that `annals serve` does not give.
    pub(super) fn of_a_stranger(&self, operation: &'static str) -> PersistenceError {
        let message = "the answer is none of `annals serve`: is there a proxy or a login page on the \
                       way?";
        let error = self.error(operation, ErrorKind::Connection, message.to_owned());
        error.with_outcome(Outcome::Unknown).into()
    }

    /// What an answer other than 200 means.
    pub(super) async fn refused(
        &self,
        operation: &'static str,
        response: Response,
    ) -> PersistenceError {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
        let wait = wait.and_then(|wait| wait.parse().ok()).map(Duration::from_secs);
        let detail = match response.json::<Problem>().await {
            Ok(Problem { detail }) => format!("{status}: {detail}"),
            Err(_) => status.to_string(),
        };
        let passes = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if passes {
            if let Some(wait) = wait {
                let until = Instant::now() + wait.min(LONGEST_WAIT);
                *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = until;
            }
            let error = self.error(operation, ErrorKind::Busy, detail);
            return error.with_outcome(Outcome::Unknown).into();
        }
        let (kind, advice) = match status {
            StatusCode::UNAUTHORIZED => (ErrorKind::Permission, "give its token with --token-file"),
            StatusCode::FORBIDDEN => {
                (ErrorKind::Permission, "the token has to be allowed to write these records")
            }
            StatusCode::PAYLOAD_TOO_LARGE => (
                ErrorKind::Config,
                "rows that were stored together in the source are sent together: start the server \
                 with a larger --body-limit",
            ),
            StatusCode::UNPROCESSABLE_ENTITY => (
                ErrorKind::Config,
                "the server does not take these rows: erase them in the source, or start the server \
                 with another --earliest or --max-future",
            ),
            StatusCode::NOT_IMPLEMENTED => {
                (ErrorKind::Config, "the history of this server does not know batches again")
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                (ErrorKind::Config, "is this the address of `annals serve`?")
            }
            status if status.is_redirection() => {
                (ErrorKind::Config, "redirections are not followed: give the server's own address")
            }
            _ => (ErrorKind::Config, "the request is refused"),
        };
        self.error(operation, kind, format!("{detail} ({advice})")).into()
    }
}
