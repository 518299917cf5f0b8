//! How much a token has used of what it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How much a token may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLimits {
    /// Rows that it may store, per second on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<f64>,
    /// Rows or buckets of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_answer: Option<u64>,
    /// Queries at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_queries: Option<u32>,
}

/// The account of one token.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: TokenLimits,
    rows: Mutex<Rows>,
    queries: AtomicU32,
}

/// Rows that may be stored now. It falls below zero by the batch that took the last, so that a batch
/// of any size passes in the end.
#[derive(Debug)]
struct Rows {
    left: f64,
    at: Instant,
}

/// The room for one query, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct QueryPermit(Arc<Quota>);

impl Quota {
    pub(crate) fn new(limits: TokenLimits) -> Self {
        let left = limits.rows_per_second.unwrap_or(0.0);
        let rows = Mutex::new(Rows { left, at: Instant::now() });
        Self { limits, rows, queries: AtomicU32::new(0) }
    }

    /// The largest answer.
    pub(crate) fn rows_per_answer(&self) -> Option<u64> {
        self.limits.rows_per_answer
    }

    /// Takes `count` rows, or says how long to wait.
    pub(crate) fn take_rows(&self, count: usize, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.limits.rows_per_second else { return Ok(()) };
        let mut rows = self.rows.lock();
        let earned = now.saturating_duration_since(rows.at).as_secs_f64() * rate;
        // No more than a second's worth is saved up.
        rows.left = (rows.left + earned).min(rate.max(1.0));
        rows.at = now;
        if rows.left <= 0.0 {
            let seconds = (-rows.left / rate).max(0.001);
            return Err(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        }
        rows.left -= count as f64;
        Ok(())
    }

    /// Takes the room for a query; `None` if all of it is taken.
    pub(crate) fn take_query(self: &Arc<Self>) -> Option<QueryPermit> {
        let most = self.limits.concurrent_queries.unwrap_or(u32::MAX);
        let taken = self.queries.fetch_add(1, Ordering::SeqCst);
        let permit = QueryPermit(self.clone());
        (taken < most).then_some(permit)
    }
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        self.0.queries.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_with_the_time_and_a_large_batch_passes_once() {
        let limits = TokenLimits { rows_per_second: Some(100.0), ..TokenLimits::default() };
        let quota = Quota::new(limits);
        let start = Instant::now();
        assert_eq!(quota.take_rows(1_000, start), Ok(()));
        let wait = quota.take_rows(1, start).unwrap_err();
        assert!((8.5..=9.0).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(quota.take_rows(1, start + Duration::from_secs(8)).is_err());
        assert_eq!(quota.take_rows(1, start + Duration::from_millis(9_100)), Ok(()));
    }

    #[test]
    fn queries_are_given_back() {
        let limits = TokenLimits { concurrent_queries: Some(1), ..TokenLimits::default() };
        let quota = Arc::new(Quota::new(limits));
        let first = quota.take_query();
        assert!(first.is_some() && quota.take_query().is_none());
        drop(first);
        assert!(quota.take_query().is_some());
    }
}
