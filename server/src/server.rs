//! The state that all requests share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{
    Metered, PersistenceBackend, PersistenceError, Recorder, RecorderConfig, Retention,
};
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::counted::Counted;
use crate::limits::{Memory, Queries};
use crate::metrics::{Account, Metrics, Moment};
use crate::queued_names::QueuedNames;

/// One history and what serving it needs. Clones share everything.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    history: Metered<Arc<dyn PersistenceBackend>>,
    /// Holds the rows that were answered with 202 until they are stored.
    recorder: Recorder,
    retention: Option<Retention>,
    config: Config,
    metrics: Metrics,
    registry: Registry,
    memory: Arc<Memory>,
    queries: Arc<Queries>,
    queued_names: QueuedNames,
    counted: Counted,
    /// One permit for each batch that is being stored.
    writes: Semaphore,
    draining: AtomicBool,
    /// No connection is accepted any more.
    stopping: watch::Sender<bool>,
}

impl Server {
    /// A server over `history`, which is not called yet. A recorder for answers of 202 starts.
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) when the backend cannot sweep by the
    /// configured retention.
    pub fn new(
        history: Arc<dyn PersistenceBackend>,
        config: Config,
    ) -> Result<Self, PersistenceError> {
        let mut registry = Registry::with_prefix("annals");
        let metrics = Metrics::new(&mut registry);
        let observed = metrics.clone();
        let history = Metered::new(history, move |call| observed.called(&call));
        let recorder_config = RecorderConfig::default()
            .with_capacity_rows(config.queue_rows)
            .with_capacity_bytes(config.queue_bytes())
            .with_drain_timeout(config.grace_period);
        let recorder = Recorder::new(Arc::new(history.clone()), recorder_config);
        let retention = match &config.retention {
            None => None,
            Some(policy) => {
                let retention = Retention::new(Arc::new(history.clone()), policy.clone())?;
                Some(retention.with_interval(config.sweep_interval))
            }
        };
        let account = Account::new(recorder.clone(), config.queue_rows, retention.clone());
        registry.register_collector(Box::new(account));
        let (memory, queries) = (Memory::new(&config), Queries::new(&config));
        registry.register_collector(Box::new(Moment {
            memory: memory.clone(),
            queries: queries.clone(),
            config: config.clone(),
        }));
        Ok(Self(Arc::new(Shared {
            history,
            recorder,
            retention,
            metrics,
            registry,
            memory,
            queries,
            counted: Counted::default(),
            queued_names: QueuedNames::new(config.queued_names),
            writes: Semaphore::new(config.max_writes),
            config,
            draining: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        })))
    }

    /// The recorder of rows that were answered with 202, to be closed before the history is.
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// The configured retention, which [`serve`](crate::serve()) runs and a service of your own has
    /// to.
    pub fn retention(&self) -> Option<&Retention> {
        self.0.retention.as_ref()
    }

    /// The whole history. A handler that answers a client takes a
    /// [`Reader`](crate::access::Reader) instead.
    pub(crate) fn history(&self) -> &Metered<Arc<dyn PersistenceBackend>> {
        &self.0.history
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.0.memory
    }

    pub(crate) fn queries(&self) -> &Arc<Queries> {
        &self.0.queries
    }

    pub(crate) fn queued_names(&self) -> &QueuedNames {
        &self.0.queued_names
    }

    pub(crate) fn counted(&self) -> &Counted {
        &self.0.counted
    }

    pub(crate) fn writes(&self) -> &Semaphore {
        &self.0.writes
    }

    /// Makes the server report that it is not ready. Requests are still answered.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Ends the answers that would go on for ever.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Resolves when they have to end.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        // The sender lives as long as this server.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.0.config).finish_non_exhaustive()
    }
}
