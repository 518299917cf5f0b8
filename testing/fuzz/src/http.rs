//! Requests of others, as the router of the server answers them.

use std::cell::RefCell;
use std::sync::Arc;

use annals_core::{Batch, MemoryBackend, PersistenceBackend, Row};
use annals_server::Config;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures::StreamExt;
use serde::de::IgnoredAny;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// The longest answer that is read: the rest of a longer one is left, and all of one without an end.
const ANSWER_BYTES: usize = 1 << 20;
/// So much is read of a stream of events.
const EVENTS_BYTES: usize = 1 << 12;

/// A server over a few rows. Its clock jumps to the next timer when nothing else is left to do.
struct Service {
    runtime: Runtime,
    router: Router,
}

thread_local! {
    /// The server for the next request, with the rows that it began with.
    static SERVICE: RefCell<Option<Service>> = const { RefCell::new(None) };
}

/// The head of a request, an empty line, and its body. The answer is not the server's fault, whatever
/// was sent, and what it calls JSON is JSON.
pub fn http(data: &[u8]) {
    let Some(request) = request(data) else { return };
    let is_read = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let mut service = SERVICE.with_borrow_mut(Option::take).unwrap_or_else(Service::new);
    let status = service.answer(request);
    // A request finds the same rows, whatever came before it.
    if is_read || !status.is_success() {
        SERVICE.set(Some(service));
    }
}

/// The request, if it is one that a server of HTTP/1.1 would pass on.
fn request(data: &[u8]) -> Option<Request<Body>> {
    let (head, body) = match data.windows(2).position(|end| end == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Body::from(body.to_vec())).ok()
}

impl Service {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
        let router = runtime.block_on(async {
            let history = Arc::new(MemoryBackend::new());
            let rows = (0..200).flat_map(|number| {
                let at = 1_760_000_000_000 + number * 1_000;
                let text = serde_json::json!({ "a": number, "b": { "c": number % 7 }, "s": "x" });
                [
                    Row::new("plant::a", &number.into(), at),
                    Row::new("plant::b", &text, at + 1),
                    Row::new("door", &(number % 2 == 0).into(), at),
                ]
            });
            let rows =
                rows.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{error}"));
            let stored = history.store_batch(&Batch::new(rows)).await;
            stored.unwrap_or_else(|error| panic!("{error}"));
            annals_server::router(history, Config::default())
        });
        Self { runtime, router: router.unwrap_or_else(|error| panic!("{error}")) }
    }

    fn answer(&mut self, request: Request<Body>) -> StatusCode {
        let is_head = *request.method() == Method::HEAD;
        let shown = format!("{} {}", request.method(), request.uri());
        let router = self.router.clone();
        self.runtime.block_on(async {
            let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            let (head, mut body) = answer.into_parts();
            let is_events = has_type(&head.headers, "text/event-stream");
            let most = if is_events { EVENTS_BYTES } else { ANSWER_BYTES };
            let (mut bytes, mut ended) = (Vec::new(), false);
            let mut chunks = std::mem::take(&mut body).into_data_stream();
            while bytes.len() < most {
                match chunks.next().await {
                    Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                    Some(Err(error)) => panic!("{shown}: the answer is cut off: {error}"),
                    None => {
                        ended = true;
                        break;
                    }
                }
            }
            assert!(
                !head.status.is_server_error(),
                "{shown}: {} {}",
                head.status,
                String::from_utf8_lossy(&bytes)
            );
            let has_body = !is_head && !head.headers.contains_key(header::CONTENT_ENCODING);
            if has_body && head.status != StatusCode::NOT_MODIFIED {
                check(&head.headers, &bytes, ended, &shown);
            }
            head.status
        })
    }
}

/// Whatever is called JSON is JSON.
fn check(headers: &HeaderMap, bytes: &[u8], ended: bool, shown: &str) {
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let text = || String::from_utf8_lossy(bytes);
    if has_type(headers, "application/json") || has_type(headers, "application/problem+json") {
        assert!(!ended || is_json(bytes), "{shown}: {}", text());
    }
    // The last line may be read in part.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = || bytes[..whole].split_inclusive(|byte| *byte == b'\n');
    if has_type(headers, "application/x-ndjson") {
        assert!(!ended || whole == bytes.len(), "{shown}: {}", text());
        assert!(lines().all(is_json), "{shown}: {}", text());
    }
    if has_type(headers, "text/event-stream") {
        let data = lines().filter_map(|line| line.strip_prefix(b"data: "));
        assert!(data.into_iter().all(is_json), "{shown}: {}", text());
    }
}

fn has_type(headers: &HeaderMap, kind: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(kind.as_bytes()))
}
