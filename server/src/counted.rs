//! What is stored, counted from time to time.

use std::time::{Duration, Instant};

use annals_core::{Grammar, PersistenceBackend, forward_record};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

/// A count is good for so long.
const FRESH: Duration = Duration::from_secs(10);

/// What is stored, as of the last ten seconds. Times are in Unix milliseconds.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct History {
    records: u64,
    rows: u64,
    oldest_row: Option<u64>,
    newest_row: Option<u64>,
}

/// When the server started, and what was counted last.
#[derive(Debug)]
pub(crate) struct Counted {
    start: Instant,
    last: Mutex<Option<(Instant, History)>>,
}

impl Default for Counted {
    fn default() -> Self {
        Self { start: Instant::now(), last: Mutex::default() }
    }
}

impl Counted {
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// `None` if the store does not answer.
    pub(crate) async fn history(&self, store: &impl PersistenceBackend) -> Option<History> {
        if let Some((at, history)) = *self.last.lock()
            && at.elapsed() < FRESH
        {
            return Some(history);
        }
        let mut records = store.records("*", Grammar::Glob).await.ok()?;
        // What forwarders keep there is no history.
        records.retain(|record| !record.record.starts_with(&forward_record("")));
        let history = History {
            records: records.len() as u64,
            rows: records.iter().map(|record| record.count).sum(),
            oldest_row: records.iter().map(|record| record.first).min(),
            newest_row: records.iter().map(|record| record.last).max(),
        };
        *self.last.lock() = Some((Instant::now(), history));
        Some(history)
    }
}
