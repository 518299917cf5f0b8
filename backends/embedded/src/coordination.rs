//! What the writer and the compactor ask of each other.
//!
//! The compactor receives requests for a flush and for cleanups, and gives the writer, which alone
//! changes the store, short tasks. When the head is full the writer waits here for such a task.

use std::collections::VecDeque;

use annals_core::{CleanupPlan, PersistenceError, Result};
use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use tokio::sync::oneshot;

/// The progress of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Compacted {
    /// How many rows the last step has rewritten.
    pub rows: u64,
    /// How many rows are left to be rewritten. A row may be rewritten more than once.
    pub left: u64,
    /// Runs that end up to this block of the head belong to the compaction.
    #[serde(skip)]
    pub(crate) end: u64,
}

/// Answers a call.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// A short piece of work that the writer runs on its state `S`.
pub(crate) type WriterTask<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The state that the two threads share.
pub(crate) struct Coordination<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    flush_wanted: bool,
    cleanups: VecDeque<(CleanupPlan, Reply<u64>)>,
    compactions: VecDeque<(Option<u64>, Reply<Compacted>)>,
    closing: bool,
    writer_task: Option<WriterTask<S>>,
    /// How the last flush failed, if it did.
    failed_flush: Option<PersistenceError>,
    /// The writer waits for a smaller head.
    writer_waits: bool,
    compactor_ended: bool,
    writer_ended: bool,
}

/// What the compactor does next.
pub(crate) enum Task {
    Flush,
    Cleanup(CleanupPlan, Reply<u64>),
    /// A step of a compaction, after one with this end.
    Compact(Option<u64>, Reply<Compacted>),
    Close,
    /// Nobody waits for anything.
    Idle,
}

/// What ends the writer's wait for a smaller head.
pub(crate) enum Awaited<S> {
    Task(WriterTask<S>),
    /// The flush failed.
    Failed(PersistenceError),
    /// The compactor ended unexpectedly.
    Ended,
    /// The store is being closed: the head may grow.
    Closing,
}

impl<S> Coordination<S> {
    pub(crate) fn new() -> Self {
        let state = State {
            flush_wanted: true,
            cleanups: VecDeque::new(),
            compactions: VecDeque::new(),
            closing: false,
            writer_task: None,
            failed_flush: None,
            writer_waits: false,
            compactor_ended: false,
            writer_ended: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State<S>) -> T) -> T {
        let done = change(&mut self.state.lock());
        self.changed.notify_all();
        done
    }

    /// Asks for a flush.
    pub(crate) fn want_flush(&self) {
        if !std::mem::replace(&mut self.state.lock().flush_wanted, true) {
            self.changed.notify_all();
        }
    }

    /// Queues a cleanup. Returns the reply if the compactor will not take it.
    pub(crate) fn clean_up(&self, plan: CleanupPlan, reply: Reply<u64>) -> Result<(), Reply<u64>> {
        self.change(|state| {
            if state.compactor_ended || state.closing {
                return Err(reply);
            }
            state.cleanups.push_back((plan, reply));
            Ok(())
        })
    }

    /// Queues a step of a compaction. Returns the reply if the compactor will not take it.
    pub(crate) fn compact(
        &self,
        end: Option<u64>,
        reply: Reply<Compacted>,
    ) -> Result<(), Reply<Compacted>> {
        self.change(|state| {
            if state.compactor_ended || state.closing {
                return Err(reply);
            }
            state.compactions.push_back((end, reply));
            Ok(())
        })
    }

    /// Finishes what was accepted and begins nothing new. Returns whether the compactor is there to
    /// do so.
    pub(crate) fn close(&self) -> bool {
        self.change(|state| {
            state.closing = true;
            !state.compactor_ended
        })
    }

    /// The compactor's next task, which it waits for if it may.
    pub(crate) fn next(&self, may_wait: bool) -> Task {
        let mut state = self.state.lock();
        loop {
            if state.flush_wanted && !state.closing {
                state.flush_wanted = false;
                return Task::Flush;
            }
            if let Some((plan, reply)) = state.cleanups.pop_front() {
                return Task::Cleanup(plan, reply);
            }
            if let Some((end, reply)) = state.compactions.pop_front() {
                return Task::Compact(end, reply);
            }
            if state.closing {
                return Task::Close;
            }
            if !may_wait {
                return Task::Idle;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Takes the request for a flush, if there is one.
    pub(crate) fn take_flush(&self) -> bool {
        std::mem::take(&mut self.state.lock().flush_wanted)
    }

    /// Reports how a flush ended.
    pub(crate) fn flushed(&self, result: Result<()>) {
        self.change(|state| state.failed_flush = result.err());
    }

    /// Records that the compactor ends. Returns whether the store is being closed.
    pub(crate) fn end_compactor(&self) -> bool {
        let (unanswered, closing) = self.change(|state| {
            state.compactor_ended = true;
            let compactions = std::mem::take(&mut state.compactions);
            ((std::mem::take(&mut state.cleanups), compactions), state.closing)
        });
        drop(unanswered);
        closing
    }

    /// Leaves a task for the writer, which the caller has to wake. The task is dropped if the writer
    /// has ended.
    pub(crate) fn leave(&self, task: WriterTask<S>) {
        self.change(|state| state.writer_task = Some(task).filter(|_| !state.writer_ended));
    }

    /// Records that the writer ends.
    pub(crate) fn end_writer(&self) {
        let task = self.change(|state| {
            state.writer_ended = true;
            state.writer_task.take()
        });
        drop(task);
    }

    pub(crate) fn writer_waits(&self) -> bool {
        self.state.lock().writer_waits
    }

    pub(crate) fn writer_task(&self) -> Option<WriterTask<S>> {
        self.state.lock().writer_task.take()
    }

    /// Asks for a flush and waits for the compactor's next task, or for the reason why none comes.
    pub(crate) fn wait_for_task(&self) -> Awaited<S> {
        let mut state = self.state.lock();
        state.failed_flush = None;
        state.flush_wanted = true;
        state.writer_waits = true;
        self.changed.notify_all();
        let awaited = loop {
            if let Some(task) = state.writer_task.take() {
                break Awaited::Task(task);
            }
            if state.closing {
                break Awaited::Closing;
            }
            if state.compactor_ended {
                break Awaited::Ended;
            }
            if let Some(error) = state.failed_flush.clone() {
                break Awaited::Failed(error);
            }
            self.changed.wait(&mut state);
        };
        state.writer_waits = false;
        awaited
    }
}
