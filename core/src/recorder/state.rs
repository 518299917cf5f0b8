//! What the lock guards: the account, the bounded queue, and who waits for what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::config::{Overflow, RecorderConfig};
use super::error::RecorderError;
use super::filter::{Facts, Judgement};
use super::ledger::{Fate, Ledger, RecordId};
use super::slice::{Entry, Origin};
use crate::batch::Row;
use crate::error::PersistenceError;
use crate::log::RateLimitedLog;

pub(super) type Answer = oneshot::Sender<Result<(), RecorderError>>;

/// Answers to give once the lock is let go: a waker is somebody else's code.
pub(super) type Answers = Vec<(Answer, Result<(), RecorderError>)>;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    queue: VecDeque<Entry>,
    queued_bytes: usize,
    next_seq: u64,
    /// The place of the oldest row that was taken from the queue and is not resolved.
    in_flight: Option<u64>,
    /// Values that wait for room, in order of arrival. Not accepted yet, hence in no count.
    /// Whenever there are any, the first does not fit.
    waiting: BTreeMap<u64, Waiting>,
    flushes: BTreeMap<u64, Flush>,
    /// What the next flush reports, whichever rows it waits for.
    unreported: Unstored,
    next_ticket: u64,
    pub(super) phase: Phase,
    pub(super) worker: WorkerSleep,
    overflowed: RateLimitedLog,
    pub(super) batches: u64,
    pub(super) retries: u64,
    pub(super) last_error: Option<(PersistenceError, u64)>,
    pub(super) last_stored_ms: Option<u64>,
}

#[derive(Debug, Default)]
#[expect(clippy::large_enum_variant, reason = "there is one per recorder")]
pub(super) enum Phase {
    #[default]
    Open,
    /// Nothing more is accepted; the worker drains.
    Closing,
    /// The worker is gone.
    Ended {
        /// What no flush has reported, and the rows that it left.
        unstored: Unstored,
        /// Why it went before everything was resolved.
        reason: Option<PersistenceError>,
        /// Whether it was asked to.
        closed: bool,
    },
}

/// When the worker wants to be woken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerSleep {
    /// Not at all: it looks into the queue before it sleeps.
    #[default]
    Busy,
    /// At the first row.
    UntilAny,
    /// At a full batch.
    UntilFull,
}

#[derive(Debug)]
struct Waiting {
    row: Row,
    record: RecordId,
    answer: Answer,
}

#[derive(Debug)]
struct Flush {
    /// Everything before this place is to be resolved.
    until: u64,
    unstored: Unstored,
    answer: Answer,
}

/// Accepted rows that were not stored, for a flush or the end of the recorder to report.
#[derive(Debug, Default, Clone)]
pub(super) struct Unstored {
    rejected: u64,
    dropped: u64,
    /// Why the first row was rejected.
    rejection: Option<PersistenceError>,
    /// Why the last rows were dropped; `None` if the queue was full.
    cause: Option<PersistenceError>,
}

/// What became of a row that was offered.
pub(super) enum Offer {
    Taken,
    /// The row is in, and older ones were pushed out. The number is what there is to warn of now; a
    /// flush may have waited for no more than what was pushed out.
    Overflowed(Option<u64>, Answers),
    /// It was dropped itself.
    Refused(Option<u64>),
    /// There is no room, and the policy is to wait.
    NoRoom(Row, Option<(Judgement, Facts)>),
}

/// What the worker finds in the queue.
pub(super) enum Next {
    Rows(Vec<Entry>),
    /// No row: sleep until one comes.
    Empty,
    /// Rows, but not a full batch: sleep until it is full or has lingered.
    NotFull,
    /// No row, and none will come.
    Drained,
}

