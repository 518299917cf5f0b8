//! The settings of a server.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{PersistenceError, RetentionPolicy};
use axum::http::HeaderValue;

use crate::access::Access;
use crate::prometheus::PrometheusSettings;
use crate::times::{Times, YEAR_1990};

/// The most rows of one request.
pub(crate) const MAX_ROWS: usize = 100_000;

/// A figure that only the program knows, for `/metrics`: a gauge with its labels.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The name, without the prefix `annals_`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Its labels.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: u64,
}

type Figures = Arc<dyn Fn() -> Vec<Figure> + Send + Sync>;
type DiskBytes = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The settings of a [`Server`](crate::Server). The defaults are for one machine and a few clients.
#[derive(Clone)]
#[must_use]
pub struct Config {
    pub(crate) access: Access,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) cors_origins: Vec<HeaderValue>,
    pub(crate) memory: usize,
    pub(crate) body_limit: usize,
    pub(crate) queue_rows: usize,
    pub(crate) queued_names: usize,
    pub(crate) max_writes: usize,
    pub(crate) max_lookups: usize,
    pub(crate) max_streams: usize,
    pub(crate) max_followers: usize,
    pub(crate) max_connections: usize,
    pub(crate) earliest: u64,
    pub(crate) max_future: Option<Duration>,
    pub(crate) request_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) min_rate: usize,
    pub(crate) drain_delay: Duration,
    pub(crate) grace_period: Duration,
    pub(crate) retention: Option<RetentionPolicy>,
    pub(crate) sweep_interval: Duration,
    pub(crate) prometheus: PrometheusSettings,
    pub(crate) figures: Option<Figures>,
    pub(crate) disk_bytes: Option<DiskBytes>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access: Access::Loopback,
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            memory: 256 << 20,
            body_limit: 8 << 20,
            queue_rows: 65_536,
            queued_names: 65_536,
            max_writes: 64,
            max_lookups: 8,
            max_streams: 16,
            max_followers: 64,
            max_connections: 512,
            earliest: YEAR_1990,
            max_future: Some(Duration::from_secs(86_400)),
            request_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
            min_rate: 1 << 10,
            drain_delay: Duration::ZERO,
            grace_period: Duration::from_secs(25),
            retention: None,
            sweep_interval: Duration::from_secs(3600),
            prometheus: PrometheusSettings::default(),
            figures: None,
            disk_bytes: None,
        }
    }
}

/// A setter of one field.
macro_rules! setters {
    ($($(#[$doc:meta])+ $setter:ident $field:ident: $kind:ty;)+) => {
        impl Config {
            $(
                $(#[$doc])+
                pub fn $setter(mut self, $field: $kind) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

setters! {
    /// Who may do what. The default is [`Access::Loopback`].
    with_access access: Access;
    /// Proxies whose `Forwarded` header is believed. From any other peer it is ignored.
    with_trusted_proxies trusted_proxies: Vec<IpAddr>;
    /// Origins whose pages may call the interface (CORS). The default is none.
    with_cors_origins cors_origins: Vec<HeaderValue>;
    /// The memory that requests may take together, in bytes: bodies, rows that are being stored, and
    /// the queue behind 202. The engine's own caches come on top. The default is 256 MiB.
    with_memory memory: usize;
    /// The largest body of a request, in bytes, also after it is decompressed. The default is 8 MiB.
    with_body_limit body_limit: usize;
    /// How many rows may be queued after an answer of 202. The default is 65,536.
    with_queue_rows queue_rows: usize;
    /// How many different records may be written with 202, since each has an account in memory. The
    /// default is 65,536.
    with_queued_names queued_names: usize;
    /// How many batches may be stored at once. The default is 64.
    with_max_writes max_writes: usize;
    /// How many queries with a short answer may run at once. The default is 8.
    with_max_lookups max_lookups: usize;
    /// How many streamed answers may be open at once. The default is 16.
    with_max_streams max_streams: usize;
    /// How many followers may be connected at once. The default is 64.
    with_max_followers max_followers: usize;
    /// How many connections may be open at once. The default is 512.
    with_max_connections max_connections: usize;
    /// The earliest time that a row may have, in Unix milliseconds. The default is 1 January 1990: times
    /// in seconds lie before it.
    with_earliest earliest: u64;
    /// How far in the future a row may lie; `None` is without a limit. The default is a day.
    with_max_future max_future: Option<Duration>;
    /// The time for a request's head, for a batch to be stored, and for a query until its first row.
    /// The default is 10 s.
    with_request_timeout request_timeout: Duration;
    /// How often a follower that gets no rows hears that the connection is alive. The default is 15 s.
    with_heartbeat heartbeat: Duration;
    /// How long a client may take nothing of its answer; a follower, half as long. The default is 30 s.
    with_stall_timeout stall_timeout: Duration;
    /// The least rate at which a body must arrive after the request timeout, in bytes per second. The
    /// default is 1 KiB/s.
    with_min_rate min_rate: usize;
    /// How long requests are still accepted after the signal to stop. The default is zero.
    with_drain_delay drain_delay: Duration;
    /// The time from the signal to the end. The default is 25 s.
    with_grace_period grace_period: Duration;
    /// Which rows are deleted when. The default is none.
    with_retention retention: Option<RetentionPolicy>;
    /// The time from the end of one sweep to the next. The default is an hour.
    with_sweep_interval sweep_interval: Duration;
    /// What the Prometheus API may use, and how long a value is carried on.
    with_prometheus prometheus: PrometheusSettings;
}

impl Config {
    /// Figures of the program's own for `/metrics`, read at each scrape.
    pub fn with_figures(
        mut self,
        figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static,
    ) -> Self {
        self.figures = Some(Arc::new(figures));
        self
    }

    /// How much space the history takes on disk, for `/v1/status`.
    pub fn with_disk_bytes(
        mut self,
        disk_bytes: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        self.disk_bytes = Some(Arc::new(disk_bytes));
        self
    }

    /// Whether a server may listen on an address: without tokens only on loopback, unless
    /// [`Access::Open`] says otherwise. [`serve`](crate::serve()) checks it as well.
    ///
    /// # Errors
    /// [`PersistenceError::NotConfigured`].
    pub fn check_listen(&self, address: IpAddr) -> Result<(), PersistenceError> {
        if address.is_loopback() || !matches!(self.access, Access::Loopback) {
            return Ok(());
        }
        Err(PersistenceError::NotConfigured(format!(
            "other machines can reach {address}, and without tokens everybody could read and write: \
             give a file of tokens (--tokens FILE, made by `annals token new`), or allow everybody \
             (--no-authentication)"
        )))
    }

    /// The times that clients may mean at the time `now`.
    pub(crate) fn times(&self, now: u64) -> Times {
        let future = self.max_future.map(|future| future.as_millis());
        let latest = |future| now.saturating_add(u64::try_from(future).unwrap_or(u64::MAX));
        Times { earliest: self.earliest, latest: future.map(latest) }
    }

    /// The parts of [`memory`](Self::with_memory): a quarter for bodies that arrive.
    pub(crate) fn body_memory(&self) -> usize {
        self.memory / 4
    }

    /// A quarter for rows that are being read from a body and stored.
    pub(crate) fn work_memory(&self) -> usize {
        self.memory / 4
    }

    /// An eighth for the queue behind 202.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.memory / 8
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("access", &self.access)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
