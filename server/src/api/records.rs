//! `GET /v1/records`: which records there are, page by page.

use annals_core::RecordSummary;
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::params::{GrammarName, Params, every_record};
use crate::access::Reader;
use crate::problem::Problem;

/// Records of a page, unless the request says otherwise.
const PAGE: u64 = 1_000;
/// The most records of a page.
const MAX_PAGE: u64 = 10_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsParams {
    /// Which records. Without it, all.
    #[serde(default = "every_record")]
    #[param(min_length = 1, required = false, example = "temperature::*")]
    pattern: String,
    #[serde(default)]
    #[param(inline, required = false)]
    grammar: GrammarName,
    /// The most records in the answer: 1 to 10,000, 1,000 without it.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// Only records whose names come after this one: the last of the page before.
    after: Option<String>,
}

/// What a listing tells of a record.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes annals_core::RecordSummary")]
pub(super) struct Summary {
    /// The record's name.
    record: String,
    /// How many rows it has.
    count: u64,
    /// The time of its first row, in Unix milliseconds.
    first: u64,
    /// The time of its last row, in Unix milliseconds.
    last: u64,
}

/// The records
///
/// In byte order of their names. If there are more than fit, the header `Link` has the address of the
/// next page.
#[utoipa::path(
    get, path = "/v1/records", params(RecordsParams),
    responses(
        (status = 200, description = "The records of a page", content_type = "application/json", body = Vec<Summary>),
        (status = 304, description = "The client has this answer: it named its `ETag` as `If-None-Match`"),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn records(
    reader: Reader,
    Params(params): Params<RecordsParams>,
) -> Result<Response, Problem> {
    if params.limit.is_some_and(|limit| !(1..=MAX_PAGE).contains(&limit)) {
        return Err(Problem::bad_request(format!("limit must be from 1 to {MAX_PAGE}")));
    }
    let limit = params.limit.or(Some(PAGE)).and_then(|limit| reader.limit(Some(limit)));
    let limit = usize::try_from(limit.unwrap_or(PAGE)).unwrap_or(usize::MAX).max(1);
    let grammar = params.grammar;
    let records = reader.history.records(&params.pattern, grammar.into()).await;
    let mut records: Vec<RecordSummary> = records.map_err(|error| Problem::of_query(&error))?;
    if let Some(after) = &params.after {
        let done = records.partition_point(|summary| summary.record <= *after);
        records.drain(..done);
    }
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|last| next(&params, limit, &last.record));
    let mut response = Json(records).into_response();
    response.headers_mut().extend(reader.headers(&params.pattern, grammar.into(), None));
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(header::LINK, next);
    }
    Ok(response)
}

/// The next page as RFC 8288 writes it, relative to this one.
fn next(params: &RecordsParams, limit: usize, last: &str) -> String {
    let mut query = String::new();
    let grammar = match params.grammar {
        GrammarName::Glob => "glob",
        GrammarName::Topic => "topic",
    };
    for (name, value) in [
        ("pattern", &*params.pattern),
        ("grammar", grammar),
        ("limit", &limit.to_string()),
        ("after", last),
    ] {
        query.push(if query.is_empty() { '?' } else { '&' });
        query += name;
        query.push('=');
        query.extend(percent_encoding::utf8_percent_encode(
            value,
            percent_encoding::NON_ALPHANUMERIC,
        ));
    }
    format!("<{query}>; rel=\"next\"")
}
