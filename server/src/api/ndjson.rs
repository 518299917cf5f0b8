//! Answers of any length: items as NDJSON, read from the store while they are sent.

use annals_core::PersistenceError;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{Stream, StreamExt};
use serde::Serialize;

use super::chunks::{CHUNK_BYTES, Chunks, NotTaken, body};
use crate::access::Reader;
use crate::problem::Problem;
use crate::server::Server;

/// Why an answer was cut off.
#[derive(Debug)]
enum Broken {
    Store(PersistenceError),
    Json(serde_json::Error),
    NotTaken(NotTaken),
}

/// The items as the body of an answer with `headers`. An answer that cannot be finished is cut off:
/// the connection ends without the end of the body. `ended` gets the items' stream at its end.
///
/// The items are read by a task and not by the body: a body is not polled while its client does not
/// read, so it could not let go of the store.
pub(super) fn answer<S, T>(
    server: &Server,
    reader: Reader,
    headers: Vec<(HeaderName, HeaderValue)>,
    items: S,
    limit: Option<u64>,
    ended: impl FnOnce(&S) + Send + 'static,
) -> Result<Response, Problem>
where
    S: Stream<Item = Result<T, PersistenceError>> + Unpin + Send + 'static,
    T: Serialize + Send + 'static,
{
    let (chunks, taken) = Chunks::new(reader.slot, server.config().stall_timeout);
    let sender = Sender { server: server.clone(), chunks };
    let task = tokio::spawn(sender.run(items, limit.unwrap_or(u64::MAX), ended));
    let mut response = body(taken, task).into_response();
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    response.headers_mut().extend(headers);
    Ok(response)
}

struct Sender {
    server: Server,
    chunks: Chunks,
}

impl Sender {
    async fn run<S, T>(
        self,
        items: S,
        limit: u64,
        ended: impl FnOnce(&S) + Send,
    ) -> Result<Option<Vec<u8>>, ()>
    where
        S: Stream<Item = Result<T, PersistenceError>> + Unpin + Send,
        T: Serialize + Send,
    {
        let sent = self.send(items, limit, ended).await;
        sent.map(|()| None).map_err(|broken| match broken {
            Broken::Store(error) => tracing::warn!(%error, "a streamed answer is cut off"),
            Broken::Json(error) => tracing::warn!(%error, "a streamed answer is cut off"),
            Broken::NotTaken(why) => why.count(&self.server),
        })
    }

    async fn send<S, T>(
        &self,
        mut items: S,
        limit: u64,
        ended: impl FnOnce(&S),
    ) -> Result<(), Broken>
    where
        S: Stream<Item = Result<T, PersistenceError>> + Unpin + Send,
        T: Serialize + Send,
    {
        let mut chunk = Vec::new();
        let mut left = limit;
        while left > 0
            && let Some(item) = items.next().await
        {
            let item = item.map_err(Broken::Store)?;
            left -= 1;
            serde_json::to_writer(&mut chunk, &item).map_err(Broken::Json)?;
            chunk.push(b'\n');
            if chunk.len() >= CHUNK_BYTES
                && !self.chunks.pass_on(&mut chunk).await.map_err(Broken::NotTaken)?
            {
                // The client has disconnected.
                return Ok(());
            }
        }
        ended(&items);
        // The store is free while the client takes the rest.
        drop(items);
        if !chunk.is_empty() {
            self.chunks.pass_on(&mut chunk).await.map_err(Broken::NotTaken)?;
        }
        Ok(())
    }
}
