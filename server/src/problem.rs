//! Errors as problem details (RFC 9457).

use std::time::Duration;

use annals_core::{ErrorKind, Outcome, PersistenceError};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of an answer to a failed request, as `application/problem+json`.
///
/// Messages of the database are only logged, not sent to the client.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// For a change: `not-applied`, or `unknown` if the rows may or may not be stored or erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The index of the invalid row, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<usize>,
    /// The number of rows, from the first, that were accepted although the request failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
    /// The number of rows that were erased although the request failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<u64>,
    #[serde(skip)]
    retry_after: Option<Duration>,
    #[serde(skip)]
    reason: Option<Reason>,
}

/// Why a request was refused that asks for nothing wrong: what the log and `/metrics` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// No token, or an unknown one.
    Unauthorized,
    /// The token has not this right.
    Forbidden,
    /// The `Host` header names another host.
    ForeignHost,
    /// More than the token's rate or number of queries.
    TokenLimit,
    /// All batches that may be stored at once are.
    Writes,
    /// The memory for requests is taken.
    Memory,
    /// The queue behind 202 is full.
    Queue,
    /// All queries that may run at once do.
    Queries,
    /// The body is too large.
    BodyTooLarge,
    /// The body arrives too slowly.
    SlowBody,
    /// A batch's number is taken by other rows.
    BatchReused,
    /// A row lies before the earliest time.
    Early,
    /// A row lies too far in the future.
    Future,
    /// The time is over.
    Timeout,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::ForeignHost => "foreign_host",
            Self::TokenLimit => "token_limit",
            Self::Writes => "writes",
            Self::Memory => "memory",
            Self::Queue => "queue",
            Self::Queries => "queries",
            Self::BodyTooLarge => "body_too_large",
            Self::SlowBody => "slow_body",
            Self::BatchReused => "batch_reused",
            Self::Early => "early",
            Self::Future => "future",
            Self::Timeout => "timeout",
        }
    }
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into().into_boxed_str(),
            outcome: None,
            row: None,
            accepted: None,
            erased: None,
            retry_after: None,
            reason: None,
        }
    }

    /// A request that is refused for `reason`, which is logged and counted.
    pub(crate) fn refused(status: StatusCode, reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason: Some(reason), ..Self::new(status, detail) }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A row that can never be stored: the whole request is refused.
    pub(crate) fn bad_row(row: usize, error: &PersistenceError) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("row {row}: {error}"))
            .at_row(row)
            .applied(false)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The server has no room for the request now.
    pub(crate) fn busy(reason: Reason, detail: impl Into<String>) -> Self {
        Self::refused(StatusCode::SERVICE_UNAVAILABLE, reason, detail)
    }

    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self::refused(StatusCode::GATEWAY_TIMEOUT, Reason::Timeout, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::refused(StatusCode::FORBIDDEN, Reason::Forbidden, detail)
    }

    /// The token has used up what it may; again after `wait`.
    pub(crate) fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        let problem = Self::refused(StatusCode::TOO_MANY_REQUESTS, Reason::TokenLimit, detail);
        Self { retry_after: Some(wait), ..problem }
    }

    /// Sets whether the rows of a write may be stored.
    pub(crate) fn applied(self, perhaps: bool) -> Self {
        Self { outcome: Some(if perhaps { "unknown" } else { "not-applied" }), ..self }
    }

    pub(crate) fn accepted(self, rows: usize) -> Self {
        Self { accepted: Some(rows), ..self }
    }

    pub(crate) fn erased(self, rows: u64) -> Self {
        Self { erased: Some(rows), ..self }
    }

    pub(crate) fn at_row(self, row: usize) -> Self {
        Self { row: Some(row), ..self }
    }

    /// The answer to a failed write.
    pub(crate) fn of_write(error: &PersistenceError) -> Self {
        Self::of_query(error).applied(error.outcome() == Outcome::Unknown)
    }

    /// The answer to a failed query.
    pub(crate) fn of_query(error: &PersistenceError) -> Self {
        if let PersistenceError::AnotherHistory { .. } = error {
            // What is behind the cursor will never be there: a client must not try again.
            return Self::new(StatusCode::GONE, error.to_string());
        }
        if error.is_invalid_input() {
            return Self::bad_request(error.to_string());
        }
        if let PersistenceError::Unsupported(_) = error {
            return Self::new(StatusCode::NOT_IMPLEMENTED, error.to_string());
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
        let (reason, retry_after) = (self.reason, self.retry_after);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(Reason::BodyTooLarge | Reason::SlowBody) = reason {
            // The rest of the body is not read.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || retry_after.is_some() {
            let seconds = retry_after.map_or(1, |wait| wait.as_secs_f64().ceil().max(1.0) as u64);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
    }
}
