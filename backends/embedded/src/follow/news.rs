//! Who waits for rows, and who tells them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// The number of the last block of the head that is known of.
pub(crate) struct News {
    last: watch::Sender<u64>,
    waiting: Arc<AtomicUsize>,
}

/// Counts one who waits.
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl News {
    pub(super) fn count(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn new() -> Self {
        Self { last: watch::Sender::new(0), waiting: Arc::default() }
    }

    /// A block was stored.
    pub(crate) fn arrived(&self, number: u64) {
        self.last.send_replace(number);
    }

    /// A reader has seen this block: it may be of another process.
    pub(super) fn seen(&self, number: u64) {
        self.last.send_if_modified(|last| {
            let is_news = number > *last;
            *last = number.max(*last);
            is_news
        });
    }

    /// Wakes all who wait: the store is being closed.
    pub(crate) fn closed(&self) {
        self.last.send_modify(|_| {});
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    pub(crate) fn wait(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self.waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
