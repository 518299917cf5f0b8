//! `POST /v1/rows`: rows in JSON, stored before the answer or queued.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use annals_core::{Batch, DEFAULT_MAX_VALUE_BYTES, PersistenceBackend, RecorderError, Row};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::batches::{self, ClientBatch, Stored};
use super::body::{Received, receive};
use super::headers::{batch_id, check_type, prefers_async};
use super::time::now_ms;
use crate::access::Writer;
use crate::config::MAX_ROWS;
use crate::problem::{Problem, Reason};
use crate::server::Server;
use crate::times::{Implausible, Times};

/// RFC 7240.
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A row of a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRow<'a> {
    #[serde(borrow)]
    record: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    /// Unix milliseconds; without it, the time of arrival.
    #[serde(default, deserialize_with = "unix_ms")]
    stored_at: Option<u64>,
}

/// A time, or null.
fn unix_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct UnixMs;

    impl Visitor<'_> for UnixMs {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Unix milliseconds, such as 1740081234000")
        }

        fn visit_u64<E: Error>(self, at: u64) -> Result<Option<u64>, E> {
            Ok(Some(at))
        }

        fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }
    }

    deserializer.deserialize_any(UnixMs)
}

/// A row to be stored: the description of [`NewRow`], which borrows.
#[derive(Serialize, ToSchema)]
#[schema(as = NewRow)]
pub(super) struct RowSchema {
    /// The record's name: 1 to 1,024 bytes without `*` and NUL.
    #[schema(min_length = 1, max_length = 1024, pattern = r"^[^*\x00]+$")]
    record: String,
    /// Any JSON value.
    value: serde_json::Value,
    /// Unix milliseconds. Without it, the time of arrival. Times before 1990 and in the far future are
    /// refused, unless the server is told otherwise: other units are easily taken for milliseconds.
    #[schema(minimum = 0, example = 1_740_081_234_000_u64)]
    stored_at: Option<u64>,
}

/// One row or several.
#[derive(Serialize, ToSchema)]
#[schema(as = NewRows)]
#[expect(dead_code, reason = "it describes what the body may be")]
#[serde(untagged)]
pub(super) enum RowsSchema {
    One(RowSchema),
    Many(Vec<RowSchema>),
}

/// The rows are in the store.
#[derive(Serialize, ToSchema)]
pub(super) struct Acknowledged {
    /// How many rows are stored now.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<usize>,
    /// How many rows were stored before, by the same batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    already_stored: Option<usize>,
}

/// The rows are in the queue.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    /// How many rows are queued.
    accepted: usize,
}

