//! The history of live records: named values that change over time.
//!
//! A service or device has live records: sensor readings, derived values, states. annals stores
//! every value, answers with the latest N values of every record that a wildcard matches or with
//! everything in a time window, and deletes old rows. It does so behind one small trait,
//! [`PersistenceBackend`], on SQLite, PostgreSQL (with TimescaleDB or Citus) or redb. Moving to
//! another store changes a feature and a URL; the code that records and queries stays the same.
//!
//! ```
//! use annals::{PersistenceBackend, QueryExt, QueryParams};
//! use serde_json::json;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // In production: `sqlite:history.db`, `redb:history.redb` or `postgres://…`.
//! let history = annals::connect("memory:").await?;
//! history.store("temperature::attic", &json!(21.5), 1_740_081_234_000).await?;
//! history.store("temperature::attic", &json!(22.0), 1_740_081_264_000).await?;
//! history.store("temperature::cellar", &json!(11.0), 1_740_081_264_000).await?;
//!
//! let latest: Vec<f64> = history.query_latest("temperature::*", 1).await?;
//! assert_eq!(latest, [22.0, 11.0]);
//! history.close().await?;
//! # Ok::<(), annals::PersistenceError>(()) }).unwrap();
//! ```
//!
//! # Features
//!
//! | feature | URL | module |
//! |---|---|---|
//! | `sqlite` (default) | `sqlite:history.db` | `annals::sqlite` |
//! | `redb` | `redb:history.redb` | `annals::redb` |
//! | `postgres` | `postgres://user@host/database` | `annals::postgres` |
//! | none needed | `memory:` | [`MemoryBackend`] |
//! | none needed | `mystore:…` | a backend of your own, see [`register`] |
//! | `aimdb` | | `annals::aimdb`: history for AimDB |
//!
//! Without any feature the crate contains no engine: [`connect`] then opens `memory:` and
//! registered schemes only, and names the feature that any other URL needs.

mod connect;
mod lazy;
mod scheme;

#[doc(hidden)]
pub use annals_core::bytes;
pub use annals_core::{
    Aggregate, BackendError, Batch, BatchId, Bucket, BucketStream, BucketValue, Call, CallResult,
    CleanupPlan, CleanupRule, Clock, Comparison, Cursor, DEFAULT_MAX_VALUE_BYTES, Durability,
    Erasure, ErrorKind, Fill, Filter, FilteredStats, FollowExt, FollowFrom, FollowPage,
    FollowParams, FollowStream, ForwardError, ForwardStats, Forwarder, Function, Grammar,
    Guarantees, Interpolation, JsonText, MAX_NAME_BYTES, MAX_TIMESTAMP, MAX_VALUE_DEPTH,
    ManualClock, MemoryBackend, Metered, Order, Outcome, Overflow, Pattern, PersistenceBackend,
    PersistenceError, Position, Predicate, Query, QueryExt, QueryParams, REMEMBERED_WRITERS,
    RawRow, RecordHandle, RecordName, RecordSink, RecordStats, RecordSummary, Recorder,
    RecorderConfig, RecorderError, RecorderStats, Result, Retention, RetentionHandle,
    RetentionPolicy, RetentionStats, RetryPolicy, Row, RowStream, Scalar, StoreExt, StoredValue,
    Swept, SystemClock, TypedRow, TypedRows, TypedStream, Unforwarded, Value, Width, Within,
    aggregate, async_trait, duration, forget_forwarder, forward_backend, forward_record,
    last_number, page, unforwarded,
};
pub use connect::{connect, connect_lazy};
pub use scheme::{register, register_with_guarantees};

/// The SQLite backend and its settings.
#[cfg(feature = "sqlite")]
pub use annals_sqlite as sqlite;

/// The PostgreSQL backend and its settings.
#[cfg(feature = "postgres")]
pub use annals_postgres as postgres;

/// The redb backend and its settings.
#[cfg(feature = "redb")]
pub use annals_redb as redb;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

/// So are those of the guide for backends.
#[cfg(doctest)]
#[doc = include_str!("../docs/backends.md")]
struct BackendExamples;

/// And those of the page about answers.
#[cfg(doctest)]
#[doc = include_str!("../docs/answers.md")]
struct AnswerExamples;

/// History for AimDB 1.x: persistence of its records, queries on its live handle, `record.query`.
///
/// For AimDB 2.x depend on the crate `annals-aimdb` with its feature `aimdb-2`.
#[cfg(feature = "aimdb")]
pub use annals_aimdb as aimdb;
