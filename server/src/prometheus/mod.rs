//! A small read-only Prometheus API, for Grafana's own data source and other programs that speak it.
//!
//! A query enters as text, JSON leaves. [`parse`] checks the text and makes an [`Expression`] of it:
//! one selection of series, a function over it, and stages behind that. [`select`] finds the
//! series, [`evaluate`] computes each from the library's aggregates, [`stage`] applies arithmetic
//! and grouping, [`answer`] writes JSON. Series are answered one after the other: memory holds one
//! record's values and the groups.
//!
//! It is kept small on purpose. What it does not have is refused by name, with the position.

mod answer;
mod buckets;
mod evaluate;
mod extrapolate;
mod handlers;
mod leaf;
mod parameters;
mod parse;
mod problem;
mod select;
mod stage;
mod steps;
mod token;
mod windows;

use std::time::Duration;

pub(crate) use self::handlers::router;

/// The name of the metric that all series have.
const METRIC: &str = "annals";

/// What the Prometheus API may use, and how long a value is carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrometheusSettings {
    /// For how long the newest value of a series stands where no later one is. Prometheus has five
    /// minutes; here it is one day, because many records are only written when they change.
    pub lookback: Duration,
    /// The largest number of series that one query may select.
    pub max_series: usize,
    /// The largest number of points of one series, as in Prometheus.
    pub max_steps: usize,
    /// The largest number of points that the groups of `by (…)` may hold in memory, at 16 bytes.
    pub max_grouped_points: usize,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(86_400),
            max_series: 10_000,
            max_steps: 11_000,
            max_grouped_points: 1 << 21,
        }
    }
}

impl PrometheusSettings {
    /// Sets for how long the newest value of a series stands.
    #[must_use]
    pub fn with_lookback(self, lookback: Duration) -> Self {
        Self { lookback, ..self }
    }

    /// Sets how many series one query may select.
    #[must_use]
    pub fn with_max_series(self, max_series: usize) -> Self {
        Self { max_series, ..self }
    }
}
