//! The settings of a server.

use std::time::Duration;

use crate::prometheus::PrometheusSettings;

/// The settings of a [`Server`](crate::Server).
#[derive(Debug, Clone)]
#[must_use]
pub struct Config {
    pub(crate) query_timeout: Duration,
    pub(crate) prometheus: PrometheusSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self { query_timeout: Duration::from_secs(10), prometheus: PrometheusSettings::default() }
    }
}

impl Config {
    /// The longest time until the first byte of an answer.
    pub fn with_query_timeout(mut self, query_timeout: Duration) -> Self {
        self.query_timeout = query_timeout;
        self
    }

    /// What the Prometheus API may use, and how long a value is carried on.
    pub fn with_prometheus(mut self, prometheus: PrometheusSettings) -> Self {
        self.prometheus = prometheus;
        self
    }
}
