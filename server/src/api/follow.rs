//! `GET /v1/follow`: rows as they are stored, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::time::Duration;

use annals_core::{
    Cursor, FollowFrom, FollowPage, FollowParams, PersistenceBackend, PersistenceError, RawRow,
};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::IntoParams;

use super::chunks::{CHUNK_BYTES, Chunks, NotTaken, body};
use super::params::{GrammarName, Params};
use super::time::{Time, now_ms};
use crate::access::Reader;
use crate::problem::Problem;
use crate::server::Server;

/// Rows that are read together: a follower that does not read holds them for a while.
const PAGE_ROWS: usize = 1_024;
/// An answer ends after this time. The client connects again, and its token is checked again.
const LIFETIME: Duration = Duration::from_secs(600);
/// How soon a client connects again, in milliseconds.
const RETRY_MS: u32 = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FollowQuery {
    /// Which records.
    #[param(min_length = 1, example = "temperature::*")]
    pattern: String,
    #[serde(default)]
    #[param(inline, required = false)]
    grammar: GrammarName,
    /// Begin with the rows at this time or later: Unix milliseconds, RFC 3339, or an age such as `24h`.
    #[param(value_type = Option<String>, min_length = 1)]
    from: Option<Time>,
    /// Begin with the newest so many rows of each record.
    latest: Option<usize>,
    /// Begin behind the event with this id.
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9.-]+$")]
    cursor: Option<Cursor>,
}

impl FollowQuery {
    fn begin(&self, headers: &HeaderMap) -> Result<FollowFrom, Problem> {
        // The client connects again, with the same parameters.
        if let Some(last) = headers.get("last-event-id").filter(|last| !last.is_empty()) {
            let cursor = last.to_str().ok().and_then(|last| last.parse().ok());
            let cursor = cursor.ok_or_else(|| {
                Problem::bad_request("Last-Event-ID: it is no id of an event of this path")
            })?;
            return Ok(FollowFrom::Cursor(cursor));
        }
        match (self.from, self.latest, &self.cursor) {
            (None, None, None) => Ok(FollowFrom::Now),
            (Some(from), None, None) => Ok(FollowFrom::Time(from.at_or_after(now_ms()))),
            (None, Some(newest), None) => Ok(FollowFrom::Latest(newest)),
            (None, None, Some(cursor)) => Ok(FollowFrom::Cursor(cursor.clone())),
            _ => Err(Problem::bad_request("give only one of from, latest and cursor")),
        }
    }
}

