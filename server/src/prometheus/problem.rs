//! What can go wrong with a query, in the words and with the statuses of Prometheus.

use annals_core::{ErrorKind, PersistenceError};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a query is not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Problem {
    /// The request cannot be answered by anybody.
    #[error("{0}")]
    BadData(String),
    /// The query is valid, but asks for more than an answer may have.
    #[error("{0}")]
    TooMuch(String),
    #[error(transparent)]
    Store(#[from] PersistenceError),
    #[error("the query failed; see the log of the service")]
    Internal,
    /// The client is gone.
    #[error("the client has disconnected")]
    Gone,
    /// The client takes nothing of its answer.
    #[error("the client does not read")]
    Stalled,
}

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::BadData(message.into())
    }

    /// The answer has more points or series than the token allows. Cut off, it would pass for all.
    pub(super) fn limited(most: u64) -> Self {
        Self::TooMuch(format!(
            "this token may have {most} points or series in an answer: select fewer series, or a longer step"
        ))
    }

    /// The status, the kind and the text of the answer. Messages of the database are only logged.
    pub(super) fn parts(&self) -> (StatusCode, &'static str, String) {
        let error = match self {
            Self::BadData(text) => return (StatusCode::BAD_REQUEST, "bad_data", text.clone()),
            Self::TooMuch(text) => {
                return (StatusCode::UNPROCESSABLE_ENTITY, "execution", text.clone());
            }
            Self::Gone | Self::Stalled => {
                return (StatusCode::SERVICE_UNAVAILABLE, "canceled", self.to_string());
            }
            Self::Internal => {
                return (StatusCode::INTERNAL_SERVER_ERROR, "internal", self.to_string());
            }
            Self::Store(error) => error,
        };
        match error {
            PersistenceError::TooManyBuckets { .. } | PersistenceError::TooManySamples { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution", error.to_string())
            }
            error if error.is_invalid_input() => {
                (StatusCode::BAD_REQUEST, "bad_data", error.to_string())
            }
            error => {
                tracing::warn!(%error, "a query of the Prometheus API failed");
                let kind = match error {
                    PersistenceError::Backend(backend) => backend.kind(),
                    _ => ErrorKind::Other,
                };
                match kind {
                    ErrorKind::Connection | ErrorKind::Busy | ErrorKind::Full => {
                        let text = "the database cannot be reached or is busy; try again";
                        (StatusCode::SERVICE_UNAVAILABLE, "unavailable", text.to_owned())
                    }
                    ErrorKind::Timeout => {
                        let text = "the database did not answer in time";
                        (StatusCode::SERVICE_UNAVAILABLE, "timeout", text.to_owned())
                    }
                    _ => {
                        let text = "the database reported an error; see the log of the service";
                        (StatusCode::INTERNAL_SERVER_ERROR, "internal", text.to_owned())
                    }
                }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, text) = self.parts();
        let body = json!({ "status": "error", "errorType": kind, "error": text });
        (status, Json(body)).into_response()
    }
}
