//! The paths under `/prometheus/api/v1`.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::{Clock, Grammar, SystemClock};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::answer::{Answer, Kind, Outlet, seconds, write_value};
use super::evaluate::Evaluation;
use super::parameters::Parameters;
use super::parse::Expression;
use super::problem::Problem;
use super::select::Selector;
use super::stage::Stages;
use super::steps::Steps;
use super::{METRIC, PrometheusSettings};
use crate::access::Reader;
use crate::server::Server;

/// The version of Prometheus whose API this is, for Grafana.
const PROMETHEUS_VERSION: &str = "2.42.0";

/// The Prometheus API, to be nested under `/prometheus/api/v1`.
pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/query", get(query).post(query))
        .route("/query_range", get(query_range).post(query_range))
        .route("/series", get(series).post(series))
        .route("/labels", get(labels).post(labels))
        .route("/label/{name}/values", get(label_values))
        .route("/metadata", get(metadata))
        .route("/status/buildinfo", get(build_info))
}

fn settings(server: &Server) -> PrometheusSettings {
    server.config().prometheus
}

fn now() -> i64 {
    i64::try_from(SystemClock.now_ms()).unwrap_or(i64::MAX)
}

async fn query(
    State(server): State<Server>,
    reader: Reader,
    uri: Uri,
    form: Bytes,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &form);
    let time = parameters.time("time")?.unwrap_or_else(now);
    answer(&server, reader, &parameters, Kind::Vector, Steps::at(time)).await
}

async fn query_range(
    State(server): State<Server>,
    reader: Reader,
    uri: Uri,
    form: Bytes,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &form);
    let steps = parameters.steps(settings(&server).max_steps)?;
    answer(&server, reader, &parameters, Kind::Matrix, steps).await
}

async fn answer(
    server: &Server,
    reader: Reader,
    parameters: &Parameters,
    kind: Kind,
    steps: Steps,
) -> Result<Response, Problem> {
    let settings = settings(server);
    let lookback = parameters.span("lookback_delta")?;
    let lookback = lookback
        .unwrap_or_else(|| i64::try_from(settings.lookback.as_millis()).unwrap_or(i64::MAX));
    let (leaf, stages) = match Expression::parse(parameters.query()?)? {
        Expression::Scalar(number) => return Ok(scalar(number, kind, steps)),
        Expression::Series { leaf, stages } => (leaf, stages),
    };
    let (chunks, body) = mpsc::channel(1);
    let stages = Stages::new(&stages, settings.max_grouped_points);
    let most_points = reader.limit(None);
    let headers = reader.headers(leaf.selector.pattern(), Grammar::Glob, most_points);
    let Reader { history, slot, .. } = reader;
    let outlet = Outlet { chunks, slot, patience: server.config().stall_timeout };
    let mut answer = Answer::new(kind, steps, stages, most_points, outlet);
    let reading = tokio::spawn(async move {
        let max_series = settings.max_series;
        let evaluation = Evaluation { history: &history, steps, lookback, max_series };
        evaluation.run(&leaf, &mut answer).await?;
        answer.finish().await
    });
    let mut response = streamed(body, reading).await?;
    response.headers_mut().extend(headers);
    Ok(response)
}

/// A number, whatever the time.
fn scalar(number: f64, kind: Kind, steps: Steps) -> Response {
    let mut value = Vec::new();
    write_value(&mut value, number);
    let value = String::from_utf8_lossy(&value);
    let point = |step| json!([time(steps.time(step)), value]);
    success(match kind {
        Kind::Vector => json!({ "resultType": "scalar", "result": point(0) }),
        Kind::Matrix => {
            let values: Vec<Value> = (0..steps.count).map(point).collect();
            json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": values }] })
        }
    })
}

fn time(millis: i64) -> Value {
    seconds(millis).parse().map_or(Value::Null, Value::Number)
}

