//! The annals backend for PostgreSQL 14 and newer; 15 to 18 are what it is tested on.
//!
//! ```no_run
//! use annals_core::{PersistenceBackend, QueryExt};
//! use annals_postgres::PostgresBackend;
//! # async fn example() -> Result<(), annals_core::PersistenceError> {
//! let history = PostgresBackend::connect("postgres://ada:secret@localhost/plant").await?;
//! history.store("temperature", &serde_json::json!(21.5), 1_740_081_234_000).await?;
//! let latest: Vec<f64> = history.query_latest("temp*", 1).await?;
//! history.close().await?;
//! # Ok(()) }
//! ```
//!
//! # What it does
//!
//! * Concurrent stores become one transaction (group commit): the rows that wait while one commit
//!   is on its way go with the next.
//! * A batch with an id is recognised when it is sent again, and the retry waits for a first
//!   attempt that is still committing.
//! * Every query sees one snapshot and is read page by page; a reader that stops costs one
//!   connection of its pool and nobody's writes.
//! * Latest-N costs one index seek per record.
//!
//! # What it grows into
//!
//! The history of a schema that is created is one table, unless the URL asks for more or the
//! database has TimescaleDB: native partitions, a hypertable, or a table that Citus distributes.
//! [`PostgresConfig`] has the options, [`PostgresBackend::migrate`] converts a plain table, and
//! `docs/scaling.md` says when to do so.
//!
//! # What it needs
//!
//! A database with the encoding UTF8; any locale. The role needs `CREATE` on the database the first
//! time, to create the schema (`annals` unless configured otherwise), or a schema that it may
//! create tables in. People find their history in the view `record_history` there.
//!
//! All work happens on a thread of the backend's own, so that any executor may drive the futures
//! and dropping one never leaves a connection half used.
//!
//! Every step on the server has a limit, so that a server that hangs ends in
//! [`ErrorKind::Timeout`](annals_core::ErrorKind::Timeout): see `statement_timeout`,
//! `connect_timeout` and `wait_timeout` in [`PostgresConfig`]. Closing waits for what was accepted,
//! at most those times for each transaction that is left.
//!
//! Poolers in transaction mode will do, such as PgBouncer of any version: no statement has a name,
//! and nothing is left to a session but its transaction. A stream that is open takes one of the
//! pooler's connections to the server. For direct connections there is TLS; for that, several
//! hosts, files with passwords and reading from replicas see [`PostgresConfig`].

mod cleanup;
mod closing;
mod config;
mod connect;
mod ddl;
mod engine;
mod error;
mod layout;
mod migrate;
mod partitions;
mod pools;
mod read;
mod schema;
mod session;
mod sql;
mod worker;
mod write;

use std::fmt;
use std::sync::Arc;

use annals_core::{
    Batch, CleanupPlan, Durability, Grammar, Guarantees, Pattern, PersistenceBackend,
    PersistenceError, Query, QueryParams, RecordSummary, Row, RowStream, StoredValue, Swept,
};
use async_trait::async_trait;
use serde_json::Value;

pub use config::{PostgresConfig, Timescale};
pub use connect::SslMode;
pub use migrate::{Migration, MigrationProgress};
pub use pools::{PoolPurpose, PoolState};

use crate::worker::Worker;

/// A history in a PostgreSQL schema.
///
/// Clones share connections, queue and fate: [`close`](PersistenceBackend::close) closes them all,
/// and dropping the last one (an open [`RowStream`] counts) waits for what was accepted. Both take
/// [`close_timeout`](PostgresConfig::with_close_timeout) at most; who drops the last handle learns
/// from an error in `tracing` that it was not enough.
///
/// Nothing connects before the first call. `initialize` is implied by it, and the thread that does
/// the work starts with it.
#[derive(Clone)]
pub struct PostgresBackend {
    worker: Arc<Worker>,
}

impl PostgresBackend {
    /// A backend that connects when it is first used.
    pub fn new(config: PostgresConfig) -> Self {
        Self { worker: Arc::new(Worker::new(config)) }
    }

