//! A backend that the suite is tried on, and what is expected of it.

use std::sync::Arc;
use std::time::Duration;

use annals_conformance::Suite;
use annals_core::MemoryBackend;

use crate::twist::{Twist, Twisted};

/// A backend and what is expected of it.
pub(crate) struct Subject {
    pub(crate) suite: Suite,
    /// The clauses that must fail; no other may.
    pub(crate) breaks: &'static [&'static str],
    /// Clauses that fail or not, depending on a random number.
    pub(crate) perhaps: &'static [&'static str],
    /// Whether random sequences of calls must find it. They may not where it takes many rows, much
    /// time, several tasks, or a sequence that is not always tried.
    pub(crate) random_finds: bool,
    /// How many cases must run, rather than be skipped.
    pub(crate) runs: usize,
    /// A case that must be among those that fail.
    pub(crate) caught_by: Option<&'static str>,
}

impl Subject {
    pub(crate) fn new(suite: Suite, breaks: &'static [&'static str]) -> Self {
        let suite = suite.with_timeout(Duration::from_secs(60));
        let random_finds = !breaks.is_empty();
        Self { suite, breaks, perhaps: &[], random_finds, runs: 60, caught_by: None }
    }

    pub(crate) fn unseen_by_random(mut self) -> Self {
        self.random_finds = false;
        self
    }

    pub(crate) fn perhaps(mut self, clauses: &'static [&'static str]) -> Self {
        self.perhaps = clauses;
        self
    }

    /// What only this case finds, besides random calls perhaps.
    pub(crate) fn caught_by(mut self, case: &'static str) -> Self {
        self.caught_by = Some(case);
        self
    }

    pub(crate) fn running(mut self, runs: usize) -> Self {
        self.runs = runs;
        self
    }
}

/// A wrong backend around the reference. Each store gets a twist of its own.
pub(crate) fn twisted<T: Twist>(
    name: &str,
    twist: impl Fn() -> T + Send + Sync + 'static,
    breaks: &'static [&'static str],
) -> Subject {
    let make = move || Twisted::new(MemoryBackend::new(), Arc::new(twist()));
    Subject::new(Suite::in_memory(name, make), breaks)
}
