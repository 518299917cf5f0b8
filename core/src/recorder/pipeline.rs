//! The owner of a running recorder: what its handles share.
//!
//! A value enters from a handle, is serialized and gets its time on the caller's thread, and leaves
//! as an offer to the [`Queue`]. The thread that takes it from there starts and ends here.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::config::RecorderConfig;
use super::delivery::Worker;
use super::error::RecorderError;
use super::filter::{Facts, Filter, Rules};
use super::queue::{Fate, Queue, RecordId, Stage, State, Target, Ticket};
use crate::backend::PersistenceBackend;
use crate::batch::{Row, check_timestamp};
use crate::error::{BackendError, ErrorKind, PersistenceError};
use crate::json::JsonText;
use crate::name::RecordName;
use crate::query::MAX_TIMESTAMP;

/// How much longer than the worker itself the last handle waits for it. Only a backend that blocks
/// its thread makes the difference.
const GRACE: Duration = Duration::from_secs(5);

/// A running recorder. Its handles share one; the last one's drop drains.
pub(super) struct Pipeline {
    pub(super) queue: Arc<Queue>,
    /// The greatest time of a value captured so far.
    captured: AtomicU64,
    /// Whether any record has a filter.
    filters: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

/// A value, serialized and with its time, before the lock is taken: neither the caller's
/// `Serialize` nor its clock runs inside.
struct Offered {
    value: Result<JsonText, PersistenceError>,
    stored_at: u64,
}

/// The worker's runtime: everything tokio was built with, since a backend may open its connections
/// here.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

impl Pipeline {
    pub(super) fn start(
        backend: Arc<dyn PersistenceBackend>,
        config: RecorderConfig,
        runtime: fn() -> io::Result<Runtime>,
    ) -> Self {
        let filters = AtomicBool::new(!config.filters.0.is_empty());
        let queue = Arc::new(Queue::new(config));
        let own = Arc::clone(&queue);
        let work = move || {
            let work = AssertUnwindSafe(|| deliver(&own, backend, runtime));
            let reason = catch_unwind(work).unwrap_or_else(|_| Some(broken("its thread panicked")));
            own.end(reason);
        };
        let thread = thread::Builder::new().name("annals-recorder".to_owned()).spawn(work).ok();
        if thread.is_none() {
            queue.end(Some(broken("its thread did not start")));
        }
        Self { queue, captured: AtomicU64::new(0), filters, thread }
    }

