//! Which rows a cleanup removes, and what a sweep did.

use serde::Serialize;

use crate::error::PersistenceError;
use crate::pattern::Pattern;
use crate::query::MAX_TIMESTAMP;

/// One rule of a [`CleanupPlan`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupRule {
    /// The records it is for.
    pub pattern: Pattern,
    /// Rows with `stored_at < older_than` go, in Unix milliseconds. `None`: all rows stay.
    pub older_than: Option<u64>,
}

impl CleanupRule {
    /// Removes the rows of records that `pattern` matches and whose `stored_at` is below
    /// `older_than`, in Unix milliseconds; `None` keeps them all.
    pub fn new(pattern: Pattern, older_than: impl Into<Option<u64>>) -> Self {
        Self { pattern, older_than: older_than.into() }
    }
}

/// What came of a [`sweep`](crate::PersistenceBackend::sweep).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Swept {
    /// Exactly how many rows this call removed.
    pub removed: u64,
    /// Whether it went through. If not, another process is sweeping the same store, and what is
    /// left is that one's to remove.
    pub finished: bool,
}

impl Swept {
    /// A sweep that ran to its end and removed `removed` rows.
    pub const fn finished(removed: u64) -> Self {
        Self { removed, finished: true }
    }

    /// A sweep that removed `removed` rows and left the rest to another process.
    pub const fn left(removed: u64) -> Self {
        Self { removed, finished: false }
    }
}

/// Which rows of which records go. A record follows the first rule whose pattern matches it;
/// a record that no rule matches keeps everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CleanupPlan {
    /// The rules, first match first.
    pub rules: Vec<CleanupRule>,
    /// The newest so many rows of every record stay whatever their age.
    pub keep_newest: u64,
    /// What stays whatever the rules say: a record that `pattern` matches loses no rows but those with
    /// `stored_at < older_than`, and none without that. All that match count.
    pub holds: Vec<CleanupRule>,
}

impl CleanupPlan {
    /// Rows of all records with `stored_at < older_than`.
    pub fn older_than(older_than: u64) -> Self {
        let rule = CleanupRule { pattern: Pattern::all(), older_than: Some(older_than) };
        Self::new(vec![rule])
    }

    /// Applies the first of `rules` that matches a record.
    pub fn new(rules: Vec<CleanupRule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Sets how many of the newest rows of every record stay, whatever their age.
    #[must_use]
    pub fn with_keep_newest(mut self, rows: u64) -> Self {
        self.keep_newest = rows;
        self
    }

    /// Keeps the rows at `from` (Unix milliseconds) or later of the records that `pattern` matches,
    /// whatever the rules say.
    #[must_use]
    pub fn with_hold(mut self, pattern: Pattern, from: u64) -> Self {
        self.holds.push(CleanupRule::new(pattern, from));
        self
    }

    /// The cut-off for one record: its rows with a smaller `stored_at` go. `None`: all stay.
    pub fn cutoff_for(&self, record: &str) -> Option<u64> {
        let rule = self.rules.iter().find(|rule| rule.pattern.matches(record))?;
        let holds = self.holds.iter().filter(|hold| hold.pattern.matches(record));
        // `None` is the least.
        holds.map(|hold| hold.older_than).chain([rule.older_than]).min()?
    }

    /// The last `stored_at` that goes, 0 to `i64::MAX`: the inclusive form of
    /// [`cutoff_for`](Self::cutoff_for) that fits a signed column.
    pub fn last_removed(&self, record: &str) -> Option<u64> {
        Some(self.cutoff_for(record)?.checked_sub(1)?.min(MAX_TIMESTAMP))
    }

    /// The cut-off, if the plan is no more than one for all records alike.
    pub fn as_plain(&self) -> Option<u64> {
        match self.rules.first() {
            Some(rule)
                if rule.pattern.is_all()
                    && self.keep_newest == 0
                    && self.holds.iter().all(|hold| hold.pattern.is_all()) =>
            {
                self.holds.iter().map(|hold| hold.older_than).chain([rule.older_than]).min()?
            }
            _ => None,
        }
    }

    /// The plain cut-off, for a backend that can do nothing else.
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) for every other plan.
    pub fn plain_only(&self) -> Result<u64, PersistenceError> {
        self.as_plain().ok_or(PersistenceError::Unsupported(
            "retention by pattern or by number of rows; use one window for all records",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Grammar;

    #[test]
    fn the_first_matching_rule_counts() {
        let rule = |pattern: &str, older_than| CleanupRule {
            pattern: Pattern::new(pattern, Grammar::Glob).unwrap(),
            older_than,
        };
        let plan = CleanupPlan {
            rules: vec![rule("debug::*", Some(9)), rule("*::keep", None), rule("*", Some(0))],
            ..CleanupPlan::default()
        };
        assert_eq!(plan.cutoff_for("debug::keep"), Some(9));
        assert_eq!(plan.cutoff_for("x::keep"), None);
        assert_eq!(plan.last_removed("debug::a"), Some(8));
        assert_eq!(plan.last_removed("other"), None);
        assert_eq!(plan.as_plain(), None);
        assert_eq!(CleanupPlan::older_than(u64::MAX).last_removed("a"), Some(MAX_TIMESTAMP));
        assert_eq!(CleanupPlan::older_than(7).as_plain(), Some(7));
    }

    #[test]
    fn the_least_of_the_holds_that_match_counts() {
        let pattern = |pattern: &str| Pattern::new(pattern, Grammar::Glob).unwrap();
        let plan = CleanupPlan::older_than(9).with_hold(Pattern::all(), 7);
        assert_eq!((plan.as_plain(), plan.cutoff_for("a")), (Some(7), Some(7)));
        let plan = plan.with_hold(pattern("a*"), 4).with_hold(pattern("ab"), 5);
        assert_eq!(plan.as_plain(), None);
        assert_eq!(["ab", "b"].map(|record| plan.cutoff_for(record)), [Some(4), Some(7)]);
        let mut plan = plan.with_hold(pattern("x"), 8);
        plan.holds.push(CleanupRule::new(pattern("y"), None));
        assert_eq!(["x", "y"].map(|record| plan.cutoff_for(record)), [Some(7), None]);
        assert_eq!(plan.last_removed("y"), None);
    }
}
