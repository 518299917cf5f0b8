//! A backend that does, call by call, what a test tells it to.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Mutex;

use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::*;
use crate::batch::{Batch, BatchId};
use crate::guarantees::Guarantees;
use crate::memory::MemoryBackend;
use crate::query::{Order, QueryParams, StoredValue};

/// What one call of `store_batch` does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Store,
    /// Waits for [`Scripted::release`], then stores.
    Hold,
    /// Never answers.
    Hang,
    /// Fails without having stored anything.
    Fail(PersistenceError),
    /// Stores everything, then fails.
    StoreAndFail(PersistenceError),
    /// Stores so many rows, then breaks off.
    Partly(usize),
    Panic,
}

pub(super) struct Scripted {
    pub(super) store: MemoryBackend,
    guarantees: Guarantees,
    steps: Mutex<VecDeque<Step>>,
    otherwise: Mutex<Step>,
    /// A batch with a row of this record fails as a whole.
    poison: Option<(&'static str, Step)>,
    calls: Mutex<Vec<(BatchId, usize)>>,
    called: watch::Sender<usize>,
    gate: Semaphore,
}

impl Scripted {
    pub(super) fn new() -> Self {
        let store = MemoryBackend::new();
        Self {
            guarantees: store.guarantees(),
            store,
            steps: Mutex::default(),
            otherwise: Mutex::new(Step::Store),
            poison: None,
            calls: Mutex::default(),
            called: watch::Sender::new(0),
            gate: Semaphore::new(0),
        }
    }

    /// A backend that claims nothing, as one with three methods does.
    pub(super) fn modest() -> Self {
        Self { guarantees: Guarantees::default(), ..Self::new() }
    }

    pub(super) fn poisoned(record: &'static str, step: Step) -> Self {
        Self { poison: Some((record, step)), ..Self::new() }
    }

    pub(super) fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.steps.lock().unwrap().extend(steps);
    }

    /// Forgets the steps that were not taken yet.
    pub(super) fn clear(&self) {
        self.steps.lock().unwrap().clear();
    }

    pub(super) fn otherwise(&self, step: Step) {
        *self.otherwise.lock().unwrap() = step;
    }

    pub(super) fn release(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    /// Waits until there have been so many calls.
    pub(super) async fn called(&self, calls: usize) {
        self.called.subscribe().wait_for(|made| *made >= calls).await.unwrap();
    }

    /// Number and rows of every call.
    pub(super) fn calls(&self) -> Vec<(u64, usize)> {
        self.calls.lock().unwrap().iter().map(|(id, rows)| (id.number, *rows)).collect()
    }

    /// Whether every writer numbers its batches upwards.
    pub(super) fn numbers_ascend(&self) -> bool {
        let mut last = std::collections::HashMap::new();
        let calls = self.calls.lock().unwrap();
        calls.iter().all(|(id, _)| last.insert(id.writer, id.number).is_none_or(|n| n <= id.number))
    }

    pub(super) fn writers(&self) -> Vec<u128> {
        let mut writers: Vec<_> =
            self.calls.lock().unwrap().iter().map(|(id, _)| id.writer).collect();
        writers.dedup();
        writers
    }

    /// The record's values and times, oldest first.
    pub(super) async fn rows(&self, record: &str) -> Vec<(Value, u64)> {
        let params = QueryParams { order: Order::OldestFirst, ..QueryParams::default() };
        let rows = self.store.query(record, params).await.unwrap();
        rows.into_iter().map(|row| (row.value, row.stored_at)).collect()
    }

    /// The record's values, which are numbers, oldest first.
    pub(super) async fn numbers(&self, record: &str) -> Vec<u64> {
        self.rows(record).await.into_iter().map(|(value, _)| value.as_u64().unwrap()).collect()
    }

    fn step(&self, batch: &Batch) -> Step {
        if let Some((record, step)) = &self.poison
            && batch.rows().iter().any(|row| row.record.as_str() == *record)
        {
            return step.clone();
        }
        let next = self.steps.lock().unwrap().pop_front();
        next.unwrap_or_else(|| self.otherwise.lock().unwrap().clone())
    }
}

#[async_trait::async_trait]
impl PersistenceBackend for Scripted {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        self.store.store(record_name, value, timestamp).await
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.store.query(record_pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.store.cleanup(older_than).await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        let id = batch.id().expect("a recorder numbers its batches");
        self.calls.lock().unwrap().push((id, batch.rows().len()));
        let step = self.step(batch);
        self.called.send_modify(|calls| *calls += 1);
        match step {
            Step::Store => self.store.store_batch(batch).await,
            Step::Hold => {
                self.gate.acquire().await.unwrap().forget();
                self.store.store_batch(batch).await
            }
            Step::Hang => pending().await,
            Step::Fail(error) => Err(error),
            Step::StoreAndFail(error) => {
                self.store.store_batch(batch).await?;
                Err(error)
            }
            Step::Partly(stored) => {
                let part = Batch::new(batch.rows()[..stored.min(batch.rows().len())].to_vec());
                self.store.store_batch(&part).await?;
                let source = Box::new(engine_error(ErrorKind::Busy, Outcome::NotApplied));
                Err(PersistenceError::PartialBatch { stored, source })
            }
            Step::Panic => panic!("as told"),
        }
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }
}
