//! Which answers a client may keep, and whether it has the answer already.
//!
//! No shared cache may keep an answer, since what a token may see is nobody else's. An answer that is
//! complete before it is sent gets a hash of its body as its `ETag`; a client that names it gets 304
//! instead of the body. It is asked every time, so nothing is stale. The hash of a streamed answer is
//! known at its end only: it has none, and is not kept at all.

use std::convert::Infallible;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::stream;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// For answers with an `ETag`.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");
/// For all others.
const KEEP_NOTHING: HeaderValue = HeaderValue::from_static("no-store");

/// Says what may be kept of an answer, unless its handler has.
pub(crate) fn restrict(response: &mut Response) {
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        let kept = if headers.contains_key(header::ETAG) { ASK_AGAIN } else { KEEP_NOTHING };
        headers.insert(header::CACHE_CONTROL, kept);
    }
}

/// Tags complete answers, before they are compressed. HEAD is answered as GET is, without the body.
pub(crate) async fn tagged(mut request: Request, next: Next) -> Response {
    let is_head = request.method() == Method::HEAD;
    if is_head {
        *request.method_mut() = Method::GET;
    }
    let mut response = tagged_get(request, next).await;
    if is_head {
        let is_unchanged = response.status() == StatusCode::NOT_MODIFIED;
        let size = response.body().size_hint().exact().filter(|_| !is_unchanged);
        // An empty body would say that its length is 0.
        let nothing = stream::empty::<Result<Bytes, Infallible>>();
        *response.body_mut() =
            if is_unchanged { Body::empty() } else { Body::from_stream(nothing) };
        if let Some(size) = size {
            response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
        }
    }
    response
}

async fn tagged_get(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known: Vec<HeaderValue> =
        request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    // The body of a stream has no size.
    let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let Some(size) = size.filter(|_| is_get && response.status() == StatusCode::OK) else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, size).await else {
        let detail = "the answer could not be made";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    let tag = tag(&parts.headers, &body);
    let has_it = known.iter().filter_map(|tags| tags.to_str().ok()).any(|tags| names(tags, &tag));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if !has_it {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

/// A weak tag: the same body may be sent in several encodings. What a client learns from headers is
/// part of the answer.
fn tag(headers: &HeaderMap, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for name in [header::CONTENT_TYPE, header::LINK] {
        let value = headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    }
    hash.update(body);
    let hash: [u8; 32] = hash.finalize().into();
    let half = hash.iter().take(16).fold(0, |half: u128, byte| half << 8 | u128::from(*byte));
    format!("W/\"{half:032x}\"")
}

/// Whether `If-None-Match` names the tag. Strong and weak ones are compared alike (RFC 9110, 13.1.2).
fn names(tags: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|named| opaque(named) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_named_alone_in_a_list_or_by_a_star() {
        let tag = tag(&HeaderMap::new(), b"body");
        let strong = tag.trim_start_matches("W/").to_owned();
        for tags in [&tag, &strong, &format!("\"x\", {tag}"), "*", " * "] {
            assert!(names(tags, &tag), "{tags}");
        }
        for tags in ["", "\"x\"", "W/\"x\", \"y\"", strong.trim_matches('"')] {
            assert!(!names(tags, &tag), "{tags}");
        }
    }

    #[test]
    fn what_headers_tell_is_part_of_the_tag() {
        let mut headers = HeaderMap::new();
        let alone = tag(&headers, b"body");
        headers.insert(header::LINK, HeaderValue::from_static("<?after=a>; rel=\"next\""));
        assert_ne!(tag(&headers, b"body"), alone);
        assert_ne!(tag(&HeaderMap::new(), b"other"), alone);
    }
}
