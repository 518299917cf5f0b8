//! Handlers that read: the history as a stream of NDJSON, and the listing of records.

use std::sync::Arc;

use annals::{
    Grammar, Order, PersistenceBackend, PersistenceError, QueryExt, QueryParams, TypedRow,
    TypedStream,
};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::problem::Problem;
use crate::service::Service;

/// A chunk of a streamed answer is sent when it has this many bytes.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum OrderName {
    #[default]
    Newest,
    Oldest,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum GrammarName {
    #[default]
    Glob,
    Topic,
}

impl From<GrammarName> for Grammar {
    fn from(name: GrammarName) -> Self {
        match name {
            GrammarName::Glob => Self::Glob,
            GrammarName::Topic => Self::Topic,
        }
    }
}

/// `?pattern=…&latest=…&from=…&to=…&order=…&grammar=…&limit=…`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryParams {
    pattern: String,
    /// The number of newest rows of each record.
    latest: Option<usize>,
    /// Unix milliseconds, inclusive.
    from: Option<u64>,
    to: Option<u64>,
    #[serde(default)]
    order: OrderName,
    #[serde(default)]
    grammar: GrammarName,
    /// The largest number of rows in total.
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordsParams {
    #[serde(default = "every_record")]
    pattern: String,
    #[serde(default)]
    grammar: GrammarName,
}

fn every_record() -> String {
    "*".to_owned()
}

#[derive(Serialize)]
struct Line<'a> {
    record: &'a str,
    value: &'a RawValue,
    stored_at: u64,
}

/// Streams the rows as NDJSON, ordered by record, while they are read from the database. An answer
/// that cannot be finished is cut off: the connection ends without the end of the body.
pub(crate) async fn history(
    State(service): State<Arc<Service>>,
    params: Result<Query<HistoryParams>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let query = QueryParams::default()
        .with_limit_per_record(params.latest)
        .with_start_time(params.from)
        .with_end_time(params.to)
        .with_order(match params.order {
            OrderName::Newest => Order::NewestFirst,
            OrderName::Oldest => Order::OldestFirst,
        })
        .with_grammar(params.grammar.into());
    let rows = service.history.stream_typed::<Box<RawValue>>(&params.pattern, query).await;
    let rows = rows.map_err(|error| Problem::of_query(&error))?;
    let (chunks, body) = mpsc::channel(1);
    let limit = params.limit.unwrap_or(u64::MAX);
    let reader = tokio::spawn(async move {
        let sent = send(&service, rows, limit, chunks).await;
        sent.inspect_err(|error| tracing::warn!(%error, "a streamed answer is cut off"))
    });
    let ndjson = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((ndjson, streamed(body, reader)).into_response())
}

/// Lists the matching records with their number of rows and their first and last time.
pub(crate) async fn records(
    State(service): State<Arc<Service>>,
    params: Result<Query<RecordsParams>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let records = service.history.records(&params.pattern, params.grammar.into()).await;
    let records = records.map_err(|error| Problem::of_query(&error))?;
    Ok(Json(records).into_response())
}

/// Why an answer was cut off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] PersistenceError),
    #[error("a row cannot be serialized: {0}")]
    Json(#[from] serde_json::Error),
    /// The client must not hold the database connection any longer.
    #[error("the client does not read")]
    Stalled,
}

/// Reads rows and sends them in chunks.
///
/// This runs as a task and not in the body: a body is not polled while its client does not read, so
/// it could not release its connection to the database.
async fn send(
    service: &Service,
    mut rows: TypedStream<Box<RawValue>>,
    limit: u64,
    chunks: mpsc::Sender<Bytes>,
) -> Result<(), Broken> {
    let mut chunk = Vec::new();
    let mut left = limit;
    let pass_on = async |chunk: &mut Vec<u8>| {
        let chunk = Bytes::from(std::mem::take(chunk));
        let sent = timeout(service.request_timeout, chunks.send(chunk)).await;
        sent.map(|sent| sent.is_ok()).map_err(|_| Broken::Stalled)
    };
    while left > 0
        && let Some(row) = rows.next().await
    {
        let TypedRow { record, value, stored_at, .. } = row?;
        left -= 1;
        serde_json::to_writer(&mut chunk, &Line { record: &record, value: &value, stored_at })?;
        chunk.push(b'\n');
        if chunk.len() >= CHUNK_BYTES && !pass_on(&mut chunk).await? {
            // The client has disconnected.
            return Ok(());
        }
    }
    service.metrics.rows_skipped.inc_by(rows.skipped());
    if !chunk.is_empty() {
        pass_on(&mut chunk).await?;
    }
    Ok(())
}

/// The chunks as a body, which fails if `reader` does.
fn streamed(body: mpsc::Receiver<Bytes>, reader: JoinHandle<Result<(), Broken>>) -> Body {
    let chunks = stream::unfold(Some((body, reader)), |state| async {
        let (mut body, reader) = state?;
        if let Some(chunk) = body.recv().await {
            return Some((Ok(chunk), Some((body, reader))));
        }
        match reader.await {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some((Err("the answer is cut off"), None)),
        }
    });
    Body::from_stream(chunks)
}
