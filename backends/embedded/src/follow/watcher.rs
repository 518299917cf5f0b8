//! Notices what other processes store, while somebody waits for it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::page::last_number;
use crate::engine::{Engine, Snapshot};
use crate::read::Caches;
use crate::thread::JoinOnDrop;

/// How often the file is looked at. An idle one less and less often.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(100);

/// A thread that looks at the tables from time to time. It starts with the first who waits, and sleeps
/// while nobody does. The writer of this process tells its own news.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinOnDrop>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    woken: bool,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), thread: Mutex::default() }
    }

    /// Somebody waits.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(crate) fn wake<E: Engine>(
        &self,
        engine: &Arc<E>,
        caches: &Arc<Caches>,
    ) -> annals_core::Result<()> {
        self.shared.state.lock().woken = true;
        self.shared.changed.notify_all();
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let (shared, engine, caches) = (self.shared.clone(), engine.clone(), caches.clone());
            let name = caches.engine;
            let watch = move || shared.watch(&*engine, &caches);
            *thread = Some(JoinOnDrop::spawn(name, "watcher", watch)?);
        }
        Ok(())
    }

    /// Ends the thread, and returns it to be joined or detached.
    pub(crate) fn close(&self) -> Option<JoinOnDrop> {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_all();
        self.thread.lock().take()
    }
}

impl Shared {
    fn watch<E: Engine>(&self, engine: &E, caches: &Caches) {
        let mut interval = SHORTEST;
        let mut known = 0;
        loop {
            {
                let mut state = self.state.lock();
                while !state.closed && !state.woken && caches.news.count() == 0 {
                    self.changed.wait(&mut state);
                    interval = SHORTEST;
                }
                if !state.closed {
                    self.changed.wait_for(&mut state, interval);
                }
                if state.closed {
                    return;
                }
                state.woken = false;
            }
            let last = engine
                .snapshot()
                .and_then(|snapshot| last_number(caches.engine, snapshot.tables()?));
            match last {
                Ok(last) => {
                    interval = if last > known { SHORTEST } else { (2 * interval).min(LONGEST) };
                    known = last;
                    caches.news.seen(last);
                }
                // Who reads next gets the error.
                Err(_) => {
                    interval = LONGEST;
                    caches.news.closed();
                }
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.close());
    }
}
