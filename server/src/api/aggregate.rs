//! `GET /v1/aggregate`: statistics over rows, per interval.

use annals_core::{Aggregate, Fill, Function, Interpolation, PersistenceError, Width, duration};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::ndjson;
use super::params::{GrammarName, OrderName, Params};
use super::time::{Time, now_ms};
use crate::access::Reader;
use crate::problem::Problem;
use crate::server::Server;

#[derive(Debug, Deserialize, Default, Clone, Copy, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FillName {
    #[default]
    None,
    Null,
    Previous,
    Linear,
}

#[derive(Debug, Deserialize, Default, Clone, Copy, ToSchema)]
#[serde(rename_all = "lowercase")]
enum InterpolationName {
    #[default]
    Step,
    Linear,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AggregateParams {
    /// Which records.
    #[param(min_length = 1, example = "accuracy::*")]
    pattern: String,
    #[serde(default)]
    #[param(inline, required = false)]
    grammar: GrammarName,
    /// The number in each value: a member's name, or a JSON Pointer that begins with a slash. Without
    /// it, the value itself.
    #[serde(default)]
    #[param(required = false)]
    member: String,
    /// The width of an interval: `15m`, `1h`, `24h`; or of the calendar: `1d`, `1w`, `1mo`, `1q`,
    /// `1y`. Without it, one interval.
    #[param(example = "1h")]
    every: Option<String>,
    /// The IANA time zone of calendar intervals.
    #[param(example = "Europe/Vienna")]
    time_zone: Option<String>,
    /// Only rows at this time or later: Unix milliseconds, RFC 3339, or an age such as `24h`.
    #[param(value_type = Option<String>, min_length = 1)]
    from: Option<Time>,
    /// Only rows at this time or earlier.
    #[param(value_type = Option<String>, min_length = 1)]
    to: Option<Time>,
    /// What to compute, separated by commas.
    #[param(example = "count,mean,p95")]
    show: Option<String>,
    /// What to do with intervals without rows.
    #[serde(default)]
    #[param(inline, required = false)]
    fill: FillName,
    /// Whether all records are one series.
    #[serde(default)]
    #[param(required = false)]
    merge: bool,
    /// Which intervals of a record come first.
    #[serde(default = "oldest")]
    #[param(inline, required = false)]
    order: OrderName,
    /// A time at which an interval of fixed width starts.
    #[param(value_type = Option<String>, min_length = 1)]
    origin: Option<Time>,
    /// The longest time for which a value holds, in time-weighted functions.
    #[param(example = "5m")]
    max_gap: Option<String>,
    /// The values between two rows, in time-weighted functions.
    #[serde(default)]
    #[param(inline, required = false)]
    interpolation: InterpolationName,
    /// The most intervals in total.
    limit: Option<u64>,
}

fn oldest() -> OrderName {
    OrderName::Oldest
}

impl AggregateParams {
    fn aggregate(&self) -> Result<Aggregate, PersistenceError> {
        let now = now_ms();
        let width = self.every.as_deref().map(Width::parse).transpose()?;
        let mut aggregate = width.map_or_else(Aggregate::new, Aggregate::every).now(now);
        aggregate = aggregate
            .member(&self.member)
            .grammar(self.grammar.into())
            .order(self.order.into())
            .merge(self.merge)
            .fill(match self.fill {
                FillName::None => Fill::None,
                FillName::Null => Fill::Null,
                FillName::Previous => Fill::Previous,
                FillName::Linear => Fill::Linear,
            })
            .interpolation(match self.interpolation {
                InterpolationName::Step => Interpolation::Step,
                InterpolationName::Linear => Interpolation::Linear,
            });
        if let Some(zone) = &self.time_zone {
            aggregate = aggregate.time_zone(zone);
        }
        if let Some(from) = self.from {
            aggregate = aggregate.start_time(from.at_or_after(now));
        }
        if let Some(to) = self.to {
            aggregate = aggregate.end_time(to.at_or_before(now));
        }
        if let Some(show) = &self.show {
            aggregate = aggregate.functions(Function::parse_list(show)?);
        }
        if let Some(origin) = self.origin {
            let origin = i64::try_from(origin.at_or_before(now)).unwrap_or(i64::MAX);
            aggregate = aggregate.origin(origin);
        }
        Ok(aggregate)
    }
}

/// Statistics over rows, per interval
///
/// One interval of one record per line, with the members `record`, `start` and `end` (Unix
/// milliseconds), `count`, and one for each function.
#[utoipa::path(
    get, path = "/v1/aggregate", params(AggregateParams),
    responses(
        (status = 200, description = "Intervals as NDJSON", content_type = "application/x-ndjson", body = String),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn aggregate(
    State(server): State<Server>,
    reader: Reader,
    Params(params): Params<AggregateParams>,
) -> Result<Response, Problem> {
    let mut aggregate = params.aggregate().map_err(|error| Problem::of_query(&error))?;
    if let Some(max_gap) = &params.max_gap {
        let max_gap = duration::parse(max_gap)
            .map_err(|error| Problem::bad_request(format!("max_gap: {error}")))?;
        aggregate = aggregate.max_gap(max_gap);
    }
    let limit = reader.limit(params.limit);
    let buckets = reader.history.aggregate_stream(&params.pattern, &aggregate).await;
    let buckets = buckets.map_err(|error| match error {
        // Every store can aggregate: this is about the question, and no other store would answer it.
        PersistenceError::Unsupported(what) => Problem::bad_request(format!("there are no {what}")),
        error => Problem::of_query(&error),
    })?;
    let headers = reader.headers(&params.pattern, params.grammar.into(), limit);
    ndjson::answer(&server, reader, headers, buckets, limit, |_| {})
}
