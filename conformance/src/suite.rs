//! A harness with what the run depends on besides.

use std::env;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use annals_core::PersistenceBackend;

use crate::harness::Harness;
use crate::in_memory::InMemory;

/// The suite for one kind of store.
#[derive(Clone)]
pub struct Suite {
    pub(crate) name: String,
    pub(crate) harness: Arc<dyn Harness>,
    pub(crate) unavailable: Option<String>,
    pub(crate) child_args: Option<Vec<OsString>>,
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
    pub(crate) random_cases: u32,
}

impl Suite {
    /// The suite for the stores of `harness`.
    pub fn new(harness: impl Harness) -> Self {
        Self {
            name: harness.name(),
            harness: Arc::new(harness),
            unavailable: None,
            child_args: None,
            timeout: Duration::from_secs(number("ANNALS_CONFORMANCE_TIMEOUT").unwrap_or(180)),
            seed: number("ANNALS_CONFORMANCE_SEED").unwrap_or(0xa44a15),
            random_cases: number("ANNALS_CONFORMANCE_RANDOM_CASES").unwrap_or(64),
        }
    }

    /// The suite for a store that lives in its process. `make` makes an empty one.
    pub fn in_memory<B: PersistenceBackend + 'static>(
        name: impl Into<String>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> Self {
        Self::new(InMemory::new(name.into(), make))
    }

    /// A suite that reports all of its cases as skipped, for this reason: the server it needs is
    /// not there, say.
    pub fn unavailable(name: impl Into<String>, reason: impl Into<String>) -> Self {
        let mut suite = Self::in_memory(name, annals_core::MemoryBackend::new);
        suite.unavailable = Some(reason.into());
        suite
    }

    /// Sets after how long a case that hangs fails.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the seed of the random sequences of calls.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many random sequences of calls are tried.
    #[must_use]
    pub fn with_random_cases(mut self, random_cases: u32) -> Self {
        self.random_cases = random_cases;
        self
    }

    /// Sets the arguments with which this program, started again, gets to
    /// [`serve_child`](Self::serve_child) of the same suite. [`main`](Self::main) does that itself.
    ///
    /// The cases about `kill -9`, memory and several processes start such children; without this
    /// they are skipped.
    #[must_use]
    pub fn with_child_args(mut self, args: impl IntoIterator<Item = OsString>) -> Self {
        self.child_args = Some(args.into_iter().collect());
        self
    }

    /// The name, as the harness has it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    env::var(variable).ok()?.parse().ok()
}
