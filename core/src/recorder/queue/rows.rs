//! The rows that wait to be sent, within the bounds of the configuration, and those that wait for
//! room behind them.
//!
//! Rows enter one at a time and leave in batches, in the order they came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::ledger::{Origin, RecordId};
use super::report::Answer;
use crate::batch::Row;
use crate::recorder::config::RecorderConfig;

/// A row that waits.
pub(crate) struct Entry {
    pub(crate) row: Row,
    pub(crate) origin: Origin,
}

#[derive(Default)]
pub(super) struct Rows {
    pub(super) config: Arc<RecorderConfig>,
    entries: VecDeque<Entry>,
    pub(super) bytes: usize,
    /// The place of the next row that comes.
    pub(super) next_seq: u64,
    /// Values that wait for room, by ticket, in the order they came. Not accepted yet, hence in no
    /// count. Whenever there are any, the first does not fit.
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    row: Row,
    record: RecordId,
    answer: Answer,
}

impl Rows {
    pub(super) fn new(config: Arc<RecorderConfig>) -> Self {
        Self { config, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The place of the oldest row.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.origin.seq)
    }

    /// How many rows have a place before `seq`.
    pub(super) fn before(&self, seq: u64) -> usize {
        self.entries.partition_point(|entry| entry.origin.seq < seq)
    }

    /// Whether `row` fits in, and no other waits. An empty queue takes any, or a large one would wait
    /// forever.
    pub(super) fn have_room_for(&self, row: &Row) -> bool {
        self.waiting.is_empty() && self.fits(row)
    }

    fn fits(&self, row: &Row) -> bool {
        let fits = self.entries.len() < self.config.capacity_rows
            && self.bytes.saturating_add(row.value.len()) <= self.config.capacity_bytes;
        fits || self.is_empty()
    }

    /// Whether waiting longer cannot make the next batch larger.
    pub(super) fn fill_a_batch(&self) -> bool {
        let config = &self.config;
        !self.waiting.is_empty()
            || self.entries.len() >= config.max_batch_rows.min(config.capacity_rows)
            || self.bytes >= config.max_batch_bytes.min(config.capacity_bytes)
    }

    pub(super) fn push(&mut self, row: Row, record: RecordId) -> Origin {
        let origin = Origin { record, seq: self.next_seq };
        self.next_seq += 1;
        self.bytes += row.value.len();
        self.entries.push_back(Entry { row, origin });
        origin
    }

    /// Takes the oldest row.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.row.value.len();
        Some(entry)
    }

    /// Takes the oldest rows, as many as one batch may have.
    pub(super) fn take_batch(&mut self) -> Vec<Entry> {
        let (mut rows, mut bytes) = (0, 0_usize);
        for entry in self.entries.iter().take(self.config.max_batch_rows.max(1)) {
            let with_it = bytes.saturating_add(entry.row.value.len());
            if rows > 0 && with_it > self.config.max_batch_bytes {
                break;
            }
            (rows, bytes) = (rows + 1, with_it);
        }
        self.bytes -= bytes;
        self.entries.drain(..rows).collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Waits for room.
    pub(super) fn wait(&mut self, ticket: u64, row: Row, record: RecordId, answer: Answer) {
        self.waiting.insert(ticket, Waiting { row, record, answer });
    }

    /// Ends a wait; `None` if nothing waits under this ticket.
    pub(super) fn give_up(&mut self, ticket: u64) -> Option<RecordId> {
        self.waiting.remove(&ticket).map(|waiting| waiting.record)
    }

    /// Takes in the first value that waits, if there is room for it now.
    pub(super) fn admit(&mut self) -> Option<(Origin, Answer)> {
        let ticket = *self.waiting.iter().next().filter(|(_, first)| self.fits(&first.row))?.0;
        let Waiting { row, record, answer } = self.waiting.remove(&ticket)?;
        Some((self.push(row, record), answer))
    }

    /// Ends all waits.
    pub(super) fn send_back(&mut self) -> impl Iterator<Item = Answer> + use<> {
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.answer)
    }
}
