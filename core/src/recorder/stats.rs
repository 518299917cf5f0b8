//! What became of every value.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use serde::Serialize;

use super::filter::Reason;
use crate::error::PersistenceError;

/// What became of the values of one record, or of all.
///
/// At every moment `recorded = stored + rejected + dropped + pending`; each is counted for itself.
/// What a [`Filter`](crate::Filter) keeps out is counted beside it: `recorded + filtered + held`
/// values were given to the recorder.
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
    /// Values that the record's filter kept out, by reason. Not part of `recorded`.
    pub filtered: FilteredStats,
    /// Values that wait for a minimum interval to end, at most one per record. They become recorded
    /// or filtered.
    pub held: u64,
    /// Values outside the range of [`count_outside`](crate::Filter::count_outside), whatever the
    /// other rules made of them.
    pub implausible: u64,
}

/// The values that a filter kept out, by the rule that did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[non_exhaustive]
pub struct FilteredStats {
    /// Outside the range of [`within`](crate::Filter::within).
    pub implausible: u64,
    /// Equal to the last value that passed.
    pub unchanged: u64,
    /// Within the dead band of the last value that passed.
    pub dead_band: u64,
    /// Replaced by a later value within the minimum interval.
    pub interval: u64,
}

impl FilteredStats {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.implausible + self.unchanged + self.dead_band + self.interval
    }

    pub(super) fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Implausible => &mut self.implausible,
            Reason::Unchanged => &mut self.unchanged,
            Reason::DeadBand => &mut self.dead_band,
            Reason::Interval => &mut self.interval,
        } += 1;
    }
}

impl AddAssign for FilteredStats {
    fn add_assign(&mut self, other: Self) {
        self.implausible += other.implausible;
        self.unchanged += other.unchanged;
        self.dead_band += other.dead_band;
        self.interval += other.interval;
    }
}

impl RecordStats {
    /// Whether the account balances: `recorded = stored + rejected + dropped + pending`.
    pub fn balances(&self) -> bool {
        self.recorded == self.stored + self.rejected + self.dropped + self.pending
    }

    /// Counts what is pending or held as dropped; returns how many.
    pub(super) fn abandon(&mut self) -> u64 {
        let held = std::mem::take(&mut self.held);
        self.recorded += held;
        let dropped = held + std::mem::take(&mut self.pending);
        self.dropped += dropped;
        dropped
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
        self.filtered += other.filtered;
        self.held += other.held;
        self.implausible += other.implausible;
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
