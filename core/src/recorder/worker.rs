//! The thread that hands batches to the backend, one at a time.

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::ledger::Fate;
use super::piece::{Entry, Piece};
use super::shared::Shared;
use super::state::Next;
use super::verdict::{Verdict, judge};
use crate::backend::PersistenceBackend;
use crate::batch::BatchId;
use crate::error::{BackendError, ErrorKind, Outcome, PersistenceError};
use crate::log::RateLimitedLog;
use crate::panic::panic_message;

/// How often rows are sent whose fate nobody knows, before they are looked at singly.
const TRIES_IN_DOUBT: u32 = 3;

pub(super) struct Worker {
    shared: Arc<Shared>,
    backend: Arc<dyn PersistenceBackend>,
    /// Whether a batch can be sent as a whole. Otherwise each row goes on its own: a batch that
    /// broke off with an unknown outcome would store its first rows again and again.
    atomic: bool,
    id: BatchId,
    outage: Option<Outage>,
    /// When the last batch was begun.
    begun: Option<Instant>,
    /// While closing: since when nothing was settled.
    draining: Option<Instant>,
    refused: RateLimitedLog,
    failing: RateLimitedLog,
}

/// From the first failure to the next success.
struct Outage {
    since: Instant,
    delays: ExponentialBackoff,
    /// No call before then.
    until: Instant,
}

/// The worker cannot go on.
struct Over(PersistenceError);

