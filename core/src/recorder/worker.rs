//! The thread that hands batches to the backend, one at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use futures::FutureExt;
use tokio::time::Instant;

use super::ledger::Fate;
use super::retry::{Retry, classify};
use super::shared::Shared;
use super::slice::{BatchSlice, Entry, may_overtake};
use super::state::Next;
use crate::backend::PersistenceBackend;
use crate::batch::BatchId;
use crate::error::{BackendError, ErrorKind, Outcome, PersistenceError};
use crate::log::RateLimitedLog;
use crate::panic::panic_message;

/// How often rows whose outcome is unknown are sent under the same number before they are suspected:
/// an idempotent backend then says that they are stored.
const TRIES_IN_DOUBT: u32 = 3;

/// How often a row has to fail alone, after another row went through, before it is rejected. A store
/// that fails at random fails other rows as well, which starts the count again.
const PROOF: u32 = 5;

/// The same where only rows of the batch went through before, and none is left to try: half a minute
/// with the default delays.
const PROOF_WITHOUT_WITNESS: u32 = 10;

pub(super) struct Worker {
    shared: Arc<Shared>,
    backend: Arc<dyn PersistenceBackend>,
    /// Whether a batch can be sent as a whole. Otherwise each row goes on its own: a batch that
    /// broke off with an unknown outcome would store its first rows again and again.
    atomic: bool,
    id: BatchId,
    /// The id of rows that are sent out of turn.
    witness: BatchId,
    /// Whether a row of the current batch was stored, and none out of turn failed since.
    went_through: bool,
    outage: Option<Outage>,
    /// When the last batch was begun.
    begun: Option<Instant>,
    /// While closing: since when nothing was resolved.
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

/// An error after which the worker cannot continue.
struct Fatal(PersistenceError);

/// The fate of a slice.
enum Sent {
    Stored,
    /// The rows before this one are stored; the others are not.
    Partly(usize),
    Rejected(usize, PersistenceError),
    /// Some row may be at fault: send both halves.
    Split,
    GivenUp(PersistenceError),
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<dyn PersistenceBackend>) -> Self {
        let atomic = backend.guarantees().atomic_batches;
        Self {
            shared,
            backend,
            atomic,
            id: BatchId { writer: fastrand::u128(..), number: 0 },
            witness: BatchId { writer: fastrand::u128(..), number: 0 },
            went_through: false,
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
            if let Err(Fatal(reason)) = self.deliver(entries).await {
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

    /// Brings every row to its end: stored, rejected, or dropped after too long an outage.
    async fn deliver(&mut self, entries: Vec<Entry>) -> Result<(), Fatal> {
        self.went_through = false;
        let mut pending = Vec::new();
        self.push_back(&mut pending, entries);
        while let Some(slice) = pending.pop() {
            match self.send(&slice, &mut pending).await? {
                Sent::Stored => self.stored(&slice, &pending),
                Sent::Partly(stored) => {
                    let (stored, rest) = slice.split(stored);
                    pending.extend(rest);
                    stored.iter().for_each(|stored| self.stored(stored, &pending));
                }
                Sent::Rejected(index, error) => {
                    pending.extend(slice.without(index));
                    self.reject(&slice, index, &error, oldest(&pending));
                }
                Sent::Split => {
                    let (first, second) = slice.split(slice.len() / 2);
                    pending.extend(second);
                    pending.extend(first);
                }
                Sent::GivenUp(error) => {
                    pending.push(slice);
                    self.give_up(std::mem::take(&mut pending), &error);
                }
            }
        }
        Ok(())
    }

    /// Appends rows of the queue to `pending`, whose last slice is sent next.
    fn push_back(&self, pending: &mut Vec<BatchSlice>, entries: Vec<Entry>) {
        let slices: Vec<BatchSlice> = match self.atomic {
            true => vec![BatchSlice::new(entries)],
            false => entries.into_iter().rev().map(|entry| BatchSlice::new(vec![entry])).collect(),
        };
        pending.splice(..0, slices);
    }

    /// Sends a slice until its fate is known.
    async fn send(
        &mut self,
        slice: &BatchSlice,
        pending: &mut Vec<BatchSlice>,
    ) -> Result<Sent, Fatal> {
        self.id.number += 1;
        let id = self.id;
        let mut tries = 0;
        // How often the row failed while others went through, and what proves its fault.
        let (mut failures, mut proof) = (0, PROOF_WITHOUT_WITNESS);
        loop {
            self.back_off().await?;
            let Err(error) = self.store(slice, id).await? else { return Ok(Sent::Stored) };
            tries += 1;
            let in_doubt = error.outcome() == Outcome::Unknown && tries < TRIES_IN_DOUBT;
            match classify(&error, slice.len()) {
                Retry::Stop => return Err(Fatal(error)),
                Retry::From(stored) => {
                    self.recovered();
                    return Ok(Sent::Partly(stored));
                }
                Retry::Reject(index) => {
                    self.recovered();
                    return Ok(Sent::Rejected(index, error));
                }
                Retry::RejectSome if slice.len() == 1 => {
                    self.recovered();
                    return Ok(Sent::Rejected(0, error));
                }
                Retry::RejectSome => return Ok(Sent::Split),
                Retry::Suspect if !in_doubt && slice.len() > 1 => return Ok(Sent::Split),
                Retry::Suspect if !in_doubt => {
                    failures += u32::from(self.went_through);
                    if failures >= proof {
                        return Ok(Sent::Rejected(0, error));
                    }
                    match self.send_witness(slice, pending).await? {
                        Some(true) => {
                            proof = PROOF;
                            self.shared.retried();
                            continue;
                        }
                        Some(false) => {
                            self.went_through = false;
                            (failures, proof) = (0, PROOF_WITHOUT_WITNESS);
                        }
                        // An outage may have begun since the last row went through.
                        None => proof = PROOF_WITHOUT_WITNESS,
                    }
                }
                Retry::Again => self.went_through = false,
                Retry::Suspect => {}
            }
            if self.fails(&error) {
                return Ok(Sent::GivenUp(error));
            }
            self.shared.retried();
        }
    }

    /// Calls the backend once.
    async fn store(
        &mut self,
        slice: &BatchSlice,
        id: BatchId,
    ) -> Result<Result<(), PersistenceError>, Fatal> {
        let batch = slice.batch(id);
        let backend = Arc::clone(&self.backend);
        // The backend answers for what a panic leaves half-done in it; no state of the recorder is
        // touched inside.
        let store = AssertUnwindSafe(backend.store_batch(&batch)).catch_unwind();
        let stored = self.unless_drained(store).await?;
        let stored = stored.unwrap_or_else(|panic| Err(panicked(panic_message(&*panic))));
        match &stored {
            Ok(()) => {
                self.went_through = true;
                self.recovered();
                self.progressed();
            }
            Err(error) => self.shared.failed(error),
        }
        Ok(stored)
    }

    /// Sends one row out of turn, to learn whether the store takes any row while it refuses
    /// `suspect`. `None` if no row may overtake it.
    ///
    /// The row has a writer of its own: a higher number of the same writer would make the store take
    /// the suspect for stored.
    async fn send_witness(
        &mut self,
        suspect: &BatchSlice,
        pending: &mut Vec<BatchSlice>,
    ) -> Result<Option<bool>, Fatal> {
        // What makes a row bad often lies in its record: rows of others prove more, and are looked for
        // in the queue too. No more than the queue holds, or an outage would fill the memory.
        let record = suspect.origins()[0].record;
        let of_others = |pending: &[BatchSlice]| {
            let (others, own): (Vec<_>, Vec<_>) =
                may_overtake(suspect, pending).into_iter().partition(|&(position, index)| {
                    pending[position].origins()[index].record != record
                });
            if others.is_empty() { Err(own) } else { Ok(others) }
        };
        let mut free = of_others(pending);
        while free.is_err()
            && pending.iter().map(BatchSlice::len).sum::<usize>() < self.shared.config.capacity_rows
            && let Next::Rows(entries) = self.shared.next(false)
        {
            self.push_back(pending, entries);
            free = of_others(pending);
        }
        let free = free.unwrap_or_else(|own| own);
        self.witness.number += 1;
        // Not always the first: it may be at fault itself.
        let turn = usize::try_from(self.witness.number).unwrap_or_default();
        let Some(&(position, index)) = free.get(turn.checked_rem(free.len()).unwrap_or_default())
        else {
            return Ok(None);
        };
        let (before, witness, after) = pending[position].around(index);
        let Some(witness) = witness else { return Ok(None) };
        let (id, mut tries) = (self.witness, 0);
        while let Err(error) = self.store(&witness, id).await? {
            tries += 1;
            // Stored or not, the row must not be sent under another number before that is known.
            let in_doubt = error.outcome() == Outcome::Unknown
                && (tries < TRIES_IN_DOUBT || classify(&error, 1) == Retry::Again);
            if !in_doubt || self.fails(&error) {
                return Ok(Some(false));
            }
            self.shared.retried();
            self.back_off().await?;
        }
        pending.splice(position..=position, after.into_iter().chain(before));
        self.shared.stored(witness.origins(), suspect.oldest());
        Ok(Some(true))
    }

    fn stored(&mut self, slice: &BatchSlice, pending: &[BatchSlice]) {
        self.shared.stored(slice.origins(), oldest(pending));
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

    /// A row was resolved: a closing recorder waits anew.
    fn progressed(&mut self) {
        if self.draining.is_some() {
            self.draining = Some(Instant::now());
        }
    }

    fn recovered(&mut self) {
        if let Some(outage) = self.outage.take() {
            tracing::info!(after = ?outage.since.elapsed(), "the backend answers again");
        }
    }

    /// Waits until the backend may be called again. Closing cuts the wait short, once, and begins
    /// with small delays again: there is not much time left.
    async fn back_off(&mut self) -> Result<(), Fatal> {
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

    /// Runs `work` to its end, or until the recorder is closing and nothing was resolved for as
    /// long as it may take.
    async fn unless_drained<F: Future>(&mut self, work: F) -> Result<F::Output, Fatal> {
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
        tokio::time::timeout_at(deadline, work)
            .await
            .map_err(|_| Fatal(self.drain_expired(timeout)))
    }

    fn drain_expired(&self, timeout: Duration) -> PersistenceError {
        let message = format!("nothing was stored for {timeout:?} while closing");
        self.shared.timed_out(message)
    }

    fn reject(
        &mut self,
        slice: &BatchSlice,
        index: usize,
        error: &PersistenceError,
        in_flight: Option<u64>,
    ) {
        let row = slice.row(index);
        if let Some(rejected) = self.refused.count(1, Instant::now().into_std()) {
            tracing::warn!(
                record = row.record.as_str(),
                stored_at = row.stored_at,
                %error,
                rejected,
                "the backend refuses a value for good: rejected"
            );
        }
        self.progressed();
        self.shared.resolve(&slice.origins()[index..=index], Fate::Rejected, error, in_flight);
    }

    fn give_up(&self, pending: Vec<BatchSlice>, error: &PersistenceError) {
        let origins: Vec<_> = pending.iter().rev().flat_map(BatchSlice::origins).copied().collect();
        tracing::error!(
            dropped = origins.len(),
            %error,
            "the backend has failed for too long: a batch is given up, its values dropped"
        );
        self.shared.resolve(&origins, Fate::Dropped, error, None);
    }
}

fn oldest(pending: &[BatchSlice]) -> Option<u64> {
    pending.last().and_then(BatchSlice::oldest)
}

fn panicked(message: &str) -> PersistenceError {
    let message = format!("the backend panicked: {message}");
    BackendError::new("recorder", "store_batch", ErrorKind::Other, message)
        .with_outcome(Outcome::Unknown)
        .into()
}
