//! The writer's thread: group commit, and errands of the folding between the commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::{BackendError, Batch, ErrorKind, PersistenceError};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::Writer;
use crate::store::Store;
use crate::tasks::{Failed, Tasks};
use crate::tuning::Tuning;

/// One transaction takes batches up to so many rows or bytes of text, so that none of its callers
/// waits for ever and memory stays bounded.
const GROUP_ROWS: usize = 16_384;
const GROUP_BYTES: usize = 16 << 20;

/// So long the thread looks for the next job before it sleeps. Whoever got an answer and comes back
/// with the next row takes some tens of microseconds, and to wake a thread takes as many again; a
/// commit takes some hundreds.
const AWAKE: Duration = Duration::from_micros(100);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, PersistenceError>>;

pub(crate) enum Job {
    Store(Batch, Reply<()>),
    Health(Reply<()>),
    /// There is an errand.
    Wake,
    Close,
}

/// What closing came to, once the thread has ended.
pub(crate) type Ended = watch::Sender<Option<Result<(), PersistenceError>>>;

/// The writer's thread.
pub(crate) struct Thread<W> {
    pub(crate) engine: &'static str,
    pub(crate) store: Store<W>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) tasks: Arc<Tasks<W>>,
    pub(crate) tuning: Tuning,
}

impl<W: Writer> Thread<W> {
    /// Runs until it is told to close or every sender is gone, and what was accepted is done.
    pub(crate) fn run(mut self, ended: &Ended) {
        // However this ends, the folding must not wait for it.
        let _end = EndOfWriter(self.tasks.clone());
        self.work();
        let closed = self.store.writer.close();
        if let Err(error) = &closed {
            tracing::error!(%error, "closing the store failed");
        }
        ended.send_replace(Some(closed));
    }

    fn work(&mut self) {
        let mut group = Group::default();
        loop {
            let mut next = self.next_job();
            let mut closing = next.is_none();
            while let Some(job) = next {
                closing |= self.take(job, &mut group);
                let more = !group.is_full() && !closing;
                next = if more { self.jobs.try_recv().ok() } else { None };
            }
            if closing {
                return self.finish(&mut group);
            }
            self.commit(&mut group);
            self.run_errands();
            self.store.writer.maintain(self.jobs.is_empty());
        }
    }

    /// Waits for a job, awake at first.
    fn next_job(&mut self) -> Option<Job> {
        let begun = Instant::now();
        while begun.elapsed() < AWAKE {
            match self.jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                // On a machine with a single core it is the caller's.
                Err(TryRecvError::Empty) => std::thread::yield_now(),
            }
        }
        self.jobs.blocking_recv()
    }

    /// Takes a job in; answers whether it is time to close.
    fn take(&mut self, job: Job, group: &mut Group) -> bool {
        match job {
            Job::Store(batch, reply) => group.push(batch, reply),
            Job::Health(reply) => drop(reply.send(self.store.writer.health())),
            Job::Wake => {}
            Job::Close => return true,
        }
        false
    }

    fn commit(&mut self, group: &mut Group) {
        if group.batches.is_empty() {
            return;
        }
        match self.make_room() {
            Ok(()) => group.commit(&mut self.store),
            Err(error) => group.refuse(&error),
        }
        if self.tuning.fold_is_due(self.store.head) {
            self.tasks.want_fold();
        }
    }

    fn run_errands(&mut self) {
        while let Some(errand) = self.tasks.errand() {
            errand(&mut self.store);
        }
    }

    /// Waits until the head is folded if it has become too large: readers keep it in memory.
    fn make_room(&mut self) -> Result<(), PersistenceError> {
        while self.tuning.head_is_full(self.store.head) {
            match self.tasks.wait_for_errand() {
                Some(Ok(errand)) => errand(&mut self.store),
                Some(Err(Failed::With(error))) => return Err(error),
                Some(Err(Failed::Ended)) => {
                    let message = "the folding thread ended unexpectedly; open the store again";
                    let error = BackendError::new(self.engine, "store", ErrorKind::Io, message);
                    return Err(error.into());
                }
                None => break,
            }
        }
        Ok(())
    }

    /// What was accepted before the close is done before it.
    fn finish(&mut self, group: &mut Group) {
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            self.take(job, group);
            if group.is_full() {
                group.commit(&mut self.store);
            }
        }
        group.commit(&mut self.store);
    }
}

struct EndOfWriter<W>(Arc<Tasks<W>>);

impl<W> Drop for EndOfWriter<W> {
    fn drop(&mut self) {
        self.0.end_writer();
    }
}

/// What becomes one transaction.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    replies: Vec<Reply<()>>,
    rows: usize,
    bytes: usize,
}

impl Group {
    fn is_full(&self) -> bool {
        self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES
    }

    fn push(&mut self, batch: Batch, reply: Reply<()>) {
        self.rows += batch.rows().len();
        self.bytes += batch.rows().iter().map(|row| row.value.len()).sum::<usize>();
        self.batches.push(batch);
        self.replies.push(reply);
    }

    fn commit<W: Writer>(&mut self, store: &mut Store<W>) {
        if self.batches.is_empty() {
            return;
        }
        let stored = store.store(&self.batches);
        let alone = self.batches.len() > 1 && stored.as_ref().is_err_and(blames_a_batch);
        (self.rows, self.bytes) = (0, 0);
        for (batch, reply) in self.batches.drain(..).zip(self.replies.drain(..)) {
            // One batch that the engine refuses must not take its neighbours along.
            let stored = if alone { store.store(&[batch]) } else { stored.clone() };
            drop(reply.send(stored));
        }
    }

    fn refuse(&mut self, error: &PersistenceError) {
        (self.rows, self.bytes) = (0, 0);
        self.batches.clear();
        for reply in self.replies.drain(..) {
            drop(reply.send(Err(error.clone())));
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
