//! How far a source was forwarded, kept in the source.
//!
//! A row of a [record of its own](forward_record) identifies the forwarder: its writers are random
//! numbers. How far it came is the numbers of the batches of two of them, which the source keeps anyhow:
//! an empty batch is stored there for each batch that will be sent, in turn under one and the other. The
//! smaller of the two numbers was answered, because the greater was written after that. The greater may
//! have been sent.

use serde::{Deserialize, Serialize};

use super::error::ForwardError;
use crate::backend::PersistenceBackend;
use crate::batch::{Batch, BatchId, Row};
use crate::last_number::last_number;
use crate::pattern::Grammar;
use crate::query::{Order, QueryParams};

/// Records with this beginning are not forwarded.
pub(super) const RECORDS: &str = "annals.forward.";

/// The last millisecond of the year 9999, which no retention by age reaches.
const STORED_AT: u64 = 253_402_300_799_999;

/// The record of a source that identifies what is forwarded from it under a name.
pub fn forward_record(name: &str) -> String {
    format!("{RECORDS}{name}")
}

/// The row of that record.
#[derive(Serialize, Deserialize)]
struct Identity {
    /// The writer of batches in the destination; the two in the source are the ones that follow. In
    /// hexadecimal.
    writer: String,
    pattern: String,
    topic: bool,
}

/// What was sent, and what was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    writer: u128,
    done: u64,
    intended: u64,
    /// Which of the two writers is next.
    turn: bool,
}

impl Progress {
    /// Reads the progress in a source, or begins it.
    pub(super) async fn open<S: PersistenceBackend>(
        source: &S,
        name: &str,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Self, ForwardError> {
        let record = forward_record(name);
        let topic = grammar == Grammar::Topic;
        let mut identity = find(source, &record).await?;
        if identity.is_none() {
            let writer = format!("{:032x}", fastrand::u128(..) & !3);
            let new = Identity { writer, pattern: pattern.to_owned(), topic };
            let row = Row::with_limit(&record, &new, STORED_AT, usize::MAX)?;
            source.store_batch(&Batch::new([row])).await?;
            // Another process may have been faster: the first row counts.
            identity = find(source, &record).await?;
        }
        let damaged = || ForwardError::Damaged { record: record.clone() };
        let Identity { writer, pattern: begun_with, topic: was_topic } =
            identity.ok_or_else(damaged)?;
        if (begun_with.as_str(), was_topic) != (pattern, topic) {
            let name = name.to_owned();
            return Err(ForwardError::AnotherPattern { name, pattern: begun_with });
        }
        let writer = u128::from_str_radix(&writer, 16).map_err(|_| damaged())?;
        let one = last_number(source, writer | 1).await?;
        let other = last_number(source, writer | 2).await?;
        Ok(Self { writer, done: one.min(other), intended: one.max(other), turn: one > other })
    }

    /// Who writes in the destination.
    pub(super) fn writer(&self) -> u128 {
        self.writer
    }

    /// The number up to which everything is in the destination.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// The number of a batch that may have been sent.
    pub(super) fn unanswered(&self) -> Option<u64> {
        (self.intended > self.done).then_some(self.intended)
    }

    /// Writes down that everything up to a number will be sent as one batch or, a second time, that it was
    /// answered.
    pub(super) async fn intend<S: PersistenceBackend>(
        &self,
        source: &S,
        end: u64,
    ) -> Result<(), ForwardError> {
        let writer = self.writer | if self.turn { 2 } else { 1 };
        let id = BatchId { writer, number: end };
        Ok(source.store_batch(&Batch::new([]).with_id(id)).await?)
    }

    /// The destination has the batch that was written down last.
    pub(super) fn answered(&mut self, end: u64) {
        self.turn = !self.turn;
        self.sent_again(end);
    }

    /// The destination has the batch that had been written down before the progress was read.
    pub(super) fn sent_again(&mut self, end: u64) {
        (self.done, self.intended) = (end, end);
    }
}

async fn find<S: PersistenceBackend>(
    source: &S,
    record: &str,
) -> Result<Option<Identity>, ForwardError> {
    let params = QueryParams::range(STORED_AT, STORED_AT).with_order(Order::OldestFirst);
    let rows = source.query(record, params).await?;
    let Some(first) = rows.into_iter().next() else { return Ok(None) };
    let identity = serde_json::from_value(first.value);
    identity.map(Some).map_err(|_| ForwardError::Damaged { record: record.to_owned() })
}