impl State {
    /// Why nothing is accepted; `Ok` while something is.
    pub(super) fn accepting(&self) -> Result<(), RecorderError> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Ended { reason: Some(reason), closed: false, .. } => {
                Err(RecorderError::Stopped(reason.clone()))
            }
            Phase::Closing | Phase::Ended { .. } => Err(RecorderError::Closed),
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Puts a value through its record's filter, and into the queue if it passes.
    pub(super) fn filter(
        &mut self,
        row: Row,
        record: RecordId,
        facts: Option<Facts>,
        config: &RecorderConfig,
    ) -> Offer {
        let Some(rules) = self.ledger.rules(record) else {
            return self.offer(row, record, config);
        };
        // The record may have been new, or have got another filter, when the facts were found.
        let facts = facts
            .filter(|facts| Arc::ptr_eq(&facts.rules, &rules))
            .unwrap_or_else(|| Facts::of(&rules, row.value.as_str()));
        let at = row.stored_at;
        let (judgement, held) = self.ledger.judge(record, &facts, at);
        // Whether or not there is room: there is at most one of each record.
        if let Some(held) = held {
            self.push(held, record);
        }
        let judged = (judgement, facts);
        match judgement {
            Judgement::Filter(_) => self.ledger.judged(record, judged, at, None),
            Judgement::Hold => self.ledger.judged(record, judged, at, Some(row.value)),
            Judgement::Pass | Judgement::Late => match self.offer(row, record, config) {
                Offer::NoRoom(row, _) => return Offer::NoRoom(row, Some(judged)),
                Offer::Refused(warning) => return Offer::Refused(warning),
                offer => {
                    self.ledger.judged(record, judged, at, None);
                    return offer;
                }
            },
        }
        Offer::Taken
    }

    /// Puts a row into the queue.
    fn offer(&mut self, row: Row, record: RecordId, config: &RecorderConfig) -> Offer {
        let bytes = row.value.len();
        if self.waiting.is_empty() && self.has_room(bytes, config) {
            self.push(row, record);
            return Offer::Taken;
        }
        let now = Instant::now();
        match config.overflow {
            Overflow::Wait => Offer::NoRoom(row, None),
            Overflow::DropNewest => {
                self.ledger.refuse(Some(record), Fate::Dropped);
                Offer::Refused(self.overflowed.count(1, now))
            }
            Overflow::DropOldest => {
                let mut dropped = 0;
                while !self.has_room(bytes, config)
                    && let Some(oldest) = self.pop()
                {
                    self.resolve_one(oldest.origin, Fate::Dropped, None);
                    dropped += 1;
                }
                self.push(row, record);
                Offer::Overflowed(self.overflowed.count(dropped, now), self.flushed())
            }
        }
    }

    /// Queues up for room; the ticket is for [`give_up_waiting`](Self::give_up_waiting).
    pub(super) fn wait_for_room(
        &mut self,
        row: Row,
        record: RecordId,
        judged: Option<(Judgement, Facts)>,
        answer: Answer,
    ) -> u64 {
        let ticket = self.ticket();
        if let Some(judged) = judged {
            self.ledger.judged(record, judged, row.stored_at, None);
        }
        self.waiting.insert(ticket, Waiting { row, record, answer });
        ticket
    }

    /// Leaves the queue for room, if the value has not come in yet. Those behind may fit now.
    pub(super) fn give_up_waiting(&mut self, ticket: u64, config: &RecorderConfig) -> Answers {
        let Some(waiting) = self.waiting.remove(&ticket) else { return Answers::new() };
        if let Some(gate) = self.ledger.gate(waiting.record) {
            gate.forget(None);
        }
        self.admit(config)
    }

    /// Takes a batch, unless it is not full and is to linger; those that wait for room move up.
    pub(super) fn next(&mut self, may_linger: bool, config: &RecorderConfig) -> (Next, Answers) {
        let open = matches!(self.phase, Phase::Open);
        if self.queue.is_empty() {
            self.worker = WorkerSleep::UntilAny;
            return (if open { Next::Empty } else { Next::Drained }, Answers::new());
        }
        if may_linger && open && self.flushes.is_empty() && !self.batch_is_full(config) {
            self.worker = WorkerSleep::UntilFull;
            return (Next::NotFull, Answers::new());
        }
        self.worker = WorkerSleep::Busy;
        let (mut rows, mut bytes) = (0, 0_usize);
        for entry in self.queue.iter().take(config.max_batch_rows.max(1)) {
            bytes = bytes.saturating_add(entry.row.value.len());
            if rows > 0 && bytes > config.max_batch_bytes {
                break;
            }
            self.queued_bytes -= entry.row.value.len();
            rows += 1;
        }
        let taken: Vec<Entry> = self.queue.drain(..rows).collect();
        self.in_flight = self.in_flight.or(taken.first().map(|entry| entry.origin.seq));
        (Next::Rows(taken), self.admit(config))
    }

