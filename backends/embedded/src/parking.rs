//! What streams hold between two pages, for a limited time where one is set.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cache::lock;

/// Where things stand until they are taken or their time is over. A thread of its own lets them go:
/// nobody else may come by.
pub(crate) struct Parking<T> {
    lot: Arc<Lot<T>>,
    warden: Option<JoinHandle<()>>,
}

struct Lot<T> {
    limit: Duration,
    places: Mutex<Places<T>>,
    changed: Condvar,
}

struct Places<T> {
    /// In order of time.
    taken: BTreeMap<u64, (Instant, T)>,
    next: u64,
    closed: bool,
}

/// A place. Dropping it lets go of what stands there.
pub(crate) struct Parked<T> {
    lot: Arc<Lot<T>>,
    place: u64,
}

impl<T: Send + 'static> Parking<T> {
    /// `spawn` starts the thread.
    pub(crate) fn new<E>(
        limit: Duration,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<JoinHandle<()>, E>,
    ) -> Result<Self, E> {
        let places = Places { taken: BTreeMap::new(), next: 0, closed: false };
        let lot = Arc::new(Lot { limit, places: Mutex::new(places), changed: Condvar::new() });
        let warden = spawn(Box::new({
            let lot = lot.clone();
            move || lot.watch()
        }))?;
        Ok(Self { lot, warden: Some(warden) })
    }

    pub(crate) fn park(&self, what: T) -> Parked<T> {
        let mut places = lock(&self.lot.places);
        let place = places.next;
        places.next += 1;
        places.taken.insert(place, (Instant::now(), what));
        drop(places);
        self.lot.changed.notify_all();
        Parked { lot: self.lot.clone(), place }
    }

    /// How long a thing may stand here.
    pub(crate) fn limit(&self) -> Duration {
        self.lot.limit
    }
}

impl<T> Lot<T> {
    fn watch(&self) {
        let mut places = lock(&self.places);
        while !places.closed {
            let left = places
                .taken
                .first_key_value()
                .map(|(place, (since, _))| (*place, self.limit.saturating_sub(since.elapsed())));
            places = match left {
                None => self.changed.wait(places).unwrap_or_else(PoisonError::into_inner),
                Some((place, Duration::ZERO)) => {
                    let gone = places.taken.remove(&place);
                    drop(places);
                    drop(gone);
                    lock(&self.places)
                }
                Some((_, left)) => {
                    let waited = self.changed.wait_timeout(places, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl<T> Parked<T> {
    /// What stands there, if its time is not over.
    pub(crate) fn take(self) -> Option<T> {
        let (since, what) = lock(&self.lot.places).taken.remove(&self.place)?;
        // The thread may be late.
        (since.elapsed() < self.lot.limit).then_some(what)
    }
}

impl<T> Drop for Parked<T> {
    fn drop(&mut self) {
        let gone = lock(&self.lot.places).taken.remove(&self.place);
        // Not under the lock: that may take a while.
        drop(gone);
    }
}

impl<T> Drop for Parking<T> {
    fn drop(&mut self) {
        lock(&self.lot.places).closed = true;
        self.lot.changed.notify_all();
        if let Some(warden) = self.warden.take()
            && warden.join().is_err()
        {
            tracing::error!("the thread that lets go of idle snapshots had panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Tells of its end.
    struct Thing(u32, Sender<u32>);

    impl Drop for Thing {
        fn drop(&mut self) {
            self.1.send(self.0).unwrap();
        }
    }

    fn next(ends: &Receiver<u32>) -> u32 {
        ends.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn parking(limit: Duration) -> Parking<Thing> {
        Parking::new(limit, |work| Ok::<_, ()>(std::thread::spawn(work))).unwrap()
    }

    #[test]
    fn what_nobody_takes_goes_in_its_turn_and_the_rest_stays() {
        let (ended, ends) = channel();
        let parking = parking(Duration::from_millis(20));
        let places: Vec<_> = (0..3).map(|at| parking.park(Thing(at, ended.clone()))).collect();
        assert_eq!([next(&ends), next(&ends), next(&ends)], [0, 1, 2]);
        assert!(places.into_iter().all(|place| place.take().is_none()));
        // The thread is still there.
        let place = parking.park(Thing(3, ended));
        assert_eq!(next(&ends), 3);
        assert!(place.take().is_none());
    }

    #[test]
    fn what_is_taken_or_dropped_in_time_is_not_let_go_twice() {
        let (ended, ends) = channel();
        let parking = parking(Duration::from_secs(3_600));
        let thing = parking.park(Thing(1, ended.clone())).take().unwrap();
        assert!(ends.try_recv().is_err());
        drop(parking.park(Thing(2, ended)));
        assert_eq!(next(&ends), 2);
        drop(thing);
        assert_eq!(next(&ends), 1);
        // And waits for none of it.
        drop(parking);
        assert!(ends.recv().is_err());
    }
}
