//! The interface under `/v1`: rows in, history out, and its description as OpenAPI.

mod aggregate;
mod batch;
mod batches;
mod body;
mod chunks;
mod erase;
mod follow;
mod headers;
mod history;
mod ndjson;
mod openapi;
mod params;
mod records;
mod rows;
mod status;
mod time;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use headers::{BATCH, PREFER, WRITER, known_encoding};
pub(crate) use openapi::documented;
pub(crate) use time::with_plus;

use crate::server::Server;

/// The paths whose answers are made before they are sent.
pub(crate) fn lookups() -> OpenApiRouter<Server> {
    OpenApiRouter::new()
        .routes(routes!(records::records))
        .routes(routes!(status::status))
        .routes(routes!(batch::batch))
        .routes(routes!(erase::erase))
}

/// The paths whose answers are read from the store while they are sent.
pub(crate) fn streams() -> OpenApiRouter<Server> {
    OpenApiRouter::new()
        .routes(routes!(history::history))
        .routes(routes!(history::value_at))
        .routes(routes!(aggregate::aggregate))
}

/// The paths whose answers have no end.
pub(crate) fn followers() -> OpenApiRouter<Server> {
    OpenApiRouter::new().routes(routes!(follow::follow))
}

/// The paths that take bodies.
pub(crate) fn writing() -> OpenApiRouter<Server> {
    OpenApiRouter::new().routes(routes!(rows::rows))
}