    /// Whether the worker sleeps and should not any more; if so it is taken as woken.
    pub(super) fn should_wake(&mut self, config: &RecorderConfig) -> bool {
        let wake = match self.worker {
            WorkerSleep::Busy => false,
            WorkerSleep::UntilAny => !self.queue.is_empty(),
            WorkerSleep::UntilFull => self.batch_is_full(config),
        };
        if wake {
            self.worker = WorkerSleep::Busy;
        }
        wake
    }

    /// Rows in flight came to their end; `in_flight` is the oldest that did not.
    pub(super) fn resolve(
        &mut self,
        origins: &[Origin],
        fate: Fate,
        why: Option<&PersistenceError>,
        in_flight: Option<u64>,
    ) -> Answers {
        for origin in origins {
            self.resolve_one(*origin, fate, why);
        }
        self.in_flight = in_flight;
        self.flushed()
    }

    /// Waits until the fate of everything accepted so far is known. The ticket is for
    /// [`give_up_flush`](Self::give_up_flush); it is `None` if there is nothing to wait for.
    pub(super) fn flush(&mut self, answer: Answer) -> Result<Option<u64>, RecorderError> {
        self.release_held();
        let unstored = std::mem::take(&mut self.unreported);
        if self.oldest_pending() >= self.next_seq {
            return unstored.into_result().map(|()| None);
        }
        let ticket = self.ticket();
        self.flushes.insert(ticket, Flush { until: self.next_seq, unstored, answer });
        Ok(Some(ticket))
    }

    /// Ends a flush whose future was dropped: the next one reports what it did not.
    pub(super) fn give_up_flush(&mut self, ticket: u64, unread: Option<Result<(), RecorderError>>) {
        if let Some(flush) = self.flushes.remove(&ticket) {
            self.unreported.merge(flush.unstored);
        }
        match unread {
            Some(Err(RecorderError::RowsRejected { rows, dropped, source })) => {
                let rejection = Some(source);
                self.unreported.merge(Unstored { rejected: rows, dropped, rejection, cause: None });
            }
            Some(Err(RecorderError::Dropped { rows, source })) => {
                self.unreported.dropped(rows, source.as_ref());
            }
            _ => {}
        }
    }

    /// Accepts nothing more. What waits for room was not accepted and goes back to its callers.
    pub(super) fn begin_close(&mut self) -> Answers {
        if !matches!(self.phase, Phase::Open) {
            return Answers::new();
        }
        self.release_held();
        self.phase = Phase::Closing;
        self.send_back(&RecorderError::Closed)
    }

    /// The worker is gone: what is pending is dropped, and everybody who waits is told.
    pub(super) fn end(&mut self, reason: Option<PersistenceError>) -> (u64, Answers) {
        if let Phase::Ended { .. } = self.phase {
            return (0, Answers::new());
        }
        let closed = matches!(self.phase, Phase::Closing);
        let in_flight = self.ledger.total().pending - self.queue.len() as u64;
        let flushes = std::mem::take(&mut self.flushes).into_values().map(|mut flush| {
            // Rows in flight are older than any in the queue, and than any flush that waits.
            let queued = self.queue.partition_point(|entry| entry.origin.seq < flush.until);
            flush.unstored.dropped(in_flight + queued as u64, reason.as_ref());
            flush.into_answer()
        });
        let mut answers: Answers = flushes.collect();
        self.queue.clear();
        self.queued_bytes = 0;
        self.in_flight = None;
        let dropped = self.ledger.abandon();
        let mut unstored = std::mem::take(&mut self.unreported);
        unstored.dropped(dropped, reason.as_ref());
        self.phase = Phase::Ended { unstored, reason, closed };
        if let Err(refusal) = self.accepting() {
            answers.extend(self.send_back(&refusal));
        }
        (dropped, answers)
    }

