//! Rows on their way in.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::error::PersistenceError;
use crate::json::{DEFAULT_MAX_VALUE_BYTES, JsonText};
use crate::name::RecordName;
use crate::query::MAX_TIMESTAMP;

/// One value of one record at one time, checked and serialized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The record it belongs to.
    pub record: RecordName,
    /// The value as JSON text.
    pub value: JsonText,
    /// Unix time in milliseconds, at most `i64::MAX`.
    pub stored_at: u64,
}

impl Row {
    /// Checks all three parts and serializes `value` with the default size limit.
    ///
    /// # Errors
    /// [`InvalidRecordName`](PersistenceError::InvalidRecordName),
    /// [`TimestampOutOfRange`](PersistenceError::TimestampOutOfRange),
    /// [`ValueTooLarge`](PersistenceError::ValueTooLarge) or
    /// [`ValueTooDeep`](PersistenceError::ValueTooDeep).
    pub fn new(record: &str, value: &Value, stored_at: u64) -> Result<Self, PersistenceError> {
        Self::with_limit(record, value, stored_at, DEFAULT_MAX_VALUE_BYTES)
    }

    /// As [`new`](Self::new), for anything that serializes and with a size limit of one's own.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Serialization`](PersistenceError::Serialization) when `T`
    /// fails to serialize.
    pub fn with_limit<T: Serialize + ?Sized>(
        record: &str,
        value: &T,
        stored_at: u64,
        max_bytes: usize,
    ) -> Result<Self, PersistenceError> {
        let record = RecordName::new(record)?;
        check_timestamp(stored_at)?;
        let value = JsonText::from_serialize(value, max_bytes)?;
        Ok(Self { record, value, stored_at })
    }

    /// Checks what the types leave open: the time, and the size of the value against a backend's own
    /// limit.
    ///
    /// # Errors
    /// [`TimestampOutOfRange`](PersistenceError::TimestampOutOfRange) or
    /// [`ValueTooLarge`](PersistenceError::ValueTooLarge).
    pub fn validate(&self, max_value_bytes: usize) -> Result<(), PersistenceError> {
        let size = self.value.len();
        if size > max_value_bytes {
            return Err(PersistenceError::ValueTooLarge { size, limit: max_value_bytes });
        }
        check_timestamp(self.stored_at)
    }
}

/// Refuses a timestamp beyond `i64::MAX` milliseconds.
pub(crate) fn check_timestamp(timestamp: u64) -> Result<(), PersistenceError> {
    if timestamp > MAX_TIMESTAMP {
        return Err(PersistenceError::TimestampOutOfRange { timestamp });
    }
    Ok(())
}

/// Names one attempt to store a batch, so that a retry after an unknown outcome is recognised.
///
/// As with Kafka's idempotent producer (KIP-98), a writer numbers its batches upwards and the
/// store keeps the last number of each writer in the transaction that stores the rows: a batch
/// whose number is not above it is there already. A writer must therefore wait for a batch's
/// answer before it sends one with a higher number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    /// Who writes: random, one per recorder.
    pub writer: u128,
    /// Upwards from 1, with gaps if need be; at most `i64::MAX`. Any other is refused.
    pub number: u64,
}

/// So many writers a store remembers at least, the last to store first.
///
/// It goes by number and not by age: a clock that jumps would make it forget the living. One row a
/// writer, a few megabytes at the most.
pub const REMEMBERED_WRITERS: u64 = 100_000;

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}#{}", self.writer, self.number)
    }
}

/// Rows that are stored whole or not at all; their order is their order of arrival.
///
/// Cloning is cheap (a reference count).
///
/// ```
/// # use annals_core::{Batch, Row};
/// # use serde_json::json;
/// let batch = Batch::new(vec![
///     Row::new("accuracy::vienna", &json!({"value": 0.94}), 1_740_081_234_000)?,
///     Row::new("accuracy::graz", &json!({"value": 0.91}), 1_740_081_234_000)?,
/// ]);
/// assert_eq!(batch.rows().len(), 2);
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batch {
    rows: Arc<[Row]>,
    id: Option<BatchId>,
}

impl Batch {
    /// A batch without an id: storing it twice stores its rows twice.
    pub fn new(rows: impl Into<Arc<[Row]>>) -> Self {
        Self { rows: rows.into(), id: None }
    }

    /// The same rows under an id: storing it again stores nothing, where the backend's
    /// `guarantees().idempotent_batches` says so.
    #[must_use]
    pub fn with_id(mut self, id: BatchId) -> Self {
        self.id = Some(id);
        self
    }

    /// The rows, in order of arrival.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The id, if it has one.
    pub fn id(&self) -> Option<BatchId> {
        self.id
    }

    /// Checks what the types leave open: the id's number, timestamps, and sizes against a backend's
    /// own limit.
    ///
    /// # Errors
    /// [`InvalidBatchId`](PersistenceError::InvalidBatchId), or
    /// [`InvalidRow`](PersistenceError::InvalidRow) for the first row that is not allowed.
    pub fn validate(&self, max_value_bytes: usize) -> Result<(), PersistenceError> {
        if let Some(BatchId { number, .. }) = self.id
            && !(1..=i64::MAX as u64).contains(&number)
        {
            return Err(PersistenceError::InvalidBatchId { number });
        }
        for (index, row) in self.rows.iter().enumerate() {
            row.validate(max_value_bytes).map_err(|source| PersistenceError::InvalidRow {
                index,
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_invalid_row_is_named() {
        let good = Row::new("a", &json!(1), 5).unwrap();
        let mut late = good.clone();
        late.stored_at = MAX_TIMESTAMP + 1;
        let large = Row::new("a", &json!("xxxxxxxxxx"), 5).unwrap();
        let batch = Batch::new(vec![good.clone(), late]);
        assert!(matches!(
            batch.validate(100),
            Err(PersistenceError::InvalidRow { index: 1, source })
                if matches!(*source, PersistenceError::TimestampOutOfRange { .. })
        ));
        let batch = Batch::new(vec![good, large]);
        assert!(matches!(
            batch.validate(5),
            Err(PersistenceError::InvalidRow { index: 1, source })
                if matches!(*source, PersistenceError::ValueTooLarge { size: 12, limit: 5 })
        ));
        batch.validate(12).unwrap();
        for number in [0, u64::MAX] {
            let refused = batch.clone().with_id(BatchId { writer: 1, number }).validate(12);
            assert!(matches!(refused, Err(PersistenceError::InvalidBatchId { .. })));
        }
    }
}
