//! `GET /v1/openapi.json`: the interface as OpenAPI 3.1, made of the handlers themselves.

use std::sync::Arc;

use axum::Json;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::server::Server;

#[derive(OpenApi)]
#[openapi(
    info(title = "annals", description = "The history of live records."),
    security((), ("token" = [])),
)]
struct Base;

/// What the description begins with.
fn description() -> utoipa::openapi::OpenApi {
    let mut api = Base::openapi();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    api
}

/// The router with its description as a path of its own.
pub(crate) fn documented(router: OpenApiRouter<Server>) -> axum::Router<Server> {
    let described = OpenApiRouter::with_openapi(description()).merge(router);
    let (router, api) = described.split_for_parts();
    // A router has dozens of copies of each handler.
    let api = Arc::new(api);
    router.route("/v1/openapi.json", get(async move || Json(api)))
}
