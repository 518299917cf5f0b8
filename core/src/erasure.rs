//! Which rows an erase removes.

use crate::pattern::Pattern;
use crate::predicate::Predicate;
use crate::query::MAX_TIMESTAMP;

/// Which rows [`erase`](crate::PersistenceBackend::erase) removes: those of the records that match a
/// pattern, in a window of time, and that satisfy a predicate if there is one.
///
/// ```
/// # use annals_core::{Erasure, Grammar, MemoryBackend, Pattern, PersistenceBackend, Predicate, StoreExt};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let history = MemoryBackend::new();
/// history.put_at("door::7", &serde_json::json!({ "person": "ada" }), 1_000).await?;
/// history.put_at("door::7", &serde_json::json!({ "person": "bob" }), 2_000).await?;
///
/// let erasure = Erasure::new(Pattern::new("door::*", Grammar::Glob)?)
///     .with_where(Predicate::parse("person = 'ada'")?);
/// assert_eq!(history.erase(&erasure).await?, 1);
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Erasure {
    /// Which records.
    pub pattern: Pattern,
    /// The first `stored_at` that goes, in Unix milliseconds, inclusive. Above `i64::MAX`: no bound.
    pub start_time: Option<u64>,
    /// The last `stored_at` that goes, in Unix milliseconds, inclusive. Above `i64::MAX`: no bound.
    pub end_time: Option<u64>,
    /// Which of these rows go, if not all of them.
    pub predicate: Option<Predicate>,
}

impl Erasure {
    /// All rows of the records that `pattern` matches.
    pub fn new(pattern: Pattern) -> Self {
        Self { pattern, start_time: None, end_time: None, predicate: None }
    }

    /// Sets the start of the window, inclusive, in Unix milliseconds.
    #[must_use]
    pub fn with_start_time(mut self, start_time: impl Into<Option<u64>>) -> Self {
        self.start_time = start_time.into();
        self
    }

    /// Sets the end of the window, inclusive, in Unix milliseconds.
    #[must_use]
    pub fn with_end_time(mut self, end_time: impl Into<Option<u64>>) -> Self {
        self.end_time = end_time.into();
        self
    }

    /// Removes only the rows that satisfy `predicate`.
    #[must_use]
    pub fn with_where(mut self, predicate: impl Into<Option<Predicate>>) -> Self {
        self.predicate = predicate.into();
        self
    }

    /// The first and the last `stored_at` that go, inclusive, 0 to `i64::MAX`. `None`: nothing goes,
    /// because the start lies after the end or no name can match.
    pub fn window(&self) -> Option<(u64, u64)> {
        let crossed = matches!((self.start_time, self.end_time), (Some(a), Some(b)) if a > b);
        let bound = |time: Option<u64>| time.filter(|time| *time <= MAX_TIMESTAMP);
        let window =
            (bound(self.start_time).unwrap_or(0), bound(self.end_time).unwrap_or(MAX_TIMESTAMP));
        (!crossed && self.pattern.can_match()).then_some(window)
    }

    /// Whether a row in the window with this text goes. Text that is no longer JSON satisfies no
    /// predicate, so its row stays.
    pub fn takes(&self, json: &str) -> bool {
        self.predicate.as_ref().is_none_or(|predicate| predicate.test(json).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_that_of_a_query() {
        let all = Erasure::new(Pattern::all());
        assert_eq!(all.window(), Some((0, MAX_TIMESTAMP)));
        let beyond = all.clone().with_start_time(u64::MAX).with_end_time(u64::MAX);
        assert_eq!(beyond.window(), Some((0, MAX_TIMESTAMP)));
        assert_eq!(all.clone().with_start_time(2).with_end_time(1).window(), None);
        assert_eq!(all.with_start_time(u64::MAX).with_end_time(1).window(), None);
    }
}
