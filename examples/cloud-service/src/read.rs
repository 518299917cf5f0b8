//! Rows and listings on their way out.

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

use crate::metered::QueryTimer;
use crate::problem::Problem;
use crate::service::Service;

/// A piece of a streamed answer is sent when it has so many bytes.
const PIECE_BYTES: usize = 64 << 10;

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
    /// The newest so many of each record.
    latest: Option<usize>,
    /// Unix milliseconds, inclusive.
    from: Option<u64>,
    to: Option<u64>,
    #[serde(default)]
    order: OrderName,
    #[serde(default)]
    grammar: GrammarName,
    /// At most so many rows in all.
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

/// The rows as NDJSON, by record, while they are read from the database. An answer that cannot be
/// finished is broken off: the connection ends without the end of the body.
pub(crate) async fn history(
    State(service): State<Arc<Service>>,
    params: Result<Query<HistoryParams>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let asked = QueryParams::default()
        .with_limit_per_record(params.latest)
        .with_start_time(params.from)
        .with_end_time(params.to)
        .with_order(match params.order {
            OrderName::Newest => Order::NewestFirst,
            OrderName::Oldest => Order::OldestFirst,
        })
        .with_grammar(params.grammar.into());
    let timer = QueryTimer::start(&service.metrics);
    let rows = service.history.stream_typed::<Box<RawValue>>(&params.pattern, asked).await;
    let rows = rows.map_err(|error| Problem::of_query(&error))?;
    let (pieces, body) = mpsc::channel(1);
    let limit = params.limit.unwrap_or(u64::MAX);
    let reader = tokio::spawn(async move {
        let sent = send(&service, rows, limit, timer, pieces).await;
        sent.inspect_err(|error| tracing::warn!(%error, "a streamed answer is broken off"))
    });
    let ndjson = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((ndjson, streamed(body, reader)).into_response())
}

/// The matching records with their number of rows and their first and last time.
pub(crate) async fn records(
    State(service): State<Arc<Service>>,
    params: Result<Query<RecordsParams>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let records = service.history.records(&params.pattern, params.grammar.into()).await;
    let records = records.map_err(|error| Problem::of_query(&error))?;
    Ok(Json(records).into_response())
}

/// Why an answer was broken off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] PersistenceError),
    #[error("a row cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// What its reader holds in the database is wanted back.
    #[error("the client takes nothing")]
    Stalled,
}

/// Reads rows and sends them on in pieces.
///
/// It is a task and not the body itself: a body whose client takes nothing is not asked for more,
/// and could not let go of its connection to the database.
async fn send(
    service: &Service,
    mut rows: TypedStream<Box<RawValue>>,
    limit: u64,
    mut timer: QueryTimer,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), Broken> {
    let mut piece = Vec::new();
    let mut left = limit;
    let pass_on = async |piece: &mut Vec<u8>| {
        let piece = Bytes::from(std::mem::take(piece));
        let sent = timeout(service.request_timeout, pieces.send(piece)).await;
        sent.map(|sent| sent.is_ok()).map_err(|_| Broken::Stalled)
    };
    while left > 0
        && let Some(row) = rows.next().await
    {
        let TypedRow { record, value, stored_at, .. } = row?;
        left -= 1;
        serde_json::to_writer(&mut piece, &Line { record: &record, value: &value, stored_at })?;
        piece.push(b'\n');
        if piece.len() >= PIECE_BYTES && !pass_on(&mut piece).await? {
            // The client has gone.
            return Ok(());
        }
    }
    service.metrics.rows_skipped.inc_by(rows.skipped());
    timer.succeeded();
    if !piece.is_empty() {
        pass_on(&mut piece).await?;
    }
    Ok(())
}

/// The pieces as a body that ends as `reader` does.
fn streamed(body: mpsc::Receiver<Bytes>, reader: JoinHandle<Result<(), Broken>>) -> Body {
    let pieces = stream::unfold(Some((body, reader)), |state| async {
        let (mut body, reader) = state?;
        if let Some(piece) = body.recv().await {
            return Some((Ok(piece), Some((body, reader))));
        }
        match reader.await {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some((Err("the answer is broken off"), None)),
        }
    });
    Body::from_stream(pieces)
}
