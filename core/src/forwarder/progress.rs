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
use crate::bytes::fnv1a;
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
    /// Who writes the rows of the backups that the source was restored from, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shared: Vec<Shared>,
}

/// Rows of a backup are written by one writer, whichever of its restores they are forwarded from: no two
/// of them write a row twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shared {
    /// The writer in the destination, in hexadecimal.
    writer: String,
    /// The last number of the backup.
    up_to: u64,
}

/// The writer of batches that are forwarded from a history under a name. It is the same wherever it is
/// computed, so that a restored source finds out what the destination has. The two lowest bits are free.
fn writer(history: u64, name: &str, generation: u64) -> u128 {
    let name = fnv1a(generation.to_le_bytes().into_iter().chain(name.bytes()));
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
            shared: Vec::new(),
        }
    }

    /// What follows this one, in a history of which the destination has everything up to a number.
    pub(super) fn next(&self, name: &str, history: u64, from: u64) -> Self {
        let generation = self.generation + 1;
        let writer = format!("{:032x}", writer(history, name, generation));
        let (skipped, shared) = (None, Vec::new());
        let (pattern, topic) = (self.pattern.clone(), self.topic);
        let history = Some(history);
        Self { writer, pattern, topic, history, generation, from, skipped, shared }
    }

    /// Who writes the rows of a backup of this history, which has the numbers up to the last one.
    pub(super) fn shared_up_to(&self, up_to: u64) -> Vec<Shared> {
        let own = Shared { writer: self.writer.clone(), up_to };
        self.shared.iter().cloned().chain([own]).collect()
    }

    /// As this one, which was written in this history.
    pub(super) fn shared(&self) -> Vec<Shared> {
        self.shared.clone()
    }

    pub(super) fn with_shared(self, shared: Vec<Shared>) -> Self {
        Self { shared, ..self }
    }

    /// What is not forwarded.
    pub(super) fn skipped(&self) -> Option<Skipped> {
        self.skipped
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

    /// Whether it was written in the history that was backed up. What an earlier release wrote is of the
    /// first history.
    pub(super) fn is_of_origin(&self, origin: Origin) -> bool {
        self.history.map_or(origin.restores == 1, |own| own == origin.history)
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
#[derive(Debug, Clone)]
pub(super) struct Progress {
    writer: u128,
    from: u64,
    done: u64,
    intended: u64,
    /// Which of the two writers is next.
    turn: bool,
    skipped: Option<Skipped>,
    /// Writers and the last number of each, oldest first.
    shared: Vec<(u128, u64)>,
}

impl Progress {
    /// Reads the progress in a source.
    pub(super) async fn read<S: PersistenceBackend>(
        source: &S,
        name: &str,
        identity: &Identity,
    ) -> Result<Self, ForwardError> {
        let parsed = |writer: &str| {
            u128::from_str_radix(writer, 16)
                .map_err(|_| ForwardError::Damaged { record: forward_record(name) })
        };
        let writer = parsed(&identity.writer)?;
        let shared = identity.shared.iter().map(|one| Ok((parsed(&one.writer)?, one.up_to)));
        let shared = shared.collect::<Result<_, ForwardError>>()?;
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
            shared,
        })
    }

    /// The id of the batch that ends with a number.
    pub(super) fn id(&self, number: u64) -> BatchId {
        let shared = self.shared.iter().find(|(_, up_to)| number <= *up_to);
        BatchId { writer: shared.map_or(self.writer, |(writer, _)| *writer), number }
    }

    /// Writers of rows of backups, each with its last number, oldest first.
    pub(super) fn writers_of_backups(&self) -> &[(u128, u64)] {
        &self.shared
    }

    /// The last number above this one that ends what one writer writes.
    pub(super) fn bound(&self, number: u64) -> Option<u64> {
        self.shared.iter().map(|(_, up_to)| *up_to).find(|up_to| *up_to > number)
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
