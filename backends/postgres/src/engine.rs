//! What all operations share: the pools, the statements, and what is known about the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{Durability, ErrorKind, PersistenceError};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::config::PostgresConfig;
use crate::error::{self, Native, Phase};
use crate::schema;
use crate::session::Session;
use crate::sql::Sql;
use crate::write::NameCache;

/// The client waits a little longer than the server, whose own limit gives the better message.
const GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Engine {
    config: PostgresConfig,
    pub(crate) sql: Sql,
    /// For reading, sweeping and everything but storing.
    readers: Option<Pool>,
    /// For storing alone: no reader can hold these.
    writers: Option<Pool>,
    /// Streams may wait for their reader for ever, so that one connection is kept from them.
    streams: Arc<Semaphore>,
    ready: OnceCell<()>,
    power_loss: AtomicBool,
    pub(crate) names: NameCache,
}

impl Engine {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let sql = Sql::new(&config);
        let streams = config.pool_size.saturating_sub(1).min(Semaphore::MAX_PERMITS);
        Self {
            sql,
            readers: pool(&config, config.pool_size),
            writers: pool(&config, config.writers),
            streams: Arc::new(Semaphore::new(streams)),
            ready: OnceCell::new(),
            power_loss: AtomicBool::new(false),
            names: NameCache::default(),
            config,
        }
    }

    pub(crate) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// Whether the server was found to sync before it answers.
    pub(crate) fn survives_power_loss(&self) -> bool {
        self.power_loss.load(Ordering::Relaxed)
    }

    /// Checks the server and creates what is missing, once; a failure is tried again by the next
    /// call.
    pub(crate) async fn ready(&self) -> Result<(), PersistenceError> {
        let checked = self.ready.get_or_try_init(|| async {
            let server = schema::prepare(self).await?;
            let wanted = self.config.durability >= Durability::PowerLoss;
            self.power_loss.store(wanted && server.syncs, Ordering::Relaxed);
            Ok(())
        });
        checked.await.map(drop)
    }

    /// A connection for anything but storing.
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
        let client = pool.get().await.map_err(|error| error::pool(operation, error))?;
        Ok(Session::new(client, operation, self.config.statement_timeout + GRACE))
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
        self.ready().await?;
        let session = self.reader("health").await?;
        session.run(session.client().query_one(&self.sql.health, &[])).await?;
        session.release();
        Ok(())
    }
}

/// `None` when the driver refuses the sizes, which `PostgresConfig::check` has seen to.
fn pool(config: &PostgresConfig, size: usize) -> Option<Pool> {
    let mut server = config.server.clone();
    // The driver's limit is for each address; the pool's, below, is for all of it.
    server.connect_timeout(config.connect_timeout);
    if server.get_application_name().is_none() {
        server.application_name("annals");
    }
    let manager = Manager::from_config(
        server,
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let timeouts = Timeouts {
        wait: Some(config.wait_timeout),
        create: Some(config.connect_timeout),
        recycle: Some(config.connect_timeout),
    };
    Pool::builder(manager).max_size(size).timeouts(timeouts).runtime(Runtime::Tokio1).build().ok()
}
