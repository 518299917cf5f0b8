//! Handlers of the probes and of the metrics.

use std::time::Duration;

use annals_core::PersistenceBackend;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use serde::Serialize;
use tokio::time::timeout;

use crate::access::Admin;
use crate::problem::Problem;
use crate::server::Server;

/// The longest wait for the database, shorter than the usual timeout of a probe.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(800);

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// Why it is not ready.
    reasons: Vec<&'static str>,
}

/// Fails if a restart would help: the recorder has stopped by itself.
pub(crate) async fn livez(State(server): State<Server>) -> Response {
    if !server.recorder().stats().open && !server.is_draining() {
        let detail = "the recorder has stopped by itself; see the log";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    }
    (StatusCode::OK, "alive\n").into_response()
}

/// Fails if the server should get no requests.
pub(crate) async fn readyz(State(server): State<Server>) -> Response {
    let mut reasons = Vec::new();
    if server.is_draining() {
        reasons.push("draining");
    }
    let stats = server.recorder().stats();
    let pending = usize::try_from(stats.total.pending).unwrap_or(usize::MAX);
    if nearly(pending, server.config().queue_rows)
        || nearly(stats.queued_bytes, server.config().queue_bytes())
    {
        reasons.push("the queue is nearly full");
    }
    match timeout(HEALTH_TIMEOUT, server.history().health()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            reasons.push("the database cannot be used");
        }
        Err(_) => {
            tracing::warn!("not ready: the database does not answer");
            reasons.push("the database cannot be used");
        }
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons })).into_response()
}

/// At least nine tenths full: the rest is for requests that already arrive.
fn nearly(filled: usize, capacity: usize) -> bool {
    filled >= capacity - capacity / 10
}

/// All metrics as OpenMetrics text, which Prometheus reads.
pub(crate) async fn metrics(State(server): State<Server>, _: Admin) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match encode(&mut text, server.registry()) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be encoded");
            let detail = "the metrics cannot be encoded";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}
