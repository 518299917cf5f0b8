//! The worker, which hands batches to the backend, one at a time.
//!
//! Rows enter from the queue as a batch, and each leaves with its fate: stored, rejected or dropped.
//! A batch that fails is sent again, or split until the row at fault is found.

mod backoff;
mod retry;
mod slice;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::queue::{Entry, Fate, Queue, Sleep};
use crate::backend::PersistenceBackend;
use crate::batch::BatchId;
use crate::error::{Outcome, PersistenceError};
use crate::log::RateLimitedLog;
use crate::panic::backend_panicked;

use backoff::{Backoff, Fatal};
use retry::{Retry, classify};
use slice::{BatchSlice, may_overtake};

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
    queue: Arc<Queue>,
    backend: Arc<dyn PersistenceBackend>,
    /// Whether a batch can be sent as a whole. Otherwise each row goes on its own: a batch that
    /// broke off with an unknown outcome would store its first rows again and again.
    atomic: bool,
    id: BatchId,
    /// The id of rows that are sent out of turn.
    witness: BatchId,
    /// Whether a row of the current batch was stored, and none out of turn failed since.
    went_through: bool,
    backoff: Backoff,
    /// When the last batch was begun.
    begun: Option<Instant>,
    refused: RateLimitedLog,
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>, backend: Arc<dyn PersistenceBackend>) -> Self {
        let atomic = backend.guarantees().atomic_batches;
        Self {
            backoff: Backoff::new(Arc::clone(&queue)),
            queue,
            backend,
            atomic,
            id: BatchId { writer: fastrand::u128(..), number: 0 },
            witness: BatchId { writer: fastrand::u128(..), number: 0 },
            went_through: false,
            begun: None,
            refused: RateLimitedLog::default(),
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
        loop {
            let lingers_until =
                self.begun.and_then(|begun| begun.checked_add(self.queue.config.linger));
            let now = Instant::now();
            let may_linger = lingers_until.is_some_and(|until| now < until);
            match self.queue.with(|state| state.next(may_linger)) {
                Ok(entries) => {
                    self.begun = Some(now);
                    return entries;
                }
                Err(Sleep::UntilAny) => self.queue.wake.notified().await,
                Err(Sleep::UntilDue) => {
                    let until = lingers_until.unwrap_or(now);
                    // Either way the queue is looked at again.
                    let _ = timeout_at(until, self.queue.wake.notified()).await;
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
            self.send(slice, &mut pending).await?;
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

    /// Sends a slice until its fate is known. What has no fate yet goes back to `pending`.
    async fn send(
        &mut self,
        slice: BatchSlice,
        pending: &mut Vec<BatchSlice>,
    ) -> Result<(), Fatal> {
        self.id.number += 1;
        let id = self.id;
        let mut tries = 0;
        // How often the row failed while others went through, and what proves its fault.
        let (mut failures, mut proof) = (0, PROOF_WITHOUT_WITNESS);
        loop {
            self.backoff.wait().await?;
            let Err(error) = self.store(&slice, id).await? else {
                break self.stored(&slice, oldest(pending));
            };
            tries += 1;
            let in_doubt = error.outcome() == Outcome::Unknown && tries < TRIES_IN_DOUBT;
            match classify(&error, slice.len()) {
                Retry::Stop => return Err(Fatal(error)),
                Retry::From(stored) => {
                    self.backoff.recovered();
                    let (stored, rest) = slice.split(stored);
                    pending.extend(rest);
                    break stored.iter().for_each(|stored| self.stored(stored, oldest(pending)));
                }
                Retry::Reject(index) => {
                    self.backoff.recovered();
                    break self.reject(&slice, index, &error, pending);
                }
                Retry::RejectSome if slice.len() == 1 => {
                    self.backoff.recovered();
                    break self.reject(&slice, 0, &error, pending);
                }
                // Some row may be at fault.
                Retry::RejectSome => break split(&slice, pending),
                Retry::Suspect if !in_doubt && slice.len() > 1 => break split(&slice, pending),
                Retry::Suspect if !in_doubt => {
                    failures += u32::from(self.went_through);
                    if failures >= proof {
                        break self.reject(&slice, 0, &error, pending);
                    }
                    match self.send_witness(&slice, pending).await? {
                        Some(true) => {
                            proof = PROOF;
                            self.retried();
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
            if self.backoff.failed(&error) {
                pending.push(slice);
                break self.give_up(std::mem::take(pending), &error);
            }
            self.retried();
        }
        Ok(())
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
        let stored = self.backoff.unless_drained(store).await?;
        let stored = stored
            .unwrap_or_else(|panic| Err(backend_panicked("recorder", "store_batch", &*panic)));
        match &stored {
            Ok(()) => {
                self.went_through = true;
                self.backoff.recovered();
            }
            Err(error) => {
                let now_ms = self.queue.config.clock.now_ms();
                self.queue.with(|state| {
                    state.stats.last_error = Some(error.clone());
                    state.stats.last_error_ms = Some(now_ms);
                });
            }
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
            && pending.iter().map(BatchSlice::len).sum::<usize>() < self.queue.config.capacity_rows
            && let Ok(Some(entries)) = self.queue.with(|state| state.next(false))
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
        let (before, rest) = pending[position].split(index);
        let Some((Some(witness), after)) = rest.map(|rest| rest.split(1)) else { return Ok(None) };
        let (id, mut tries) = (self.witness, 0);
        while let Err(error) = self.store(&witness, id).await? {
            tries += 1;
            // Stored or not, the row must not be sent under another number before that is known.
            let in_doubt = error.outcome() == Outcome::Unknown
                && (tries < TRIES_IN_DOUBT || classify(&error, 1) == Retry::Again);
            if !in_doubt || self.backoff.failed(&error) {
                return Ok(Some(false));
            }
            self.retried();
            self.backoff.wait().await?;
        }
        pending.splice(position..=position, after.into_iter().chain(before));
        self.stored(&witness, suspect.oldest());
        Ok(Some(true))
    }

    /// Counts a call of the backend that is made again.
    fn retried(&self) {
        self.queue.with(|state| state.stats.retries += 1);
    }

    /// A slice was stored; `in_flight` is the oldest row that waits for its fate.
    fn stored(&mut self, slice: &BatchSlice, in_flight: Option<u64>) {
        self.backoff.progressed();
        let now_ms = self.queue.config.clock.now_ms();
        self.queue.with(|state| {
            state.stats.batches += 1;
            state.stats.last_stored_ms = Some(now_ms);
            state.resolve(slice.origins(), Fate::Stored, None, in_flight);
        });
    }

    /// Rejects one row of a slice; the others go back to `pending`.
    fn reject(
        &mut self,
        slice: &BatchSlice,
        index: usize,
        error: &PersistenceError,
        pending: &mut Vec<BatchSlice>,
    ) {
        pending.extend(slice.without(index));
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
        self.backoff.progressed();
        let (origin, in_flight) = (&slice.origins()[index..=index], oldest(pending));
        self.queue.with(|state| state.resolve(origin, Fate::Rejected, Some(error), in_flight));
    }

    fn give_up(&self, pending: Vec<BatchSlice>, error: &PersistenceError) {
        let origins: Vec<_> = pending.iter().rev().flat_map(BatchSlice::origins).copied().collect();
        tracing::error!(
            dropped = origins.len(),
            %error,
            "the backend has failed for too long: a batch is given up, its values dropped"
        );
        self.queue.with(|state| state.resolve(&origins, Fate::Dropped, Some(error), None));
    }
}

/// Both halves are to be sent.
fn split(slice: &BatchSlice, pending: &mut Vec<BatchSlice>) {
    let (first, second) = slice.split(slice.len() / 2);
    pending.extend(second);
    pending.extend(first);
}

fn oldest(pending: &[BatchSlice]) -> Option<u64> {
    pending.last().and_then(BatchSlice::oldest)
}
