//! What the handles and the worker have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::{Notify, oneshot, watch};

use super::config::RecorderConfig;
use super::error::RecorderError;
use super::filter::{Facts, Filter, Rules};
use super::ledger::{Fate, RecordId};
use super::slice::Origin;
use super::state::{Answers, Next, Offer, Phase, State};
use super::stats::RecorderStats;
use crate::batch::{Row, check_timestamp};
use crate::error::{BackendError, ErrorKind, Outcome, PersistenceError};
use crate::json::JsonText;
use crate::name::RecordName;
use crate::query::MAX_TIMESTAMP;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RecorderConfig,
    /// The greatest time of a value captured so far.
    captured: AtomicU64,
    /// Whether any record has a filter.
    filters: AtomicBool,
    state: Mutex<State>,
    /// Wakes the worker.
    pub(super) wake: Notify,
    /// Turns true when the recorder is asked to close.
    pub(super) closing: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    /// The same as `ended`, for threads.
    ended_blocking: Condvar,
}

/// Which record a value is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    Name(&'a str),
    Id(RecordId),
}

/// A value, serialized and with its time, before the lock is taken: neither the caller's
/// `Serialize` nor its clock runs inside.
#[derive(Debug)]
pub(super) struct Offered {
    value: Result<JsonText, PersistenceError>,
    stored_at: u64,
}

/// Takes a waiting value back when its future is dropped.
struct WaitGuard<'a> {
    shared: &'a Shared,
    ticket: u64,
}

/// Takes a flush back when its future is dropped, with an answer that nobody read.
struct FlushGuard<'a> {
    shared: &'a Shared,
    ticket: u64,
    told: oneshot::Receiver<Result<(), RecorderError>>,
}

