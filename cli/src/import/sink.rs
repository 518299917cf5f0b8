//! Rows into the store, in order, so that it is always known how many are there.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use annals::{Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, Row};
use backon::{BackoffBuilder, ExponentialBuilder};

use super::source::{BadLine, Numbered};

/// How often a batch is sent again when the store is busy or away: with these delays, for about
/// half a minute.
const RETRIES: usize = 10;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Why not all rows were stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A row can never be stored; all before it are, none after it.
    Row(BadLine),
    /// The store failed.
    Store(PersistenceError),
}

/// Where rows go.
pub(super) struct Sink {
    store: Arc<dyn PersistenceBackend>,
    writer: u128,
    batches: u64,
    /// How many rows are certainly stored.
    pub(super) stored: u64,
}

impl Sink {
    pub(super) fn new(store: Arc<dyn PersistenceBackend>) -> Self {
        // The keys of RandomState are the standard library's only source of randomness; a writer's
        // number has to be unlike every other one, not unguessable.
        let random = || u128::from(RandomState::new().build_hasher().finish());
        Self { store, writer: random() << 64 | random(), batches: 0, stored: 0 }
    }

    /// Stores `rows` from the first on, until one cannot be. Returns how many were dealt with, the
    /// refused row included.
    ///
    /// Backends that store a batch whole or not at all name the row that they refuse; others may
    /// break off anywhere.
    pub(super) async fn store(&mut self, rows: &[Numbered]) -> Result<(), (usize, Refusal)> {
        let mut begin = 0;
        let mut end = rows.len();
        let mut refused = None;
        while begin < end {
            let error = match self.send(&rows[begin..end]).await {
                Ok(()) => break,
                Err(error) => error,
            };
            match error {
                // Nothing of it was stored; what comes before the row can be.
                PersistenceError::InvalidRow { index, source } if begin + index < end => {
                    end = begin + index;
                    refused = Some(source);
                }
                PersistenceError::PartialBatch { stored, source } => {
                    self.stored += stored as u64;
                    begin += stored;
                    if source.is_invalid_input() && begin < end {
                        return Err(refuse(rows, begin, &source));
                    }
                    // Whether it passes is found out by sending the rest again.
                    if !source.is_retryable() || source.outcome() == Outcome::Unknown {
                        return Err((begin, Refusal::Store(*source)));
                    }
                }
                error if error.is_invalid_input() => return Err(refuse(rows, begin, &error)),
                error => return Err((begin, Refusal::Store(error))),
            }
        }
        self.stored += (end - begin) as u64;
        match refused {
            Some(source) => Err(refuse(rows, end, &source)),
            None => Ok(()),
        }
    }

    /// Sends a batch, again and again while that may help and cannot store it twice.
    async fn send(&mut self, rows: &[Numbered]) -> Result<(), PersistenceError> {
        self.batches += 1;
        let rows: Vec<Row> = rows.iter().map(|numbered| numbered.row.clone()).collect();
        let id = BatchId { writer: self.writer, number: self.batches };
        let batch = Batch::new(rows).with_id(id);
        let once = self.store.guarantees().idempotent_batches;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_max_times(RETRIES)
            .build();
        loop {
            let error = match self.store.store_batch(&batch).await {
                Ok(()) => return Ok(()),
                Err(error @ PersistenceError::PartialBatch { .. }) => return Err(error),
                Err(error) => error,
            };
            let safe = once || error.outcome() == Outcome::NotApplied;
            match delays.next() {
                Some(delay) if safe && error.is_retryable() => {
                    tracing::warn!(%error, "trying again in {delay:?}");
                    tokio::time::sleep(delay).await;
                }
                _ => return Err(error),
            }
        }
    }
}

fn refuse(rows: &[Numbered], index: usize, why: &PersistenceError) -> (usize, Refusal) {
    let bad = BadLine { line: rows[index].line, why: why.to_string() };
    (index + 1, Refusal::Row(bad))
}
