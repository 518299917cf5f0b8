//! LISTEN: followers learn at once what other processes store.
//!
//! A hint and no more: the history is the truth, and followers ask it at their interval in any case. So
//! nothing depends on a notification, and losing the connection costs time, not rows. There is one
//! connection for all followers of a backend, and none without followers.
//!
//! Behind a transaction pooler a session belongs to nobody between transactions, and notifications are
//! lost. That is found out twice: if another transaction runs in the same session, nothing is left
//! there; otherwise a notification of our own has to come back.

use std::sync::Arc;
use std::time::Duration;

use annals_core::Result;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::sleep;

use super::followers::Waiting;
use crate::engine::Engine;
use crate::net::Session;

const OPERATION: &str = "listen";
/// How long the first notification may take.
const PROBE: Duration = Duration::from_secs(10);
/// The pauses between two attempts.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Why listening came to an end.
enum End {
    /// No follower waits any more.
    Unwanted,
    /// There is a transaction pooler in between.
    Pooled,
}

/// Listens for a follower, on the backend's thread, while it keeps what this returns. Its news are
/// those of the [`Horizon`](super::horizon::Horizon).
pub(super) fn listen_for(engine: &Arc<Engine>) -> Waiting<'_> {
    let (waiting, begins) = engine.followers.wait(engine.config.listen);
    if begins {
        tokio::spawn(run(engine.clone()));
    }
    waiting
}

async fn run(engine: Arc<Engine>) {
    let delays = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .with_jitter()
        .without_max_times();
    let mut next = delays.build();
    loop {
        let mut heard = false;
        match listen(&engine, &mut heard).await {
            Ok(End::Unwanted) => return,
            Ok(End::Pooled) => {
                tracing::info!(
                    "a transaction pooler is between annals and PostgreSQL: followers ask at their \
                     interval (`listen=false` says so from the beginning)"
                );
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "listening is interrupted; followers ask at their interval");
            }
        }
        if heard {
            next = delays.build();
        }
        tokio::select! {
            () = engine.followers.unwanted() => return,
            () = sleep(next.next().unwrap_or(LONGEST_DELAY)) => {}
        }
    }
}

/// Listens on a separate connection. Sets `heard` once it listens, and fails when the connection is lost.
async fn listen(engine: &Engine, heard: &mut bool) -> Result<End> {
    let sql = &engine.schema.sql;
    let (session, notified) = engine.pools.listener(OPERATION).await?;
    let ours = session_id(&session).await?;
    let other = engine.pools.reader(OPERATION).await?;
    if session_id(&other).await? == ours {
        other.release();
        return Ok(End::Pooled);
    }
    session.execute(&sql.listen()).await?;
    other.simple(&sql.probe()).await?;
    other.release();
    let mut limit = PROBE;
    loop {
        tokio::select! {
            biased;
            () = notified.notified() => {}
            () = engine.followers.unwanted() => return Ok(End::Unwanted),
            () = sleep(limit) => {
                // Whatever session that was.
                session.execute(&sql.unlisten()).await?;
                return Err(crate::error::own(
                    OPERATION,
                    annals_core::ErrorKind::Connection,
                    "no notification arrives",
                ));
            }
        }
        // What was stored before is among the news.
        engine.horizon.stored();
        if session.client().is_closed() {
            // Says why.
            session.execute("").await?;
        }
        (*heard, limit) = (true, Duration::MAX);
    }
}

async fn session_id(session: &Session) -> Result<Option<String>> {
    session.simple("SELECT pg_backend_pid()").await
}
