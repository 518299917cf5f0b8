//! Restored values: what a record's buffer has before anything is pushed into it.
//!
//! Rings and `SingleLatest` buffers of AimDB drop what is pushed before somebody subscribes, and a
//! push would be recorded again. A restored value therefore lies beside the buffer, in a [`Slot`], and
//! each subscription made before the first push begins with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Has a restored value until something is pushed.
pub(crate) struct Slot<T> {
    value: Mutex<Option<T>>,
    /// Spares the lock when there is none.
    filled: AtomicBool,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { value: Mutex::new(None), filled: AtomicBool::new(false) })
    }

    pub(crate) fn fill(&self, value: T) {
        *self.value.lock() = Some(value);
        self.filled.store(true, Ordering::Release);
    }

    /// Called before each push.
    pub(crate) fn clear(&self) {
        if self.filled.swap(false, Ordering::AcqRel) {
            self.value.lock().take();
        }
    }

    /// The value, locked: no push is made meanwhile. `None` if there is none.
    fn lock(&self) -> Option<MutexGuard<'_, Option<T>>> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        Some(self.value.lock()).filter(|value| value.is_some())
    }
}

impl<T: Clone> Slot<T> {
    pub(crate) fn get(&self) -> Option<T> {
        self.lock()?.clone()
    }
}

/// Which subscriptions get the restored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each, as the first of its values.
    First,
    /// Each that reads before the first push.
    Latest,
    /// The one that reads first.
    Once,
}

/// The restored value for one subscription.
pub(crate) enum Restored<T> {
    /// There is none, or it was read.
    None,
    Value(T),
    Latest(Arc<Slot<T>>),
    Once(Arc<Slot<T>>),
}

impl<T: Clone> Restored<T> {
    /// Makes a subscription with `subscribe`, and what it gets of the slot.
    pub(crate) fn subscribe<S>(
        slot: &Arc<Slot<T>>,
        delivery: Delivery,
        subscribe: impl FnOnce() -> S,
    ) -> (Self, S) {
        let Some(locked) = slot.lock() else { return (Self::None, subscribe()) };
        // Under the lock, so that the first push is after the restored value.
        let subscription = subscribe();
        let restored = match (delivery, &*locked) {
            (Delivery::First, Some(value)) => Self::Value(value.clone()),
            (Delivery::Latest, _) => Self::Latest(Arc::clone(slot)),
            (Delivery::Once, _) => Self::Once(Arc::clone(slot)),
            (Delivery::First, None) => Self::None,
        };
        (restored, subscription)
    }

    /// The value to read before the subscription's own.
    pub(crate) fn take(&mut self) -> Option<T> {
        match std::mem::replace(self, Self::None) {
            Self::None => None,
            Self::Value(value) => Some(value),
            Self::Latest(slot) => slot.get(),
            Self::Once(slot) => slot.lock()?.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribed(slot: &Arc<Slot<u8>>, delivery: Delivery) -> Restored<u8> {
        Restored::subscribe(slot, delivery, || ()).0
    }

    #[test]
    fn a_ring_delivers_it_to_each_early_subscription() {
        let slot = Slot::new();
        slot.fill(7);
        let [mut a, mut b] = [0, 1].map(|_| subscribed(&slot, Delivery::First));
        assert_eq!((a.take(), a.take()), (Some(7), None));
        slot.clear();
        assert_eq!(b.take(), Some(7), "it was first");
        assert_eq!(subscribed(&slot, Delivery::First).take(), None);
    }

    #[test]
    fn a_latest_value_is_overwritten_and_a_letter_read_once() {
        let slot = Slot::new();
        slot.fill(7);
        let [mut a, mut b] = [0, 1].map(|_| subscribed(&slot, Delivery::Latest));
        assert_eq!(a.take(), Some(7));
        slot.clear();
        assert_eq!(b.take(), None);

        slot.fill(8);
        let [mut a, mut b] = [0, 1].map(|_| subscribed(&slot, Delivery::Once));
        assert_eq!((b.take(), a.take(), slot.get()), (Some(8), None, None));
    }
}
