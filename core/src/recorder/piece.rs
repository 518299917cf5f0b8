//! Rows on their way to the backend, cut where it refuses some of them.

use super::ledger::RecordId;
use crate::batch::{Batch, BatchId, Row};

/// A row in the queue.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) row: Row,
    pub(super) origin: Origin,
}

/// Whose row it is and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) record: RecordId,
    /// Its place in the order of all accepted rows.
    pub(super) seq: u64,
}

/// Rows that are sent together.
#[derive(Debug)]
pub(super) struct Piece {
    batch: Batch,
    origins: Vec<Origin>,
}

impl Piece {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let (rows, origins): (Vec<Row>, Vec<Origin>) =
            entries.into_iter().map(|entry| (entry.row, entry.origin)).unzip();
        Self { batch: Batch::new(rows), origins }
    }

    /// Each row on its own, in order.
    pub(super) fn singles(entries: Vec<Entry>) -> impl DoubleEndedIterator<Item = Self> {
        entries.into_iter().map(|entry| Self::new(vec![entry]))
    }

    pub(super) fn len(&self) -> usize {
        self.origins.len()
    }

    pub(super) fn batch(&self, id: BatchId) -> Batch {
        self.batch.clone().with_id(id)
    }

    pub(super) fn row(&self, index: usize) -> &Row {
        &self.batch.rows()[index]
    }

    pub(super) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// The place of its first row; `None` if it is empty.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.origins.first().map(|origin| origin.seq)
    }

    /// The rows before `middle` and those from it on.
    pub(super) fn split(&self, middle: usize) -> (Self, Self) {
        let (rows, later_rows) = self.batch.rows().split_at(middle);
        let (origins, later) = self.origins.split_at(middle);
        let cut = |rows: &[Row], origins: &[Origin]| Self {
            batch: Batch::new(rows.to_vec()),
            origins: origins.to_vec(),
        };
        (cut(rows, origins), cut(later_rows, later))
    }

    /// All rows but one.
    pub(super) fn without(&self, index: usize) -> Self {
        let mut rows = self.batch.rows().to_vec();
        let mut origins = self.origins.clone();
        rows.remove(index);
        origins.remove(index);
        Self { batch: Batch::new(rows), origins }
    }
}
