//! An executor for one task that polls it inside `wake`, on the thread that wakes it.
//!
//! A buffer wakes its readers within the push, after it has released its locks. A tap that its waker
//! polls reads the value before the push returns: no burst is too fast for it, and no thread has to
//! be woken. A tap on an ordinary executor depends on a free thread, and 50,000 values are pushed
//! before one has started.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use annals_core::log;
use parking_lot::Mutex;

/// Not woken.
const IDLE: u8 = 0;
/// A thread polls it.
const RUNNING: u8 = 1;
/// A thread polls it, and it was woken meanwhile: the same thread polls it again.
const WOKEN: u8 = 2;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Inline {
    state: AtomicU8,
    /// `None` when it has ended. Only the thread that set `state` to `RUNNING` locks it.
    task: Mutex<Option<Task>>,
}

/// Polls `task` now, and then on each thread that wakes it.
pub(crate) fn run(task: impl Future<Output = ()> + Send + 'static) {
    let task: Task = Box::pin(task);
    let inline = Inline { state: AtomicU8::new(IDLE), task: Mutex::new(Some(task)) };
    Arc::new(inline).wake();
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let next = |state| Some(if state == IDLE { RUNNING } else { WOKEN });
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if before == Ok(IDLE) {
            self.poll();
        }
    }
}

impl Inline {
    fn poll(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        loop {
            self.poll_once(&mut context);
            let idle =
                self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if idle.is_ok() {
                return;
            }
            self.state.store(RUNNING, Ordering::Release);
        }
    }

    fn poll_once(&self, context: &mut Context<'_>) {
        let mut slot = self.task.lock();
        let Some(task) = slot.as_mut() else { return };
        // The panic of the task must not reach the thread that woke it.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        if let Ok(Poll::Pending) = polled {
            return;
        }
        let ended = slot.take();
        drop(slot);
        if polled.is_err() {
            log::error(format_args!(
                "a value panicked while it was read from its buffer: its record is no longer persisted"
            ));
        }
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_task_has_run_when_what_wakes_it_returns() {
        let (send, mut values) = mpsc::unbounded_channel();
        let (note, noted) = std::sync::mpsc::channel();
        run(async move {
            while let Some(value) = values.recv().await {
                note.send(value).unwrap();
            }
        });
        for value in 0..3 {
            send.send(value).unwrap();
            assert_eq!(noted.try_recv(), Ok(value));
        }
        drop(send);
        assert_eq!(noted.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn many_threads_wake_it_and_nothing_is_left() {
        let (send, mut values) = mpsc::unbounded_channel::<u64>();
        let sum = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let total = Arc::clone(&sum);
        run(async move {
            while let Some(value) = values.recv().await {
                total.fetch_add(value, Ordering::SeqCst);
            }
        });
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..1_000).for_each(|value| send.send(value).unwrap()));
            }
        });
        assert_eq!(sum.load(Ordering::SeqCst), 4 * 499_500);
    }

    #[test]
    fn a_panic_ends_the_task_and_not_its_waker() {
        let (send, mut values) = mpsc::unbounded_channel();
        run(async move {
            values.recv().await.unwrap();
            panic!("as expected");
        });
        send.send(1).unwrap();
        assert!(send.is_closed());
    }
}
