//! The page: static files within the program, and the policy that keeps them the only script.
//!
//! The page asks the interface under `/v1` as any other client does. It is served without a token,
//! and holds no data itself.

use axum::Router;
use axum::extract::{OriginalUri, Path};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::problem::Problem;
use crate::server::Server;

/// Scripts, styles and data come from here, and nothing else does. No script within HTML runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files under `page/`.
const FILES: [(&str, &str, &str); 14] = [
    ("style.css", "text/css; charset=utf-8", include_str!("files/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("files/icon.svg")),
    ("api.js", SCRIPT, include_str!("files/api.js")),
    ("app.js", SCRIPT, include_str!("files/app.js")),
    ("download.js", SCRIPT, include_str!("files/download.js")),
    ("format.js", SCRIPT, include_str!("files/format.js")),
    ("health.js", SCRIPT, include_str!("files/health.js")),
    ("legend.js", SCRIPT, include_str!("files/legend.js")),
    ("names.js", SCRIPT, include_str!("files/names.js")),
    ("panel.js", SCRIPT, include_str!("files/panel.js")),
    ("plot.js", SCRIPT, include_str!("files/plot.js")),
    ("series.js", SCRIPT, include_str!("files/series.js")),
    ("tree.js", SCRIPT, include_str!("files/tree.js")),
    ("view.js", SCRIPT, include_str!("files/view.js")),
];

/// The path of the page.
pub(crate) const PAGE: &str = "/";
/// The paths of its files.
pub(crate) const FILE: &str = "/page/{file}";

/// The page and its files.
pub(crate) fn router() -> Router<Server> {
    Router::new().route(PAGE, get(page)).route(FILE, get(file))
}

/// The page. Its links are relative, so that it works wherever the router is nested, also behind a
/// proxy that strips a prefix.
async fn page(OriginalUri(uri): OriginalUri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let base = if last.is_empty() { String::new() } else { format!("./{last}/") };
    let base = base.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let html = include_str!("files/index.html").replace("{base}", &base);
    answer("text/html; charset=utf-8", html)
}

async fn file(Path(name): Path<String>) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(file, ..)| *file == name) else {
        return Problem::new(StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    answer(kind, (*content).to_owned())
}

fn answer(kind: &'static str, content: String) -> Response {
    let fixed = |text: &'static str| HeaderValue::from_static(text);
    let headers = [
        (header::CONTENT_TYPE, fixed(kind)),
        (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        // A new version of the program has new files under the same names.
        (header::CACHE_CONTROL, fixed("no-cache")),
    ];
    (headers, content).into_response()
}
