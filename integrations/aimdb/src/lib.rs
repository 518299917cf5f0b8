//! History for [AimDB](https://aimdb.dev), the live in-memory record database: persistence that
//! accounts for every value, queries on the live handle, and `record.query` over AimX.
//!
//! Four traits extend AimDB's own types:
//!
//! * [`AimDbBuilderPersistExt`]: `with_persistence(backend, retention)` on the builder,
//! * [`RecordRegistrarPersistExt`]: `.persist(name)` and the lossless `.persist_buffer(cfg, name)`
//!   on a record,
//! * [`RecordRegistrarRestoreExt`]: `.restore()` after `.persist_buffer`, to start with the newest
//!   stored value,
//! * [`AimDbQueryExt`]: `query_latest`, `query_range`, `aggregate` and more on the live handle.
//!
//! # AimDB 1.x
//!
#![cfg_attr(feature = "aimdb-1", doc = "```")]
#![cfg_attr(not(feature = "aimdb-1"), doc = "```text")]
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use aimdb_core::{AimDbBuilder, buffer::BufferCfg};
//! use aimdb_tokio_adapter::{TokioAdapter, TokioRecordRegistrarExt};
//! use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt};
//! use annals_core::MemoryBackend;
//!
//! #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct Accuracy {
//!     value: f64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A program uses `annals_sqlite::SqliteBackend::new("./data/history.db")?`.
//! let backend = Arc::new(MemoryBackend::new());
//! let mut builder = AimDbBuilder::new()
//!     .runtime(Arc::new(TokioAdapter))
//!     .with_persistence(backend, Duration::from_secs(7 * 24 * 3600));
//! builder.configure::<Accuracy>("accuracy::vienna", |reg| {
//!     reg.buffer(BufferCfg::SpmcRing { capacity: 500 })
//!         .source(|_ctx, producer| async move {
//!             let _ = producer.produce(Accuracy { value: 0.94 }).await;
//!         })
//!         .persist("accuracy::vienna");
//! });
//! let db = builder.build().await?;
//! # tokio::task::yield_now().await;
//!
//! // Queries read the store: wait until it has what was produced.
//! db.persistence()?.flush().await?;
//! let latest: Vec<Accuracy> = db.query_latest("accuracy::*", 5).await?;
//! assert_eq!(latest, [Accuracy { value: 0.94 }]);
//!
//! db.persistence()?.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # AimDB 2.x
//!
//! `build` returns a runner beside the database, and nothing runs until the runner does.
//!
#![cfg_attr(feature = "aimdb-2", doc = "```")]
#![cfg_attr(not(feature = "aimdb-2"), doc = "```text")]
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use aimdb_core_2 as aimdb_core;
//! # use aimdb_tokio_adapter_2 as aimdb_tokio_adapter;
//! use aimdb_core::{AimDbBuilder, buffer::BufferCfg};
//! use aimdb_tokio_adapter::{TokioAdapter, TokioRecordRegistrarExt};
//! use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt};
//! # use annals_core::MemoryBackend;
//! # #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
//! # struct Accuracy {
//! #     value: f64,
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let backend = Arc::new(MemoryBackend::new());
//! let mut builder = AimDbBuilder::new()
//!     .runtime(Arc::new(TokioAdapter))
//!     .with_persistence(backend, Duration::from_secs(7 * 24 * 3600));
//! builder.configure::<Accuracy>("accuracy.vienna", |reg| {
//!     reg.buffer(BufferCfg::SpmcRing { capacity: 500 })
//!         .source(|_ctx, producer| async move { producer.produce(Accuracy { value: 0.94 }) })
//!         .persist("accuracy.vienna");
//! });
//! let (db, runner) = builder.build().await?;
//! let running = tokio::spawn(runner.run());
//! # while db.persistence_stats()?.total.recorded == 0 {
//! #     tokio::task::yield_now().await;
//! # }
//!
//! db.persistence()?.flush().await?;
//! let latest: Vec<Accuracy> = db.query_latest("accuracy.*", 5).await?;
//! assert_eq!(latest, [Accuracy { value: 0.94 }]);
//!
//! db.persistence()?.close().await?;
//! running.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Patterns
//!
//! On 1.x `*` in a pattern is any run of characters. On 2.x a pattern is made of segments between
//! dots, `*` for exactly one and `#` for any number of them. On the live handle a pattern that is
//! no such pattern, `accuracy::*` for example, is read as on 1.x. In `record.query` it is an error,
//! because 2.x grants access by patterns of its own grammar.
//! [`PersistenceOptions::with_grammar`] sets one grammar for both.
//!
//! # Aggregates
//!
//! `db.aggregate(pattern, &question)` answers with buckets of time, and `db.value_at(pattern, time)`
//! with the value of each record at a time. A record type that implements [`Signal`] says which
//! member is its number, so that the question need not:
//! `db.aggregate_typed::<Accuracy>("accuracy::*", &Aggregate::every(hour))`.
//!
//! # `record.query`
//!
//! AimDB's own AimX server answers `record.query` from the history, each line in its own shape:
//!
//! | | AimDB 1.x | AimDB 2.x |
//! |---|---|---|
//! | result | `{"count": n, "values": [{"record", "value", "stored_at"}]}` | `{"records": [{"topic", "payload", "ts"}], "total": n}` |
//! | order | by record, then newest first | by time, oldest first |
//! | an error | `query_error` with its message | `internal`; with a message only from `AimxServer` |
//!
//! `limit` counts per record. Without `limit`, `start` and `end` the result is the latest value of
//! each record; with a window and no limit it is the whole window.
//!
//! AimDB's own servers ignore a parameter of the wrong type before the handler sees it: `"limit":
//! "5"` is no limit, `"name": 7` is every record. On 2.x, use `AimxServer` in place of `UdsServer`:
//! it replies with an error that names the parameter. On 1.x the server cannot be replaced;
//! `annals query --aimx` checks the parameters on the client's side.
//!
//! # Features
//!
//! | feature | for |
//! |---|---|
//! | `aimdb-1` (default) | AimDB 1.x: aimdb-core 1.1 |
//! | `aimdb-2` | AimDB 2.x: aimdb-core 2.0.0 (Rust 1.98, or cargo's `--ignore-rust-version`) |
//! | `contracts` | reads through the migration chains of aimdb-data-contracts 0.2 (Rust as for `aimdb-2`) |
//! | `metrics` | use it together with AimDB 1.x's feature of that name |
//! | `observability` | use it together with AimDB 2.x's feature of that name |
//!
//! Both lines may be enabled at once; the traits are then implemented for the types of both.

