//! How far a store knows a file.
//!
//! The writer of a file's batches is the digest of everything up to its first row. The number of a batch
//! is the number of lines up to its end, and 27 bits of the digest of these lines: the store keeps the
//! last number in the transaction that stores the rows, so that it always tells how many lines are
//! stored, and whether the file still begins with them.

use annals::{PersistenceBackend, PersistenceError, QueryParams, Value, last_number};

use super::Refusal;
use crate::import::read::{Numbered, RowBatch};

/// The bits of a digest in the number of a batch.
const CHECK_BITS: u32 = 27;
const CHECK: u64 = (1 << CHECK_BITS) - 1;

/// The number of a batch that ends after so many lines. Beyond 68 billion lines it is none that a
/// store takes.
pub(super) fn number(lines: u64, digest: u128) -> u64 {
    (lines << CHECK_BITS) | (digest as u64 & CHECK)
}

/// How far the file is known to be stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Progress {
    /// No row was read yet.
    Unknown,
    /// Up to the batch with this number, which lies ahead.
    Stored { file: u128, number: u64 },
    /// Up to the last batch that was read.
    Beyond { file: u128 },
}

impl Progress {
    /// Looks up how far a file is stored. `batch` has its first row.
    ///
    /// # Errors
    /// It is stored and not to be resumed, or unknown although rows of it are stored.
    pub(super) async fn find(
        store: &dyn PersistenceBackend,
        file: u128,
        batch: &RowBatch,
        resume: bool,
    ) -> Result<Self, Refusal> {
        match last_number(store, file).await.map_err(Refusal::Store)? {
            0 if resume => match row_that_is_there(store, batch).await.map_err(Refusal::Store)? {
                Some(line) => Err(Refusal::There { line }),
                None => Ok(Self::Beyond { file }),
            },
            0 => Ok(Self::Beyond { file }),
            _ if !resume => Err(Refusal::Known),
            number => Ok(Self::Stored { file, number }),
        }
    }

    /// The writer of the file's batches.
    pub(super) fn file(&self) -> u128 {
        match self {
            Self::Unknown => 0,
            Self::Stored { file, .. } | Self::Beyond { file } => *file,
        }
    }

    /// The number of rows of a batch that are stored. Lines among them that are no rows were skipped
    /// then: they are taken out of the batch.
    ///
    /// # Errors
    /// The lines are not those that were stored.
    pub(super) fn pass_over(&mut self, batch: &mut RowBatch) -> Result<usize, Refusal> {
        let Self::Stored { file, number: stored } = *self else { return Ok(0) };
        let lines = (stored >> CHECK_BITS).saturating_sub(batch.before) as usize;
        if lines > batch.marks.len() {
            batch.bad.clear();
            return Ok(batch.rows.len());
        }
        let mark = lines.checked_sub(1).and_then(|last| batch.marks.get(last));
        match mark.filter(|(_, digest)| number(batch.before + lines as u64, *digest) == stored) {
            Some((end, _)) => {
                batch.bad.retain(|(index, _)| *index >= lines);
                *self = Self::Beyond { file };
                Ok(*end)
            }
            None => {
                let end = mark.map_or(0, |(end, _)| *end);
                let last_line = end.checked_sub(1).and_then(|last| batch.rows.get(last));
                Err(Refusal::Changed { last_line: last_line.map(|row| row.line) })
            }
        }
    }
}

/// The line of a row that the store has. The beginning of a file may have changed since it was
/// imported, so that nothing else tells. Some rows are looked up: most of them at the beginning.
async fn row_that_is_there(
    store: &dyn PersistenceBackend,
    batch: &RowBatch,
) -> Result<Option<u64>, PersistenceError> {
    let last = batch.rows.len().saturating_sub(1);
    let doubling = std::iter::successors(Some(1_usize), |index| index.checked_mul(2));
    let places = doubling.map(|index| index - 1).take_while(|index| *index < last).chain([last]);
    for Numbered { line, row } in places.filter_map(|index| batch.rows.get(index)) {
        let params = QueryParams::range(row.stored_at, row.stored_at);
        let Ok(value) = serde_json::from_str::<Value>(row.value.as_str()) else { continue };
        let stored = store.query(row.record.as_str(), params).await?;
        if stored.iter().any(|stored| stored.value == value) {
            return Ok(Some(*line));
        }
    }
    Ok(None)
}
