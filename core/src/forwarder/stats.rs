//! What a forwarder has done.

use serde::Serialize;

use crate::error::{self, PersistenceError};

/// What was forwarded since the forwarder was made.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct ForwardStats {
    /// The rows that the destination has acknowledged.
    pub rows: u64,
    /// The batches that it has acknowledged.
    pub batches: u64,
    /// The calls that failed and were repeated.
    pub retries: u64,
    /// How old the newest row of the last batch was when the batch was acknowledged, in milliseconds.
    /// 0 if nothing more had arrived.
    pub lag_ms: u64,
    /// Nothing more had arrived in the source behind the last batch.
    pub caught_up: bool,
    /// Why a call was repeated, until the next one succeeds. Serialized as its message.
    #[serde(serialize_with = "error::as_text")]
    pub last_error: Option<PersistenceError>,
}

impl ForwardStats {
    pub(super) fn forwarded(&mut self, rows: u64, newest: Option<u64>, now_ms: u64) {
        self.rows += rows;
        self.batches += 1;
        self.lag_ms = newest.map_or(0, |newest| now_ms.saturating_sub(newest));
        self.caught_up = false;
        self.last_error = None;
    }

    pub(super) fn caught_up(&mut self) {
        self.caught_up = true;
        self.lag_ms = 0;
    }

    pub(super) fn failed(&mut self, error: &PersistenceError) {
        self.retries += 1;
        self.last_error = Some(error.clone());
    }
}
