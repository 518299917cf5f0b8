//! `GET /v1/batch`: whether a batch is stored.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::batches;
use super::headers::batch_id;
use crate::access::Writer;
use crate::problem::Problem;
use crate::server::Server;

/// Whether a batch is stored.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct KnownBatch {
    /// Whether this batch, or a later one of its writer, is stored.
    stored: bool,
}

/// Ask whether a batch is stored
///
/// This one, or a later one of its writer. Each token has writers of its own.
#[utoipa::path(
    get, path = "/v1/batch",
    params(
        ("Annals-Writer" = String, Header, description = "As in POST /v1/rows"),
        ("Annals-Batch" = u64, Header, minimum = 1, maximum = 8_796_093_022_207_u64, description = "As in POST /v1/rows"),
    ),
    responses(
        (status = 200, description = "Whether it is", content_type = "application/json", body = KnownBatch),
        (status = 304, description = "The client has this answer: it named its `ETag` as `If-None-Match`"),
        (status = "4XX", description = "A wrong request", content_type = "application/problem+json", body = Problem),
        (status = "5XX", description = "No answer now", content_type = "application/problem+json", body = Problem),
    ),
)]
pub(super) async fn batch(
    State(server): State<Server>,
    Writer(client): Writer,
    headers: HeaderMap,
) -> Result<Json<KnownBatch>, Problem> {
    let id = batch_id(&headers)?
        .ok_or_else(|| Problem::bad_request("send the headers annals-writer and annals-batch"))?;
    let stored = batches::is_stored(server.history(), &client.known.name, id).await;
    Ok(Json(KnownBatch { stored: stored.map_err(|error| Problem::of_query(&error))? }))
}
