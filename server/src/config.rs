//! The settings of a server.

use std::time::Duration;

/// The settings of a [`Server`](crate::Server).
#[derive(Debug, Clone)]
#[must_use]
pub struct Config {
    pub(crate) query_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { query_timeout: Duration::from_secs(10) }
    }
}

impl Config {
    /// The longest time until the first byte of an answer.
    pub fn with_query_timeout(mut self, query_timeout: Duration) -> Self {
        self.query_timeout = query_timeout;
        self
    }
}
