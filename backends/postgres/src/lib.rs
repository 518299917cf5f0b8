//! The annals backend for PostgreSQL 14 and newer, TimescaleDB and Citus. Releases 15 to 18 are tested.
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
//! A configuration that needs no server runs as it stands:
//!
//! ```
//! use annals_core::PersistenceBackend;
//! use annals_postgres::{PostgresBackend, PostgresConfig};
//!
//! let config = PostgresConfig::from_url("postgres://ada@db.example/plant?schema=line_1&writers=2")?;
//! let history = PostgresBackend::new(config); // connects at the first call
//! assert!(history.guarantees().atomic_batches);
//! # Ok::<(), annals_core::PersistenceError>(())
//! ```
//!
//! # Properties
//!
//! * Concurrent stores become one transaction (group commit): rows that arrive during one commit go
//!   with the next.
//! * A batch with an id is recognized when it is sent again. The retry waits for a first attempt that
//!   is still committing.
//! * Every query sees one snapshot and is read page by page. A reader that stops reading occupies one
//!   connection of its pool and blocks no writes.
//! * Latest N costs one index seek per record.
//!
//! # Layouts
//!
//! A schema that is created gets one table, unless the URL asks for more or the database has
//! TimescaleDB: native partitions, a hypertable, or a table distributed by Citus. [`PostgresConfig`]
//! documents the options, [`PostgresBackend::migrate`] converts a plain table, and `docs/scaling.md`
//! says which layout to choose.
//!
//! # Requirements
//!
//! A database with the encoding UTF8 and any locale. The first start needs the privilege `CREATE` on
//! the database, to create the schema (`annals` by default), or an existing schema in which the role
//! can create tables. The view `record_history` shows the history to people.
//!
//! All work happens on a thread that belongs to the backend. Any executor can drive the futures, and
//! dropping one never leaves a connection half used.
//!
//! Every step on the server has a limit, so that a server that hangs results in
//! [`ErrorKind::Timeout`](annals_core::ErrorKind::Timeout): see `statement_timeout`,
//! `connect_timeout` and `wait_timeout` in [`PostgresConfig`].
//!
//! Poolers in transaction mode work, such as PgBouncer of any version: statements have no names, and
//! no session state outlives a transaction, except for the connection on which followers listen, which is
//! not made there. An open stream occupies one of the pooler's connections.
//! For TLS, several hosts, password files and reading from replicas see [`PostgresConfig`].

mod aggregate;
mod closing;
mod config;
mod engine;
mod error;
mod follow;
mod layout;
mod names;
mod net;
mod read;
mod retention;
mod schema;
mod sql;
mod worker;
mod write;

use std::fmt;
use std::sync::Arc;

use annals_core::aggregate::Plan;
use annals_core::{
    Aggregate, Batch, BatchId, BucketStream, CleanupPlan, Durability, Erasure, FollowPage,
    FollowParams, Grammar, Guarantees, Pattern, PersistenceBackend, Predicate, Query, QueryParams,
    RecordSummary, Result, Row, RowStream, StoredValue, Swept,
};
use async_trait::async_trait;
use serde_json::Value;

pub use config::{PostgresConfig, SslMode, Timescale};
pub use net::{PoolPurpose, PoolState};
pub use schema::{Migration, MigrationProgress};

use crate::retention::Contention;
use crate::worker::Worker;

/// A history in a PostgreSQL schema.
///
/// Clones share connections and queue: [`close`](PersistenceBackend::close) closes all of them, and
/// dropping the last one (an open [`RowStream`] counts) waits until everything accepted is stored. Both
/// take at most [`close_timeout`](PostgresConfig::with_close_timeout); if that is too short when the last
/// handle is dropped, `tracing` reports an error.
///
/// Nothing connects before the first call, which implies `initialize` and starts the background
/// thread.
///
/// # Cancel safety
/// Every future may be dropped at any await. A store is then stored once or not at all: it is not stored
/// if it was still waiting for space in the queue. Queries, listings and sweeps end on the server; a
/// sweep keeps the steps that it has committed.
#[derive(Clone)]
pub struct PostgresBackend {
    worker: Arc<Worker>,
}

impl PostgresBackend {
    /// A backend that connects at the first call, so that a program can start before its server. A
    /// configuration that cannot work is reported then.
    pub fn new(config: PostgresConfig) -> Self {
        Self { worker: Arc::new(Worker::new(config)) }
    }

    /// Connects to the server at `url` (see [`PostgresConfig`] for its options) and creates what is
    /// missing there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](annals_core::ErrorKind::Config) for a URL that cannot work,
    /// [`ErrorKind::NewerSchema`](annals_core::ErrorKind::NewerSchema) for a schema of a newer version of
    /// annals, or the error of the server.
    ///
    /// # Cancel safety
    /// Dropping the future drops the backend. A schema that was being created exists completely or not
    /// at all.
    pub async fn connect(url: &str) -> Result<Self> {
        let backend = Self::new(PostgresConfig::from_url(url)?);
        backend.initialize().await?;
        Ok(backend)
    }

