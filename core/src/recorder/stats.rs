//! What became of every value.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use serde::Serialize;

use crate::error::PersistenceError;

/// What became of the values of one record, or of all.
///
/// At every moment `recorded = stored + rejected + dropped + pending`; each is counted for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[non_exhaustive]
pub struct RecordStats {
    /// Values that were given to the recorder and that it answered for.
    pub recorded: u64,
    /// Values the backend acknowledged.
    pub stored: u64,
    /// Values that can never be stored: refused before they were queued, or by the backend.
    pub rejected: u64,
    /// Values that were let go: pushed out of a full queue, given up on after too many failures,
    /// or left when the recorder ended. Whether a value was stored that was being sent when the
    /// recorder ended is not known; it counts here.
    pub dropped: u64,
    /// Values that wait or are on their way.
    pub pending: u64,
    /// Values a source says it lost before they reached the recorder. Not part of `recorded`.
    pub lost: u64,
}

impl RecordStats {
    /// Whether the account balances: `recorded = stored + rejected + dropped + pending`.
    pub fn balances(&self) -> bool {
        self.recorded == self.stored + self.rejected + self.dropped + self.pending
    }
}

impl AddAssign for RecordStats {
    fn add_assign(&mut self, other: Self) {
        self.recorded += other.recorded;
        self.stored += other.stored;
        self.rejected += other.rejected;
        self.dropped += other.dropped;
        self.pending += other.pending;
        self.lost += other.lost;
    }
}

/// A recorder's account at one moment: all counters were read at once.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct RecorderStats {
    /// All records together, those with names that are not allowed included.
    pub total: RecordStats,
    /// Each record for itself.
    pub records: BTreeMap<Arc<str>, RecordStats>,
    /// Values whose record name is not allowed, whatever name it was.
    pub invalid_names: RecordStats,
    /// Bytes of JSON that wait in the queue.
    pub queued_bytes: usize,
    /// Batches the backend acknowledged.
    pub batches: u64,
    /// Calls to the backend that failed and were made again.
    pub retries: u64,
    /// The last error of the backend, even if it has been overcome since.
    #[serde(serialize_with = "crate::error::as_text")]
    pub last_error: Option<PersistenceError>,
    /// When that was, in Unix milliseconds.
    pub last_error_ms: Option<u64>,
    /// When the backend last acknowledged a batch, in Unix milliseconds.
    pub last_stored_ms: Option<u64>,
    /// Whether the recorder takes values.
    pub open: bool,
}