    /// Connects to the server at `url` (see [`PostgresConfig`] for its options) and creates what is
    /// missing there.
    ///
    /// # Errors
    /// A URL that cannot work ([`ErrorKind::Config`](annals_core::ErrorKind::Config)), a schema by
    /// a newer version of annals ([`ErrorKind::NewerSchema`](annals_core::ErrorKind::NewerSchema)),
    /// or what the server reports.
    ///
    /// # Cancel safety
    /// Dropping the future drops the backend; a schema it began to create is there whole or not at
    /// all.
    pub async fn connect(url: &str) -> Result<Self, PersistenceError> {
        let backend = Self::new(PostgresConfig::from_url(url)?);
        backend.initialize().await?;
        Ok(backend)
    }

    /// Converts the plain history of a schema to what `config` asks for: a partitioned table, a
    /// hypertable or a distributed table. `progress` is called on the backend's thread.
    ///
    /// Queries go on meanwhile, except on the way to Citus, and stores wait; the history takes its
    /// space twice until the end. Grants and triggers on it have to be given again. Programs that
    /// run may go on, except when the history is distributed, which their URL then has to say.
    ///
    /// # Errors
    /// A configuration that asks for what the server does not have, a history that is not there or
    /// is converted already to something else ([`ErrorKind::Config`](annals_core::ErrorKind)), or
    /// what the server reports. The history is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the history as it was, unless the last commit was on its way.
    pub async fn migrate(
        config: PostgresConfig,
        progress: impl Fn(MigrationProgress) + Send + 'static,
    ) -> Result<Migration, PersistenceError> {
        let backend = Self::new(config);
        let migration = backend.worker.run_while_wanted(|engine| migrate::run(engine, progress));
        let migration = migration.await;
        backend.close().await?;
        migration
    }

    async fn swept(
        &self,
        plan: &CleanupPlan,
        turn: cleanup::Turn,
    ) -> Result<Swept, PersistenceError> {
        let plan = plan.clone();
        self.worker.run_while_wanted(move |engine| cleanup::sweep(engine, plan, turn)).await
    }

    /// The configuration it works with.
    pub fn config(&self) -> &PostgresConfig {
        self.worker.config()
    }

    /// The pools of connections as they are now, for metrics. None of them is open before the first
    /// call that needs it.
    pub fn pools(&self) -> Vec<PoolState> {
        self.worker.engine().pools()
    }
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend").field("config", self.config()).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for PostgresBackend {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        let limit = self.config().max_value_bytes;
        let row = Row::with_limit(record_name, value, timestamp, limit)?;
        self.worker.write("store", Batch::new([row])).await
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        let query = Query::new(record_pattern, &params)?;
        read::open(&self.worker, query, read::Reader::Prompt).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.cleanup_plan(&CleanupPlan::older_than(older_than)).await
    }

    async fn initialize(&self) -> Result<(), PersistenceError> {
        self.worker.run(|engine| async move { engine.ready().await.map(drop) }).await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        batch.validate(self.config().max_value_bytes)?;
        self.worker.write("store_batch", batch.clone()).await
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        let query = Query::new(record_pattern, &params)?;
        read::open(&self.worker, query, read::Reader::Stream).await
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let pattern = Pattern::new(record_pattern, grammar)?;
        self.worker.run_while_wanted(|engine| read::records(engine, pattern)).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.swept(plan, cleanup::Turn::Awaited).await.map(|swept| swept.removed)
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        self.swept(plan, cleanup::Turn::Left).await
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.worker.run(|engine| async move { engine.health().await }).await
    }

    /// # Errors
    /// What was accepted and could not be stored within
    /// [`close_timeout`](PostgresConfig::with_close_timeout): how many batches and rows, and whether
    /// they are certainly not stored. Each of their callers has an error of its own.
    async fn close(&self) -> Result<(), PersistenceError> {
        self.worker.close().await
    }

    /// `durability` is what the server was found to be configured to; before the first contact
    /// it is [`Durability::Process`].
    fn guarantees(&self) -> Guarantees {
        let power_loss = self.worker.engine().survives_power_loss();
        Guarantees::default()
            .with_durability(if power_loss { Durability::PowerLoss } else { Durability::Process })
            .with_atomic_batches(true)
            .with_idempotent_batches(true)
            .with_snapshot_queries(self.worker.engine().one_snapshot())
            .with_streamed_queries(true)
            .with_selective_cleanup(true)
            .with_many_processes(true)
    }
}
