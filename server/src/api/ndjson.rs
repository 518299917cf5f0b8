//! Answers of any length: items as NDJSON, read from the store while they are sent.

use annals_core::PersistenceError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::access::Reader;
use crate::limits::Slot;
use crate::problem::Problem;
use crate::server::Server;

/// A chunk is sent when it has this many bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// Why an answer was cut off.
#[derive(Debug)]
enum Broken {
    Store(PersistenceError),
    Json(serde_json::Error),
    /// The client has taken nothing for the stall timeout.
    Stalled,
    /// The client took nothing, and others waited.
    SentAway,
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
    let (chunks, body) = mpsc::channel(1);
    let sender = Sender { server: server.clone(), slot: reader.slot, chunks };
    let task = tokio::spawn(sender.run(items, limit.unwrap_or(u64::MAX), ended));
    let mut response = streamed(body, task).into_response();
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    response.headers_mut().extend(headers);
    Ok(response)
}

struct Sender {
    server: Server,
    slot: Option<Slot>,
    chunks: mpsc::Sender<Bytes>,
}

impl Sender {
    async fn run<S, T>(self, items: S, limit: u64, ended: impl FnOnce(&S) + Send) -> Result<(), ()>
    where
        S: Stream<Item = Result<T, PersistenceError>> + Unpin + Send,
        T: Serialize + Send,
    {
        let sent = self.send(items, limit, ended).await;
        sent.map_err(|broken| match broken {
            Broken::Store(error) => tracing::warn!(%error, "a streamed answer is cut off"),
            Broken::Json(error) => tracing::warn!(%error, "a streamed answer is cut off"),
            Broken::Stalled => self.refused("stalled_reader"),
            Broken::SentAway => self.refused("stalled_reader_sent_away"),
        })
    }

    fn refused(&self, reason: &'static str) {
        tracing::warn!(reason, "a streamed answer is cut off");
        self.server.metrics().refused(reason);
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
            if chunk.len() >= CHUNK_BYTES && !self.pass_on(&mut chunk).await? {
                // The client has disconnected.
                return Ok(());
            }
        }
        ended(&items);
        // The store is free while the client takes the rest.
        drop(items);
        if !chunk.is_empty() {
            self.pass_on(&mut chunk).await?;
        }
        Ok(())
    }

    /// Waits until the client takes the chunk; `false` if it has gone.
    async fn pass_on(&self, chunk: &mut Vec<u8>) -> Result<bool, Broken> {
        let chunk = Bytes::from(std::mem::take(chunk));
        let Some(slot) = &self.slot else {
            return Ok(self.chunks.send(chunk).await.is_ok());
        };
        slot.stalls(true);
        let patience = self.server.config().stall_timeout;
        let sent = tokio::select! {
            sent = timeout(patience, self.chunks.send(chunk)) => sent,
            () = slot.sent_away() => return Err(Broken::SentAway),
        };
        slot.stalls(false);
        sent.map(|sent| sent.is_ok()).map_err(|_| Broken::Stalled)
    }
}

/// The chunks as a body, which fails if the task does.
fn streamed(body: mpsc::Receiver<Bytes>, task: JoinHandle<Result<(), ()>>) -> Body {
    let chunks = stream::unfold(Some((body, task)), |state| async {
        let (mut body, task) = state?;
        if let Some(chunk) = body.recv().await {
            return Some((Ok(chunk), Some((body, task))));
        }
        match task.await {
            Ok(Ok(())) => None,
            Ok(Err(())) | Err(_) => Some((Err("the answer is cut off"), None)),
        }
    });
    // Compression polls once more after the end.
    Body::from_stream(chunks.fuse())
}
