//! What the writer's thread and the folding thread ask of each other.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use annals_core::{CleanupPlan, PersistenceError};

use crate::cache::lock;
use crate::store::Store;
use crate::writer::Reply;

/// A short piece of work that the folding has for the writer, who alone writes.
pub(crate) type Errand<W> = Box<dyn FnOnce(&mut Store<W>) + Send>;

/// The desk between the two threads.
pub(crate) struct Tasks<W> {
    desk: Mutex<Desk<W>>,
    changed: Condvar,
}

struct Desk<W> {
    fold: bool,
    cleanups: VecDeque<(CleanupPlan, Reply<u64>)>,
    closing: bool,
    errand: Option<Errand<W>>,
    /// How the last folding failed, if it did.
    failed: Option<PersistenceError>,
    /// The writer does nothing until the head is smaller.
    writer_waits: bool,
    /// The folding thread has ended; nobody will come.
    ended: bool,
    /// The writer's thread has ended.
    writer_ended: bool,
}

/// What the folding thread does next.
pub(crate) enum Task {
    Fold,
    Cleanup(CleanupPlan, Reply<u64>),
    Close,
    /// Nothing that anybody waits for.
    Idle,
}

impl<W> Tasks<W> {
    pub(crate) fn new() -> Self {
        let desk = Desk {
            fold: true,
            cleanups: VecDeque::new(),
            closing: false,
            errand: None,
            failed: None,
            writer_waits: false,
            ended: false,
            writer_ended: false,
        };
        Self { desk: Mutex::new(desk), changed: Condvar::new() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Desk<W>) -> T) -> T {
        let done = change(&mut lock(&self.desk));
        self.changed.notify_all();
        done
    }

    fn wait<'a>(&self, desk: MutexGuard<'a, Desk<W>>) -> MutexGuard<'a, Desk<W>> {
        self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a folding.
    pub(crate) fn want_fold(&self) {
        let mut desk = lock(&self.desk);
        if !desk.fold {
            desk.fold = true;
            drop(desk);
            self.changed.notify_all();
        }
    }

    /// Queues a cleanup; gives the reply back if nobody will come for it.
    pub(crate) fn clean_up(&self, plan: CleanupPlan, reply: Reply<u64>) -> Result<(), Reply<u64>> {
        self.change(|desk| {
            if desk.ended || desk.closing {
                return Err(reply);
            }
            desk.cleanups.push_back((plan, reply));
            Ok(())
        })
    }

    /// What has been accepted is finished, and nothing new begun. Answers whether there is a
    /// folding thread to see to it.
    pub(crate) fn close(&self) -> bool {
        self.change(|desk| {
            desk.closing = true;
            !desk.ended
        })
    }

    /// The next task of the folding thread, which may wait for it.
    pub(crate) fn next(&self, may_wait: bool) -> Task {
        let mut desk = lock(&self.desk);
        loop {
            if desk.fold && !desk.closing {
                desk.fold = false;
                return Task::Fold;
            }
            if let Some((plan, reply)) = desk.cleanups.pop_front() {
                return Task::Cleanup(plan, reply);
            }
            if desk.closing {
                return Task::Close;
            }
            if !may_wait {
                return Task::Idle;
            }
            desk = self.wait(desk);
        }
    }

    /// Whether a folding is due in the middle of something else.
    pub(crate) fn take_fold(&self) -> bool {
        let mut desk = lock(&self.desk);
        std::mem::take(&mut desk.fold)
    }

    /// Says how a folding ended.
    pub(crate) fn folded(&self, result: Result<(), PersistenceError>) {
        self.change(|desk| desk.failed = result.err());
    }

    /// The folding thread ends. Answers whether the store is being closed.
    pub(crate) fn end(&self) -> bool {
        let (unanswered, closing) = self.change(|desk| {
            desk.ended = true;
            (std::mem::take(&mut desk.cleanups), desk.closing)
        });
        drop(unanswered);
        closing
    }

    /// Leaves an errand for the writer, who is to be woken. It is dropped if there is no writer.
    pub(crate) fn leave(&self, errand: Errand<W>) {
        self.change(|desk| desk.errand = Some(errand).filter(|_| !desk.writer_ended));
    }

    /// The writer's thread ends.
    pub(crate) fn end_writer(&self) {
        let errand = self.change(|desk| {
            desk.writer_ended = true;
            desk.errand.take()
        });
        drop(errand);
    }

    pub(crate) fn writer_waits(&self) -> bool {
        lock(&self.desk).writer_waits
    }

    pub(crate) fn errand(&self) -> Option<Errand<W>> {
        lock(&self.desk).errand.take()
    }

    /// Waits for the folding: an errand, or an error that says why there will be none. `None` when
    /// waiting makes no sense since the store closes.
    pub(crate) fn wait_for_errand(&self) -> Option<Result<Errand<W>, Failed>> {
        let mut desk = lock(&self.desk);
        desk.failed = None;
        desk.fold = true;
        desk.writer_waits = true;
        self.changed.notify_all();
        let answer = loop {
            if let Some(errand) = desk.errand.take() {
                break Some(Ok(errand));
            }
            if desk.closing {
                break None;
            }
            if desk.ended {
                break Some(Err(Failed::Ended));
            }
            if let Some(error) = desk.failed.clone() {
                break Some(Err(Failed::With(error)));
            }
            desk = self.wait(desk);
        };
        desk.writer_waits = false;
        answer
    }
}

/// Why the head is not being folded.
pub(crate) enum Failed {
    With(PersistenceError),
    Ended,
}
