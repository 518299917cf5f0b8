//! Errors as problem details (RFC 9457).

use annals::{ErrorKind, Outcome, PersistenceError};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The body of an answer to a failed request.
///
/// Messages of the database are only logged, not sent to the client.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    title: &'static str,
    status: u16,
    detail: String,
    /// For a write: `not-applied`, or `unknown` if the rows may or may not be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The index of the invalid row, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<usize>,
    /// The number of rows, from the first, that were accepted although the request failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            outcome: None,
            row: None,
            accepted: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A row that can never be stored: the whole request is refused.
    pub(crate) fn bad_row(row: usize, error: &PersistenceError) -> Self {
        let detail = format!("row {row}: {error}");
        Self { row: Some(row), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
            .applied(false)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
    }

    /// Sets whether the rows of a write may be stored.
    pub(crate) fn applied(self, perhaps: bool) -> Self {
        Self { outcome: Some(if perhaps { "unknown" } else { "not-applied" }), ..self }
    }

    pub(crate) fn accepted(self, rows: usize) -> Self {
        Self { accepted: Some(rows), ..self }
    }

    /// The answer to a failed write.
    pub(crate) fn of_write(error: &PersistenceError) -> Self {
        Self::of_query(error).applied(error.outcome() == Outcome::Unknown)
    }

    /// The answer to a failed query.
    pub(crate) fn of_query(error: &PersistenceError) -> Self {
        if error.is_invalid_input() {
            return Self::bad_request(error.to_string());
        }
        tracing::warn!(%error, "a request failed");
        let kind = match error {
            PersistenceError::Backend(backend) => backend.kind(),
            PersistenceError::BackendShutdown => {
                return Self::unavailable("this replica is shutting down");
            }
            _ => ErrorKind::Other,
        };
        match kind {
            ErrorKind::Connection => Self::unavailable("the database cannot be reached"),
            ErrorKind::Busy | ErrorKind::Full => Self::unavailable("the database is busy or full"),
            ErrorKind::Timeout => Self::unavailable("the database did not answer in time"),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the database reported an error; see the log of the service",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
