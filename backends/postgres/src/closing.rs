//! The end of waiting, once the backend is closed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use annals_core::{BackendError, Batch, ErrorKind, Outcome, PersistenceError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::error::{self, Native, Phase};

/// When everything ends, and what was given up then.
pub(crate) struct Closing {
    deadline: watch::Sender<Option<Instant>>,
    given_up: Mutex<GivenUp>,
}

/// What was accepted and is not known to be stored.
#[derive(Default)]
struct GivenUp {
    batches: usize,
    rows: usize,
    /// Those of the batches whose commit had been sent.
    unknown: usize,
}

impl Closing {
    pub(crate) fn new() -> Self {
        Self { deadline: watch::Sender::new(None), given_up: Mutex::default() }
    }

    /// Whoever closes first says when.
    pub(crate) fn begin(&self, limit: Duration) {
        // Configurations are checked: it is no more than some weeks.
        let deadline = Instant::now() + limit;
        self.deadline.send_if_modified(|set| set.is_none() && set.replace(deadline).is_none());
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline(self.deadline.subscribe())
    }

    /// Notes a batch that was answered with an error, if that was because the time was up.
    pub(crate) fn note(&self, batch: &Batch, error: &PersistenceError) {
        if !self.deadline().has_passed() {
            return;
        }
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.batches += 1;
        given_up.rows += batch.rows().len();
        given_up.unknown += usize::from(error.outcome() == Outcome::Unknown);
    }

    /// What closing comes to, when everything has ended.
    pub(crate) fn result(&self) -> Result<(), PersistenceError> {
        let given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let GivenUp { batches, rows, unknown } = *given_up;
        if batches == 0 {
            return Ok(());
        }
        let message = format!(
            "the server did not take everything within `close_timeout`: of {batches} batches \
             ({rows} rows) {} were certainly not stored, and of {unknown} nobody can know",
            batches - unknown
        );
        let outcome = if unknown > 0 { Outcome::Unknown } else { Outcome::NotApplied };
        let error = BackendError::new(error::ENGINE, "close", ErrorKind::Timeout, message);
        Err(error.with_outcome(outcome).into())
    }
}

/// The moment at which nothing is waited for any more. Until the backend is closed there is none.
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
            // Whoever could close is gone, and so is the thread that would wait here.
            _ => std::future::pending().await,
        }
    }

    /// The error of what was under way then.
    pub(crate) fn error(operation: &'static str, phase: Phase) -> PersistenceError {
        let message =
            "the backend was closed, and the server did not answer within `close_timeout`";
        error::timeout(operation, Native::Timeout, phase, message)
    }
}
