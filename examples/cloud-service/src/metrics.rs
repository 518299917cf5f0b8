//! The metrics of a replica: histograms and counters of requests, and collectors for the recorder,
//! retention and the connection pools.

use std::fmt;

use annals::postgres::{PoolState, PostgresBackend};
use annals::{Call, Recorder, Retention};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// 1 ms to 33 s.
const SECONDS: (f64, f64, u16) = (0.001, 2.0, 16);
/// 1 to 16,384 rows.
const ROWS: (f64, f64, u16) = (1.0, 4.0, 8);

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `ok`, `error` or `cancelled`.
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: String,
    route: String,
    status: u16,
}

/// Clones share their values.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<Request, Counter>,
    /// Rows that were stored before their request was answered.
    pub(crate) rows_acknowledged: Counter,
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
            rows_acknowledged: Counter::default(),
            rows_skipped: Counter::default(),
            batch_rows: histogram(ROWS),
            store_seconds: Family::new_with_constructor(|| histogram(SECONDS)),
            query_seconds: Family::new_with_constructor(|| histogram(SECONDS)),
        };
        registry.register("http_requests", "Answered requests", metrics.requests.clone());
        registry.register(
            "rows_acknowledged",
            "Rows that were stored before their request was answered",
            metrics.rows_acknowledged.clone(),
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

    pub(crate) fn answered(&self, method: String, route: String, status: u16) {
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// Observes a call to the backend.
    pub(crate) fn called(&self, call: &Call) {
        let seconds = match call.method {
            "store" | "store_batch" => {
                self.batch_rows.observe(call.items as f64);
                &self.store_seconds
            }
            "query" | "query_stream" | "records" => &self.query_seconds,
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

/// The connections to the database, read at each scrape.
#[derive(Debug)]
pub(crate) struct Pools(pub(crate) PostgresBackend);

impl Collector for Pools {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pools = self.0.pools();
        for (name, help, value) in [
            (
                "pool_limit",
                "Maximum number of connections",
                (|pool| pool.limit) as fn(&PoolState) -> usize,
            ),
            ("pool_open", "Open connections", |pool| pool.open),
            ("pool_idle", "Unused connections", |pool| pool.idle),
            ("pool_waiting", "Operations that wait for a connection", |pool| pool.waiting),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for pool in &pools {
                let labels = [("pool", pool.purpose.as_str())];
                ConstGauge::new(value(pool) as u64).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
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
