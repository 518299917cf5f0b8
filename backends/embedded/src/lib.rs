//! What the embedded engines of annals share.
//!
//! An engine brings tables: a [`Writer`], which runs transactions on a thread of its own, and
//! [`Snapshot`]s, which read one state of the store. [`Embedded`] makes a
//! [`PersistenceBackend`](annals_core::PersistenceBackend) of them:
//!
//! * one writer thread with group commit: whatever waits becomes one transaction and one block of
//!   the head, so that batches form by themselves under load and a lone store waits for nobody;
//! * one folding thread, which makes sorted runs of the head, merges runs, and cleans up. It works
//!   from snapshots and leaves the writer short transactions;
//! * reads page by page under one snapshot, on a pool of threads that a stream occupies only while
//!   a page is fetched: a reader that never reads holds a snapshot and no thread.
//!
//! What the bytes of the tables mean is the matter of [`format`](mod@format), the same for every
//! engine. Nothing here needs an async runtime, and nothing blocks one.

mod backend;
mod cache;
mod cleanup;
mod config;
mod convert;
mod engine;
mod folder;
pub mod format;
mod head;
mod map;
mod numbers;
mod parking;
mod rows;
mod scan;
mod state;
mod store;
mod tasks;
mod tuning;
mod writer;

pub use backend::Embedded;
pub use config::{EmbeddedConfig, parse_bytes, parse_url};
pub use convert::Conversion;
pub use engine::{
    Engine, RecordId, Run, RunId, RunOrder, RunToWrite, Since, Snapshot, Tables, Transaction,
    Visit, Writer,
};
pub use numbers::Numbers;
#[doc(hidden)]
pub use tuning::Tuning;
