//! Errors as problem details (RFC 9457).

use annals_core::{ErrorKind, PersistenceError};
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
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
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
