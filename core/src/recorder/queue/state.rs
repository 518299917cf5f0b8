//! What the lock guards: the account, the rows that wait, and who waits for what.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Ticket;
use super::ledger::{Fate, Ledger, Origin, RecordId};
use super::report::{Answer, Answers, Reports, Unstored};
use super::rows::{Entry, Rows};
use crate::batch::Row;
use crate::error::PersistenceError;
use crate::log::RateLimitedLog;
use crate::recorder::config::{Overflow, RecorderConfig};
use crate::recorder::error::RecorderError;
use crate::recorder::filter::{Facts, Judgement};
use crate::recorder::stats::RecorderStats;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    rows: Rows,
    /// The place of the oldest row that was taken from the queue and is not resolved.
    in_flight: Option<u64>,
    next_ticket: u64,
    pub(super) reports: Reports,
    phase: Phase,
    /// `None` while the worker is busy: it looks into the queue before it sleeps.
    asleep: Option<Sleep>,
    /// What the worker counts; the other members are filled in when somebody asks.
    pub(crate) stats: RecorderStats,
    overflowed: RateLimitedLog,
    /// Answers to give, and the number of values to warn of, once the lock is let go.
    pub(super) answers: Answers,
    pub(super) warning: Option<u64>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Open,
    /// Nothing more is accepted; the worker drains.
    Closing,
    /// The worker is gone.
    Ended {
        /// What closing answers: what no flush has reported, and the rows that were left.
        result: Result<(), RecorderError>,
        /// Why nothing is accepted.
        refusal: RecorderError,
    },
}

/// What the worker waits for when the queue has no batch for it.
#[derive(Clone, Copy)]
pub(crate) enum Sleep {
    /// The first row.
    UntilAny,
    /// A batch that is due, or the end of the linger time.
    UntilDue,
}

