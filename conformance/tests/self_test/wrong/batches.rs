//! Backends whose batches are not whole, or forget their ids.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use annals_conformance::Suite;
use annals_core::{
    BackendError, Batch, BatchId, ErrorKind, MemoryBackend, PersistenceBackend, PersistenceError,
    Row, async_trait,
};

use crate::subject::{Subject, twisted};
use crate::three_methods::ClaimsAtomic;
use crate::twist::{Result, Twist};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("half_a_batch", || HalfBatch, &["BATCH-1"]),
        twisted("commits_every_ten_rows", CommitsEveryTenRows::default, &["BATCH-1"])
            .unseen_by_random()
            .caught_by("batch_1_readers_see_no_part_of_a_large_batch"),
        Subject::new(
            Suite::in_memory("three_methods_claim_atomic", ClaimsAtomic::default),
            &["BATCH-1"],
        )
        .unseen_by_random()
        .caught_by("batch_1_readers_see_no_part_of_a_large_batch"),
        twisted("more_rows_than_parameters", || MoreRowsThanParameters, &["BATCH-1"])
            .unseen_by_random()
            .caught_by("batch_1_a_batch_has_tens_of_thousands_of_rows"),
        twisted("invalid_row_is_not_named", || UnnamedRow, &["BATCH-1"]),
        twisted(
            "backwards_batch",
            || BackwardsBatch,
            &[
                "BATCH-2",
                "TIME-3",
                "RECORD-3",
                "FUNCTION-1",
                "CORRECT-1",
                "FOLLOW-1",
                "FOLLOW-2",
                "FOLLOW-5",
                "FOLLOW-8",
            ],
        ),
        twisted("ids_are_ignored", || IgnoresIds, &["BATCH-3", "RETAIN-1", "DURABLE-4", "ERASE-4"]),
        twisted(
            "knows_the_last_batch_only",
            || KnowsTheLastBatchOnly,
            &["BATCH-3", "RETAIN-1", "ERASE-4"],
        )
        .unseen_by_random(),
        twisted(
            "remembers_a_thousand_writers",
            RemembersAThousandWriters::default,
            &["BATCH-3", "RETAIN-1", "DURABLE-4", "ERASE-4"],
        )
        .unseen_by_random()
        .caught_by("durable_4_many_writers_are_remembered"),
        twisted(
            "ids_are_noted_afterwards",
            NotesIdsAfterwards::default,
            &["BATCH-3", "RETAIN-1", "DURABLE-4", "ERASE-4"],
        )
        .unseen_by_random()
        .caught_by("durable_4_a_batch_sent_by_several_tasks_at_once_is_stored_once"),
    ]
}

/// Stores the rows in front of the invalid one.
struct HalfBatch;

#[async_trait]
impl Twist for HalfBatch {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let stored: std::result::Result<(), PersistenceError> = inner.store_batch(batch).await;
        if let Err(PersistenceError::InvalidRow { index, .. }) = &stored {
            inner.store_batch(&Batch::new(batch.rows()[..*index].to_vec())).await?;
        }
        stored
    }
}

/// Small batches are committed whole, larger ones ten rows at a time.
#[derive(Default)]
struct CommitsEveryTenRows(Seen);

#[async_trait]
impl Twist for CommitsEveryTenRows {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        batch.validate(usize::MAX)?;
        if batch.rows().len() <= 10 {
            return inner.store_batch(batch).await;
        }
        if batch.id().is_some_and(|id| !self.0.is_new(id)) {
            return Ok(());
        }
        for rows in batch.rows().chunks(10) {
            // What a commit to a fast disk takes. Without it the lock is never free long enough for
            // a reader that waits for it.
            std::thread::sleep(Duration::from_micros(50));
            inner.store_batch(&Batch::new(rows.to_vec())).await?;
        }
        Ok(())
    }
}

/// The last number of each writer.
#[derive(Default)]
struct Seen(Mutex<HashMap<u128, u64>>);

