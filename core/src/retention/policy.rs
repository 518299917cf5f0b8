//! How long which records are kept.

use std::time::Duration;

use crate::cleanup::{CleanupPlan, CleanupRule};
use crate::clock::millis;
use crate::error::PersistenceError;
use crate::pattern::{Grammar, Pattern};

/// How long which records are kept: the first rule whose pattern matches a record counts.
///
/// A policy without a rule for a record keeps it forever, and a new policy has no rules.
///
/// ```
/// # use std::time::Duration;
/// # use annals_core::RetentionPolicy;
/// const DAY: Duration = Duration::from_secs(24 * 3600);
/// let policy = RetentionPolicy::new()
///     .keep("debug::*", DAY)?
///     .keep_forever("audit::*")?
///     .keep_all(90 * DAY)
///     .keep_newest(1);
/// let now = 1_740_000_000_000;
/// let plan = policy.plan(now);
/// assert_eq!(plan.cutoff_for("debug::gc"), Some(now - 86_400_000));
/// assert_eq!(plan.cutoff_for("audit::login"), None);
/// assert_eq!(plan.cutoff_for("temperature"), Some(now - 90 * 86_400_000));
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionPolicy {
    rules: Vec<(Pattern, Option<Duration>)>,
    rest: Option<Duration>,
    keep_newest: u64,
    forward_limit: Option<Duration>,
}

impl RetentionPolicy {
    /// Keeps everything forever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule: the records that `pattern` matches, in the first grammar
    /// ([`Grammar::Glob`]), are kept for `window`, which counts in whole milliseconds.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern).
    pub fn keep(self, pattern: &str, window: Duration) -> Result<Self, PersistenceError> {
        Ok(self.with_rule(Pattern::new(pattern, Grammar::Glob)?, Some(window)))
    }

    /// Adds a rule: the records that `pattern` matches, in the first grammar, are kept forever.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern).
    pub fn keep_forever(self, pattern: &str) -> Result<Self, PersistenceError> {
        Ok(self.with_rule(Pattern::new(pattern, Grammar::Glob)?, None))
    }

    /// Adds a rule for a pattern in either grammar; `None` keeps forever.
    #[must_use]
    pub fn with_rule(mut self, pattern: Pattern, window: Option<Duration>) -> Self {
        self.rules.push((pattern, window));
        self
    }

    /// Sets the window of all records that no rule matches.
    #[must_use]
    pub fn keep_all(mut self, window: Duration) -> Self {
        self.rest = Some(window);
        self
    }

    /// Keeps the newest `rows` rows of every record whatever their age.
    ///
    /// Beside its use for records that change rarely, this is what is left when the wall clock is
    /// wrong and far ahead: every row is then out of its window.
    #[must_use]
    pub fn keep_newest(mut self, rows: u64) -> Self {
        self.keep_newest = rows;
        self
    }

    /// Sets how far a [`Forwarder`](crate::Forwarder) of the store may fall behind: rows older than this
    /// go by the rules although they were not forwarded. Without it they stay, however long forwarding
    /// takes and however much space they need.
    #[must_use]
    pub fn forward_limit(mut self, limit: Duration) -> Self {
        self.forward_limit = Some(limit);
        self
    }

    /// The time (Unix milliseconds) before which rows do not wait for forwarders, when it is `now_ms`.
    pub fn forward_limit_at(&self, now_ms: u64) -> u64 {
        self.forward_limit.map_or(0, |limit| now_ms.saturating_sub(millis(limit)))
    }

    /// Whether nothing ever goes.
    pub fn keeps_everything(&self) -> bool {
        self.rest.is_none() && self.rules.iter().all(|(_, window)| window.is_none())
    }

    /// What goes when it is `now_ms` (Unix milliseconds), forwarders aside. A clock that has not reached the end of
    /// a window yet, one that begins at 1970 say, lets nothing go.
    pub fn plan(&self, now_ms: u64) -> CleanupPlan {
        let rest = self.rest.map(|window| (Pattern::all(), Some(window)));
        let rules = self.rules.iter().cloned().chain(rest);
        let rules = rules.map(|(pattern, window)| CleanupRule {
            pattern,
            // Nothing is older than 0, and 0 is a plain cut-off still.
            older_than: window.map(|window| now_ms.saturating_sub(millis(window))),
        });
        CleanupPlan::new(rules.collect()).with_keep_newest(self.keep_newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_matching_window_counts_and_the_rest_has_its_own() {
        let policy = RetentionPolicy::new()
            .keep_all(10 * SECOND)
            .keep("debug::*", SECOND)
            .unwrap()
            .keep("*::x", 5 * SECOND)
            .unwrap();
        let plan = policy.plan(100_000);
        assert_eq!(plan.cutoff_for("debug::x"), Some(99_000));
        assert_eq!(plan.cutoff_for("a::x"), Some(95_000));
        assert_eq!(plan.cutoff_for("a"), Some(90_000));
        assert_eq!(plan.as_plain(), None);
    }

    #[test]
    fn without_a_window_for_the_rest_it_stays() {
        let policy = RetentionPolicy::new().keep("debug::*", SECOND).unwrap();
        assert_eq!(policy.plan(100_000).cutoff_for("other"), None);
        assert!(!policy.keeps_everything());
        assert!(RetentionPolicy::new().keep_newest(3).keeps_everything());
        assert!(RetentionPolicy::new().keep_forever("*").unwrap().keeps_everything());
    }

    #[test]
    fn a_clock_before_the_window_lets_nothing_go_and_stays_plain() {
        let plan = RetentionPolicy::new().keep_all(10 * SECOND).plan(9_999);
        assert_eq!(plan.last_removed("a"), None);
        assert_eq!(plan.as_plain(), Some(0));
        assert_eq!(RetentionPolicy::new().keep_all(Duration::MAX).plan(1).as_plain(), Some(0));
    }

    #[test]
    fn an_invalid_pattern_is_refused() {
        let error = RetentionPolicy::new().keep("", SECOND).unwrap_err();
        assert!(matches!(error, PersistenceError::InvalidPattern { .. }), "{error}");
    }
}
