//! The state that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals::postgres::PostgresBackend;
use annals::{
    Metered, PersistenceBackend, PersistenceError, Recorder, RecorderConfig, Retention,
    RetentionPolicy, SystemClock,
};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::metrics::{Account, Metrics, Pools};

/// One replica's history, recorder, limits and metrics.
#[derive(Debug)]
pub struct Service {
    pub(crate) history: Metered<Arc<dyn PersistenceBackend>>,
    /// Holds the rows that were answered with 202 until they are stored.
    pub(crate) recorder: Recorder,
    pub(crate) retention: Option<Retention>,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    pub(crate) clock: SystemClock,
    pub(crate) queue_rows: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) body_limit: usize,
    pub(crate) request_timeout: Duration,
    /// One permit for each write request.
    pub(crate) writes: Semaphore,
    draining: AtomicBool,
}

impl Service {
    /// A service over `history`, which is not called yet. The metrics include the connections of
    /// `pools`, if given.
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) when the backend cannot sweep by the
    /// configured retention.
    pub fn new(
        history: Arc<dyn PersistenceBackend>,
        pools: Option<PostgresBackend>,
        config: &Config,
    ) -> Result<Arc<Self>, PersistenceError> {
        let mut registry = Registry::with_prefix("annals");
        let metrics = Metrics::new(&mut registry);
        let observed = metrics.clone();
        let history = Metered::new(history, move |call| observed.called(&call));
        let recorder_config = RecorderConfig::default()
            .with_capacity_rows(config.queue_rows)
            .with_capacity_bytes(config.queue_bytes)
            .with_drain_timeout(config.grace_period);
        let recorder = Recorder::new(Arc::new(history.clone()), recorder_config);
        let retention = match config.retention {
            None => None,
            Some(window) => {
                let policy = RetentionPolicy::new().keep_all(window);
                let retention = Retention::new(Arc::new(history.clone()), policy)?;
                Some(retention.with_interval(config.sweep_interval))
            }
        };
        let account = Account::new(recorder.clone(), config.queue_rows, retention.clone());
        registry.register_collector(Box::new(account));
        if let Some(pools) = pools {
            registry.register_collector(Box::new(Pools(pools)));
        }
        Ok(Arc::new(Self {
            history,
            recorder,
            retention,
            metrics,
            registry,
            clock: SystemClock,
            queue_rows: config.queue_rows,
            queue_bytes: config.queue_bytes,
            body_limit: config.body_limit,
            request_timeout: config.request_timeout,
            writes: Semaphore::new(config.max_writes),
            draining: AtomicBool::new(false),
        }))
    }

    /// Makes the replica report that it is not ready. Requests are still answered.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}
