//! Maps paths to handlers.

use std::sync::Arc;

use annals_core::PersistenceBackend;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::api;
use crate::config::Config;
use crate::problem::Problem;
use crate::prometheus;
use crate::server::Server;

/// The HTTP interface of `history`, to be served as it is or nested in a router of your own.
pub fn router(history: Arc<dyn PersistenceBackend>, config: Config) -> Router {
    of(Server::new(history, config))
}

/// The HTTP interface of `server`.
pub(crate) fn of(server: Server) -> Router {
    // Everything that reads history is in this group, which limits it.
    let reading = Router::new()
        .merge(api::reading())
        .nest("/prometheus/api/v1", prometheus::router())
        .route_layer(middleware::from_fn_with_state(server.clone(), reads_in_time));
    Router::new()
        .merge(reading)
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
        .with_state(server)
}

/// Limits the time of a query until its first row.
async fn reads_in_time(State(server): State<Server>, request: Request, next: Next) -> Response {
    match timeout(server.config().query_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timeout("the query was not answered in time").into_response(),
    }
}
