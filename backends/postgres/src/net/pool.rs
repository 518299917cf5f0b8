//! The pools of connections, and what metrics show of them.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{BackendError, ErrorKind, PersistenceError, Result};
use deadpool_postgres::{
    Hook, Manager, ManagerConfig, Pool as DeadPool, PoolError, RecyclingMethod, Runtime,
    TimeoutType, Timeouts,
};
use serde::Serialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connector::{Connector, reporting};
use super::session::Session;
use super::tls::Handshakes;
use crate::closing::{Closing, Deadline};
use crate::config::{PostgresConfig, Server};
use crate::error::{self, ConnectError, ENGINE, Native, Phase};

/// The client's limit for a step exceeds the server's by this much: the server's own limit gives
/// the better message.
const GRACE: Duration = Duration::from_secs(2);

/// One pool of connections, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolState {
    /// The operations that use the pool.
    pub purpose: PoolPurpose,
    /// The greatest number of connections.
    pub limit: usize,
    /// The number of open connections.
    pub open: usize,
    /// How many of the open connections are idle.
    pub idle: usize,
    /// The number of operations that wait for a connection.
    pub waiting: usize,
}

/// The operations that a pool serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolPurpose {
    /// Stores only.
    Write,
    /// Queries (unless they have a server of their own), listings and sweeps.
    Read,
    /// Queries at the server of `read_url`.
    Replica,
}

impl PoolPurpose {
    /// `write`, `read` or `replica`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Replica => "replica",
        }
    }
}

/// All connections of a backend.
pub(crate) struct Pools {
    /// Everything but stores.
    readers: Option<Pool>,
    /// Queries, if they have a server of their own.
    replicas: Option<Pool>,
    /// Stores only: no reader can hold these.
    writers: Option<Pool>,
    /// One that followers listen on, while there are any.
    listeners: Option<Pool>,
    /// Raised when that one receives a notification or ends.
    notified: Arc<Notify>,
    has_replicas: bool,
    /// A stream may wait for its reader for ever; streams hold all connections but one at most.
    streams: Arc<Semaphore>,
    wait_timeout: Duration,
    step_limit: Duration,
    pub(crate) closing: Closing,
}

impl Pools {
    /// Connects nothing yet. `writer_connected` is called for each new connection for storing.
    pub(crate) fn new(
        config: &PostgresConfig,
        writer_connected: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let streams = config.pool_size.saturating_sub(1).min(Semaphore::MAX_PERMITS);
        let hook = Hook::sync_fn(move |_, _| {
            writer_connected();
            Ok(())
        });
        let replica = config.read_server.as_ref();
        let plain = |connector| connector;
        let notified = Arc::new(Notify::new());
        let listening = |connector: Connector| connector.with_notifications(notified.clone());
        Self {
            readers: Pool::new(config, &config.server, config.pool_size, None, plain),
            replicas: replica
                .and_then(|server| Pool::new(config, server, config.pool_size, None, plain)),
            writers: Pool::new(config, &config.server, config.writers, Some(hook), plain),
            listeners: Pool::new(config, &config.server, 1, None, listening),
            notified,
            has_replicas: replica.is_some(),
            streams: Arc::new(Semaphore::new(streams)),
            wait_timeout: config.wait_timeout,
            step_limit: config.statement_timeout.saturating_add(GRACE),
            closing: Closing::new(),
        }
    }

    pub(crate) fn state(&self) -> Vec<PoolState> {
        let state = |purpose, pool: &Option<Pool>| {
            let status = pool.as_ref()?.pool.status();
            let (limit, open) = (status.max_size, status.size);
            let (idle, waiting) = (status.available, status.waiting);
            Some(PoolState { purpose, limit, open, idle, waiting })
        };
        [
            (PoolPurpose::Write, &self.writers),
            (PoolPurpose::Read, &self.readers),
            (PoolPurpose::Replica, &self.replicas),
        ]
        .into_iter()
        .filter_map(|(purpose, pool)| state(purpose, pool))
        .collect()
    }

    /// Whether queries have a server of their own.
    pub(crate) fn has_replicas(&self) -> bool {
        self.has_replicas
    }

    /// A connection for queries.
    pub(crate) async fn querier(&self, operation: &'static str) -> Result<Session> {
        let pool = if self.has_replicas { &self.replicas } else { &self.readers };
        self.session(operation, pool.as_ref()).await
    }

    /// A connection for anything but stores and queries.
    pub(crate) async fn reader(&self, operation: &'static str) -> Result<Session> {
        self.session(operation, self.readers.as_ref()).await
    }

