//! What happens to a request before its handler: who sent it, whether they may, and what of a refusal
//! is logged and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client::{Client, Known};
use super::grants::Grants;
use super::quota::{Quota, TokenLimits};
use super::{Access, forwarded};
use crate::caching;
use crate::page;
use crate::problem::{Problem, Reason};
use crate::server::Server;

/// The other end of a connection, which the listener puts into each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Without tokens everybody has the same account.
static EVERYBODY: LazyLock<Arc<Known>> = LazyLock::new(|| {
    let quota = Arc::new(Quota::new(TokenLimits::default()));
    Arc::new(Known { name: "".into(), grants: Grants::all(), quota })
});

/// Paths that everybody may see: probes, which tell no more than that the server runs, and the page,
/// which asks for a token.
const OPEN: [&str; 4] = ["/livez", "/readyz", page::PAGE, page::FILE];

pub(crate) async fn admit(
    State(server): State<Server>,
    mut request: Request,
    next: Next,
) -> Response {
    // Not the path itself: a client can invent any number of paths, and write anything into them.
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str);
    let route = own_route(route, &request).to_owned();
    let method = request.method().clone();
    let address = address(&request, &server.config().trusted_proxies);
    let mut name: Arc<str> = "".into();
    let mut response = match client(&server, &request, &route) {
        Ok(known) => {
            name = known.name.clone();
            request.extensions_mut().insert(Client { known, address });
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    caching::restrict(&mut response);
    if let Some(reason) = response.extensions().get::<Reason>() {
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let reason = reason.as_str();
        let status = response.status().as_u16();
        tracing::warn!(reason, status, %method, route, token = &*name, address, "refused");
        server.metrics().refused(reason);
    }
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "DELETE") => known.to_owned(),
        _ => "other".to_owned(),
    };
    server.metrics().answered(method, route, response.status().as_u16());
    response
}

/// A route without the path under which a service of somebody else has nested it. That may have
/// parameters, so its segments are counted.
fn own_route<'r>(route: &'r str, request: &Request) -> &'r str {
    let own = request.uri().path().trim_end_matches('/');
    let original = request.extensions().get::<OriginalUri>();
    let original = original.map_or(own, |OriginalUri(uri)| uri.path().trim_end_matches('/'));
    let outer = original.strip_suffix(own).unwrap_or_default().matches('/').count();
    let (begin, _) = route.match_indices('/').nth(outer).unwrap_or((route.len(), ""));
    match &route[begin..] {
        "" if !route.is_empty() => page::PAGE,
        own => own,
    }
}

fn address(request: &Request, trusted: &[IpAddr]) -> Option<IpAddr> {
    let Peer(peer) = request.extensions().get::<Peer>()?;
    Some(forwarded::client(peer.ip(), request.headers(), trusted))
}

fn client(server: &Server, request: &Request, route: &str) -> Result<Arc<Known>, Problem> {
    match &server.config().access {
        Access::Open => Ok(EVERYBODY.clone()),
        Access::Loopback => {
            let uri_host = request.uri().authority();
            check_host(request.headers(), uri_host).map(|()| EVERYBODY.clone())
        }
        Access::Tokens(tokens) => {
            let refused =
                |detail| Problem::refused(StatusCode::UNAUTHORIZED, Reason::Unauthorized, detail);
            let Some(token) = bearer(request.headers()) else {
                let everybody_may = OPEN.contains(&route);
                return match everybody_may {
                    true => Ok(nobody()),
                    false => Err(refused("send a token as `Authorization: Bearer …`")),
                };
            };
            tokens.find(token).ok_or_else(|| refused("there is no such token"))
        }
    }
}

/// Somebody without a token, who has no right.
fn nobody() -> Arc<Known> {
    static NOBODY: LazyLock<Arc<Known>> = LazyLock::new(|| {
        let quota = Arc::new(Quota::new(TokenLimits::default()));
        Arc::new(Known { name: "".into(), grants: Grants::default(), quota })
    });
    NOBODY.clone()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A browser sends the name of the page's own server as `Host`, even if that name resolves to this
/// machine.
fn check_host(headers: &HeaderMap, of_uri: Option<&Authority>) -> Result<(), Problem> {
    let named = headers.get(header::HOST);
    let host = match (of_uri, named) {
        (Some(authority), _) => Some(authority.host().to_owned()),
        (None, Some(named)) => {
            let authority = named.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
            Some(authority.map(|authority| authority.host().to_owned()).unwrap_or_default())
        }
        // Only HTTP/1.0, which no browser speaks, may leave it out.
        (None, None) => None,
    };
    if host.as_deref().is_none_or(is_loopback) {
        return Ok(());
    }
    let detail = "the Host header must name this machine, as in http://127.0.0.1; to serve \
                  under another name, use tokens";
    Err(Problem::refused(StatusCode::FORBIDDEN, Reason::ForeignHost, detail))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
