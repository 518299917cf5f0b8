//! `GET /v1/history` and `GET /v1/value-at`: rows.

use annals_core::{Grammar, QueryExt, QueryParams, TypedStream};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::ndjson;
use super::params::{GrammarName, OrderName, Params};
use super::time::{Time, now_ms};
use crate::access::Reader;
use crate::problem::Problem;
use crate::server::Server;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// Which records.
    #[param(min_length = 1, example = "temperature::*")]
    pattern: String,
    #[serde(default)]
    #[param(inline, required = false)]
    grammar: GrammarName,
    /// Only the newest so many rows of each record, within the window.
    latest: Option<usize>,
    /// Only rows at this time or later: Unix milliseconds, RFC 3339, or an age such as `24h`.
    #[param(value_type = Option<String>, min_length = 1)]
    from: Option<Time>,
    /// Only rows at this time or earlier.
    #[param(value_type = Option<String>, min_length = 1)]
    to: Option<Time>,
    /// Which rows of a record come first.
    #[serde(default)]
    #[param(inline, required = false)]
    order: OrderName,
    /// The most rows in total.
    limit: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ValueAtParams {
    /// Which records.
    #[param(min_length = 1, example = "temperature::*")]
    pattern: String,
    #[serde(default)]
    #[param(inline, required = false)]
    grammar: GrammarName,
    /// The moment: Unix milliseconds, RFC 3339, or an age such as `24h`.
    #[param(value_type = String, min_length = 1, example = "24h")]
    at: Time,
    /// The most rows in total.
    limit: Option<u64>,
}

/// Rows of records
///
/// One row per line, ordered by record, while they are read from the store. An answer that cannot be
/// finished is cut off: the connection ends without the end of the body.
#[utoipa::path(
    get, path = "/v1/history", params(HistoryParams),
    responses(
        (status = 200, description = "Rows as NDJSON", content_type = "application/x-ndjson", body = String),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn history(
    State(server): State<Server>,
    reader: Reader,
    Params(params): Params<HistoryParams>,
) -> Result<Response, Problem> {
    let now = now_ms();
    let query = QueryParams::default()
        .with_limit_per_record(params.latest)
        .with_start_time(params.from.map(|from| from.at_or_after(now)))
        .with_end_time(params.to.map(|to| to.at_or_before(now)))
        .with_order(params.order.into())
        .with_grammar(params.grammar.into());
    rows(server, reader, &params.pattern, query, params.limit).await
}

/// The value of records at a time
///
/// For each record its newest row that is not later, as one line.
#[utoipa::path(
    get, path = "/v1/value-at", params(ValueAtParams),
    responses(
        (status = 200, description = "Rows as NDJSON", content_type = "application/x-ndjson", body = String),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn value_at(
    State(server): State<Server>,
    reader: Reader,
    Params(params): Params<ValueAtParams>,
) -> Result<Response, Problem> {
    let query = QueryParams::latest(1)
        .with_end_time(params.at.at_or_before(now_ms()))
        .with_grammar(params.grammar.into());
    rows(server, reader, &params.pattern, query, params.limit).await
}

async fn rows(
    server: Server,
    reader: Reader,
    pattern: &str,
    query: QueryParams,
    limit: Option<u64>,
) -> Result<Response, Problem> {
    let grammar: Grammar = query.grammar;
    let limit = reader.limit(limit);
    let rows = reader.history.stream_typed::<Box<RawValue>>(pattern, query).await;
    let rows: TypedStream<_> = rows.map_err(|error| Problem::of_query(&error))?;
    let headers = reader.headers(pattern, grammar, limit);
    let skipped = server.metrics().rows_skipped.clone();
    let ended = move |rows: &TypedStream<_>| {
        skipped.inc_by(rows.skipped());
    };
    ndjson::answer(&server, reader, headers, rows, limit, ended)
}
