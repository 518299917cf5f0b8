//! The interface under `/v1`.

mod records;

use axum::Router;
use axum::routing::get;

use crate::server::Server;

/// The paths that read history.
pub(crate) fn reading() -> Router<Server> {
    Router::new().route("/v1/records", get(records::records))
}
