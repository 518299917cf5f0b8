//! What `flush` and `close` report: the accepted rows that were not stored.
//!
//! The fate of each row enters; the answers of flushes leave when every row before them has met its
//! own. What no flush has reported is left for the next one, or for the end.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::ledger::Fate;
use crate::error::PersistenceError;
use crate::recorder::error::RecorderError;

/// What one who waits for room or for a flush is told.
pub(crate) type Outcome = Result<Unstored, RecorderError>;

pub(super) type Answer = oneshot::Sender<Outcome>;

/// Answers to give once the lock is let go.
pub(super) type Answers = Vec<(Answer, Outcome)>;

#[derive(Default)]
pub(super) struct Reports {
    /// By ticket, in the order in which they came.
    flushes: BTreeMap<u64, Flush>,
    /// What the next flush reports, whichever rows it waits for.
    unreported: Unstored,
}

struct Flush {
    /// Everything before this place is to be resolved.
    until: u64,
    unstored: Unstored,
    answer: Answer,
}

/// Accepted rows that were not stored.
#[derive(Default, Clone)]
pub(crate) struct Unstored {
    rejected: u64,
    dropped: u64,
    /// Why the first row was rejected.
    rejection: Option<PersistenceError>,
    /// Why the last rows were dropped; `None` if the queue was full.
    cause: Option<PersistenceError>,
}

impl Reports {
    /// Whether a flush waits.
    pub(super) fn are_awaited(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Takes what no flush has reported.
    pub(super) fn take(&mut self) -> Unstored {
        std::mem::take(&mut self.unreported)
    }

    /// Waits until everything before the place `until` is resolved.
    pub(super) fn wait(&mut self, ticket: u64, until: u64, answer: Answer) {
        let unstored = self.take();
        self.flushes.insert(ticket, Flush { until, unstored, answer });
    }

    /// Ends a flush whose future was dropped: the next one reports what it did not.
    pub(super) fn give_up(&mut self, ticket: u64) {
        if let Some(flush) = self.flushes.remove(&ticket) {
            self.unreported.merge(flush.unstored);
        }
    }

    /// Takes back an answer that nobody read.
    pub(super) fn unread(&mut self, answer: Outcome) {
        self.unreported.merge(answer.unwrap_or_default());
    }

    /// The row at the place `seq` was not stored. `why` is `None` if the queue was full.
    pub(super) fn add(&mut self, seq: u64, fate: Fate, why: Option<&PersistenceError>) {
        let mut reported = false;
        for flush in self.flushes.values_mut().filter(|flush| seq < flush.until) {
            flush.unstored.add(fate, why);
            reported = true;
        }
        // The policy for a full queue is the caller's own; what the backend did is news.
        if !reported && why.is_some() {
            self.unreported.add(fate, why);
        }
    }

    /// The answers of those that wait for nothing at `oldest` or later.
    pub(super) fn answer(&mut self, oldest: u64, answers: &mut Answers) {
        // Tickets and places grow together: the first that is not done ends it.
        while let Some(first) = self.flushes.first_entry()
            && first.get().until <= oldest
        {
            let Flush { unstored, answer, .. } = first.remove();
            answers.push((answer, Ok(unstored)));
        }
    }

    /// Answers all flushes: of the rows before the place that each waits for, `dropped` were.
    pub(super) fn end(
        &mut self,
        dropped: impl Fn(u64) -> u64,
        why: Option<&PersistenceError>,
        answers: &mut Answers,
    ) {
        for flush in self.flushes.values_mut() {
            flush.unstored.dropped(dropped(flush.until), why);
        }
        self.answer(u64::MAX, answers);
    }
}

impl Unstored {
    fn add(&mut self, fate: Fate, why: Option<&PersistenceError>) {
        if fate == Fate::Rejected {
            self.rejected += 1;
            self.rejection = self.rejection.take().or(why.cloned());
        } else {
            self.dropped(1, why);
        }
    }

    pub(super) fn dropped(&mut self, rows: u64, why: Option<&PersistenceError>) {
        self.dropped += rows;
        self.cause = why.cloned().or(self.cause.take());
    }

    fn merge(&mut self, other: Self) {
        self.rejected += other.rejected;
        self.rejection = other.rejection.or(self.rejection.take());
        self.dropped(other.dropped, other.cause.as_ref());
    }

    pub(super) fn into_result(self) -> Result<(), RecorderError> {
        match self {
            Self { rejected: rows, dropped, rejection: Some(source), .. } => {
                Err(RecorderError::RowsRejected { rows, dropped, source })
            }
            Self { dropped: 0, .. } => Ok(()),
            Self { dropped: rows, cause, .. } => {
                Err(RecorderError::Dropped { rows, source: cause })
            }
        }
    }
}