fn success(data: Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

/// Waits for the first chunk, so that what fails before it has its own status, and streams the rest.
/// An answer that fails later is cut off: the connection ends without the end of the body.
async fn streamed(
    mut chunks: mpsc::Receiver<Bytes>,
    reading: JoinHandle<Result<(), Problem>>,
) -> Result<Response, Problem> {
    let Some(first) = chunks.recv().await else {
        return Err(ended(reading.await).err().unwrap_or(Problem::Gone));
    };
    let rest = stream::unfold(Some((Some(first), chunks, reading)), |state| async {
        let (first, mut chunks, reading) = state?;
        let chunk = match first {
            Some(first) => Some(first),
            None => chunks.recv().await,
        };
        if let Some(chunk) = chunk {
            return Some((Ok(chunk), Some((None, chunks, reading))));
        }
        let end = ended(reading.await);
        end.err().map(|error| {
            tracing::warn!(%error, "an answer of the Prometheus API is cut off");
            (Err("the answer is cut off"), None)
        })
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    // Compression polls once more after the end.
    Ok((StatusCode::OK, json, Body::from_stream(rest.fuse())).into_response())
}

fn ended(result: Result<Result<(), Problem>, tokio::task::JoinError>) -> Result<(), Problem> {
    result.unwrap_or_else(|error| {
        tracing::error!(%error, "a query of the Prometheus API panicked");
        Err(Problem::Internal)
    })
}

/// What a listing has found, and the headers of its answer.
struct Listed {
    all: BTreeSet<(Arc<str>, Arc<str>)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The series that `match[]` selects, or all.
async fn found(
    server: &Server,
    reader: &Reader,
    parameters: &Parameters,
) -> Result<Listed, Problem> {
    let from = parameters.time("start")?.unwrap_or(0).max(0) as u64;
    let to = parameters.time("end")?.unwrap_or(i64::MAX).max(0) as u64;
    // A value stands for the look-back, so that it is also there a while after its time.
    let from = from.saturating_sub(settings(server).lookback.as_millis() as u64);
    let mut selectors: Vec<Selector> =
        parameters.all("match[]").map(Selector::parse).collect::<Result<_, _>>()?;
    if selectors.is_empty() {
        selectors.push(Selector::all());
    }
    let max_series = settings(server).max_series;
    let limit = reader.limit(None);
    let (mut all, mut headers) = (BTreeSet::new(), Vec::new());
    for selector in selectors {
        let history = reader.history.as_ref();
        let selection = selector.find(history, (from, to), max_series, true).await?;
        if headers.is_empty() || reader.restricts(selector.pattern(), Grammar::Glob) {
            headers = reader.headers(selector.pattern(), Grammar::Glob, limit);
        }
        for found in selection.found {
            let members = found.members.into_iter();
            all.extend(members.map(|member| (found.record.clone(), member)));
        }
        if all.len() > max_series {
            let text = format!("more than {max_series} series: narrow match[]");
            return Err(Problem::TooMuch(text));
        }
    }
    match limit.filter(|most| all.len() as u64 > *most) {
        Some(most) => Err(Problem::limited(most)),
        None => Ok(Listed { all, headers }),
    }
}

/// A listing with its headers.
fn listing(data: Value, headers: Vec<(HeaderName, HeaderValue)>) -> Response {
    let mut response = success(data);
    response.headers_mut().extend(headers);
    response
}

async fn series(
    State(server): State<Server>,
    reader: Reader,
    uri: Uri,
    form: Bytes,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &form);
    if parameters.all("match[]").next().is_none() {
        return Err(Problem::bad("the parameter match[] is missing"));
    }
    let Listed { all, headers } = found(&server, &reader, &parameters).await?;
    let labels = all.into_iter().map(|(record, member)| match member.is_empty() {
        true => json!({ "__name__": METRIC, "record": record }),
        false => json!({ "__name__": METRIC, "member": member, "record": record }),
    });
    Ok(listing(labels.collect(), headers))
}

async fn labels(
    State(server): State<Server>,
    reader: Reader,
    uri: Uri,
    form: Bytes,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &form);
    if parameters.all("match[]").next().is_none() {
        return Ok(success(json!(["__name__", "member", "record"])));
    }
    let Listed { all, headers } = found(&server, &reader, &parameters).await?;
    let has_members = all.iter().any(|(_, member)| !member.is_empty());
    let names = match (all.is_empty(), has_members) {
        (true, _) => json!([]),
        (false, true) => json!(["__name__", "member", "record"]),
        (false, false) => json!(["__name__", "record"]),
    };
    Ok(listing(names, headers))
}

async fn label_values(
    State(server): State<Server>,
    reader: Reader,
    axum::extract::Path(name): axum::extract::Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &Bytes::new());
    if !["__name__", "record", "member"].contains(&&*name) {
        return Ok(success(json!([])));
    }
    let Listed { all, headers } = found(&server, &reader, &parameters).await?;
    let values: BTreeSet<Arc<str>> = match &*name {
        "record" => all.into_iter().map(|(record, _)| record).collect(),
        "member" => {
            all.into_iter().map(|(_, member)| member).filter(|name| !name.is_empty()).collect()
        }
        _ => all.into_iter().next().map(|_| METRIC.into()).into_iter().collect(),
    };
    Ok(listing(json!(values), headers))
}

async fn metadata() -> Response {
    let about = "The number in a member of the value of a record";
    success(json!({ METRIC: [{ "type": "gauge", "help": about, "unit": "" }] }))
}

async fn build_info() -> Response {
    success(json!({
        "application": "annals",
        "version": PROMETHEUS_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}
