//! What the embedded engines of annals share.
//!
//! An engine brings two things: a [`Writer`], which runs transactions on a thread of its own, and
//! [`Snapshot`]s, which read one state of the store. [`Embedded`] makes a
//! [`PersistenceBackend`](annals_core::PersistenceBackend) of them:
//!
//! * one writer thread with group commit: whatever waits becomes one transaction, so that batches
//!   form by themselves under load and a lone store waits for nobody;
//! * reads page by page under one snapshot, on a pool of threads that a stream occupies only while
//!   a page is fetched: a reader that never reads holds a snapshot and no thread;
//! * sweeps in bounded steps between the commits.
//!
//! Nothing here needs an async runtime, and nothing blocks one.

mod backend;
mod config;
mod engine;
pub mod format;
mod scan;
mod sequence;
mod sweep;
mod writer;

pub use backend::Embedded;
pub use config::{EmbeddedConfig, parse_bytes, parse_url};
pub use engine::{Engine, Key, RecordId, Snapshot, Summary, Writer};
pub use sequence::{RecordState, Sequences};
pub use sweep::{Expired, Sweep};
