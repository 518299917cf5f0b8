//! Snapshot leases: what a stream holds between two pages, for a limited time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::Result;
use parking_lot::{Condvar, Mutex};

use crate::thread::JoinOnDrop;

/// Values that are held until they are taken or their time is over. A thread, the reaper, drops those
/// whose time is over.
pub(crate) struct Leases<T> {
    shared: Arc<Shared<T>>,
    /// Joined after this is dropped.
    _reaper: JoinOnDrop,
}

struct Shared<T> {
    limit: Duration,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// By number, and therefore by time.
    held: BTreeMap<u64, (Instant, T)>,
    next: u64,
    closed: bool,
}

/// A value under a lease. Dropping the lease drops the value.
pub(crate) struct Lease<T> {
    shared: Arc<Shared<T>>,
    number: u64,
}

impl<T: Send + 'static> Leases<T> {
    /// Starts the reaper.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn new(engine: &'static str, limit: Duration) -> Result<Self> {
        let state = State { held: BTreeMap::new(), next: 0, closed: false };
        let shared = Arc::new(Shared { limit, state: Mutex::new(state), changed: Condvar::new() });
        let reap = {
            let shared = shared.clone();
            move || shared.reap()
        };
        Ok(Self { shared, _reaper: JoinOnDrop::spawn(engine, "reaper", reap)? })
    }

    /// Holds a value for at most the limit.
    pub(crate) fn hold(&self, value: T) -> Lease<T> {
        let mut state = self.shared.state.lock();
        let number = state.next;
        state.next += 1;
        state.held.insert(number, (Instant::now(), value));
        drop(state);
        self.shared.changed.notify_all();
        Lease { shared: self.shared.clone(), number }
    }

    /// How long a value is held.
    pub(crate) fn limit(&self) -> Duration {
        self.shared.limit
    }
}

impl<T> Shared<T> {
    fn reap(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let left = state
                .held
                .first_key_value()
                .map(|(number, (since, _))| (*number, self.limit.saturating_sub(since.elapsed())));
            match left {
                None => self.changed.wait(&mut state),
                Some((number, Duration::ZERO)) => {
                    let expired = state.held.remove(&number);
                    drop(state);
                    drop(expired);
                    state = self.state.lock();
                }
                Some((_, left)) => drop(self.changed.wait_for(&mut state, left)),
            }
        }
    }
}

impl<T> Lease<T> {
    /// The value, if its time is not over.
    pub(crate) fn take(self) -> Option<T> {
        let (since, value) = self.shared.state.lock().held.remove(&self.number)?;
        // The reaper may be late.
        (since.elapsed() < self.shared.limit).then_some(value)
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        let value = self.shared.state.lock().held.remove(&self.number);
        // Dropping it takes a while, so not under the lock.
        drop(value);
    }
}

impl<T> Drop for Leases<T> {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Reports its end.
    struct Value(u32, Sender<u32>);

    impl Drop for Value {
        fn drop(&mut self) {
            self.1.send(self.0).unwrap();
        }
    }

    fn next(ends: &Receiver<u32>) -> u32 {
        ends.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn values_that_nobody_takes_are_dropped_in_order() {
        let (ended, ends) = channel();
        let leases = Leases::new("test", Duration::from_millis(20)).unwrap();
        let held: Vec<_> = (0..3).map(|at| leases.hold(Value(at, ended.clone()))).collect();
        assert_eq!([next(&ends), next(&ends), next(&ends)], [0, 1, 2]);
        assert!(held.into_iter().all(|lease| lease.take().is_none()));
        // The reaper continues.
        let lease = leases.hold(Value(3, ended));
        assert_eq!(next(&ends), 3);
        assert!(lease.take().is_none());
    }

    #[test]
    fn values_that_are_taken_or_dropped_in_time_are_dropped_once() {
        let (ended, ends) = channel();
        let leases = Leases::new("test", Duration::from_secs(3_600)).unwrap();
        let value = leases.hold(Value(1, ended.clone())).take().unwrap();
        assert!(ends.try_recv().is_err());
        drop(leases.hold(Value(2, ended)));
        assert_eq!(next(&ends), 2);
        drop(value);
        assert_eq!(next(&ends), 1);
        // Closing does not wait for the limit.
        drop(leases);
        assert!(ends.recv().is_err());
    }
}
