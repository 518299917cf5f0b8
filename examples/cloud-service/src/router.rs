//! Maps paths to handlers, with the limits that all of them share.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::time::timeout;

use crate::problem::Problem;
use crate::service::Service;
use crate::{probe, read, write};

const ROWS: &str = "/v1/rows";
const HISTORY: &str = "/v1/history";
const RECORDS: &str = "/v1/records";
const LIVEZ: &str = "/livez";
const READYZ: &str = "/readyz";
const METRICS: &str = "/metrics";

/// All paths.
pub const PATHS: [&str; 6] = [ROWS, HISTORY, RECORDS, LIVEZ, READYZ, METRICS];

/// The HTTP interface of `service`.
pub fn router(service: Arc<Service>) -> Router {
    let writing = Router::new()
        .route(ROWS, post(write::rows))
        .layer(DefaultBodyLimit::max(service.body_limit))
        .route_layer(middleware::from_fn_with_state(service.clone(), writes_in_time));
    let reading = Router::new()
        .route(HISTORY, get(read::history))
        .route(RECORDS, get(read::records))
        .route_layer(middleware::from_fn_with_state(service.clone(), reads_in_time));
    Router::new()
        .route(LIVEZ, get(probe::livez))
        .route(READYZ, get(probe::readyz))
        .route(METRICS, get(probe::metrics))
        .merge(writing)
        .merge(reading)
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .layer(middleware::from_fn_with_state(service.clone(), counted))
        .with_state(service)
}

/// Limits the number of rows in memory and the time they are there: the permit is taken before the
/// body is read.
async fn writes_in_time(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_permit) = service.writes.try_acquire() else {
        let detail = "too many concurrent write requests";
        return Problem::unavailable(detail).applied(false).into_response();
    };
    match timeout(service.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request was not finished in time";
            Problem::timeout(detail).applied(true).into_response()
        }
    }
}

/// Limits the time of a query until its first row.
async fn reads_in_time(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    match timeout(service.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timeout("the query was not answered in time").into_response(),
    }
}

async fn counted(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    // Not the path itself: a client can invent any number of paths.
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        method @ ("GET" | "HEAD" | "POST") => method.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    service.metrics.answered(method, route, response.status().as_u16());
    response
}
