//! Room for queries: short answers apart from streamed ones, and the stalled ones go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use crate::access::QueryPermit;
use crate::config::Config;

/// How long a query waits before a stalled answer has to go for it.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// So many times as many queries may wait as may run.
const WAITING: usize = 4;

/// Which room a query takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer is made before it is sent.
    Lookup,
    /// The answer is read from the store while it is sent.
    Stream,
    /// The answer goes on with what is stored.
    Follower,
}

/// The queries that run and wait.
#[derive(Debug)]
pub(crate) struct Queries {
    lookups: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    most_followers: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    /// How long an answer must have stalled to be sent away under pressure.
    stalled: Duration,
    open: Mutex<Vec<Arc<Answer>>>,
}

/// The room of one query. The last clone gives it back.
#[derive(Debug, Clone)]
pub(crate) struct Slot(Arc<Room>);

#[derive(Debug)]
struct Room {
    queries: Arc<Queries>,
    answer: Arc<Answer>,
    _room: OwnedSemaphorePermit,
    _of_token: QueryPermit,
}

/// A streamed answer.
#[derive(Debug, Default)]
struct Answer {
    /// Since when its client takes nothing.
    since: Mutex<Option<Instant>>,
    go: Notify,
}

impl Queries {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            lookups: Arc::new(Semaphore::new(config.max_lookups)),
            streams: Arc::new(Semaphore::new(config.max_streams)),
            followers: Arc::new(Semaphore::new(config.max_followers)),
            most_followers: config.max_followers,
            waiting: AtomicUsize::new(0),
            most_waiting: WAITING * (config.max_lookups + config.max_streams),
            stalled: config.stall_timeout / 6,
            open: Mutex::default(),
        })
    }

    /// How many queries wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many streamed answers are open.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().len()
    }

    /// How many followers there are.
    pub(crate) fn followers(&self) -> usize {
        self.most_followers.saturating_sub(self.followers.available_permits())
    }

    /// Waits for room until `deadline`. Followers do not go for others, so nobody waits for theirs.
    pub(super) async fn enter(
        self: &Arc<Self>,
        kind: Kind,
        of_token: QueryPermit,
        deadline: Instant,
    ) -> Option<Slot> {
        let room = match kind {
            Kind::Lookup => &self.lookups,
            Kind::Stream => &self.streams,
            Kind::Follower => &self.followers,
        };
        let room = match room.clone().try_acquire_owned() {
            Ok(room) => room,
            Err(_) if kind == Kind::Follower => return None,
            Err(_) => self.wait_for(room.clone(), deadline).await?,
        };
        let answer = Arc::new(Answer::default());
        if kind == Kind::Stream {
            self.open.lock().push(answer.clone());
        }
        let queries = self.clone();
        Some(Slot(Arc::new(Room { queries, answer, _room: room, _of_token: of_token })))
    }

    async fn wait_for(
        &self,
        room: Arc<Semaphore>,
        deadline: Instant,
    ) -> Option<OwnedSemaphorePermit> {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if before >= self.most_waiting {
            return None;
        }
        let mut acquired = std::pin::pin!(room.acquire_owned());
        loop {
            tokio::select! {
                room = &mut acquired => return room.ok(),
                () = sleep_until(deadline) => return None,
                () = sleep(PATIENCE) => self.send_away(),
            }
        }
    }

    /// Ends the answer that has stalled for longest, if one has for long enough.
    pub(super) fn send_away(&self) {
        let open = self.open.lock();
        let stalled = open.iter().filter_map(|answer| Some(((*answer.since.lock())?, answer)));
        if let Some((since, answer)) = stalled.min_by_key(|(since, _)| *since)
            && since.elapsed() >= self.stalled
        {
            *answer.since.lock() = None;
            answer.go.notify_one();
        }
    }
}

impl Slot {
    /// Notes that the client takes nothing at the moment, or does again.
    pub(crate) fn stalls(&self, stalls: bool) {
        *self.0.answer.since.lock() = stalls.then(Instant::now);
    }

    /// Resolves when the answer has to end for others.
    pub(crate) async fn sent_away(&self) {
        self.0.answer.go.notified().await;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queries.open.lock().retain(|answer| !Arc::ptr_eq(answer, &self.answer));
    }
}
