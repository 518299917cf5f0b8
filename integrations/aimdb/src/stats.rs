//! What became of every value.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_core::{PersistenceError, RecordStats, RecorderStats, RetentionStats};

/// What became of the values of one record, or of all.
///
/// At every moment `recorded = stored + rejected + dropped + pending`. `lagged` is beside it: those
/// values never reached the recorder. What a record's producers pushed while it was persisted is
/// `recorded + lagged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct RecordAccount {
    /// Values that were taken.
    pub recorded: u64,
    /// Values the backend acknowledged.
    pub stored: u64,
    /// Values that can never be stored: too large, too deep, or failing to serialize.
    pub rejected: u64,
    /// Values that were missed: the buffer overwrote them before `.persist` had read them, or
    /// they were pushed when persistence was closed.
    pub lagged: u64,
    /// Values that were taken and let go: the queue was full, or the backend failed for too long.
    pub dropped: u64,
    /// Values that wait to be stored or are on their way.
    pub pending: u64,
}

impl RecordAccount {
    /// Whether `recorded = stored + rejected + dropped + pending`.
    pub fn balances(&self) -> bool {
        self.recorded == self.stored + self.rejected + self.dropped + self.pending
    }
}

impl From<RecordStats> for RecordAccount {
    fn from(stats: RecordStats) -> Self {
        Self {
            recorded: stats.recorded,
            stored: stats.stored,
            rejected: stats.rejected,
            lagged: stats.lost,
            dropped: stats.dropped,
            pending: stats.pending,
        }
    }
}

/// The account of all values at one moment, by record and in total.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PersistenceStats {
    /// All records together.
    pub total: RecordAccount,
    /// Each record for itself, under the name it is persisted as.
    pub records: BTreeMap<Arc<str>, RecordAccount>,
    /// The last error of the backend while storing, even if it has been overcome since.
    pub last_error: Option<PersistenceError>,
    /// When that was, in Unix milliseconds.
    pub last_error_ms: Option<u64>,
    /// Whether values are still taken.
    pub open: bool,
    /// What retention has done so far, and how often it failed.
    pub retention: RetentionStats,
}

impl PersistenceStats {
    pub(crate) fn new(stats: RecorderStats, retention: RetentionStats) -> Self {
        let records = stats.records.into_iter();
        Self {
            total: stats.total.into(),
            records: records.map(|(name, stats)| (name, stats.into())).collect(),
            last_error: stats.last_error,
            last_error_ms: stats.last_error_ms,
            open: stats.open,
            retention,
        }
    }
}