impl Shared {
    pub(super) fn new(config: RecorderConfig) -> Self {
        Self {
            filters: AtomicBool::new(!config.filters.0.is_empty()),
            config,
            captured: AtomicU64::new(0),
            state: Mutex::default(),
            wake: Notify::new(),
            closing: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            ended_blocking: Condvar::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn prepare<T: Serialize + ?Sized>(
        &self,
        value: &T,
        stored_at: Option<u64>,
    ) -> Offered {
        let value = JsonText::from_serialize(value, self.config.max_value_bytes);
        let stored_at = stored_at.unwrap_or_else(|| self.capture());
        Offered { value, stored_at }
    }

    /// The time of a value captured now: never before that of an earlier value, whatever the clock
    /// does. It is taken before anything waits, so that it says when a value was captured and not
    /// when there was room for it.
    fn capture(&self) -> u64 {
        // A clock beyond what can be stored must not make every later value one that cannot.
        let now_ms = self.config.clock.now_ms().min(MAX_TIMESTAMP);
        self.captured.fetch_max(now_ms, Ordering::Relaxed).max(now_ms)
    }

    pub(super) async fn record(
        &self,
        target: Target<'_>,
        offered: Offered,
    ) -> Result<(), RecorderError> {
        let facts = self.facts(target, &offered);
        let (told, ticket) = {
            let mut state = self.state();
            let (row, record) = self.admit(&mut state, target, offered)?;
            match state.filter(row, record, facts, &self.config) {
                Offer::NoRoom(row, judged) => {
                    let (answer, told) = oneshot::channel();
                    (told, state.wait_for_room(row, record, judged, answer))
                }
                offer => return self.offered(state, offer),
            }
        };
        let _guard = WaitGuard { shared: self, ticket };
        // The sender lives in the state until it answers.
        told.await.unwrap_or(Err(RecorderError::Closed))
    }

    pub(super) fn try_record(
        &self,
        target: Target<'_>,
        offered: Offered,
    ) -> Result<(), RecorderError> {
        let facts = self.facts(target, &offered);
        let mut state = self.state();
        let (row, record) = self.admit(&mut state, target, offered)?;
        let offer = state.filter(row, record, facts, &self.config);
        self.offered(state, offer)
    }

    /// Opens a record; with a filter, if one is given, in place of the configured one.
    pub(super) fn open(
        &self,
        name: &str,
        filter: Option<&Filter>,
    ) -> Result<(RecordId, RecordName), PersistenceError> {
        let rules = filter.map(Rules::new).transpose()?;
        let mut state = self.state();
        let record = state.ledger.open(name, &self.config.filters)?;
        if let Some(rules) = rules {
            self.filters.store(true, Ordering::Relaxed);
            if let Some(held) = state.ledger.set_rules(record, Arc::new(rules)) {
                state.push(held, record);
            }
        }
        Ok((record, state.ledger.name(record)))
    }

    /// Takes a stored value for the last one that passed the record's filter.
    pub(super) fn resume<T: Serialize + ?Sized>(
        &self,
        record: RecordId,
        value: &T,
        stored_at: u64,
    ) -> Result<(), PersistenceError> {
        let Some(rules) = self.state().ledger.rules(record) else { return Ok(()) };
        let value = JsonText::from_serialize(value, self.config.max_value_bytes)?;
        let facts = Facts::of(&rules, value.as_str());
        if let Some(gate) = self.state().ledger.gate(record) {
            gate.resume(facts, stored_at);
        }
        Ok(())
    }

    /// What the record's filter needs to know of a value, found before the lock is taken.
    fn facts(&self, target: Target<'_>, offered: &Offered) -> Option<Facts> {
        if !self.filters.load(Ordering::Relaxed) {
            return None;
        }
        let value = offered.value.as_ref().ok()?;
        let state = self.state();
        let record = match target {
            Target::Id(id) => Some(id),
            Target::Name(name) => state.ledger.find(name),
        };
        let rules = state.ledger.rules(record?)?;
        drop(state);
        Some(Facts::of(&rules, value.as_str()))
    }

    /// Checks an offered value and finds its account; what can never be stored is counted here.
    fn admit(
        &self,
        state: &mut State,
        target: Target<'_>,
        offered: Offered,
    ) -> Result<(Row, RecordId), RecorderError> {
        state.accepting()?;
        let record = match target {
            Target::Id(id) => Ok(id),
            Target::Name(name) => state.ledger.open(name, &self.config.filters),
        };
        let record = match record {
            Ok(record) => record,
            Err(refusal) => {
                state.ledger.refuse(None, Fate::Rejected);
                return Err(RecorderError::Rejected(refusal));
            }
        };
        let Offered { value, stored_at } = offered;
        match value.and_then(|value| check_timestamp(stored_at).map(|()| value)) {
            Ok(value) => Ok((Row { record: state.ledger.name(record), value, stored_at }, record)),
            Err(refusal) => {
                state.ledger.refuse(Some(record), Fate::Rejected);
                Err(RecorderError::Rejected(refusal))
            }
        }
    }

    fn offered(&self, mut state: MutexGuard<'_, State>, offer: Offer) -> Result<(), RecorderError> {
        let wake = state.should_wake(&self.config);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        match offer {
            Offer::Taken => Ok(()),
            Offer::NoRoom(..) => Err(RecorderError::Full),
            Offer::Refused(warning) => {
                self.warn_of_overflow(warning);
                Ok(())
            }
            Offer::Overflowed(warning, answers) => {
                give(answers);
                self.warn_of_overflow(warning);
                Ok(())
            }
        }
    }

    fn warn_of_overflow(&self, dropped: Option<u64>) {
        let policy = self.config.overflow;
        if let Some(dropped) = dropped {
            tracing::warn!(dropped, ?policy, "the recorder's queue is full: values dropped");
        }
    }

    pub(super) async fn flush(&self) -> Result<(), RecorderError> {
        let (answer, told) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            if let Err(stopped @ RecorderError::Stopped(_)) = state.accepting() {
                return Err(stopped);
            }
            let Some(ticket) = state.flush(answer)? else { return Ok(()) };
            ticket
        };
        let mut guard = FlushGuard { shared: self, ticket, told };
        // A batch that lingers goes now.
        self.wake.notify_one();
        (&mut guard.told).await.unwrap_or(Err(RecorderError::Closed))
    }

    pub(super) fn begin_close(&self) {
        let answers = self.state().begin_close();
        give(answers);
        self.closing.send_replace(true);
        self.wake.notify_one();
    }

    pub(super) async fn wait_ended(&self) -> Result<(), RecorderError> {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`.
        let _ = ended.wait_for(|ended| *ended).await;
        self.state().ended().unwrap_or(Ok(()))
    }

    /// Blocks until the worker has ended; false if it did nothing for `patience`.
    pub(super) fn wait_ended_blocking(&self, patience: Duration) -> bool {
        let mut state = self.state();
        loop {
            let pending = state.ledger.total().pending;
            let timeout = self.ended_blocking.wait_while_for(
                &mut state,
                |state| state.ended().is_none(),
                patience,
            );
            if !timeout.timed_out() {
                return true;
            }
            if state.ledger.total().pending == pending {
                return false;
            }
        }
    }

    /// The worker's next rows; `may_linger` if it can wait for more.
    pub(super) fn next(&self, may_linger: bool) -> Next {
        let (next, answers) = self.state().next(may_linger, &self.config);
        give(answers);
        next
    }

    pub(super) fn stored(&self, origins: &[Origin], in_flight: Option<u64>) {
        let now_ms = self.config.clock.now_ms();
        let mut state = self.state();
        state.batches += 1;
        state.last_stored_ms = Some(now_ms);
        let answers = state.resolve(origins, Fate::Stored, None, in_flight);
        drop(state);
        give(answers);
    }

    pub(super) fn resolve(
        &self,
        origins: &[Origin],
        fate: Fate,
        why: &PersistenceError,
        in_flight: Option<u64>,
    ) {
        let answers = self.state().resolve(origins, fate, Some(why), in_flight);
        give(answers);
    }

    pub(super) fn failed(&self, error: &PersistenceError) {
        let now_ms = self.config.clock.now_ms();
        self.state().last_error = Some((error.clone(), now_ms));
    }

    /// The error of a close that waited in vain. Its source is the backend's last error, if any.
    pub(super) fn timed_out(&self, message: String) -> PersistenceError {
        let last = self.state().last_error.clone();
        let message = match &last {
            Some((last, _)) => format!("{message}; the last error was: {last}"),
            None => message,
        };
        let error = BackendError::new("recorder", "close", ErrorKind::Timeout, message)
            .with_outcome(Outcome::Unknown);
        match last {
            Some((last, _)) => error.with_source(last).into(),
            None => error.into(),
        }
    }

    pub(super) fn retried(&self) {
        self.state().retries += 1;
    }

    /// The worker's last act, whatever ended it.
    pub(super) fn end(&self, reason: Option<PersistenceError>) {
        if let Some(reason) = &reason {
            tracing::error!(error = %reason, "the recorder ends before its time");
        }
        let (dropped, answers) = self.state().end(reason);
        if dropped > 0 {
            tracing::error!(dropped, "values were left when the recorder ended: dropped");
        }
        self.closing.send_replace(true);
        self.ended.send_replace(true);
        self.ended_blocking.notify_all();
        give(answers);
    }

    pub(super) fn add_lost(&self, target: Target<'_>, values: u64) {
        let mut state = self.state();
        let id = match target {
            Target::Id(id) => Some(id),
            Target::Name(name) => state.ledger.open(name, &self.config.filters).ok(),
        };
        state.ledger.lose(id, values);
    }

    pub(super) fn stats(&self) -> RecorderStats {
        let state = self.state();
        let accounts = state.ledger.accounts();
        let mut stats = RecorderStats {
            total: state.ledger.total(),
            invalid_names: state.ledger.invalid_names(),
            queued_bytes: state.queued_bytes(),
            batches: state.batches,
            retries: state.retries,
            last_stored_ms: state.last_stored_ms,
            open: matches!(state.phase, Phase::Open),
            ..RecorderStats::default()
        };
        if let Some((error, at)) = &state.last_error {
            stats.last_error = Some(error.clone());
            stats.last_error_ms = Some(*at);
        }
        drop(state);
        stats.records = accounts.into_iter().collect();
        stats
    }
}

/// Tells those who wait, never under the lock. One whose future was dropped does not listen.
fn give(answers: Answers) {
    for (answer, result) in answers {
        let _ = answer.send(result);
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let answers = state.give_up_waiting(self.ticket, &self.shared.config);
        let wake = state.should_wake(&self.shared.config);
        drop(state);
        if wake {
            self.shared.wake.notify_one();
        }
        give(answers);
    }
}

impl Drop for FlushGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        // Under the lock, or the answer could come in between.
        let unread = self.told.try_recv().ok();
        state.give_up_flush(self.ticket, unread);
    }
}
