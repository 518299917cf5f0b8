//! A small trait for backends that keep the history of live records, and all of annals that needs no
//! storage engine.
//!
//! ```
//! use annals_core::{MemoryBackend, PersistenceBackend, QueryParams};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> annals_core::Result<()> {
//! let backend = MemoryBackend::new();
//! backend.store("accuracy::vienna", &json!({"value": 0.93}), 1_779_006_600_000).await?;
//! let rows = backend.query("accuracy::*", QueryParams::latest(5)).await?;
//! assert_eq!(rows[0].value, json!({"value": 0.93}));
//! # Ok(())
//! # }
//! ```
//!
//! * [`PersistenceBackend`]: three required methods, `store`, `query` and `cleanup`; the rest has
//!   defaults that are right for any backend with those three.
//! * [`QueryExt`]: typed reads, aggregates and the value at a time, over any backend.
//! * [`aggregate`]: sums, extremes, percentiles and time-weighted values of the rows of a window, and
//!   what a backend needs to compute them itself.
//! * [`Predicate`]: a filter on the members of values.
//! * [`Recorder`]: the write pipeline in front of a backend. It takes values without waiting for
//!   the engine and counts exactly what became of each.
//! * [`Retention`]: removes expired rows in the background.
//! * [`MemoryBackend`]: the reference that the storage engines are compared with.
//!
//! What every backend promises is written down in `docs/contract.md` of the project, clause by
//! clause, and `annals-conformance` tests a backend against it.

pub mod aggregate;
mod backend;
mod batch;
pub mod bytes;
mod cleanup;
mod clock;
pub mod duration;
mod erasure;
mod error;
mod follow;
mod follow_ext;
mod forward;
mod forwarder;
mod guarantees;
mod json;
mod last_number;
pub mod log;
mod memory;
mod metered;
mod name;
pub mod page;
mod panic;
mod pattern;
pub mod predicate;
mod query;
mod recorder;
mod retention;
mod scalar;
mod store_ext;
mod stream;
mod thread;
mod typed;

pub use aggregate::{
    Aggregate, Bucket, BucketStream, BucketValue, Fill, Function, Interpolation, Width,
};
pub use backend::PersistenceBackend;
pub use batch::{Batch, BatchId, REMEMBERED_WRITERS, Row};
pub use cleanup::{CleanupPlan, CleanupRule, Swept};
pub use clock::{Clock, ManualClock, SystemClock};
pub use erasure::Erasure;
pub use error::{BackendError, ErrorKind, Outcome, PersistenceError, Result};
pub use follow::{Cursor, FollowFrom, FollowPage, FollowParams, Origin, Position, Within};
pub use follow_ext::{FollowExt, FollowStream};
pub use forwarder::{
    ForwardError, ForwardStats, Forwarder, Unforwarded, forget_forwarder, forward_record,
    unforwarded,
};
pub use guarantees::{Durability, Guarantees};
pub use json::{DEFAULT_MAX_VALUE_BYTES, JsonText, MAX_VALUE_DEPTH};
pub use last_number::last_number;
pub use memory::MemoryBackend;
pub use metered::{Call, CallResult, Metered};
pub use name::{MAX_NAME_BYTES, RecordName};
pub use pattern::{Grammar, Pattern};
pub use predicate::{Comparison, Condition, Predicate, Selector};
pub use query::{
    MAX_TIMESTAMP, Order, Query, QueryParams, RawRow, RecordSummary, StoredValue, TypedRow,
};
pub use recorder::{
    Filter, FilteredStats, Overflow, RecordHandle, RecordSink, RecordStats, Recorder,
    RecorderConfig, RecorderError, RecorderStats, RetryPolicy,
};
pub use retention::{Retention, RetentionHandle, RetentionPolicy, RetentionStats};
pub use scalar::Scalar;
pub use store_ext::StoreExt;
pub use stream::{RowStream, TypedStream};
pub use thread::RuntimeThread;
pub use typed::{QueryExt, TypedRows};

/// What implementors of [`PersistenceBackend`] need to name, re-exported so that their crate gets
/// by with `annals-core` alone.
pub use async_trait::async_trait;
pub use serde_json::Value;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
