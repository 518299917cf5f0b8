//! Maps paths to handlers, each in the group whose limits it has.

use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError};
use axum::Router;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::decompression::RequestDecompressionLayer;

use crate::access::{LIMIT, RESTRICTED, admit};
use crate::api;
use crate::caching;
use crate::config::Config;
use crate::limits::{Kind, limited};
use crate::page;
use crate::probe;
use crate::problem::Problem;
use crate::prometheus;
use crate::server::Server;

/// The HTTP interface of `history`, to be nested in a router of your own.
///
/// The server's end is lost this way, and with it rows in the queue behind 202:
/// [`Server::new`] and [`Server::router`] leave it to you.
///
/// # Errors
/// As [`Server::new`].
pub fn router(
    history: Arc<dyn PersistenceBackend>,
    config: Config,
) -> Result<Router, PersistenceError> {
    Ok(Server::new(history, config)?.router())
}

impl Server {
    /// The HTTP interface, to be nested in a router of your own. [`serve`](crate::serve()) runs it
    /// as it is, with the limits of connections that a router cannot have.
    ///
    /// A router does not know where it listens: with [`Access::Loopback`](crate::Access::Loopback),
    /// listen on a loopback address only.
    pub fn router(&self) -> Router {
        let server = self.clone();
        let limits = |kind| from_fn_with_state((server.clone(), kind), limited);
        let lookups = api::lookups().route_layer(limits(Kind::Lookup));
        let streams = api::streams().route_layer(limits(Kind::Stream));
        let followers = api::followers().route_layer(limits(Kind::Follower));
        // Only gzip: a frame of zstd may ask for 128 MiB of memory before its first byte.
        let writing = api::writing()
            .layer(RequestDecompressionLayer::new().no_br().no_deflate().no_zstd())
            .layer(from_fn(api::known_encoding));
        let prometheus = prometheus::router().route_layer(limits(Kind::Stream));
        let router = api::documented(lookups.merge(streams).merge(followers).merge(writing))
            .nest("/prometheus/api/v1", prometheus)
            .merge(page::router())
            .route("/livez", get(probe::livez))
            .route("/readyz", get(probe::readyz))
            .route("/metrics", get(probe::metrics))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
            })
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path"))
            .layer(from_fn(caching::tagged))
            .layer(CompressionLayer::new())
            .layer(from_fn_with_state(server.clone(), admit));
        let router = match server.config().cors_origins.is_empty() {
            true => router,
            false => router.layer(cors(server.config())),
        };
        router.with_state(server)
    }
}

/// The place from which a follower goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

fn cors(config: &Config) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(config.cors_origins.clone())
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            header::CONTENT_ENCODING,
            LAST_EVENT_ID,
            api::WRITER,
            api::BATCH,
            api::PREFER,
        ])
        .expose_headers([header::ETAG, header::LINK, header::RETRY_AFTER, RESTRICTED, LIMIT])
}