    /// How it ended; `None` if it has not.
    pub(super) fn ended(&self) -> Option<Result<(), RecorderError>> {
        match &self.phase {
            Phase::Open | Phase::Closing => None,
            Phase::Ended { unstored, .. } => Some(unstored.clone().into_result()),
        }
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn has_room(&self, bytes: usize, config: &RecorderConfig) -> bool {
        room(&self.queue, self.queued_bytes, bytes, config)
    }

    /// Whether waiting longer cannot make the next batch larger.
    fn batch_is_full(&self, config: &RecorderConfig) -> bool {
        !self.waiting.is_empty()
            || self.queue.len() >= config.max_batch_rows.min(config.capacity_rows)
            || self.queued_bytes >= config.max_batch_bytes.min(config.capacity_bytes)
    }

    /// Queues the values that wait for a minimum interval to end.
    fn release_held(&mut self) {
        for (row, record) in self.ledger.release_all() {
            self.push(row, record);
        }
    }

    pub(super) fn push(&mut self, row: Row, record: RecordId) {
        let origin = Origin { record, seq: self.next_seq };
        self.ledger.accept(origin);
        self.queued_bytes += row.value.len();
        self.next_seq += 1;
        self.queue.push_back(Entry { row, origin });
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.queue.pop_front()?;
        self.queued_bytes -= entry.row.value.len();
        Some(entry)
    }

    fn admit(&mut self, config: &RecorderConfig) -> Answers {
        let mut answers = Answers::new();
        while let Some(first) = self.waiting.first_entry() {
            let bytes = first.get().row.value.len();
            if !room(&self.queue, self.queued_bytes, bytes, config) {
                break;
            }
            let Waiting { row, record, answer } = first.remove();
            self.push(row, record);
            answers.push((answer, Ok(())));
        }
        answers
    }

    fn send_back(&mut self, refusal: &RecorderError) -> Answers {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        waiting.map(|waiting| (waiting.answer, Err(refusal.clone()))).collect()
    }

    fn resolve_one(&mut self, origin: Origin, fate: Fate, why: Option<&PersistenceError>) {
        self.ledger.resolve(origin, fate);
        if fate == Fate::Stored {
            return;
        }
        let mut reported = false;
        for flush in self.flushes.values_mut().filter(|flush| origin.seq < flush.until) {
            flush.unstored.add(fate, why);
            reported = true;
        }
        // The policy for a full queue is the caller's own; what the backend did is news.
        if !reported && why.is_some() {
            self.unreported.add(fate, why);
        }
    }

    /// The place before which everything is resolved.
    fn oldest_pending(&self) -> u64 {
        let queued = self.queue.front().map(|entry| entry.origin.seq);
        self.in_flight.or(queued).unwrap_or(self.next_seq)
    }

    fn flushed(&mut self) -> Answers {
        let oldest = self.oldest_pending();
        let mut answers = Answers::new();
        // Tickets and places grow together: the first that is not done ends it.
        while let Some(first) = self.flushes.first_entry()
            && first.get().until <= oldest
        {
            answers.push(first.remove().into_answer());
        }
        answers
    }
}

/// Whether `bytes` more fit in. An empty queue takes any value, or a large one would wait forever.
fn room(queue: &VecDeque<Entry>, queued: usize, bytes: usize, config: &RecorderConfig) -> bool {
    let fits =
        queue.len() < config.capacity_rows && queued.saturating_add(bytes) <= config.capacity_bytes;
    fits || queue.is_empty()
}

impl Flush {
    fn into_answer(self) -> (Answer, Result<(), RecorderError>) {
        (self.answer, self.unstored.into_result())
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

    fn dropped(&mut self, rows: u64, why: Option<&PersistenceError>) {
        self.dropped += rows;
        self.cause = why.cloned().or(self.cause.take());
    }

    fn merge(&mut self, other: Self) {
        self.rejected += other.rejected;
        self.rejection = other.rejection.or(self.rejection.take());
        self.dropped(other.dropped, other.cause.as_ref());
    }

    fn into_result(self) -> Result<(), RecorderError> {
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
