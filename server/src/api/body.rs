//! A request's body, taken in as it arrives.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use tokio::time::{Duration, Instant, timeout_at};

use crate::access::Client;
use crate::limits::BodyRoom;
use crate::problem::{Problem, Reason};
use crate::server::Server;

/// A complete body, and the room that it takes.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) room: BodyRoom,
}

/// Reads the body to its end.
///
/// What is announced takes no room, only what is there. A body has the request timeout, and then as
/// long as it arrives at the least rate: a slow line is served, one that sends nothing is not.
pub(super) async fn receive(
    server: &Server,
    client: &Client,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, Problem> {
    let config = server.config();
    let limit = config.body_limit;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: Option<usize> = announced.and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut room = server.memory().body(client.key());
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    let started = Instant::now();
    loop {
        let earned = Duration::from_secs_f64(bytes.len() as f64 / config.min_rate.max(1) as f64);
        let deadline = started + config.request_timeout + earned;
        let chunk = timeout_at(deadline, chunks.next()).await.map_err(|_| {
            let detail = format!(
                "the body did not arrive: send it within {:?}, or at {} bytes per second at least",
                config.request_timeout, config.min_rate
            );
            Problem::refused(StatusCode::REQUEST_TIMEOUT, Reason::SlowBody, detail)
        })?;
        let Some(chunk) = chunk else { return Ok(Received { bytes, room }) };
        let chunk = chunk.map_err(|error| {
            Problem::bad_request(format!("the body cannot be read to its end: {error}"))
        })?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        room.grow(chunk.len()).map_err(|_| {
            let detail = "the memory for requests is taken by other bodies";
            Problem::busy(Reason::Memory, detail)
        })?;
        bytes.extend_from_slice(&chunk);
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("a body may have {limit} bytes; send the rows in several requests");
    Problem::refused(StatusCode::PAYLOAD_TOO_LARGE, Reason::BodyTooLarge, detail)
}
