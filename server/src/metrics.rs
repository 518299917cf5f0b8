//! The metrics of a server: histograms and counters of requests, and collectors for the recorder,
//! retention and the limits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::{Call, CallResult, Clock, Recorder, Retention, SystemClock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::config::Config;
use crate::limits::{Memory, Queries};
use crate::rate::Rate;

/// 1 ms to 33 s.
const SECONDS: (f64, f64, u16) = (0.001, 2.0, 16);
/// 1 to 16,384 rows.
const ROWS: (f64, f64, u16) = (1.0, 4.0, 8);

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `ok`, `refused`, `error` or `cancelled`.
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

/// Clones share their values.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<Request, Counter>,
    refused: Family<Why, Counter>,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Calls to the backend that failed.
    pub(crate) errors: Counter,
    /// When the last one did, in Unix milliseconds; 0 if none has.
    last_error_ms: Arc<AtomicU64>,
    /// Rows that were stored in the last minute, whoever sent them.
    pub(crate) rate: Arc<Rate>,
    /// Rows that were stored before their request was answered.
    pub(crate) rows_acknowledged: Counter,
    /// Rows that clients have erased.
    pub(crate) rows_erased: Counter,
    /// Stored rows whose text is not valid JSON.
    pub(crate) rows_skipped: Counter,
    batch_rows: Histogram,
    store_seconds: Histograms<Outcome>,
    query_seconds: Histograms<Outcome>,
}

impl Metrics {
    /// Registers new metrics, all zero.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            refused: Family::default(),
            connections: Gauge::default(),
            errors: Counter::default(),
            last_error_ms: Arc::default(),
            rate: Arc::default(),
            rows_acknowledged: Counter::default(),
            rows_erased: Counter::default(),
            rows_skipped: Counter::default(),
            batch_rows: histogram(ROWS),
            store_seconds: Family::new_with_constructor(|| histogram(SECONDS)),
            query_seconds: Family::new_with_constructor(|| histogram(SECONDS)),
        };
        registry.register("http_requests", "Answered requests", metrics.requests.clone());
        registry.register("refusals", "Refused requests and connections", metrics.refused.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "backend_errors",
            "Calls to the backend that failed",
            metrics.errors.clone(),
        );
        registry.register(
            "rows_acknowledged",
            "Rows that were stored before their request was answered",
            metrics.rows_acknowledged.clone(),
        );
        registry.register(
            "rows_erased",
            "Rows that clients have erased",
            metrics.rows_erased.clone(),
        );
        registry.register(
            "rows_skipped",
            "Stored rows that a query skipped because they are not valid JSON",
            metrics.rows_skipped.clone(),
        );
        registry.register(
            "store_batch_rows",
            "Rows of each batch sent to the database",
            metrics.batch_rows.clone(),
        );
        registry.register_with_unit(
            "store_duration",
            "Time to store a batch",
            Unit::Seconds,
            metrics.store_seconds.clone(),
        );
        registry.register_with_unit(
            "query_duration",
            "Time of a query until its last row",
            Unit::Seconds,
            metrics.query_seconds.clone(),
        );
        metrics
    }

    /// When a call to the backend last failed, in Unix milliseconds.
    pub(crate) fn last_error_ms(&self) -> Option<u64> {
        Some(self.last_error_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    pub(crate) fn answered(&self, method: String, route: String, status: u16) {
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Why { reason }).inc();
    }

    /// Observes a call to the backend.
    pub(crate) fn called(&self, call: &Call) {
        if call.result == CallResult::Error {
            self.errors.inc();
            self.last_error_ms.store(SystemClock.now_ms(), Ordering::Relaxed);
        }
        if call.result == CallResult::Ok && matches!(call.method, "store" | "store_batch") {
            self.rate.add(call.items);
        }
        let seconds = match call.method {
            "store" | "store_batch" => {
                self.batch_rows.observe(call.items as f64);
                &self.store_seconds
            }
            "query" | "query_stream" | "aggregate_stream" | "records" => &self.query_seconds,
            _ => return,
        };
        let outcome = Outcome { outcome: call.result.as_str() };
        seconds.get_or_create(&outcome).observe(call.elapsed.as_secs_f64());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn histogram((start, factor, length): (f64, f64, u16)) -> Histogram {
    Histogram::new(exponential_buckets(start, factor, length))
}

/// The statistics of the recorder and of retention, read at each scrape.
#[derive(Debug)]
pub(crate) struct Account {
    recorder: Recorder,
    queue_rows: usize,
    retention: Option<Retention>,
}

impl Account {
    pub(crate) fn new(recorder: Recorder, queue_rows: usize, retention: Option<Retention>) -> Self {
        Self { recorder, queue_rows, retention }
    }
}

impl Collector for Account {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.recorder.stats();
        let total = stats.total;
        for (name, help, count) in [
            ("recorder_recorded", "Rows given to the recorder", total.recorded),
            ("recorder_stored", "Rows that the recorder stored", total.stored),
            ("recorder_rejected", "Rows that can never be stored", total.rejected),
            ("recorder_dropped", "Rows that the recorder dropped", total.dropped),
            ("recorder_batches", "Batches that the recorder stored", stats.batches),
            ("recorder_retries", "Calls that the recorder retried", stats.retries),
        ] {
            counter(&mut encoder, name, help, count)?;
        }
        for (name, help, value) in [
            ("recorder_pending", "Rows queued in the recorder", total.pending),
            ("recorder_capacity_rows", "Rows that the queue may hold", self.queue_rows as u64),
            ("recorder_queued_bytes", "Bytes of JSON in the queue", stats.queued_bytes as u64),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        let Some(retention) = &self.retention else { return Ok(()) };
        let stats = retention.stats();
        for (name, help, count) in [
            ("retention_sweeps", "Successful sweeps", stats.sweeps),
            ("retention_removed_rows", "Rows removed by sweeps", stats.removed),
            ("retention_left_to_others", "Sweeps left to another replica", stats.left_to_others),
            ("retention_failures", "Failed sweeps", stats.failures),
        ] {
            counter(&mut encoder, name, help, count)?;
        }
        Ok(())
    }
}

/// What limits hold at this moment, and the program's own figures, read at each scrape.
pub(crate) struct Moment {
    pub(crate) memory: Arc<Memory>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) config: Config,
}

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("body_bytes", "Bytes of bodies in memory", self.memory.body_bytes()),
            ("queries_waiting", "Queries that wait for room", self.queries.waiting()),
            ("streams_open", "Streamed answers that are open", self.queries.open()),
            ("followers_open", "Followers that are connected", self.queries.followers()),
        ] {
            gauge(&mut encoder, name, help, value as u64)?;
        }
        let Some(figures) = &self.config.figures else { return Ok(()) };
        let mut figures = figures();
        // One family for all figures of a name.
        figures.sort_by_key(|figure| figure.name);
        for family in figures.chunk_by(|one, next| one.name == next.name) {
            let (name, help) = (family[0].name, family[0].help);
            let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for figure in family {
                ConstGauge::new(figure.value).encode(encoder.encode_family(&figure.labels)?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment").finish_non_exhaustive()
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    let metric = ConstCounter::new(count);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
