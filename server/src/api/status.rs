//! `GET /v1/status`: how the server is, for people and for the page.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::now_ms;
use crate::access::Admin;
use crate::counted::History;
use crate::problem::Problem;
use crate::server::Server;

/// The state of a server. Times are in Unix milliseconds.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Status {
    version: &'static str,
    now: u64,
    uptime_seconds: u64,
    draining: bool,
    /// Whether the store answers.
    store_reachable: bool,
    /// Rows that were stored per second, over the last minute.
    rows_per_second: f64,
    queue: Queue,
    /// Batches that the queue has stored.
    batches: u64,
    /// Space of the history on disk, in bytes, if the program knows it.
    disk_bytes: Option<u64>,
    history: Option<History>,
    /// Sweeps by retention, if there is one.
    retention: Option<Sweeps>,
    /// Calls to the store that failed since the start.
    errors: u64,
    /// When one last failed.
    last_error_at: Option<u64>,
    connections: i64,
    queries_waiting: usize,
    streams_open: usize,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct Queue {
    rows: u64,
    capacity_rows: usize,
    bytes: usize,
    capacity_bytes: usize,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct Sweeps {
    sweeps: u64,
    removed_rows: u64,
    failures: u64,
    last_success: Option<u64>,
}

/// The state of the server
///
/// For a token with the right `admin`.
#[utoipa::path(
    get, path = "/v1/status",
    responses(
        (status = 200, description = "The state", content_type = "application/json", body = Status),
        (status = 304, description = "The client has this answer: it named its `ETag` as `If-None-Match`"),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn status(State(server): State<Server>, _: Admin) -> Json<Status> {
    let history = server.counted().history(server.history()).await;
    let stats = server.recorder().stats();
    let config = server.config();
    let retention = server.retention().map(|retention| {
        let stats = retention.stats();
        Sweeps {
            sweeps: stats.sweeps,
            removed_rows: stats.removed,
            failures: stats.failures,
            last_success: stats.last_success_ms,
        }
    });
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        now: now_ms(),
        uptime_seconds: server.counted().uptime().as_secs(),
        draining: server.is_draining(),
        store_reachable: history.is_some(),
        rows_per_second: server.metrics().rate.per_second(),
        queue: Queue {
            rows: stats.total.pending,
            capacity_rows: config.queue_rows,
            bytes: stats.queued_bytes,
            capacity_bytes: config.queue_bytes(),
        },
        batches: stats.batches,
        disk_bytes: config.disk_bytes.as_ref().and_then(|bytes| bytes()),
        history,
        retention,
        errors: server.metrics().errors.get(),
        last_error_at: server.metrics().last_error_ms(),
        connections: server.metrics().connections.get(),
        queries_waiting: server.queries().waiting(),
        streams_open: server.queries().open(),
    })
}