/// Store rows
///
/// All or none of them. 200 when they are stored; with `Prefer: respond-async`, 202 when they are in
/// the queue. With the headers `Annals-Writer` and `Annals-Batch`, a retry stores nothing twice.
#[utoipa::path(
    post, path = "/v1/rows",
    params(
        ("Annals-Writer" = Option<String>, Header, pattern = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$", description = "A UUID that the client draws once; together with Annals-Batch"),
        ("Annals-Batch" = Option<u64>, Header, minimum = 1, maximum = 8_796_093_022_207_u64, description = "The client's number of the batch, upwards from 1; together with Annals-Writer"),
        ("Prefer" = Option<String>, Header, description = "respond-async: answer before the rows are stored"),
    ),
    request_body(content = RowsSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored", content_type = "application/json", body = Acknowledged),
        (status = 202, description = "Queued", content_type = "application/json", body = Accepted),
        (status = "4XX", description = "Nothing is stored", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "See the member outcome", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn rows(
    State(server): State<Server>,
    Writer(client): Writer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let none = |problem: Problem| problem.applied(false);
    let id = batch_id(&headers).map_err(none)?;
    let is_async = prefers_async(&headers);
    if is_async && id.is_some() {
        let detail =
            "Prefer: respond-async takes no batch id: the recorder numbers its own batches";
        return Err(Problem::bad_request(detail).applied(false));
    }
    check_type(&headers).map_err(none)?;
    let Received { bytes, room } = receive(&server, &client, &headers, body).await.map_err(none)?;
    let patience = server.config().request_timeout;
    let work = timeout(patience, server.memory().work(&bytes)).await;
    let Ok(Some(_work)) = work else {
        let detail = "the memory for requests is taken by other rows";
        return Err(Problem::busy(Reason::Memory, detail).applied(false));
    };
    let sent = parse(&server, &bytes).map_err(none)?;
    // The text lies in memory twice until here.
    drop((bytes, room));
    let scope = &client.known.grants.write;
    let is_refused = |(_, row): &(usize, &Row)| !scope.allows(row.record.as_str());
    if let Some((index, row)) = sent.rows.iter().enumerate().find(is_refused) {
        let record = row.record.as_str();
        let detail = format!("row {index}: this token may not write this record, {record:?}");
        return Err(Problem::forbidden(detail).at_row(index).applied(false));
    }
    if let Err(wait) = client.known.quota.take_rows(sent.rows.len(), Instant::now()) {
        let detail = "this token has stored as many rows as it may for now";
        return Err(Problem::too_many(detail, wait).applied(false));
    }
    match is_async {
        true => record(&server, &sent.rows),
        false => store(&server, &client.known.name, sent, id).await,
    }
}

async fn store(
    server: &Server,
    token: &str,
    sent: Sent,
    id: Option<ClientBatch>,
) -> Result<Response, Problem> {
    let Ok(_permit) = server.writes().try_acquire() else {
        let detail = "too many concurrent write requests";
        return Err(Problem::busy(Reason::Writes, detail).applied(false));
    };
    let count = sent.rows.len();
    let history = server.history();
    let stored = async {
        match id {
            Some(id) => batches::store(history, token, id, sent.rows, sent.timed).await,
            None => history.store_batch(&Batch::new(sent.rows)).await.map(|()| Stored::Now),
        }
    };
    let stored = timeout(server.config().request_timeout, stored)
        .await
        .map_err(|_| Problem::timeout("the rows were not stored in time").applied(true))?;
    let acknowledged = match stored.map_err(|error| Problem::of_write(&error))? {
        Stored::Now => {
            server.metrics().rows_acknowledged.inc_by(count as u64);
            Acknowledged { stored: Some(count), already_stored: None }
        }
        Stored::Before => Acknowledged { stored: None, already_stored: Some(count) },
        Stored::Other => {
            let detail = "this writer has used this batch number for other rows, or a higher number: \
                          nothing of this request is stored; draw a new Annals-Writer, or go on with \
                          the next number";
            return Err(
                Problem::refused(StatusCode::CONFLICT, Reason::BatchReused, detail).applied(false)
            );
        }
    };
    Ok((StatusCode::OK, Json(acknowledged)).into_response())
}

fn record(server: &Server, rows: &[Row]) -> Result<Response, Problem> {
    if !server.queued_names().note(rows) {
        let detail = "the queue takes no more new records: send rows of new records without \
                      `Prefer: respond-async`";
        return Err(Problem::busy(Reason::Queue, detail).applied(false).accepted(0));
    }
    let recorder = server.recorder();
    for (index, Row { record, value, stored_at }) in rows.iter().enumerate() {
        let value: Result<&RawValue, _> = serde_json::from_str(value.as_str());
        let value = value.map_err(|error| Problem::bad_request(error.to_string()))?;
        let queued = recorder.try_record_at(record.as_str(), value, *stored_at);
        let problem = match queued {
            Ok(()) => continue,
            Err(RecorderError::Rejected(error)) => Problem::bad_row(index, &error),
            Err(RecorderError::Full) => Problem::busy(Reason::Queue, "the queue is full"),
            Err(_) => Problem::unavailable("this replica is shutting down"),
        };
        return Err(problem.applied(false).accepted(index));
    }
    let applied = [(APPLIED, "respond-async")];
    Ok((StatusCode::ACCEPTED, applied, Json(Accepted { accepted: rows.len() })).into_response())
}

/// The rows of a request, checked.
struct Sent {
    rows: Vec<Row>,
    /// Whether every row came with its time.
    timed: bool,
}

/// Makes rows of a body, without a list of anything else on the way.
fn parse(server: &Server, body: &[u8]) -> Result<Sent, Problem> {
    let now = now_ms();
    let times = server.config().times(now);
    let mut rows = Rows { now, times, sent: Sent { rows: Vec::new(), timed: true }, problem: None };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = rows.read(&mut json);
    let row = read.is_err().then_some(rows.sent.rows.len());
    match (rows.problem, read.and_then(|()| json.end())) {
        (Some(problem), _) => Err(problem),
        (None, Err(_)) if body.is_empty() => {
            Err(Problem::bad_request("there is no body: send a row, or an array of rows, as JSON"))
        }
        (None, Err(error)) => {
            let problem = Problem::bad_request(format!("the body: {error}"));
            Err(row.into_iter().fold(problem, Problem::at_row))
        }
        (None, Ok(())) if rows.sent.rows.is_empty() => {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the request has no rows"))
        }
        (None, Ok(())) => Ok(rows.sent),
    }
}

struct Rows {
    now: u64,
    times: Times,
    sent: Sent,
    /// Why the rows are refused, if it is not for their JSON.
    problem: Option<Problem>,
}

impl Rows {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }

    fn add<E: Error>(&mut self, row: &NewRow<'_>) -> Result<(), E> {
        self.check(row).map_err(|problem| {
            self.problem = Some(problem);
            E::custom("a row is refused")
        })
    }

    fn check(&mut self, row: &NewRow<'_>) -> Result<(), Problem> {
        let index = self.sent.rows.len();
        if index == MAX_ROWS {
            let detail = format!("more than {MAX_ROWS} rows; send them in several requests");
            return Err(Problem::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                Reason::BodyTooLarge,
                detail,
            ));
        }
        let stored_at = row.stored_at.unwrap_or(self.now);
        self.sent.timed &= row.stored_at.is_some();
        let row = Row::with_limit(&row.record, row.value, stored_at, DEFAULT_MAX_VALUE_BYTES)
            .map_err(|error| Problem::bad_row(index, &error))?;
        if let Err(why) = self.times.check(stored_at) {
            let reason = match why {
                Implausible::Early(_) => Reason::Early,
                Implausible::Future(_) => Reason::Future,
            };
            let detail = format!("row {index} of {:?}: stored_at {why}", row.record.as_str());
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::refused(status, reason, detail).at_row(index));
        }
        self.sent.rows.push(row);
        Ok(())
    }
}

/// One row of an array: an object, not an array of what its members would be.
struct Entry<'r>(&'r mut Rows);

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row (an object)")
    }

    fn visit_map<A: MapAccess<'de>>(self, row: A) -> Result<(), A::Error> {
        self.0.visit_map(row)
    }
}

impl<'de> Visitor<'de> for &mut Rows {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row (an object) or an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Entry(&mut *self))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, row: A) -> Result<(), A::Error> {
        let row = NewRow::deserialize(MapAccessDeserializer::new(row))?;
        self.add(&row)
    }
}
