//! The handler that writes: rows in JSON, stored before the answer or queued.

use std::sync::Arc;

use annals::{
    Batch, BatchId, Clock, DEFAULT_MAX_VALUE_BYTES, PersistenceBackend, RecorderError, Row,
};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::problem::Problem;
use crate::service::Service;

const WRITER: &str = "annals-writer";
const BATCH: &str = "annals-batch";
/// RFC 7240.
const PREFER: &str = "prefer";
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The most rows of one request.
const MAX_ROWS: usize = 100_000;

/// A row of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRow {
    record: String,
    value: Box<RawValue>,
    /// Unix milliseconds; without it, the time of arrival.
    stored_at: Option<u64>,
}

#[derive(Serialize)]
struct Stored {
    stored: usize,
}

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
}

/// Stores one row (a JSON object) or several (an array), all or none of them, and answers 200 when
/// they are stored. With `Prefer: respond-async` it answers 202 when they are in the recorder.
pub(crate) async fn rows(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let id = batch_id(&headers).map_err(|problem| problem.applied(false))?;
    let rows = parse(&headers, body).map_err(|problem| problem.applied(false))?;
    if !prefers_async(&headers) {
        return store(&service, rows, id).await;
    }
    if id.is_some() {
        let detail =
            "Prefer: respond-async takes no batch id: the recorder numbers its own batches";
        return Err(Problem::bad_request(detail).applied(false));
    }
    record(&service, &rows)
}

async fn store(
    service: &Service,
    rows: Vec<NewRow>,
    id: Option<BatchId>,
) -> Result<Response, Problem> {
    let count = rows.len();
    let now = service.clock.now_ms();
    let checked: Result<Vec<Row>, Problem> =
        rows.iter().enumerate().map(|(index, row)| row.check(index, now)).collect();
    // The text lies twice in memory until here.
    drop(rows);
    let batch = Batch::new(checked?);
    let batch = match id {
        Some(id) => batch.with_id(id),
        None => batch,
    };
    match service.history.store_batch(&batch).await {
        Ok(()) => {
            service.metrics.rows_acknowledged.inc_by(count as u64);
            Ok((StatusCode::OK, Json(Stored { stored: count })).into_response())
        }
        Err(error) => Err(Problem::of_write(&error)),
    }
}

fn record(service: &Service, rows: &[NewRow]) -> Result<Response, Problem> {
    // Check all rows before the first one is queued.
    for (index, row) in rows.iter().enumerate() {
        row.check(index, 0)?;
    }
    for (index, NewRow { record, value, stored_at }) in rows.iter().enumerate() {
        let queued = match stored_at {
            Some(stored_at) => service.recorder.try_record_at(record, value, *stored_at),
            None => service.recorder.try_record(record, value),
        };
        let problem = match queued {
            Ok(()) => continue,
            Err(RecorderError::Rejected(error)) => Problem::bad_row(index, &error),
            Err(RecorderError::Full) => Problem::unavailable("the queue is full"),
            Err(_) => Problem::unavailable("this replica is shutting down"),
        };
        return Err(problem.applied(false).accepted(index));
    }
    let applied = [(APPLIED, "respond-async")];
    Ok((StatusCode::ACCEPTED, applied, Json(Accepted { accepted: rows.len() })).into_response())
}

impl NewRow {
    fn check(&self, index: usize, now: u64) -> Result<Row, Problem> {
        let stored_at = self.stored_at.unwrap_or(now);
        Row::with_limit(&self.record, &self.value, stored_at, DEFAULT_MAX_VALUE_BYTES)
            .map_err(|error| Problem::bad_row(index, &error))
    }
}

fn parse(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Vec<NewRow>, Problem> {
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        let detail = "the content type must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let is_batch = body.trim_ascii_start().first() == Some(&b'[');
    let rows = match is_batch {
        true => serde_json::from_slice(&body),
        false => serde_json::from_slice(&body).map(|row| vec![row]),
    };
    let rows: Vec<NewRow> =
        rows.map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
    match rows.len() {
        0 => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the request has no rows")),
        1..=MAX_ROWS => Ok(rows),
        rows => {
            let detail = format!("{rows} rows; a request may have {MAX_ROWS}");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
    }
}

/// The client's id of the batch, with which a retry is recognized.
fn batch_id(headers: &HeaderMap) -> Result<Option<BatchId>, Problem> {
    let text = |name| match headers.get(name) {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .map(Some)
            .map_err(|_| Problem::bad_request(format!("{name} must be visible ASCII"))),
    };
    match (text(WRITER)?, text(BATCH)?) {
        (None, None) => Ok(None),
        (Some(writer), Some(number)) => {
            let writer = parse_writer(writer).ok_or_else(|| {
                Problem::bad_request("annals-writer must be a UUID or 32 hexadecimal digits")
            })?;
            let number =
                number.parse().ok().filter(|number| *number > 0 && *number <= i64::MAX as u64);
            let number = number.ok_or_else(|| {
                Problem::bad_request(format!(
                    "annals-batch must be a number from 1 to {}",
                    i64::MAX
                ))
            })?;
            Ok(Some(BatchId { writer, number }))
        }
        _ => Err(Problem::bad_request("annals-writer and annals-batch must be sent together")),
    }
}

fn parse_writer(text: &str) -> Option<u128> {
    let digits: String = match text.len() {
        36 => {
            let groups: Vec<&str> = text.split('-').collect();
            let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            (lengths == [8, 4, 4, 4, 12]).then(|| groups.concat())?
        }
        32 => text.to_owned(),
        _ => return None,
    };
    // `from_str_radix` accepts a sign.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u128::from_str_radix(&digits, 16).ok()
}

fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_a_uuid_with_or_without_dashes() {
        let same = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(parse_writer("0123456789abcdef0123456789ABCDEF"), Some(same));
        assert_eq!(parse_writer("01234567-89ab-cdef-0123-456789abcdef"), Some(same));
        for text in [
            "",
            "1",
            "+123456789abcdef0123456789abcdef0",
            "0123456789abcdef0123456789abcdeg",
            "0123-456789ab-cdef-0123-456789abcdef",
            "------------------------------------",
            "0123456789abcdef0123456789abcdef0",
            "éééééééééééééééé",
        ] {
            assert_eq!(parse_writer(text), None, "{text}");
        }
    }
}
