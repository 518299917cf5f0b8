//! Following a history: what is stored arrives, in order per record, each row once.
//!
//! Enters: a pattern and where to begin, or the cursor of an earlier page. Leaves: pages of rows with
//! cursors; [`FollowExt`](crate::FollowExt) makes streams of them. A backend offers one call,
//! [`follow_page`](crate::PersistenceBackend::follow_page): what arrived behind a cursor. A follower has no
//! state in the store and is never waited for: it reads the history, at its own pace.

mod cursor;
mod page;

use std::time::Duration;

use crate::pattern::Grammar;

pub use cursor::{Cursor, Origin, Position, Within};
pub use page::FollowPage;

/// Where a follower begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowFrom {
    /// With what arrives from now on.
    Now,
    /// With every row whose `stored_at` (Unix milliseconds) is this or greater: those that are there,
    /// and those that arrive.
    Time(u64),
    /// With the newest so many rows of each record, oldest first, and then what arrives.
    Latest(usize),
    /// Behind the row that a cursor was taken at. The pattern and its grammar have to be the same.
    Cursor(Cursor),
}

/// What is followed. The default begins now and waits for rows.
///
/// ```
/// # use annals_core::{FollowFrom, FollowParams};
/// let what_is_new = FollowParams::from(FollowFrom::Time(1_740_081_234_000)).with_wait(false);
/// # assert!(!what_is_new.wait);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowParams {
    /// Where to begin.
    pub from: FollowFrom,
    /// How the pattern is read.
    pub grammar: Grammar,
    /// Whether a page without rows is waited for. Otherwise it is returned at once, and a stream ends.
    pub wait: bool,
    /// About how many rows a page has at most. What was stored in one transaction may exceed it.
    pub page_rows: usize,
    /// How often the store is asked where it cannot tell by itself that something was stored.
    pub poll_interval: Duration,
}

impl Default for FollowParams {
    fn default() -> Self {
        Self {
            from: FollowFrom::Now,
            grammar: Grammar::default(),
            wait: true,
            page_rows: 8_192,
            poll_interval: Duration::from_millis(200),
        }
    }
}

impl From<FollowFrom> for FollowParams {
    fn from(from: FollowFrom) -> Self {
        Self { from, ..Self::default() }
    }
}

impl From<Cursor> for FollowParams {
    fn from(cursor: Cursor) -> Self {
        FollowFrom::Cursor(cursor).into()
    }
}

impl FollowParams {
    /// Sets where to begin.
    #[must_use]
    pub fn with_from(mut self, from: FollowFrom) -> Self {
        self.from = from;
        self
    }

    /// Sets the grammar of the pattern.
    #[must_use]
    pub fn with_grammar(mut self, grammar: Grammar) -> Self {
        self.grammar = grammar;
        self
    }

    /// Sets whether to wait for rows.
    #[must_use]
    pub fn with_wait(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Sets about how many rows a page has at most.
    #[must_use]
    pub fn with_page_rows(mut self, rows: usize) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    /// Sets how often the store is asked where it cannot tell by itself that something was stored.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }
}
