//! `DELETE /v1/history`: rows that must go.
//!
//! A browser sends this method to another origin only after it has asked, and a form never does, so
//! that no page can erase what its visitor may.

use std::sync::Arc;

use annals_core::{Erasure, Pattern, PersistenceBackend, PersistenceError, Predicate, QueryParams};
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::params::{GrammarName, Params};
use super::time::{Time, now_ms};
use crate::access::{Eraser, RESTRICTED};
use crate::problem::{Problem, Reason};
use crate::server::Server;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EraseParams {
    /// Which records.
    #[param(min_length = 1, example = "badge::*")]
    pattern: String,
    #[serde(default)]
    #[param(inline, required = false)]
    grammar: GrammarName,
    /// Only rows at this time or later: Unix milliseconds, RFC 3339, or an age such as `24h`.
    #[param(value_type = Option<String>, min_length = 1)]
    from: Option<Time>,
    /// Only rows at this time or earlier.
    #[param(value_type = Option<String>, min_length = 1)]
    to: Option<Time>,
    /// Only rows whose values satisfy this filter. The token must be allowed to read them as well.
    #[serde(rename = "where")]
    #[param(example = "person = 'ada'")]
    filter: Option<String>,
    /// Count the rows and erase nothing.
    #[serde(default)]
    #[param(required = false)]
    dry_run: bool,
}

/// How many rows it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Erased {
    /// How many rows are erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased: Option<u64>,
    /// How many rows would be erased now: the answer to `dry_run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    would_erase: Option<u64>,
}

impl EraseParams {
    fn erasure(&self, server: &Server) -> Result<Erasure, Problem> {
        let wrong = |error: PersistenceError| Problem::of_query(&error).applied(false);
        let pattern = Pattern::new(&self.pattern, self.grammar.into()).map_err(wrong)?;
        let filter = self.filter.as_deref().map(Predicate::parse).transpose().map_err(wrong)?;
        let now = now_ms();
        let times = server.config().times(now);
        for (name, time) in [("from", self.from), ("to", self.to)] {
            // A window in seconds begins in 1970: everything would go.
            if let Some(Time::UnixMs(number @ 1..)) = time
                && let Err(why) = times.check(number)
            {
                return Err(Problem::bad_request(format!("{name}: {why}")).applied(false));
            }
        }
        Ok(Erasure::new(pattern)
            .with_start_time(self.from.map(|from| from.at_or_after(now)))
            .with_end_time(self.to.map(|to| to.at_or_before(now)))
            .with_where(filter))
    }
}

/// Erase rows
///
/// Removes the rows of the records that match a pattern, in a window of time, that satisfy a filter if
/// there is one, and tells exactly how many. All of them go at once; if the pattern reaches beyond what
/// the token may erase, those of each record. Repeating the request is safe.
#[utoipa::path(
    delete, path = "/v1/history", params(EraseParams),
    responses(
        (status = 200, description = "Erased or counted", content_type = "application/json", body = Erased),
        (status = "4XX", description = "Nothing is erased", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "See the members outcome and erased", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn erase(
    State(server): State<Server>,
    eraser: Eraser,
    Params(params): Params<EraseParams>,
    body: Body,
) -> Result<Response, Problem> {
    if !body.is_end_stream() {
        // A filter there would be overlooked, and everything would go.
        let detail = "DELETE takes its parameters from the URL (with curl: -G or --url-query), and this \
                      request has a body";
        return Err(Problem::bad_request(detail).applied(false));
    }
    let erasure = params.erasure(&server)?;
    let eraser = if erasure.predicate.is_some() { eraser.by_value()? } else { eraser };
    if !server.history().guarantees().erasure {
        let error = PersistenceError::Unsupported("erasing rows");
        return Err(Problem::of_query(&error).applied(false));
    }
    let failed = |error: PersistenceError| Problem::of_query(&error).applied(false);
    let history = Arc::new(server.history().clone());
    let erasable = eraser.erasable(history, &erasure.pattern).await.map_err(failed)?;
    let (patterns, is_restricted) = (erasable.patterns, erasable.is_restricted);
    let answer = match params.dry_run {
        true => {
            let rows = count(server.history(), &erasure, &patterns).await.map_err(failed)?;
            Erased { erased: None, would_erase: Some(rows) }
        }
        false => {
            let token = eraser.token().to_owned();
            // It goes on to its end when the client does not wait.
            let erased = tokio::spawn(erase_all(server, token, erasure, patterns)).await;
            let broken = |_| {
                let detail = "the erase broke off; see the log of the service";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).applied(true)
            };
            Erased { erased: Some(erased.map_err(broken)??), would_erase: None }
        }
    };
    let mut response = Json(answer).into_response();
    if is_restricted {
        response.headers_mut().insert(RESTRICTED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Erases what `erasure` says of each pattern instead of its own.
async fn erase_all(
    server: Server,
    token: String,
    mut erasure: Erasure,
    patterns: Vec<Pattern>,
) -> Result<u64, Problem> {
    let asked = erasure.pattern.as_str().to_owned();
    let log = |erased: u64| tracing::info!(token, pattern = asked, rows = erased, "erased");
    let Ok(_permit) = server.writes().try_acquire() else {
        let detail = "too many concurrent write requests";
        return Err(Problem::busy(Reason::Writes, detail).applied(false));
    };
    let mut erased = 0;
    for pattern in patterns {
        erasure.pattern = pattern;
        match server.history().erase(&erasure).await {
            Ok(rows) => {
                erased += rows;
                server.metrics().rows_erased.inc_by(rows);
            }
            Err(error) if erased == 0 => return Err(Problem::of_write(&error)),
            Err(error) => {
                log(erased);
                return Err(Problem::of_write(&error).applied(true).erased(erased));
            }
        }
    }
    log(erased);
    Ok(erased)
}

/// How many rows it is now.
async fn count(
    history: &impl PersistenceBackend,
    erasure: &Erasure,
    patterns: &[Pattern],
) -> Result<u64, PersistenceError> {
    let mut count = 0;
    for pattern in patterns {
        let (text, grammar) = (pattern.as_str(), pattern.grammar());
        if (erasure.start_time, erasure.end_time, &erasure.predicate) == (None, None, &None) {
            let records = history.records(text, grammar).await?;
            count += records.iter().map(|record| record.count).sum::<u64>();
            continue;
        }
        let params = QueryParams::default()
            .with_start_time(erasure.start_time)
            .with_end_time(erasure.end_time)
            .with_grammar(grammar);
        let mut rows = match &erasure.predicate {
            Some(filter) => history.query_where(text, params, filter).await?,
            None => history.query_stream(text, params).await?,
        };
        while rows.try_next().await?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}