impl Seen {
    /// Whether the id was not noted before; it is now.
    fn is_new(&self, id: BatchId) -> bool {
        let mut seen = self.0.lock().unwrap();
        let last = seen.entry(id.writer).or_insert(0);
        let is_new = id.number > *last;
        *last = id.number.max(*last);
        is_new
    }
}

/// One statement with three parameters a row, of which there are 65,535.
struct MoreRowsThanParameters;

#[async_trait]
impl Twist for MoreRowsThanParameters {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        if 3 * batch.rows().len() > usize::from(u16::MAX) {
            let message = "too many parameters";
            return Err(BackendError::new("wrong", "store", ErrorKind::Other, message).into());
        }
        inner.store_batch(batch).await
    }
}

/// Remembers the thousand writers that stored last, and their last numbers.
#[derive(Default)]
struct RemembersAThousandWriters(Mutex<VecDeque<BatchId>>);

#[async_trait]
impl Twist for RemembersAThousandWriters {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let Some(id) = batch.id() else { return inner.store_batch(batch).await };
        batch.validate(usize::MAX)?;
        let is_new = {
            let mut writers = self.0.lock().unwrap();
            let place = writers.iter().position(|seen| seen.writer == id.writer);
            let last = place
                .and_then(|place| writers.remove(place))
                .unwrap_or(BatchId { number: 0, ..id });
            writers.push_back(BatchId { number: id.number.max(last.number), ..id });
            if writers.len() > 1_000 {
                writers.pop_front();
            }
            id.number > last.number
        };
        if is_new { inner.store_batch(&Batch::new(batch.rows().to_vec())).await } else { Ok(()) }
    }
}

/// Looks whether it has seen the batch, stores it, and notes it when that is done.
#[derive(Default)]
struct NotesIdsAfterwards(Mutex<HashMap<u128, u64>>);

#[async_trait]
impl Twist for NotesIdsAfterwards {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let Some(id) = batch.id() else { return inner.store_batch(batch).await };
        batch.validate(usize::MAX)?;
        let last = self.0.lock().unwrap().get(&id.writer).copied();
        if last.is_some_and(|last| id.number <= last) {
            return Ok(());
        }
        tokio::task::yield_now().await;
        inner.store_batch(&Batch::new(batch.rows().to_vec())).await?;
        self.0.lock().unwrap().insert(id.writer, id.number);
        Ok(())
    }
}

/// Does not say which row is the invalid one.
struct UnnamedRow;

#[async_trait]
impl Twist for UnnamedRow {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let stored: std::result::Result<(), PersistenceError> = inner.store_batch(batch).await;
        stored.map_err(|error| match error {
            PersistenceError::InvalidRow { source, .. } => *source,
            other => other,
        })
    }
}

/// The last row of a batch is stored first.
struct BackwardsBatch;

#[async_trait]
impl Twist for BackwardsBatch {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        // So that the invalid row is named as it should be.
        batch.validate(usize::MAX)?;
        let rows: Vec<Row> = batch.rows().iter().rev().cloned().collect();
        let rows = Batch::new(rows);
        inner
            .store_batch(&match batch.id() {
                Some(id) => rows.with_id(id),
                None => rows,
            })
            .await
    }
}

/// Takes no notice of ids, and claims to.
struct IgnoresIds;

#[async_trait]
impl Twist for IgnoresIds {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        inner.store_batch(&Batch::new(batch.rows().to_vec())).await
    }
}

/// Knows only the last batch of a writer, not those before it.
struct KnowsTheLastBatchOnly;

#[async_trait]
impl Twist for KnowsTheLastBatchOnly {
    async fn has_batch(&self, inner: &MemoryBackend, id: BatchId) -> Result<bool> {
        let next = BatchId { number: id.number + 1, ..id };
        Ok(inner.has_batch(id).await? && !inner.has_batch(next).await?)
    }
}