/// What became of a piece.
enum Sent {
    Stored,
    Partly(usize),
    RowAtFault(usize, PersistenceError),
    RowsAtFault(PersistenceError),
    GivenUp(PersistenceError),
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<dyn PersistenceBackend>) -> Self {
        let atomic = backend.guarantees().atomic_batches;
        Self {
            shared,
            backend,
            atomic,
            id: BatchId { writer: random_u128(), number: 0 },
            outage: None,
            begun: None,
            draining: None,
            refused: RateLimitedLog::default(),
            failing: RateLimitedLog::default(),
        }
    }

    /// Works until the recorder is closed and drained, or until it cannot go on and says why.
    pub(super) async fn run(mut self) -> Option<PersistenceError> {
        while let Some(entries) = self.next_batch().await {
            if let Err(Over(reason)) = self.deliver(entries).await {
                return Some(reason);
            }
        }
        None
    }

    async fn next_batch(&mut self) -> Option<Vec<Entry>> {
        let shared = Arc::clone(&self.shared);
        let linger = shared.config.linger;
        loop {
            let lingers_until = self.begun.and_then(|begun| begun.checked_add(linger));
            let now = Instant::now();
            match shared.next(lingers_until.is_some_and(|until| now < until)) {
                Next::Rows(entries) => {
                    self.begun = Some(now);
                    return Some(entries);
                }
                Next::Drained => return None,
                Next::Empty => shared.wake.notified().await,
                Next::NotFull => {
                    let until = lingers_until.unwrap_or(now);
                    tokio::select! {
                        () = shared.wake.notified() => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Brings every row to its end: stored, rejected or, after too long an outage, dropped.
    async fn deliver(&mut self, entries: Vec<Entry>) -> Result<(), Over> {
        // The next piece is the last one: rows are settled in their order.
        let mut pieces: Vec<Piece> = match self.atomic {
            true => vec![Piece::new(entries)],
            false => Piece::singles(entries).rev().collect(),
        };
        while let Some(piece) = pieces.pop() {
            let sent = self.send(&piece).await?;
            if self.draining.is_some() {
                self.draining = Some(Instant::now());
            }
            match sent {
                Sent::Stored => self.shared.stored(piece.origins(), oldest(&pieces)),
                Sent::Partly(stored) => {
                    let (stored, rest) = piece.split(stored);
                    pieces.extend((rest.len() > 0).then_some(rest));
                    self.shared.stored(stored.origins(), oldest(&pieces));
                }
                Sent::RowAtFault(index, error) => {
                    let rest = piece.without(index);
                    pieces.extend((rest.len() > 0).then_some(rest));
                    self.reject(&piece, index, &error, oldest(&pieces));
                }
                Sent::RowsAtFault(error) if piece.len() == 1 => {
                    self.reject(&piece, 0, &error, oldest(&pieces));
                }
                Sent::RowsAtFault(_) => {
                    let (first, second) = piece.split(piece.len() / 2);
                    pieces.push(second);
                    pieces.push(first);
                }
                Sent::GivenUp(error) => {
                    pieces.push(piece);
                    self.give_up(std::mem::take(&mut pieces), &error);
                }
            }
        }
        Ok(())
    }

    /// Sends a piece until there is an answer that is not "again".
    async fn send(&mut self, piece: &Piece) -> Result<Sent, Over> {
        self.id.number += 1;
        let batch = piece.batch(self.id);
        let mut tries = 0;
        loop {
            self.sit_out().await?;
            let backend = Arc::clone(&self.backend);
            let store = AssertUnwindSafe(backend.store_batch(&batch)).catch_unwind();
            // What a panic leaves half-done in the backend is the backend's to answer for; nothing
            // of ours is touched inside.
            let stored = self.unless_drained(store).await?;
            let Err(error) = stored.unwrap_or_else(|panic| Err(panicked(panic_message(&*panic))))
            else {
                self.recovered();
                return Ok(Sent::Stored);
            };
            tries += 1;
            self.shared.failed(&error);
            let sent = match judge(&error, piece.len()) {
                Verdict::Ended => return Err(Over(error)),
                Verdict::Again => None,
                Verdict::AgainAFewTimes if tries < TRIES_IN_DOUBT => None,
                Verdict::AgainAFewTimes | Verdict::RowsAtFault => {
                    Some(Sent::RowsAtFault(error.clone()))
                }
                Verdict::RowAtFault(index) => Some(Sent::RowAtFault(index, error.clone())),
                Verdict::Partly(stored) => Some(Sent::Partly(stored)),
            };
            if let Some(sent) = sent {
                // The store answers: what comes next need not wait.
                self.recovered();
                return Ok(sent);
            }
            if self.fails(&error) {
                return Ok(Sent::GivenUp(error));
            }
            self.shared.retried();
        }
    }

    /// Notes a failure and when to try again; true when it has gone on for too long.
    fn fails(&mut self, error: &PersistenceError) -> bool {
        let now = Instant::now();
        let retry = self.shared.config.retry;
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            delays: retry.delays(),
            until: now,
        });
        let delay = outage.delays.next().unwrap_or(retry.max_delay);
        outage.until = now + delay;
        if let Some(failures) = self.failing.count(1, now.into_std()) {
            tracing::warn!(%error, failures, ?delay, "values cannot be stored: they wait");
        }
        retry.give_up_after.is_some_and(|limit| now.duration_since(outage.since) >= limit)
    }

    fn recovered(&mut self) {
        if let Some(outage) = self.outage.take() {
            tracing::info!(after = ?outage.since.elapsed(), "the backend answers again");
        }
    }

    /// Waits until the backend may be called again. Closing cuts the wait short, once, and begins
    /// with small delays again: there is not much time left.
    async fn sit_out(&mut self) -> Result<(), Over> {
        let Some(outage) = &mut self.outage else { return Ok(()) };
        let until = outage.until;
        if self.draining.is_some() {
            return self.unless_drained(tokio::time::sleep_until(until)).await;
        }
        let mut closing = self.shared.closing.subscribe();
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = closing.wait_for(|closing| *closing) => {
                outage.delays = self.shared.config.retry.delays();
                self.draining = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Runs `work` to its end, or until the recorder is closing and nothing was settled for as
    /// long as it may take.
    async fn unless_drained<F: Future>(&mut self, work: F) -> Result<F::Output, Over> {
        let mut work = std::pin::pin!(work);
        let since = match self.draining {
            Some(since) => since,
            None => {
                let mut closing = self.shared.closing.subscribe();
                tokio::select! {
                    biased;
                    output = &mut work => return Ok(output),
                    _ = closing.wait_for(|closing| *closing) => {}
                }
                *self.draining.insert(Instant::now())
            }
        };
        let timeout = self.shared.config.drain_timeout;
        let Some(deadline) = since.checked_add(timeout) else { return Ok(work.await) };
        tokio::time::timeout_at(deadline, work).await.map_err(|_| Over(self.drain_expired(timeout)))
    }

    fn drain_expired(&self, timeout: Duration) -> PersistenceError {
        let message = format!("nothing was stored for {timeout:?} while closing");
        let error = BackendError::new("recorder", "close", ErrorKind::Timeout, message)
            .with_outcome(Outcome::Unknown);
        match self.shared.state().last_error.clone() {
            Some((last, _)) => error.with_source(last).into(),
            None => error.into(),
        }
    }

    fn reject(
        &mut self,
        piece: &Piece,
        index: usize,
        error: &PersistenceError,
        in_flight: Option<u64>,
    ) {
        let row = piece.row(index);
        if let Some(rejected) = self.refused.count(1, Instant::now().into_std()) {
            tracing::warn!(
                record = row.record.as_str(),
                stored_at = row.stored_at,
                %error,
                rejected,
                "the backend refuses a value for good: rejected"
            );
        }
        self.shared.settle(&piece.origins()[index..=index], Fate::Rejected, error, in_flight);
    }

    fn give_up(&self, pieces: Vec<Piece>, error: &PersistenceError) {
        let origins: Vec<_> = pieces.iter().rev().flat_map(Piece::origins).copied().collect();
        tracing::error!(
            dropped = origins.len(),
            %error,
            "the backend has failed for too long: a batch is given up, its values dropped"
        );
        self.shared.settle(&origins, Fate::Dropped, error, None);
    }
}

fn oldest(pieces: &[Piece]) -> Option<u64> {
    pieces.last().and_then(Piece::oldest)
}

fn panicked(message: &str) -> PersistenceError {
    let message = format!("the backend panicked: {message}");
    BackendError::new("recorder", "store_batch", ErrorKind::Other, message)
        .with_outcome(Outcome::Unknown)
        .into()
}

/// The standard library seeds its hashers from the system's random numbers, which is enough to
/// tell writers apart and needs no further crate.
fn random_u128() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(std::time::SystemTime::now()));
    half() << 64 | half()
}