    /// A connection for storing.
    pub(crate) async fn writer(&self, operation: &'static str) -> Result<Session> {
        self.session(operation, self.writers.as_ref()).await
    }

    /// The connection that receives notifications, and what tells that there was one, or that the
    /// connection has ended.
    pub(crate) async fn listener(&self, operation: &'static str) -> Result<(Session, &Notify)> {
        Ok((self.session(operation, self.listeners.as_ref()).await?, &self.notified))
    }

    async fn session(&self, operation: &'static str, pool: Option<&Pool>) -> Result<Session> {
        let pool = pool.ok_or_else(|| {
            error::own(operation, ErrorKind::Config, "this configuration has no connection pool")
        })?;
        let deadline = self.closing.deadline();
        let (client, failure) = tokio::select! {
            // First: after the deadline nothing is sent any more.
            biased;
            () = deadline.passed() => return Err(Deadline::error(operation, Phase::Before)),
            got = reporting(pool.pool.get()) => got,
        };
        let client = client.map_err(|error| pool_error(operation, error, failure))?;
        Ok(Session::new(client, pool.handshakes.clone(), operation, self.step_limit, deadline))
    }

    /// The right to hold a connection for as long as a reader likes.
    pub(crate) async fn stream_permit(
        &self,
        operation: &'static str,
    ) -> Result<OwnedSemaphorePermit> {
        match timeout(self.wait_timeout, self.streams.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| PersistenceError::BackendShutdown),
            Err(_) => Err(error::timeout(
                operation,
                Native::Wait,
                Phase::Before,
                "as many streams as `pool_size` allows are open, and none ended within `wait_timeout`",
            )),
        }
    }
}

struct Pool {
    pool: DeadPool,
    handshakes: Arc<Handshakes>,
}

impl Pool {
    /// `None` if the configuration cannot work: the first call reports why. (With a size beyond
    /// reason the pool would allocate all memory here.)
    fn new(
        config: &PostgresConfig,
        server: &Server,
        size: usize,
        connected: Option<Hook>,
        prepare: impl Fn(Connector) -> Connector,
    ) -> Option<Self> {
        config.check().ok()?;
        let mut server = server.clone();
        let driver = &mut server.driver;
        if driver.get_application_name().is_none() {
            driver.application_name("annals");
        }
        keep_alive(driver);
        // Making a connection has limits of its own, for each address.
        let timeouts = Timeouts { wait: Some(config.wait_timeout), ..Timeouts::default() };
        let connector = prepare(Connector::new(server, config.connect_timeout).ok()?);
        let handshakes = connector.handshakes();
        // No session state to reset: every setting ends with its transaction.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(Default::default(), connector, recycling);
        let mut builder =
            DeadPool::builder(manager).max_size(size).timeouts(timeouts).runtime(Runtime::Tokio1);
        if let Some(connected) = connected {
            builder = builder.post_create(connected);
        }
        Some(Self { pool: builder.build().ok()?, handshakes })
    }
}

/// A server that disappears without a word is noticed within a minute, unless the configuration
/// says otherwise.
fn keep_alive(server: &mut tokio_postgres::Config) {
    let unset = tokio_postgres::Config::new().get_keepalives_idle();
    if server.get_keepalives_idle() == unset {
        server.keepalives_idle(Duration::from_secs(30));
    }
    if server.get_keepalives_interval().is_none() {
        server.keepalives_interval(Duration::from_secs(10));
    }
    if server.get_keepalives_retries().is_none() {
        server.keepalives_retries(3);
    }
}

/// An error of the pool during `operation`; nothing has been sent then.
fn pool_error(
    operation: &'static str,
    error: PoolError,
    failure: Option<ConnectError>,
) -> PersistenceError {
    let (native, message) = match error {
        PoolError::Closed => return PersistenceError::BackendShutdown,
        PoolError::Timeout(TimeoutType::Wait) => {
            (Native::Wait, "no connection became free within `wait_timeout`")
        }
        PoolError::Backend(_) => match failure {
            Some(ConnectError { kind, message, source }) => {
                let reported = BackendError::new(ENGINE, operation, kind, message);
                return match source {
                    Some(source) => reported.with_source(*source).into(),
                    None => reported.into(),
                };
            }
            None => (Native::Closed, "the connection could not be made"),
        },
        _ => (Native::Driver, "the pool of connections failed"),
    };
    error::timeout(operation, native, Phase::Before, message)
}