impl State {
    pub(super) fn new(config: Arc<RecorderConfig>) -> Self {
        let ledger = Ledger::new(config.filters.clone());
        Self { ledger, rows: Rows::new(config), ..Self::default() }
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Why nothing is accepted; `Ok` while something is.
    pub(crate) fn accepting(&self) -> Result<(), RecorderError> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Closing => Err(RecorderError::Closed),
            Phase::Ended { refusal, .. } => Err(refusal.clone()),
        }
    }

    /// Puts a value through its record's filter, and into the queue if it passes. What finds no room
    /// waits for it, if it may.
    pub(crate) fn offer(
        &mut self,
        row: Row,
        record: RecordId,
        facts: Option<Facts>,
        may_wait: bool,
    ) -> Result<Option<Ticket>, RecorderError> {
        let Some(rules) = self.ledger.rules(record) else {
            return self.enqueue(row, record, may_wait).map(|(_, ticket)| ticket);
        };
        // The record may have been new, or have got another filter, when the facts were found.
        let facts = facts
            .filter(|facts| Arc::ptr_eq(&facts.rules, &rules))
            .unwrap_or_else(|| Facts::of(&rules, row.value.as_str()));
        let at = row.stored_at;
        let (judgement, released) = self.ledger.judge(record, &facts, at);
        // Whether or not there is room: there is at most one of each record.
        if let Some(released) = released {
            self.push(released, record);
        }
        let (mut taken, mut ticket, mut held) = (true, None, None);
        match judgement {
            Judgement::Filter(_) => {}
            Judgement::Hold => held = Some(row.value),
            Judgement::Pass | Judgement::Late => {
                (taken, ticket) = self.enqueue(row, record, may_wait)?;
            }
        }
        if taken {
            self.ledger.judged(record, (judgement, facts), at, held);
        }
        Ok(ticket)
    }

    /// Puts a row into the queue, or lets it wait; false if it is dropped instead.
    fn enqueue(
        &mut self,
        row: Row,
        record: RecordId,
        may_wait: bool,
    ) -> Result<(bool, Option<Ticket>), RecorderError> {
        if self.rows.have_room_for(&row) {
            self.push(row, record);
            return Ok((true, None));
        }
        let now = Instant::now();
        match self.rows.config.overflow {
            Overflow::Wait if may_wait => {
                let (answer, ticket) = self.ticket();
                self.rows.wait(ticket.0, row, record, answer);
                Ok((true, Some(ticket)))
            }
            Overflow::Wait => Err(RecorderError::Full),
            Overflow::DropNewest => {
                self.ledger.refuse(Some(record), Fate::Dropped);
                self.warning = self.overflowed.count(1, now);
                Ok((false, None))
            }
            Overflow::DropOldest => {
                let mut dropped = 0;
                while !self.rows.have_room_for(&row)
                    && let Some(oldest) = self.rows.pop()
                {
                    self.resolve_one(oldest.origin, Fate::Dropped, None);
                    dropped += 1;
                }
                self.push(row, record);
                self.warning = self.overflowed.count(dropped, now);
                // A flush may have waited for no more than what was pushed out.
                self.answer_flushes();
                Ok((true, None))
            }
        }
    }

    fn ticket(&mut self) -> (Answer, Ticket) {
        self.next_ticket += 1;
        let (answer, told) = oneshot::channel();
        (answer, (self.next_ticket, told))
    }

    /// Ends a wait for room or a flush, if it was not answered yet.
    pub(super) fn give_up(&mut self, ticket: u64) {
        self.reports.give_up(ticket);
        if let Some(record) = self.rows.give_up(ticket) {
            if let Some(gate) = self.ledger.gate(record) {
                gate.forget(None);
            }
            // Those behind may fit now.
            self.admit();
        }
    }

    /// Lets those in that wait for room, as far as there is.
    fn admit(&mut self) {
        while let Some((origin, answer)) = self.rows.admit() {
            self.ledger.accept(origin);
            self.answers.push((answer, Ok(Unstored::default())));
        }
    }

    /// Takes a batch, unless it is not due and may linger; those that wait for room move up. `None`
    /// if there is no row and none will come.
    pub(crate) fn next(&mut self, may_linger: bool) -> Result<Option<Vec<Entry>>, Sleep> {
        let sleep = match self.rows.is_empty() {
            true if !self.is_open() => return Ok(None),
            true => Some(Sleep::UntilAny),
            false => (may_linger && !self.batch_is_due()).then_some(Sleep::UntilDue),
        };
        self.asleep = sleep;
        if let Some(sleep) = sleep {
            return Err(sleep);
        }
        let taken = self.rows.take_batch();
        self.in_flight = self.in_flight.or(taken.first().map(|entry| entry.origin.seq));
        self.admit();
        Ok(Some(taken))
    }

    /// Whether the next batch cannot become larger by waiting, or somebody waits for it.
    fn batch_is_due(&self) -> bool {
        !self.is_open() || self.reports.are_awaited() || self.rows.fill_a_batch()
    }

    /// Whether the worker sleeps and should not any more; if so it is taken as woken.
    pub(super) fn should_wake(&mut self) -> bool {
        let wake = self.asleep.is_some_and(|sleep| match sleep {
            Sleep::UntilAny => !self.rows.is_empty() || !self.is_open(),
            Sleep::UntilDue => self.batch_is_due(),
        });
        if wake {
            self.asleep = None;
        }
        wake
    }

    /// Rows in flight came to their end; `in_flight` is the oldest that did not.
    pub(crate) fn resolve(
        &mut self,
        origins: &[Origin],
        fate: Fate,
        why: Option<&PersistenceError>,
        in_flight: Option<u64>,
    ) {
        for origin in origins {
            self.resolve_one(*origin, fate, why);
        }
        self.in_flight = in_flight;
        self.answer_flushes();
    }

    fn resolve_one(&mut self, origin: Origin, fate: Fate, why: Option<&PersistenceError>) {
        self.ledger.resolve(origin, fate);
        if fate != Fate::Stored {
            self.reports.add(origin.seq, fate, why);
        }
    }

    fn answer_flushes(&mut self) {
        self.reports.answer(self.oldest_pending(), &mut self.answers);
    }

    /// The place before which everything is resolved.
    fn oldest_pending(&self) -> u64 {
        self.in_flight.or(self.rows.oldest()).unwrap_or(self.rows.next_seq)
    }

    /// Waits until the fate of everything accepted so far is known; `None` if it is.
    pub(crate) fn flush(&mut self) -> Result<Option<Ticket>, RecorderError> {
        if let Err(stopped @ RecorderError::Stopped(_)) = self.accepting() {
            return Err(stopped);
        }
        self.release_held();
        let until = self.rows.next_seq;
        if self.oldest_pending() >= until {
            return self.reports.take().into_result().map(|()| None);
        }
        let (answer, ticket) = self.ticket();
        self.reports.wait(ticket.0, until, answer);
        Ok(Some(ticket))
    }

    pub(super) fn begin_close(&mut self) {
        if self.is_open() {
            self.release_held();
            self.phase = Phase::Closing;
            self.send_back(&RecorderError::Closed);
        }
    }

    /// The worker is gone: what is pending is dropped, and everybody who waits is told. Returns how
    /// many values were dropped.
    pub(super) fn end(&mut self, reason: Option<PersistenceError>) -> u64 {
        // Rows in flight are older than any in the queue, and than any flush that waits.
        let in_flight = self.ledger.total.pending - self.rows.before(u64::MAX) as u64;
        let dropped_before = |seq| in_flight + self.rows.before(seq) as u64;
        self.reports.end(dropped_before, reason.as_ref(), &mut self.answers);
        self.rows.clear();
        self.in_flight = None;
        let dropped = self.ledger.abandon();
        let mut unstored = self.reports.take();
        unstored.dropped(dropped, reason.as_ref());
        let refusal = match reason {
            Some(reason) if self.is_open() => RecorderError::Stopped(reason),
            _ => RecorderError::Closed,
        };
        self.send_back(&refusal);
        self.phase = Phase::Ended { result: unstored.into_result(), refusal };
        dropped
    }

    /// How it ended; `None` if it has not.
    pub(crate) fn ended(&self) -> Option<Result<(), RecorderError>> {
        match &self.phase {
            Phase::Open | Phase::Closing => None,
            Phase::Ended { result, .. } => Some(result.clone()),
        }
    }

    /// Queues the values that wait for a minimum interval to end.
    fn release_held(&mut self) {
        for (row, record) in self.ledger.release_all() {
            self.push(row, record);
        }
    }

    pub(crate) fn push(&mut self, row: Row, record: RecordId) {
        let origin = self.rows.push(row, record);
        self.ledger.accept(origin);
    }

    fn send_back(&mut self, refusal: &RecorderError) {
        let waiting = self.rows.send_back();
        self.answers.extend(waiting.map(|answer| (answer, Err(refusal.clone()))));
    }

    pub(super) fn stats(&self) -> RecorderStats {
        RecorderStats {
            total: self.ledger.total,
            invalid_names: self.ledger.invalid_names,
            queued_bytes: self.rows.bytes,
            open: self.is_open(),
            ..self.stats.clone()
        }
    }
}
