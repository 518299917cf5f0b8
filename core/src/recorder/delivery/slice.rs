//! Batch slices: rows on their way to the backend, split where it refuses some of them.

use std::collections::HashSet;

use crate::batch::{Batch, BatchId, Row};
use crate::recorder::queue::{Entry, Origin};

/// Rows that are sent together. Never empty.
#[derive(Debug)]
pub(super) struct BatchSlice {
    batch: Batch,
    origins: Vec<Origin>,
}

impl BatchSlice {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let (rows, origins): (Vec<Row>, Vec<Origin>) =
            entries.into_iter().map(|entry| (entry.row, entry.origin)).unzip();
        Self { batch: Batch::new(rows), origins }
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

    /// The position of its first row.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.origins.first().map(|origin| origin.seq)
    }

    /// The rows before `middle`, and those from there on; `None` for no rows.
    pub(super) fn split(&self, middle: usize) -> (Option<Self>, Option<Self>) {
        let (rows, later_rows) = self.batch.rows().split_at(middle);
        let (origins, later) = self.origins.split_at(middle);
        let part = |rows: &[Row], origins: &[Origin]| {
            let batch = Batch::new(rows.to_vec());
            (!batch.rows().is_empty()).then(|| Self { batch, origins: origins.to_vec() })
        };
        (part(rows, origins), part(later_rows, later))
    }

    /// All rows but one; `None` for no rows.
    pub(super) fn without(&self, index: usize) -> Option<Self> {
        let mut rows = self.batch.rows().to_vec();
        let mut origins = self.origins.clone();
        rows.remove(index);
        origins.remove(index);
        (!rows.is_empty()).then(|| Self { batch: Batch::new(rows), origins })
    }
}

/// The rows of `pending` that may be stored before `suspect` without changing the order of any
/// record: no row of the same record and time comes before them. `pending` ends with the slice to be
/// sent next. Each row is the position of its slice and its position in there.
pub(super) fn may_overtake(suspect: &BatchSlice, pending: &[BatchSlice]) -> Vec<(usize, usize)> {
    let key = |slice: &BatchSlice, index: usize| {
        (slice.origins[index].record, slice.row(index).stored_at)
    };
    let mut earlier: HashSet<_> = (0..suspect.len()).map(|index| key(suspect, index)).collect();
    let mut free = Vec::new();
    for (position, slice) in pending.iter().enumerate().rev() {
        for index in 0..slice.len() {
            if earlier.insert(key(slice, index)) {
                free.push((position, index));
            }
        }
    }
    free
}
