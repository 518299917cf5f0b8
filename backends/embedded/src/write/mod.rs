//! The write path.
//!
//! Enters: batches that were validated, and tasks of the compactor. Leaves: transactions, and an
//! answer to every batch once its transaction is committed. One thread, the writer, does all of it:
//! whatever waits in its queue becomes one transaction and one block of the head. Batches of a group
//! are applied in the order of their arrival.

mod changes;
mod edit;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::{BackendError, Batch, Erasure, ErrorKind, PersistenceError, Result, Row};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use crate::coordination::{Awaited, Coordination, Reply};
use crate::engine::Writer;
use crate::error::contain;
use crate::reserve::Reserve;
use crate::tuning::Tuning;

pub(crate) use changes::{add_name, add_run, check_writers};
pub(crate) use store::{OrphanedNames, Store, VersionEdit};

/// The size of a group: no caller waits forever, and memory is bounded.
const GROUP_ROWS: usize = 16_384;
const GROUP_BYTES: usize = 16 << 20;

/// How long the writer polls its queue before it sleeps. A caller that got its answer sends the next
/// row within tens of microseconds, and waking a thread takes as long. A commit takes hundreds.
const POLL: Duration = Duration::from_micros(100);

/// What the writer's queue carries.
pub(crate) enum Job {
    Store(Batch, Reply<()>),
    Erase(Erasure, Reply<u64>),
    Correct(Row, Reply<bool>),
    Health(Reply<()>),
    /// The compactor has left a task.
    Wake,
    Close,
}

/// The result of closing the engine, once the writer has ended.
pub(crate) type Ended = watch::Sender<Option<Result<()>>>;

/// The writer's thread.
pub(crate) struct WriterThread<W> {
    pub(crate) engine: &'static str,
    pub(crate) store: Store<W>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) coordination: Arc<Coordination<Store<W>>>,
    pub(crate) tuning: Tuning,
    pub(crate) reserve: Arc<Reserve>,
}

impl<W: Writer> WriterThread<W> {
    /// Runs until it is told to close or every sender is gone, and has done what was accepted.
    pub(crate) fn run(mut self, ended: &Ended) {
        // However this ends, the compactor must not wait for it.
        let _end = EndOfWriter(self.coordination.clone());
        self.work();
        let (engine, writer) = (self.engine, self.store.writer);
        let closed = contain(engine, "close", || writer.close());
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
            while let Some(task) = self.coordination.writer_task() {
                task(&mut self.store);
            }
            self.store.writer.maintain(self.jobs.is_empty());
        }
    }

    /// Waits for a job, polling at first.
    fn next_job(&mut self) -> Option<Job> {
        let begun = Instant::now();
        while begun.elapsed() < POLL {
            match self.jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                // A single core belongs to the caller meanwhile.
                Err(TryRecvError::Empty) => std::thread::yield_now(),
            }
        }
        self.jobs.blocking_recv()
    }

    /// Takes a job. Returns whether it is time to close.
    fn take(&mut self, job: Job, group: &mut Group) -> bool {
        match job {
            Job::Store(batch, reply) => group.push(batch, reply),
            Job::Erase(erasure, reply) => {
                self.edit(group, reply, |store, tuning| store.erase(&erasure, &tuning.layout));
            }
            Job::Correct(row, reply) => {
                self.edit(group, reply, |store, tuning| store.correct(&row, &tuning.layout));
            }
            Job::Health(reply) => drop(reply.send(self.store.writer.health())),
            Job::Wake => {}
            Job::Close => return true,
        }
        false
    }

    /// Changes rows after all that was accepted before, unless the caller has left.
    fn edit<T>(
        &mut self,
        group: &mut Group,
        reply: Reply<T>,
        mut edit: impl FnMut(&mut Store<W>, &Tuning) -> Result<T>,
    ) {
        self.commit(group);
        if !reply.is_closed() {
            let edited = self.reserve.lend_to_remove(|| edit(&mut self.store, &self.tuning));
            self.store.writer.checkpoint(true);
            drop(reply.send(edited));
        }
    }

    fn commit(&mut self, group: &mut Group) {
        if group.batches.is_empty() {
            return;
        }
        match self.make_room() {
            Ok(()) => group.commit(&mut self.store),
            Err(error) => group.refuse(&error),
        }
        if self.tuning.flush_is_due(self.store.head) {
            self.coordination.want_flush();
        }
    }

    /// Waits for a flush while the head is too large: readers keep all of it in memory. Refuses rows while
    /// the reserve is lent: they would take its space.
    fn make_room(&mut self) -> Result<()> {
        if self.reserve.is_lent() {
            let message = "the disk is full, and rows are being removed; free space on the disk";
            return Err(BackendError::new(self.engine, "store", ErrorKind::Full, message).into());
        }
        while self.tuning.head_is_full(self.store.head) {
            match self.coordination.wait_for_task() {
                Awaited::Task(task) => task(&mut self.store),
                Awaited::Closing => break,
                Awaited::Failed(error) => return Err(error),
                Awaited::Ended => {
                    let message = "the compactor ended unexpectedly; open the store again";
                    let error = BackendError::new(self.engine, "store", ErrorKind::Io, message);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Does what was accepted before the store was closed.
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

struct EndOfWriter<S>(Arc<Coordination<S>>);

impl<S> Drop for EndOfWriter<S> {
    fn drop(&mut self) {
        self.0.end_writer();
    }
}

/// The batches of one transaction.
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
        let one_by_one =
            self.batches.len() > 1 && stored.as_ref().is_err_and(PersistenceError::may_blame_a_row);
        (self.rows, self.bytes) = (0, 0);
        for (batch, reply) in self.batches.drain(..).zip(self.replies.drain(..)) {
            // A batch that the engine refuses must not fail the others.
            let stored = if one_by_one { store.store(&[batch]) } else { stored.clone() };
            drop(reply.send(stored));
        }
    }

    fn refuse(&mut self, error: &PersistenceError) {
        for (_, reply) in self.batches.drain(..).zip(self.replies.drain(..)) {
            drop(reply.send(Err(error.clone())));
        }
        (self.rows, self.bytes) = (0, 0);
    }
}
