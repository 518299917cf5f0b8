//! What all operations share: the pools, the statements, and what is known about the server.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Durability, ErrorKind, PersistenceError};
use deadpool::Runtime;
use deadpool::managed::{Hook, Timeouts};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::closing::{Closing, Deadline};
use crate::config::PostgresConfig;
use crate::connect::{Connector, Server};
use crate::error::{self, Native, Phase};
use crate::layout::Layout;
use crate::pools::{PoolPurpose, PoolState};
use crate::schema;
use crate::session::Session;
use crate::sql::{Sql, UNPACK};
use crate::write::NameCache;

/// The client waits a little longer than the server, whose own limit gives the better message.
const GRACE: Duration = Duration::from_secs(2);

type Pool = deadpool::managed::Pool<Connector>;
type PoolBuilder = deadpool::managed::PoolBuilder<Connector>;

pub(crate) struct Engine {
    config: PostgresConfig,
    pub(crate) sql: Sql,
    /// For everything but storing.
    readers: Option<Pool>,
    /// For queries, if they have a server of their own.
    replicas: Option<Pool>,
    /// For storing alone: no reader can hold these.
    writers: Option<Pool>,
    /// Streams may wait for their reader for ever, so that one connection is kept from them.
    streams: Arc<Semaphore>,
    ready: OnceCell<schema::Server>,
    /// How the history lies on the server of `read_url`.
    readable: OnceCell<Layout>,
    pub(crate) names: Arc<NameCache>,
    pub(crate) closing: Closing,
}