/// Rows as they are stored
///
/// An endless answer of server-sent events. Each has a row as its data, `{"record", "value",
/// "stored_at"}`, and the place behind it as its id: with that as `Last-Event-ID`, or as `cursor`, the
/// next answer goes on without a gap and without a double. An event without data only moves the id.
/// The answer begins with the rows that arrive from now on, if nothing else is said. It ends with an
/// event `end`, which says why; connect again. An event `error` has a problem as its data.
#[utoipa::path(
    get, path = "/v1/follow",
    params(FollowQuery, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")),
    responses(
        (status = 200, description = "Rows as server-sent events", content_type = "text/event-stream", body = String),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn follow(
    State(server): State<Server>,
    reader: Reader,
    headers: HeaderMap,
    Params(query): Params<FollowQuery>,
) -> Result<Response, Problem> {
    let params = FollowParams::from(query.begin(&headers)?)
        .with_grammar(query.grammar.into())
        .with_page_rows(PAGE_ROWS)
        .with_wait(false);
    let first = reader.history.follow_page(&query.pattern, &params).await;
    let first = first.map_err(|error| problem(&error))?;
    let limit = reader.limit(None);
    let more = reader.headers(&query.pattern, params.grammar, limit);
    // Half, so that there is time left for the last event before the connection is cut.
    let patience = server.config().stall_timeout / 2;
    let (chunks, taken) = Chunks::new(reader.slot, patience);
    let follower = Follower {
        server,
        history: reader.history,
        pattern: query.pattern,
        chunks,
        left: limit.unwrap_or(u64::MAX),
        end: Instant::now() + LIFETIME,
    };
    let task = tokio::spawn(follower.run(first, params.with_wait(true)));
    let mut response = body(taken, task).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events until it has a buffer full of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.extend(more);
    Ok(response)
}

/// The answer to a follower that failed. A place that the store does not know will never come back, so
/// that no client should ask for it again: `EventSource` does not.
fn problem(error: &PersistenceError) -> Problem {
    match error {
        PersistenceError::InvalidCursor { .. } => Problem::new(StatusCode::GONE, error.to_string()),
        error => Problem::of_query(error),
    }
}

/// Why an answer ends.
enum End {
    /// The client has gone.
    Gone,
    NotTaken(NotTaken),
    Event(&'static str, Problem),
}

struct Follower {
    server: Server,
    history: std::sync::Arc<dyn PersistenceBackend>,
    pattern: String,
    chunks: Chunks,
    /// Rows that this answer may still have.
    left: u64,
    end: Instant,
}

/// The data of an event.
#[derive(Serialize)]
struct Line<'a> {
    record: &'a str,
    value: &'a RawValue,
    stored_at: u64,
}

impl Follower {
    /// Returns the last event.
    async fn run(mut self, first: FollowPage, params: FollowParams) -> Result<Option<Vec<u8>>, ()> {
        let Err(end) = self.send_all(first, params).await;
        let (name, problem) = match end {
            End::Gone => return Ok(None),
            End::NotTaken(why) => {
                why.count(&self.server);
                let detail = "the client did not read for too long; connect again";
                ("error", Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
            }
            End::Event(name, problem) => (name, problem),
        };
        let mut event = format!("event: {name}\ndata: ").into_bytes();
        serde_json::to_writer(&mut event, &problem).map_err(drop)?;
        event.extend(b"\n\n");
        Ok(Some(event))
    }

    async fn send_all(
        &mut self,
        mut page: FollowPage,
        mut params: FollowParams,
    ) -> Result<std::convert::Infallible, End> {
        let mut chunk = format!("retry: {RETRY_MS}\n\n").into_bytes();
        loop {
            self.send(&page, &mut chunk).await?;
            params.from = FollowFrom::Cursor(page.cursor);
            page = self.next(&params).await?;
        }
    }

    /// The next page. Meanwhile the client hears that the connection is alive.
    async fn next(&self, params: &FollowParams) -> Result<FollowPage, End> {
        let heartbeat = self.server.config().heartbeat;
        let mut page = std::pin::pin!(self.history.follow_page(&self.pattern, params));
        loop {
            tokio::select! {
                biased;
                () = self.server.stopped() => {
                    let detail = "this replica is shutting down; connect again";
                    return Err(End::Event("end", Problem::unavailable(detail)));
                }
                () = self.chunks.gone() => return Err(End::Gone),
                () = sleep_until(self.end) => {
                    let detail = "the time of this answer is over; connect again";
                    return Err(End::Event("end", Problem::new(StatusCode::OK, detail)));
                }
                page = &mut page => {
                    return page.map_err(|error| End::Event("error", problem(&error)));
                }
                () = sleep(heartbeat) => self.pass_on(&mut b":\n\n".to_vec()).await?,
            }
        }
    }

    async fn send(&mut self, page: &FollowPage, chunk: &mut Vec<u8>) -> Result<(), End> {
        for (number, row) in (1..).zip(&page.rows) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            if let Some(cursor) = page.cursor_after(number) {
                id(chunk, &cursor);
            }
            match data(row) {
                Ok(data) => chunk.extend(data),
                Err(_) => drop(self.server.metrics().rows_skipped.inc()),
            }
            chunk.extend(b"\n");
            if chunk.len() >= CHUNK_BYTES {
                self.pass_on(chunk).await?;
            }
        }
        if page.rows.is_empty() {
            id(chunk, &page.cursor);
            chunk.extend(b"\n");
        }
        self.pass_on(chunk).await?;
        if self.left == 0 {
            let detail = "this answer has as many rows as the token may have; connect again";
            return Err(End::Event("end", Problem::new(StatusCode::OK, detail)));
        }
        Ok(())
    }

    async fn pass_on(&self, chunk: &mut Vec<u8>) -> Result<(), End> {
        if chunk.is_empty() {
            return Ok(());
        }
        match self.chunks.pass_on(chunk).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(End::Gone),
            Err(why) => Err(End::NotTaken(why)),
        }
    }
}

fn id(chunk: &mut Vec<u8>, cursor: &Cursor) {
    chunk.extend(b"id: ");
    chunk.extend(cursor.as_str().as_bytes());
    chunk.push(b'\n');
}

/// The line with a row. JSON has line breaks between tokens only, where spaces mean the same; an event
/// would end there.
fn data(row: &RawRow) -> serde_json::Result<Vec<u8>> {
    let value: &RawValue = serde_json::from_str(&row.json)?;
    let mut line = b"data: ".to_vec();
    let (record, stored_at) = (&*row.record, row.stored_at);
    serde_json::to_writer(&mut line, &Line { record, value, stored_at })?;
    line.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    line.push(b'\n');
    Ok(line)
}
