//! How far a source was forwarded, kept in the source.
//!
//! A row of a [record of its own](forward_record) identifies the forwarder by its writers. How far it
//! came is the numbers of the batches of two of them, which the source keeps anyhow: an empty batch is
//! stored there for each batch that will be sent, in turn under one and the other. The smaller of the two
//! numbers was answered, because the greater was written after that. The greater may have been sent.
//!
//! All of that is part of a backup of the source. In a history that was restored from one, numbers are
//! given a second time. So writers are derived from the identity of the history, and another row is
//! added there: the one that counts is the first of the last generation.

use serde::{Deserialize, Serialize};

use super::error::ForwardError;
use crate::backend::PersistenceBackend;
use crate::batch::{Batch, BatchId, Row};
use crate::follow::Origin;
use crate::last_number::last_number;
use crate::query::{Order, QueryParams};

/// Records with this beginning are not forwarded.
pub(super) const RECORDS: &str = "annals.forward.";

/// The last millisecond of the year 9999, which no retention by age reaches.
const STORED_AT: u64 = 253_402_300_799_999;

/// The record of a source that identifies what is forwarded from it under a name.
pub fn forward_record(name: &str) -> String {
    format!("{RECORDS}{name}")
}

/// A row of that record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The writer of batches in the destination; the two in the source are the ones that follow. In
    /// hexadecimal.
    writer: String,
    pub(super) pattern: String,
    pub(super) topic: bool,
    /// The history whose numbers are meant. Earlier releases did not write it.
    #[serde(default)]
    history: Option<u64>,
    #[serde(default)]
    generation: u64,
    /// The number up to which the destination had everything when this row was written.
    #[serde(default)]
    from: u64,
    #[serde(default)]
    skipped: Option<Skipped>,
}

/// The writer of batches that are forwarded from a history under a name. It is the same wherever it is
/// computed, so that a restored source finds out what the destination has. The two lowest bits are free.
fn writer(history: u64, name: &str, generation: u64) -> u128 {
    // FNV-1a (Fowler, Noll, Vo).
    let bytes = generation.to_le_bytes().into_iter().chain(name.bytes());
    let name = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (u128::from(history) << 64 | u128::from(name)) & !3
}

/// Rows that are not forwarded.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Skipped {
    /// Those with a smaller `stored_at`,
    pub(super) before: u64,
    /// if they arrived under this number or a smaller one.
    pub(super) up_to: u64,
}

impl Identity {
    /// Of what is forwarded from a history under this name for the first time.
    pub(super) fn new(name: &str, pattern: &str, topic: bool, history: u64) -> Self {
        Self {
            writer: format!("{:032x}", writer(history, name, 0)),
            pattern: pattern.to_owned(),
            topic,
            history: Some(history),
            generation: 0,
            from: 0,
            skipped: None,
        }
    }

    /// What follows this one, in a history of which the destination has everything up to a number.
    pub(super) fn next(&self, name: &str, history: u64, from: u64) -> Self {
        let generation = self.generation + 1;
        let writer = format!("{:032x}", writer(history, name, generation));
        Self { writer, history: Some(history), generation, from, ..self.clone() }
    }

    pub(super) fn with_from(self, from: u64) -> Self {
        Self { from, ..self }
    }

    pub(super) fn with_skipped(self, skipped: Option<Skipped>) -> Self {
        Self { skipped, ..self }
    }

    /// Whether it was written in this history. What an earlier release wrote is of the history that was
    /// backed up, if this one was restored.
    pub(super) fn is_of(&self, history: u64, origin: Option<Origin>) -> bool {
        self.history.map_or(origin.is_none(), |own| own == history)
    }

    /// Whether it was written in the history that was backed up.
    pub(super) fn is_of_origin(&self, origin: Origin) -> bool {
        self.history.is_none_or(|own| own == origin.history)
    }
}

/// The row that counts, if there is one.
pub(super) async fn find<S: PersistenceBackend>(
    source: &S,
    name: &str,
) -> Result<Option<Identity>, ForwardError> {
    let record = forward_record(name);
    let params = QueryParams::range(STORED_AT, STORED_AT).with_order(Order::OldestFirst);
    let mut counts: Option<Identity> = None;
    for row in source.query(&record, params).await? {
        let identity: Identity = serde_json::from_value(row.value)
            .map_err(|_| ForwardError::Damaged { record: record.clone() })?;
        if counts.as_ref().is_none_or(|counts| identity.generation > counts.generation) {
            counts = Some(identity);
        }
    }
    Ok(counts)
}

/// Adds a row, and returns the one that counts: another process may have been faster.
pub(super) async fn add<S: PersistenceBackend>(
    source: &S,
    name: &str,
    identity: &Identity,
) -> Result<Identity, ForwardError> {
    let record = forward_record(name);
    let row = Row::with_limit(&record, identity, STORED_AT, usize::MAX)?;
    source.store_batch(&Batch::new([row])).await?;
    find(source, name).await?.ok_or(ForwardError::Damaged { record })
}

/// What was sent, and what was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    writer: u128,
    from: u64,
    done: u64,
    intended: u64,
    /// Which of the two writers is next.
    turn: bool,
    skipped: Option<Skipped>,
}

impl Progress {
    /// Reads the progress in a source.
    pub(super) async fn read<S: PersistenceBackend>(
        source: &S,
        name: &str,
        identity: &Identity,
    ) -> Result<Self, ForwardError> {
        let writer = u128::from_str_radix(&identity.writer, 16)
            .map_err(|_| ForwardError::Damaged { record: forward_record(name) })?;
        let from = identity.from;
        let one = last_number(source, writer | 1).await?;
        let other = last_number(source, writer | 2).await?;
        Ok(Self {
            writer,
            from,
            done: from.max(one.min(other)),
            intended: from.max(one).max(other),
            turn: one > other,
            skipped: identity.skipped,
        })
    }

    /// Who writes in the destination.
    pub(super) fn writer(&self) -> u128 {
        self.writer
    }

    /// The number up to which everything is in the destination.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// The number up to which everything may be in the destination.
    pub(super) fn intended(&self) -> u64 {
        self.intended
    }

    /// The number of the last batch that was answered.
    pub(super) fn answered_batch(&self) -> Option<u64> {
        (self.done > self.from).then_some(self.done)
    }

    /// The number of a batch that may have been sent.
    pub(super) fn unanswered(&self) -> Option<u64> {
        (self.intended > self.done).then_some(self.intended)
    }

    /// Which rows are not forwarded.
    pub(super) fn skipped(&self) -> Option<Skipped> {
        self.skipped
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