    /// Converts the plain table of a history to the layout that `config` asks for: a partitioned table, a
    /// hypertable or a distributed table. `progress` is called on the backend's thread.
    ///
    /// Meanwhile stores wait and queries continue (except on the way to Citus), and the history takes its
    /// space twice. Grants and triggers on it must be created again. Running programs may continue,
    /// except when the history becomes distributed, which their URL then has to say.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](annals_core::ErrorKind) if the server lacks an extension, or if the history
    /// is missing or already has a third layout; otherwise the error of the server. The history is
    /// then unchanged.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the history unchanged, unless the final commit was under way.
    pub async fn migrate(
        config: PostgresConfig,
        progress: impl Fn(MigrationProgress) + Send + 'static,
    ) -> Result<Migration> {
        let backend = Self::new(config);
        let migration = backend.worker.run_while_wanted(|engine| async move {
            schema::migrate(&engine.pools, &engine.schema, progress).await
        });
        let migration = migration.await;
        backend.close().await?;
        migration
    }

    async fn swept(&self, plan: &CleanupPlan, contention: Contention) -> Result<Swept> {
        let plan = plan.clone();
        self.worker.run_while_wanted(move |engine| retention::sweep(engine, plan, contention)).await
    }

    /// The configuration of this backend.
    pub fn config(&self) -> &PostgresConfig {
        self.worker.config()
    }

    /// The present state of the connection pools, for metrics. A pool opens connections when a call
    /// needs them.
    pub fn pools(&self) -> Vec<PoolState> {
        self.worker.engine().pools.state()
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
    async fn store(&self, record_name: &str, value: &Value, timestamp: u64) -> Result<()> {
        let limit = self.config().max_value_bytes;
        let row = Row::with_limit(record_name, value, timestamp, limit)?;
        self.worker.write("store", Batch::new([row])).await
    }

    async fn query(&self, record_pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        let query = Query::new(record_pattern, &params)?;
        read::open(&self.worker, query, read::Reader::Prompt).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        self.cleanup_plan(&CleanupPlan::older_than(older_than)).await
    }

    async fn initialize(&self) -> Result<()> {
        self.worker
            .run(|engine| async move { engine.schema.ready(&engine.pools).await.map(drop) })
            .await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        batch.validate(self.config().max_value_bytes)?;
        self.worker.write("store_batch", batch.clone()).await
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        self.worker.run_while_wanted(move |engine| async move { engine.has_batch(id).await }).await
    }

    async fn query_stream(&self, record_pattern: &str, params: QueryParams) -> Result<RowStream> {
        let query = Query::new(record_pattern, &params)?;
        read::open(&self.worker, query, read::Reader::Stream).await
    }

    /// The rows are sent and tested here.
    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream> {
        annals_core::predicate::by_rows(self, record_pattern, params, predicate).await
    }

    /// The server computes the buckets: see `docs/postgres.md` for what is sent when it cannot.
    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream> {
        let plan = Arc::new(Plan::new(record_pattern, aggregate)?);
        if plan.is_empty() {
            self.worker.check_open()?;
            return Ok(BucketStream::from_buckets(Vec::new()));
        }
        match aggregate::open(&self.worker, plan).await? {
            Some(buckets) => Ok(buckets),
            None => annals_core::aggregate::by_rows(self, record_pattern, aggregate).await,
        }
    }

    /// Asks the primary. Rows appear in the order of their numbers, once no transaction can add a smaller
    /// one. The first follower creates an index; see `docs/postgres.md`.
    async fn follow_page(&self, record_pattern: &str, params: &FollowParams) -> Result<FollowPage> {
        follow::follow(&self.worker, record_pattern, params).await
    }

    async fn records(&self, record_pattern: &str, grammar: Grammar) -> Result<Vec<RecordSummary>> {
        let pattern = Pattern::new(record_pattern, grammar)?;
        self.worker.run_while_wanted(|engine| read::records(engine, pattern)).await
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64> {
        self.swept(plan, Contention::Wait).await.map(|swept| swept.removed)
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept> {
        self.swept(plan, Contention::Skip).await
    }

    /// One transaction, during which stores continue and sweeps wait.
    async fn erase(&self, erasure: &Erasure) -> Result<u64> {
        let erasure = erasure.clone();
        self.worker.run_while_wanted(move |engine| retention::erase(engine, erasure)).await
    }

    async fn correct(&self, row: &Row) -> Result<bool> {
        row.validate(self.config().max_value_bytes)?;
        let row = row.clone();
        self.worker.run_while_wanted(move |engine| retention::correct(engine, row)).await
    }

    async fn health(&self) -> Result<()> {
        self.worker.run(|engine| async move { engine.health().await }).await
    }

    /// # Errors
    /// Batches that were accepted and could not be stored within
    /// [`close_timeout`](PostgresConfig::with_close_timeout): their number, and whether they are
    /// certainly not stored. Each of their callers gets an error as well.
    async fn close(&self) -> Result<()> {
        self.worker.close().await
    }

    /// `durability` depends on the configuration of the server; before the first contact it is
    /// [`Durability::Process`].
    fn guarantees(&self) -> Guarantees {
        let schema = &self.worker.engine().schema;
        let power_loss = schema.survives_power_loss();
        Guarantees::default()
            .with_durability(if power_loss { Durability::PowerLoss } else { Durability::Process })
            .with_atomic_batches(true)
            .with_idempotent_batches(true)
            .with_snapshot_queries(schema.one_snapshot())
            .with_streamed_queries(true)
            .with_selective_cleanup(true)
            .with_erasure(true)
            .with_many_processes(true)
            .with_complete_follow(schema.one_snapshot())
    }
}
