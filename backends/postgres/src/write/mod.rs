//! The write path: batches wait in a queue, everything that waits becomes one transaction (group
//! commit), and each caller gets an answer.
//!
//! [`run`] drives the writers. A writer takes a group from the queue and stores it ([`group`]), as
//! arrays or with COPY. The queue is bounded in bytes by its [`Budget`].

mod copy;
mod group;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use annals_core::{Batch, ErrorKind, Outcome, PersistenceError, Result};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::closing::Deadline;
use crate::engine::Engine;
use crate::error::{self, Native, Phase};

/// The most rows and bytes of JSON in a group. A batch beyond that is a group by itself.
const GROUP_ROWS: usize = 4096;
const GROUP_BYTES: usize = 8 << 20;

/// The most that the queue holds, in units of 256 bytes: 64 MiB. Further callers wait.
const BUDGET_UNITS: u32 = (64 << 20) / UNIT_BYTES;
const UNIT_BYTES: u32 = 256;

/// A batch in the queue, and the channel for its answer.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) operation: &'static str,
    pub(crate) reply: oneshot::Sender<Result<()>>,
    /// Its share of the budget.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) share: OwnedSemaphorePermit,
}

/// Bounds the queue: rows of callers that no longer wait for their answer would otherwise accumulate
/// without limit.
#[derive(Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    wait: Duration,
}

impl Budget {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { units: Arc::new(Semaphore::new(BUDGET_UNITS as usize)), wait }
    }

    fn units(batch: &Batch) -> u32 {
        let units = bytes(batch) / UNIT_BYTES as usize + batch.rows().len();
        u32::try_from(units).unwrap_or(BUDGET_UNITS).clamp(1, BUDGET_UNITS)
    }

    pub(crate) fn try_take(&self, batch: &Batch) -> Option<OwnedSemaphorePermit> {
        self.units.clone().try_acquire_many_owned(Self::units(batch)).ok()
    }

    pub(crate) async fn take(
        &self,
        operation: &'static str,
        batch: &Batch,
    ) -> Result<OwnedSemaphorePermit> {
        let share = self.units.clone().acquire_many_owned(Self::units(batch));
        match timeout(self.wait, share).await {
            Ok(share) => share.map_err(|_| PersistenceError::BackendShutdown),
            Err(_) => {
                let message = "the write queue remained full for `wait_timeout`";
                Err(error::timeout(operation, Native::Wait, Phase::Before, message))
            }
        }
    }
}

/// The JSON of a batch in bytes.
fn bytes(batch: &Batch) -> usize {
    batch.rows().iter().map(|row| row.value.len()).sum()
}

/// Puts a job into the queue.
pub(crate) fn enqueue(queue: &mpsc::UnboundedSender<Job>, job: Job) -> Result<()> {
    queue.send(job).map_err(|_| PersistenceError::BackendShutdown)
}

/// The receiving end of the queue, shared by the writers.
struct Queue {
    jobs: mpsc::UnboundedReceiver<Job>,
    /// A job that did not fit into the previous group.
    carried: Option<Job>,
}

/// Runs the writers until the queue is closed and everything in it is answered.
pub(crate) async fn run(engine: Arc<Engine>, jobs: mpsc::UnboundedReceiver<Job>) {
    let queue = Arc::new(Mutex::new(Queue { jobs, carried: None }));
    let writers: Vec<_> = (0..engine.config.writers)
        .map(|_| tokio::spawn(write_groups(engine.clone(), queue.clone())))
        .collect();
    for writer in writers {
        // A writer does not panic: each group is stored by a separate task.
        let _ = writer.await;
    }
}

async fn write_groups(engine: Arc<Engine>, queue: Arc<Mutex<Queue>>) {
    loop {
        let group = queue.lock().await.next_group().await;
        if group.is_empty() {
            return;
        }
        if engine.pools.closing.deadline().has_passed() {
            for job in group {
                let error = Deadline::error(job.operation, Phase::Before);
                answer(&engine, job, Err(error));
            }
            continue;
        }
        if let Err(error) = tokio::spawn(write_group(engine.clone(), group)).await {
            tracing::error!(%error, "a bug: storing a group of batches panicked");
        }
    }
}

impl Queue {
    /// Waits for one job and takes those that wait behind it. Empty: the queue is closed.
    async fn next_group(&mut self) -> Vec<Job> {
        let first = match self.carried.take() {
            Some(job) => Some(job),
            None => self.jobs.recv().await,
        };
        let Some(first) = first else { return Vec::new() };
        let (mut rows, mut size) = (first.batch.rows().len(), bytes(&first.batch));
        let mut group = vec![first];
        while let Ok(job) = self.jobs.try_recv() {
            rows += job.batch.rows().len();
            size += bytes(&job.batch);
            // One statement claims the numbers of all writers, and can claim only one for each.
            let writer = job.batch.id().map(|id| id.writer);
            let claimed = |other: &Job| other.batch.id().map(|id| id.writer) == writer;
            let twice = writer.is_some() && group.iter().any(claimed);
            if rows > GROUP_ROWS || size > GROUP_BYTES || twice {
                self.carried = Some(job);
                break;
            }
            group.push(job);
        }
        group
    }
}

/// Stores a group and answers each of its callers.
async fn write_group(engine: Arc<Engine>, mut group: Vec<Job>) {
    let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
    let result = store(&engine, group[0].operation, &batches).await;
    match result {
        // A batch that the server refuses must not fail the others.
        Err(error) if group.len() > 1 && error.may_blame_a_row() => {
            for job in group {
                let result = store(&engine, job.operation, &[&job.batch]).await;
                answer(&engine, job, result);
            }
        }
        result => {
            for job in group.drain(..) {
                answer(&engine, job, result.clone());
            }
        }
    }
}

fn answer(engine: &Engine, job: Job, result: Result<()>) {
    if let Err(error) = &result {
        engine.pools.closing.note(&job.batch, error);
    }
    if result.is_ok() {
        engine.horizon.stored();
    }
    // The caller may have dropped its future.
    let _ = job.reply.send(result);
}

/// Stores batches in one transaction. Tries again once if the first attempt certainly stored nothing
/// and a new connection or a moment may help.
async fn store(engine: &Engine, operation: &'static str, batches: &[&Batch]) -> Result<()> {
    let transient = |error: &PersistenceError| {
        let PersistenceError::Backend(backend) = error else { return false };
        matches!(backend.kind(), ErrorKind::Connection | ErrorKind::Busy)
            && error.outcome() == Outcome::NotApplied
    };
    match group::store(engine, operation, batches).await {
        Err(error) if transient(&error) => group::store(engine, operation, batches).await,
        result => result,
    }
}