#[cfg(not(any(feature = "aimdb-1", feature = "aimdb-2")))]
compile_error!("annals-aimdb needs the feature `aimdb-1` (the default) or `aimdb-2`");

pub mod adapter;
mod buffers;
mod capture;
mod ext;
mod inline;
#[cfg(feature = "aimdb-1")]
mod line1;
#[cfg(feature = "aimdb-2")]
mod line2;
#[cfg(feature = "contracts")]
mod migrate;
mod options;
mod persistence;
mod record_query;
mod redact;
mod restore;
#[cfg(feature = "aimdb-2")]
mod server;
mod tap;
mod worker;

pub use ext::{
    AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt, RecordRegistrarRestoreExt,
    Signal,
};
#[cfg(feature = "contracts")]
pub use migrate::AimDbMigrateExt;
pub use options::PersistenceOptions;
pub use persistence::Persistence;
#[cfg(feature = "aimdb-2")]
pub use server::AimxServer;

/// Which values are recorded: for `.persist_with(name, filter)`.
pub use annals_core::Filter;

/// What aggregates need.
pub use annals_core::{Aggregate, Bucket, Fill, Function, Interpolation, Width};

/// The names that `aimdb-persistence` exports, with annals' types. A backend of your own implements
/// [`PersistenceBackend`] with [`async_trait`].
pub use annals_core::{
    PersistenceBackend, PersistenceError, QueryParams, StoredValue, async_trait,
};

/// A boxed future, as `aimdb-persistence` names it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The example in the README is a test.
#[cfg(all(doctest, feature = "aimdb-1"))]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
