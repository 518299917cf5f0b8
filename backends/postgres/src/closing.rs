//! The deadline of everything that is under way once the backend is closed.

use std::time::Duration;

use annals_core::{BackendError, Batch, ErrorKind, Outcome, PersistenceError, Result};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::error::{self, Native, Phase};

/// When everything ends, and which batches were abandoned then.
pub(crate) struct Closing {
    deadline: watch::Sender<Option<Instant>>,
    abandoned: Mutex<Abandoned>,
}

/// Batches that were accepted and are not known to be stored.
#[derive(Default)]
struct Abandoned {
    batches: usize,
    rows: usize,
    /// The batches whose commit was sent and not answered.
    unknown: usize,
    /// What the last of them was told.
    last_error: String,
}

impl Closing {
    pub(crate) fn new() -> Self {
        Self { deadline: watch::Sender::new(None), abandoned: Mutex::default() }
    }

    /// Sets the deadline. Only the first call does.
    pub(crate) fn begin(&self, limit: Duration) {
        // The configuration is checked: the limit is a few weeks at most.
        let deadline = Instant::now() + limit;
        self.deadline.send_if_modified(|set| set.is_none() && set.replace(deadline).is_none());
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline(self.deadline.subscribe())
    }

    /// Counts a batch that was answered with an error after the deadline.
    pub(crate) fn note(&self, batch: &Batch, error: &PersistenceError) {
        if !self.deadline().has_passed() {
            return;
        }
        let mut abandoned = self.abandoned.lock();
        abandoned.batches += 1;
        abandoned.rows += batch.rows().len();
        abandoned.unknown += usize::from(error.outcome() == Outcome::Unknown);
        abandoned.last_error = error.to_string();
    }

    /// The result of `close`, when everything has ended.
    pub(crate) fn result(&self) -> Result<()> {
        let abandoned = self.abandoned.lock();
        let Abandoned { batches, rows, unknown, ref last_error } = *abandoned;
        if batches == 0 {
            return Ok(());
        }
        let message = format!(
            "the server did not store everything within `close_timeout`: of {batches} batches \
             ({rows} rows), {} were certainly not stored, and the outcome of {unknown} is unknown; the last error: \
             {last_error}",
            batches - unknown
        );
        let outcome = if unknown > 0 { Outcome::Unknown } else { Outcome::NotApplied };
        let error = BackendError::new(error::ENGINE, "close", ErrorKind::Timeout, message);
        Err(error.with_outcome(outcome).into())
    }
}

/// The time at which waiting ends. There is none until the backend is closed.
#[derive(Clone)]
pub(crate) struct Deadline(watch::Receiver<Option<Instant>>);

impl Deadline {
    pub(crate) fn has_passed(&self) -> bool {
        self.0.borrow().is_some_and(|deadline| deadline <= Instant::now())
    }

    pub(crate) async fn passed(&self) {
        let mut deadline = self.0.clone();
        let set = deadline.wait_for(Option::is_some).await.map(|set| *set);
        match set {
            Ok(Some(deadline)) => sleep_until(deadline).await,
            // The backend is gone, and with it the thread that would wait here.
            _ => std::future::pending().await,
        }
    }

    /// The error of an operation that was under way at the deadline.
    pub(crate) fn error(operation: &'static str, phase: Phase) -> PersistenceError {
        let message =
            "the backend was closed, and the server did not answer within `close_timeout`";
        error::timeout(operation, Native::Timeout, phase, message)
    }
}