impl Engine {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let sql = Sql::new(&config);
        let streams = config.pool_size.saturating_sub(1).min(Semaphore::MAX_PERMITS);
        let names = Arc::new(NameCache::default());
        let connected = {
            let names = names.clone();
            Hook::sync_fn(move |_, _| {
                names.connected();
                Ok(())
            })
        };
        // With sizes beyond reason a pool takes all memory. The check's error comes with the first
        // call.
        let sound = config.check().is_ok();
        let pool = |server, size| if sound { pool(&config, server, size) } else { None };
        let build = |builder: PoolBuilder| builder.build().ok();
        Self {
            sql,
            readers: pool(&config.server, config.pool_size).and_then(build),
            replicas: config
                .read_server
                .as_ref()
                .and_then(|server| pool(server, config.pool_size))
                .and_then(build),
            writers: pool(&config.server, config.writers)
                .map(|pool| pool.post_create(connected))
                .and_then(build),
            streams: Arc::new(Semaphore::new(streams)),
            ready: OnceCell::new(),
            readable: OnceCell::new(),
            names,
            closing: Closing::new(),
            config,
        }
    }

    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// Whether the server was found to sync before it answers.
    pub(crate) fn survives_power_loss(&self) -> bool {
        let wanted = self.config.durability >= Durability::PowerLoss;
        wanted && self.ready.get().is_some_and(|server| server.syncs)
    }

    /// Whether a query sees one snapshot. Of a cluster that is not known before it was asked.
    pub(crate) fn one_snapshot(&self) -> bool {
        let server = self.ready.get();
        server.map_or(!self.config.storage.distribute, |server| server.one_snapshot)
    }

    /// What is to be seen of the pools.
    pub(crate) fn pools(&self) -> Vec<PoolState> {
        let state = |purpose, pool: &Option<Pool>| {
            let status = pool.as_ref()?.status();
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

    /// How the history was found to lie on the server, once it is [ready](Self::ready).
    pub(crate) fn layout(&self) -> Layout {
        self.ready.get().map_or(Layout::Plain, |server| server.layout)
    }

    /// A statement that begins a transaction that writes, and what the layout wants besides.
    pub(crate) fn begin<'a>(&self, begin: &'a str) -> Cow<'a, str> {
        match self.layout() {
            Layout::Hypertable => format!("{begin}; {UNPACK}").into(),
            Layout::Plain | Layout::Partitioned | Layout::Distributed => begin.into(),
        }
    }

    /// Checks the server and creates what is missing, once; a failure is tried again by the next
    /// call.
    pub(crate) async fn ready(&self) -> Result<(), PersistenceError> {
        self.ready.get_or_try_init(|| schema::prepare(self)).await.map(drop)
    }

    /// As [`ready`](Self::ready), for queries: where they have a server of their own, the other one
    /// may be away.
    pub(crate) async fn readable(&self) -> Result<(), PersistenceError> {
        if self.config.read_server.is_none() {
            return self.ready().await;
        }
        let checked = self.readable.get_or_try_init(|| async {
            if let Some(layout) = schema::on_replica(self).await? {
                return Ok(layout);
            }
            self.ready().await?;
            // Replayed meanwhile, or the next call will see.
            schema::on_replica(self).await?.ok_or_else(|| {
                let message = "the tables have not reached the server of `read_url` yet";
                error::own(error::INITIALIZE, ErrorKind::Busy, message)
            })
        });
        checked.await.map(drop)
    }

    /// The statement that begins a query, once this is [readable](Self::readable).
    pub(crate) fn begin_read(&self) -> &str {
        let layout = self.readable.get().copied().unwrap_or_else(|| self.layout());
        match layout {
            Layout::Partitioned => &self.sql.begin_read_partitioned,
            Layout::Plain | Layout::Hypertable | Layout::Distributed => &self.sql.begin_read,
        }
    }

    /// A connection for queries.
    pub(crate) async fn querier(
        &self,
        operation: &'static str,
    ) -> Result<Session, PersistenceError> {
        let pool = if self.config.read_server.is_some() { &self.replicas } else { &self.readers };
        self.session(operation, pool.as_ref()).await
    }

    /// A connection for anything but storing and queries.
    pub(crate) async fn reader(
        &self,
        operation: &'static str,
    ) -> Result<Session, PersistenceError> {
        self.session(operation, self.readers.as_ref()).await
    }

    /// A connection for storing.
    pub(crate) async fn writer(
        &self,
        operation: &'static str,
    ) -> Result<Session, PersistenceError> {
        self.session(operation, self.writers.as_ref()).await
    }

    async fn session(
        &self,
        operation: &'static str,
        pool: Option<&Pool>,
    ) -> Result<Session, PersistenceError> {
        let pool = pool.ok_or_else(|| {
            error::own(operation, ErrorKind::Config, "no pool of connections can be made of this")
        })?;
        let deadline = self.closing.deadline();
        let client = tokio::select! {
            // First of all: when it has passed nothing is sent any more.
            biased;
            () = deadline.passed() => return Err(Deadline::error(operation, Phase::Before)),
            client = pool.get() => client.map_err(|error| error::pool(operation, error))?,
        };
        let limit = self.config.statement_timeout.saturating_add(GRACE);
        Ok(Session::new(client, operation, limit, deadline))
    }

    /// The right to hold a connection for as long as a reader likes.
    pub(crate) async fn stream_permit(
        &self,
        operation: &'static str,
    ) -> Result<OwnedSemaphorePermit, PersistenceError> {
        let permit = timeout(self.config.wait_timeout, self.streams.clone().acquire_owned());
        match permit.await {
            Ok(permit) => permit.map_err(|_| PersistenceError::BackendShutdown),
            Err(_) => Err(error::timeout(
                operation,
                Native::Wait,
                Phase::Before,
                "all streams that `pool_size` allows are open and none ended within `wait_timeout`",
            )),
        }
    }

    pub(crate) async fn health(&self) -> Result<(), PersistenceError> {
        const OPERATION: &str = "health";
        self.ready().await?;
        let mut sessions = vec![self.reader(OPERATION).await?];
        if self.config.read_server.is_some() {
            sessions.push(self.querier(OPERATION).await?);
        }
        for session in sessions {
            session.run(session.client().simple_query(&self.sql.health)).await?;
            session.release();
        }
        Ok(())
    }
}

fn pool(config: &PostgresConfig, server: &Server, size: usize) -> Option<PoolBuilder> {
    let mut server = server.clone();
    let driver = &mut server.driver;
    if driver.get_application_name().is_none() {
        driver.application_name("annals");
    }
    keep_alive(driver);
    // Making a connection has limits of its own, for each host.
    let timeouts = Timeouts { wait: Some(config.wait_timeout), ..Timeouts::default() };
    let connector = Connector::new(server, config.connect_timeout).ok()?;
    Some(Pool::builder(connector).max_size(size).timeouts(timeouts).runtime(Runtime::Tokio1))
}

/// A server that is gone without a word is noticed within a minute, unless somebody chose other
/// times.
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
