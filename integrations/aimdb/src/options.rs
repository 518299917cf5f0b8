//! The settings of one database's history.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Clock, Grammar, Overflow, RecorderConfig, RetentionPolicy, SystemClock};

/// The settings of one database's history: retention, recording, and the grammar of patterns.
///
/// ```
/// use std::time::Duration;
/// use annals_aimdb::PersistenceOptions;
/// use annals_core::{Grammar, RecorderConfig, RetentionPolicy};
///
/// let day = Duration::from_secs(24 * 3600);
/// let policy = RetentionPolicy::new().keep("debug::*", day)?.keep_all(90 * day);
/// let options = PersistenceOptions::new(7 * day)
///     .with_retention(policy)
///     .with_recorder(RecorderConfig::default().with_capacity_rows(200_000))
///     .with_grammar(Grammar::Topic);
/// # let _ = options;
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct PersistenceOptions {
    pub(crate) retention: RetentionPolicy,
    pub(crate) sweep_interval: Duration,
    pub(crate) recorder: RecorderConfig,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) grammar: Option<Grammar>,
}

impl Default for PersistenceOptions {
    /// Keeps everything forever.
    fn default() -> Self {
        Self {
            retention: RetentionPolicy::new(),
            sweep_interval: Duration::from_secs(24 * 3600),
            recorder: RecorderConfig::default().with_overflow(Overflow::DropOldest),
            clock: Arc::new(SystemClock),
            grammar: None,
        }
    }
}

impl PersistenceOptions {
    /// Keeps every value for `retention`.
    pub fn new(retention: Duration) -> Self {
        Self::default().with_retention(RetentionPolicy::new().keep_all(retention))
    }

    /// Sets how long values are kept, by record.
    ///
    /// A policy of more than one window requires a backend that claims
    /// [`selective_cleanup`](annals_core::Guarantees::selective_cleanup). With any other backend it
    /// is a configuration error.
    pub fn with_retention(mut self, policy: RetentionPolicy) -> Self {
        self.retention = policy;
        self
    }

    /// Sets the time from the end of one retention sweep to the next. Default: 24 hours.
    pub fn with_sweep_interval(mut self, interval: Duration) -> Self {
        self.sweep_interval = interval;
        self
    }

    /// Sets how values are queued, batched and retried.
    ///
    /// A push in AimDB is synchronous and cannot wait. [`Overflow::Wait`], the default of
    /// `RecorderConfig`, is therefore treated as [`Overflow::DropOldest`], which is what AimDB's
    /// own rings do. Dropped values are counted, with a warning. The clock of `config` is ignored:
    /// see [`with_clock`](Self::with_clock).
    pub fn with_recorder(mut self, config: RecorderConfig) -> Self {
        let overflow = match config.overflow {
            Overflow::Wait => Overflow::DropOldest,
            other => other,
        };
        self.recorder = config.with_overflow(overflow);
        self
    }

    /// Sets the clock of recording and retention. Default: the system's.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the grammar of patterns, in queries on the live handle and in `record.query`.
    /// Default: the grammar of the AimDB line, [`Grammar::Glob`] on 1.x and [`Grammar::Topic`] on
    /// 2.x.
    pub fn with_grammar(mut self, grammar: Grammar) -> Self {
        self.grammar = Some(grammar);
        self
    }
}

impl fmt::Debug for PersistenceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersistenceOptions")
            .field("retention", &self.retention)
            .field("sweep_interval", &self.sweep_interval)
            .field("recorder", &self.recorder)
            .field("grammar", &self.grammar)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_sweeps_daily() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(PersistenceOptions::new(day).sweep_interval, day);
    }

    #[test]
    fn a_push_never_waits() {
        let waits = RecorderConfig::default();
        assert_eq!(waits.overflow, Overflow::Wait);
        let options = PersistenceOptions::default().with_recorder(waits);
        assert_eq!(options.recorder.overflow, Overflow::DropOldest);
        let newest = RecorderConfig::default().with_overflow(Overflow::DropNewest);
        let options = PersistenceOptions::default().with_recorder(newest);
        assert_eq!(options.recorder.overflow, Overflow::DropNewest);
    }
}
