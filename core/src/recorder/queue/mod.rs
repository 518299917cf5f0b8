//! The queue between the handles and the worker: what one lock guards.
//!
//! A value enters with its record, passes the record's filter, and becomes a row that waits for its
//! batch. The worker takes batches out, and brings back the fate of each row. At every moment the
//! account of every value balances, and whoever waits for room or for a fate is answered in turn.

mod ledger;
mod report;
mod rows;
mod state;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot, watch};

use super::config::RecorderConfig;
use super::error::RecorderError;
use super::stats::RecorderStats;
use crate::error::{BackendError, ErrorKind, Outcome, PersistenceError};

pub(super) use ledger::{Fate, Origin, RecordId, Target};
pub(super) use rows::Entry;
pub(super) use state::{Sleep, State};

pub(super) struct Queue {
    pub(super) config: Arc<RecorderConfig>,
    state: Mutex<State>,
    /// Wakes the worker.
    pub(super) wake: Notify,
    stage: watch::Sender<Stage>,
    /// The same as the stage `Ended`, for threads.
    ended: Condvar,
}

/// The number of one who waits, and the other end of an [`Answer`](report::Answer).
pub(super) type Ticket = (u64, oneshot::Receiver<report::Outcome>);

/// Waits for an answer; gives it up when dropped.
struct Wait<'a> {
    queue: &'a Queue,
    ticket: Ticket,
}

/// How far the recorder is, for those who wait without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Open,
    Closing,
    Ended,
}

impl Queue {
    pub(super) fn new(config: RecorderConfig) -> Self {
        let config = Arc::new(config);
        Self {
            state: Mutex::new(State::new(Arc::clone(&config))),
            config,
            wake: Notify::new(),
            stage: watch::Sender::new(Stage::Open),
            ended: Condvar::new(),
        }
    }

    /// Runs `change` under the lock. What it makes due is done without the lock, since a waker is
    /// somebody else's code: the worker is woken, answers are given, a warning is logged.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        let wake = state.should_wake();
        let answers = std::mem::take(&mut state.answers);
        let warning = state.warning.take();
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        for (answer, result) in answers {
            // Its future was dropped meanwhile.
            if let Err(unread) = answer.send(result) {
                self.state.lock().reports.unread(unread);
            }
        }
        if let Some(dropped) = warning {
            let policy = self.config.overflow;
            tracing::warn!(dropped, ?policy, "the recorder's queue is full: values dropped");
        }
        result
    }

    /// Waits for the answer if there is something to wait for. Dropping the future gives it up; an
    /// answer that nobody read is for the next flush to report.
    pub(super) async fn answer(&self, ticket: Option<Ticket>) -> Result<(), RecorderError> {
        let Some(ticket) = ticket else { return Ok(()) };
        let mut wait = Wait { queue: self, ticket };
        // The sender lives in the state until it answers.
        (&mut wait.ticket.1).await.unwrap_or(Err(RecorderError::Closed))?.into_result()
    }

    /// Accepts nothing more. What waits for room was not accepted and goes back to its callers.
    pub(super) fn begin_close(&self) {
        self.with(State::begin_close);
        // It may have ended before.
        self.stage.send_modify(|stage| *stage = Stage::Closing.max(*stage));
    }

    /// The worker's last act, whatever ended it.
    pub(super) fn end(&self, reason: Option<PersistenceError>) {
        if let Some(reason) = &reason {
            tracing::error!(error = %reason, "the recorder ends before its time");
        }
        let dropped = self.state.lock().end(reason);
        if dropped > 0 {
            tracing::error!(dropped, "values were left when the recorder ended: dropped");
        }
        self.stage.send_replace(Stage::Ended);
        self.ended.notify_all();
        // Only now are the answers given: the end is known even if a waker panics.
        self.with(|_| ());
    }

    /// Waits until the recorder is closing, or has ended.
    pub(super) async fn reached(&self, stage: Stage) {
        // The sender lives as long as `self`.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Blocks until the worker has ended. If it does nothing for `patience`, the error is the number
    /// of values that are still pending.
    pub(super) fn wait_ended_blocking(&self, patience: Duration) -> Result<(), u64> {
        let mut state = self.state.lock();
        loop {
            let pending = state.ledger.total.pending;
            let waits = |state: &mut State| state.ended().is_none();
            if !self.ended.wait_while_for(&mut state, waits, patience).timed_out() {
                return Ok(());
            }
            if state.ledger.total.pending == pending {
                return Err(pending);
            }
        }
    }

    /// The error of a close that waited in vain. Its source is the backend's last error, if any.
    pub(super) fn timed_out(&self, message: String) -> PersistenceError {
        let last = self.with(|state| state.stats.last_error.clone());
        let message = match &last {
            Some(last) => format!("{message}; the last error was: {last}"),
            None => message,
        };
        let error = BackendError::new("recorder", "close", ErrorKind::Timeout, message)
            .with_outcome(Outcome::Unknown);
        match last {
            Some(last) => error.with_source(last).into(),
            None => error.into(),
        }
    }

    pub(super) fn stats(&self) -> RecorderStats {
        let (mut stats, accounts) = self.with(|state| (state.stats(), state.ledger.accounts()));
        stats.records = accounts.into_iter().collect();
        stats
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let (ticket, told) = &mut self.ticket;
        // From here on an answer cannot be given: who tries takes it back.
        told.close();
        let unread = told.try_recv();
        self.queue.with(|state| {
            state.give_up(*ticket);
            if let Ok(unread) = unread {
                state.reports.unread(unread);
            }
        });
    }
}
