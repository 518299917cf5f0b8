//! A body in chunks, from a task that lets go of everything when the client does not read.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::limits::Slot;
use crate::server::Server;

/// A chunk is sent when it has this many bytes.
pub(super) const CHUNK_BYTES: usize = 16 << 10;

/// Where the task puts its chunks.
pub(super) struct Chunks {
    slot: Option<Slot>,
    patience: Duration,
    chunks: mpsc::Sender<Bytes>,
}

/// Why a chunk was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The client has taken nothing for too long.
    Stalled,
    /// The client took nothing, and others waited.
    SentAway,
}

impl NotTaken {
    /// Counts and logs it.
    pub(super) fn count(self, server: &Server) {
        let reason = match self {
            Self::Stalled => "stalled_reader",
            Self::SentAway => "stalled_reader_sent_away",
        };
        tracing::warn!(reason, "a streamed answer is cut off");
        server.metrics().refused(reason);
    }
}

impl Chunks {
    /// For an answer in the room of `slot`, whose client may take nothing for `patience`.
    pub(super) fn new(slot: Option<Slot>, patience: Duration) -> (Self, mpsc::Receiver<Bytes>) {
        let (chunks, taken) = mpsc::channel(1);
        (Self { slot, patience, chunks }, taken)
    }

    /// Waits until the client takes the chunk, which is empty afterwards; `false` if it has gone.
    pub(super) async fn pass_on(&self, chunk: &mut Vec<u8>) -> Result<bool, NotTaken> {
        let chunk = Bytes::from(std::mem::take(chunk));
        let Some(slot) = &self.slot else {
            return Ok(self.chunks.send(chunk).await.is_ok());
        };
        slot.stalls(true);
        let sent = tokio::select! {
            sent = timeout(self.patience, self.chunks.send(chunk)) => sent,
            () = slot.sent_away() => return Err(NotTaken::SentAway),
        };
        slot.stalls(false);
        sent.map(|sent| sent.is_ok()).map_err(|_| NotTaken::Stalled)
    }

    /// Resolves when the client has gone.
    pub(super) async fn gone(&self) {
        self.chunks.closed().await;
    }
}

/// The chunks as a body. At the end it has what the task returns as a last chunk, or fails if the task
/// does.
pub(super) fn body(
    taken: mpsc::Receiver<Bytes>,
    task: JoinHandle<Result<Option<Vec<u8>>, ()>>,
) -> Body {
    let chunks = stream::unfold(Some((taken, task)), |state| async {
        let (mut taken, task) = state?;
        if let Some(chunk) = taken.recv().await {
            return Some((Ok(chunk), Some((taken, task))));
        }
        match task.await {
            Ok(Ok(last)) => last.map(|last| (Ok(Bytes::from(last)), None)),
            Ok(Err(())) | Err(_) => Some((Err("the answer is cut off"), None)),
        }
    });
    // Compression polls once more after the end.
    Body::from_stream(chunks.fuse())
}
