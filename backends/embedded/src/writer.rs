//! The writer's thread: group commit, and sweeps between the commits.

use std::collections::VecDeque;

use annals_core::{Batch, CleanupPlan, ErrorKind, Outcome, PersistenceError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::Writer;
use crate::sweep::{Expired, Sweep};

/// One transaction takes at most so many rows, so that none of its callers waits for ever.
const GROUP_ROWS: usize = 16_384;

/// One step of a sweep removes at most so many rows: a few milliseconds, which is how long a store
/// then waits behind it.
const SWEEP_ROWS: u64 = 2_000;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, PersistenceError>>;

pub(crate) enum Job {
    Store(Batch, Reply<()>),
    Cleanup(CleanupPlan, Reply<u64>),
    Health(Reply<()>),
    Close,
}

/// What closing came to, once the thread has ended.
pub(crate) type Ended = watch::Sender<Option<Result<(), PersistenceError>>>;

/// Runs until it is told to close or every sender is gone, and what was accepted is done.
pub(crate) fn run<W: Writer>(writer: W, jobs: mpsc::Receiver<Job>, ended: &Ended) {
    let mut thread = Thread { writer, jobs, sweeps: VecDeque::new() };
    thread.work();
    let closed = thread.writer.close();
    if let Err(error) = &closed {
        tracing::error!(%error, "closing the store failed");
    }
    ended.send_replace(Some(closed));
}

struct Thread<W> {
    writer: W,
    jobs: mpsc::Receiver<Job>,
    sweeps: VecDeque<(Sweep, Reply<u64>)>,
}

impl<W: Writer> Thread<W> {
    fn work(&mut self) {
        let mut group = Group::default();
        loop {
            // Wait only when there is nothing to sweep.
            let idle = self.sweeps.is_empty();
            let mut next = if idle { self.jobs.blocking_recv() } else { self.jobs.try_recv().ok() };
            let mut closing = idle && next.is_none();
            while let Some(job) = next {
                closing |= self.take(job, &mut group);
                let more = group.rows < GROUP_ROWS && !closing;
                next = if more { self.jobs.try_recv().ok() } else { None };
            }
            if closing {
                return self.finish(&mut group);
            }
            group.commit(&mut self.writer);
            self.sweep_step();
            self.writer.maintain(self.jobs.is_empty() && self.sweeps.is_empty());
        }
    }

    /// Takes a job in; answers whether it is time to close.
    fn take(&mut self, job: Job, group: &mut Group) -> bool {
        match job {
            Job::Store(batch, reply) => group.push(batch, reply),
            Job::Cleanup(plan, reply) => self.begin_sweep(&plan, reply),
            Job::Health(reply) => drop(reply.send(self.writer.health())),
            Job::Close => return true,
        }
        false
    }

    fn begin_sweep(&mut self, plan: &CleanupPlan, reply: Reply<u64>) {
        match self.writer.records() {
            Ok(records) => {
                let expired = records.into_iter().filter_map(|(record, name)| {
                    let last_removed = plan.last_removed(&name)?;
                    Some(Expired::new(record, last_removed, plan.keep_newest))
                });
                self.sweeps.push_back((Sweep::new(expired.collect()), reply));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn sweep_step(&mut self) {
        let Some((sweep, reply)) = self.sweeps.front_mut() else { return };
        let swept = self.writer.sweep(sweep, SWEEP_ROWS);
        let answer = match swept {
            // The caller is gone: the rest is left for the next cleanup.
            Ok(()) if reply.is_closed() => None,
            Ok(()) if !sweep.is_done() => return,
            Ok(()) => Some(Ok(sweep.removed())),
            Err(PersistenceError::Backend(error)) if sweep.removed() > 0 => {
                Some(Err((*error).with_outcome(Outcome::Unknown).into()))
            }
            Err(error) => Some(Err(error)),
        };
        if let (Some((_, reply)), Some(answer)) = (self.sweeps.pop_front(), answer) {
            drop(reply.send(answer));
        }
    }

    /// What was accepted before the close is done before it.
    fn finish(&mut self, group: &mut Group) {
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            self.take(job, group);
            if group.rows >= GROUP_ROWS {
                group.commit(&mut self.writer);
            }
        }
        group.commit(&mut self.writer);
        while !self.sweeps.is_empty() {
            self.sweep_step();
        }
    }
}

/// What becomes one transaction.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    replies: Vec<Reply<()>>,
    rows: usize,
}

impl Group {
    fn push(&mut self, batch: Batch, reply: Reply<()>) {
        self.rows += batch.rows().len();
        self.batches.push(batch);
        self.replies.push(reply);
    }

    fn commit(&mut self, writer: &mut impl Writer) {
        if self.batches.is_empty() {
            return;
        }
        let stored = writer.store(&self.batches);
        let alone = self.batches.len() > 1 && stored.as_ref().is_err_and(blames_a_batch);
        self.rows = 0;
        for (batch, reply) in self.batches.drain(..).zip(self.replies.drain(..)) {
            // One batch that the engine refuses must not take its neighbours along.
            let stored = if alone { writer.store(&[batch]) } else { stored.clone() };
            drop(reply.send(stored));
        }
    }
}

/// Whether an error may be one batch's own fault, rather than the store's.
fn blames_a_batch(error: &PersistenceError) -> bool {
    match error {
        PersistenceError::Backend(error) => error.kind() == ErrorKind::Other,
        error => error.is_invalid_input(),
    }
}