    /// See [`Recorder::record`](super::Recorder::record) and
    /// [`Recorder::record_at`](super::Recorder::record_at).
    pub(super) fn record<'a, T: Serialize + ?Sized>(
        &'a self,
        target: Target<'a>,
        value: &T,
        stored_at: Option<u64>,
    ) -> impl Future<Output = Result<(), RecorderError>> + Send + use<'a, T> {
        let offered = self.prepare(value, stored_at);
        async move { self.queue.answer(self.offer(target, offered, true)?).await }
    }

    pub(super) fn try_record<T: Serialize + ?Sized>(
        &self,
        target: Target<'_>,
        value: &T,
        stored_at: Option<u64>,
    ) -> Result<(), RecorderError> {
        self.offer(target, self.prepare(value, stored_at), false).map(drop)
    }

    fn prepare<T: Serialize + ?Sized>(&self, value: &T, stored_at: Option<u64>) -> Offered {
        let value = JsonText::from_serialize(value, self.queue.config.max_value_bytes);
        let stored_at = stored_at.unwrap_or_else(|| self.capture());
        Offered { value, stored_at }
    }

    /// The time of a value captured now: never before that of an earlier value, whatever the clock
    /// does. It is taken before anything waits, so that it says when a value was captured and not
    /// when there was room for it.
    fn capture(&self) -> u64 {
        // A clock beyond what can be stored must not make every later value one that cannot.
        let now_ms = self.queue.config.clock.now_ms().min(MAX_TIMESTAMP);
        self.captured.fetch_max(now_ms, Ordering::Relaxed).max(now_ms)
    }

    /// What the record's filter needs to know of a value, found before the lock is taken.
    fn facts(&self, target: Target<'_>, offered: &Offered) -> Option<Facts> {
        if !self.filters.load(Ordering::Relaxed) {
            return None;
        }
        let value = offered.value.as_ref().ok()?;
        let rules = self.queue.with(|state| state.ledger.rules(state.ledger.find(target)?))?;
        Some(Facts::of(&rules, value.as_str()))
    }

    /// Offers a value to the queue; what can never be stored is counted here.
    fn offer(
        &self,
        target: Target<'_>,
        offered: Offered,
        may_wait: bool,
    ) -> Result<Option<Ticket>, RecorderError> {
        let facts = self.facts(target, &offered);
        self.queue.with(|state| {
            state.accepting()?;
            let Offered { value, stored_at } = offered;
            let record = state.ledger.open(target);
            let checked = record.clone().and_then(|id| {
                let value = value?;
                check_timestamp(stored_at)?;
                Ok((Row { record: state.ledger.name(id), value, stored_at }, id))
            });
            match checked {
                Ok((row, record)) => state.offer(row, record, facts, may_wait),
                Err(refusal) => {
                    state.ledger.refuse(record.ok(), Fate::Rejected);
                    Err(RecorderError::Rejected(refusal))
                }
            }
        })
    }

    /// Opens a record; with a filter, if one is given, in place of the configured one.
    pub(super) fn open(
        &self,
        name: &str,
        filter: Option<&Filter>,
    ) -> Result<(RecordId, RecordName), PersistenceError> {
        let rules = filter.map(Rules::new).transpose()?;
        self.queue.with(|state| {
            let record = state.ledger.open(Target::Name(name))?;
            if let Some(rules) = rules {
                self.filters.store(true, Ordering::Relaxed);
                if let Some(held) = state.ledger.set_rules(record, Arc::new(rules)) {
                    state.push(held, record);
                }
            }
            Ok((record, state.ledger.name(record)))
        })
    }

    /// Takes a stored value for the last one that passed the record's filter.
    pub(super) fn resume<T: Serialize + ?Sized>(
        &self,
        record: RecordId,
        value: &T,
        stored_at: u64,
    ) -> Result<(), PersistenceError> {
        let rules = self.queue.with(|state| state.ledger.rules(record));
        let Some(rules) = rules else { return Ok(()) };
        let value = JsonText::from_serialize(value, self.queue.config.max_value_bytes)?;
        let facts = Facts::of(&rules, value.as_str());
        self.queue.with(|state| {
            if let Some(gate) = state.ledger.gate(record) {
                gate.resume(facts, stored_at);
            }
        });
        Ok(())
    }

    pub(super) fn add_lost(&self, target: Target<'_>, values: u64) {
        self.queue.with(|state| {
            let record = state.ledger.open(target).ok();
            state.ledger.lose(record, values);
        });
    }

    /// See [`Recorder::flush`](super::Recorder::flush).
    pub(super) async fn flush(&self) -> Result<(), RecorderError> {
        self.queue.answer(self.queue.with(State::flush)?).await
    }

    /// See [`Recorder::close`](super::Recorder::close).
    pub(super) async fn close(&self) -> Result<(), RecorderError> {
        self.queue.begin_close();
        // Only another thread can tell that the recorder's own is blocked, whatever the executor.
        let (answer, told) = oneshot::channel();
        let (queue, patience) = (Arc::clone(&self.queue), self.patience());
        let waiting = thread::Builder::new().name("annals-close".to_owned());
        let waiting = waiting.spawn(move || answer.send(queue.wait_ended_blocking(patience)));
        if waiting.is_ok()
            && let Ok(Err(pending)) = told.await
        {
            let message = format!("the backend blocks: {pending} values are still pending");
            return Err(RecorderError::Stopped(self.queue.timed_out(message)));
        }
        self.queue.reached(Stage::Ended).await;
        self.queue.with(|state| state.ended()).unwrap_or(Ok(()))
    }

    fn patience(&self) -> Duration {
        self.queue.config.drain_timeout.saturating_add(GRACE)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.queue.begin_close();
        let Some(thread) = self.thread.take() else { return };
        // A backend that holds a handle of its own recorder drops it on the recorder's thread,
        // which cannot wait for itself.
        if thread.thread().id() == thread::current().id() {
            return;
        }
        match self.queue.wait_ended_blocking(self.patience()) {
            // It has ended, and a panic is reported as the reason.
            Ok(()) => drop(thread.join()),
            Err(pending) => {
                tracing::error!(pending, "the recorder's backend blocks: values are left behind");
            }
        }
    }
}

/// What the thread does: lets go of the backend, and says why if it ended before its time. It is no
/// [`RuntimeThread`](crate::RuntimeThread), since the account ends after its runtime.
fn deliver(
    queue: &Arc<Queue>,
    backend: Arc<dyn PersistenceBackend>,
    runtime: fn() -> io::Result<Runtime>,
) -> Option<PersistenceError> {
    match runtime() {
        Ok(runtime) => {
            let worker = Worker::new(Arc::clone(queue), backend);
            let reason = runtime.block_on(worker.run());
            // Not to wait for tasks that a backend left there.
            runtime.shutdown_background();
            reason
        }
        Err(error) => Some(broken(&format!("its runtime did not start: {error}"))),
    }
}

fn broken(what: &str) -> PersistenceError {
    BackendError::new("recorder", "run", ErrorKind::Other, what).into()
}
