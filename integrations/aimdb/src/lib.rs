//! History for [AimDB](https://aimdb.dev), the live in-memory record database: persistence that
//! loses nothing, queries over it on the live handle, and `record.query` over AimX.
//!
//! The three traits give AimDB's own types what they need:
//!
//! * [`AimDbBuilderPersistExt`]: `with_persistence(backend, retention)` on the builder,
//! * [`RecordRegistrarPersistExt`]: `.persist(name)` and the lossless `.persist_buffer(cfg, name)`
//!   on a record,
//! * [`AimDbQueryExt`]: `query_latest`, `query_range` and more on the live handle.
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
//! // `annals_sqlite::SqliteBackend::new("./data/history.db")?` in earnest.
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
//! // Queries read the store, so wait until it has what was produced.
//! db.persistence()?.flush().await?;
//! let latest: Vec<Accuracy> = db.query_latest("accuracy::*", 5).await?;
//! assert_eq!(latest, [Accuracy { value: 0.94 }]);
//!
//! db.persistence()?.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # `record.query`
//!
//! AimDB's own AimX server answers `record.query` from the history, each line in its own shape:
//!
//! | | AimDB 1.x | AimDB 2.x |
//! |---|---|---|
//! | result | `{"count": n, "values": [{"record", "value", "stored_at"}]}` | `{"records": [{"topic", "payload", "ts"}], "total": n}` |
//! | order | by record, then newest first | by time, oldest first |
//! | pattern | `*` is any run of characters | segments between dots: `*` is one, `#` zero or more |
//! | an error | `query_error` with its message | `internal`, and the message from `AimxServer` only |
//!
//! `limit` counts per record. Without any of `limit`, `start` and `end` the latest value of each
//! record is the answer; with a window and no limit it is the whole window.
//!
//! A parameter of the wrong type is passed over by AimDB's own servers before anything here sees
//! it: `"limit": "5"` is no limit, `"name": 7` every record. On 2.x `AimxServer` takes the place of
//! `UdsServer` and answers with an error that names the parameter; 1.x has no place for a server of
//! one's own. `annals query --aimx` checks them on the client's side.
//!
//! # Features
//!
//! | feature | for |
//! |---|---|
//! | `aimdb-1` (default) | AimDB 1.x: aimdb-core 1.1 |
//! | `aimdb-2` | AimDB 2.x: aimdb-core 2.0.0 (Rust 1.98, or cargo's `--ignore-rust-version`) |
//! | `metrics` | beside AimDB 1.x's feature of that name |
//! | `observability` | beside AimDB 2.x's feature of that name |
//!
//! Both lines may be on at once; the traits are then implemented for the types of both.

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
mod notice;
mod options;
mod persistence;
mod query;
mod redact;
#[cfg(feature = "aimdb-2")]
mod server;
mod stats;
mod sweep;
mod tap;
mod worker;

pub use ext::{AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt};
pub use options::PersistenceOptions;
pub use persistence::Persistence;
#[cfg(feature = "aimdb-2")]
pub use server::AimxServer;
pub use stats::{PersistenceStats, RecordAccount};
