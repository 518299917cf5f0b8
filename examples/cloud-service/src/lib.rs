//! History over HTTP: a small service with any number of replicas in front of one PostgreSQL
//! database.
//!
//! The program is `main.rs`. Everything else is in this library, so that tests can run the same
//! router with another backend. The project's `docs/cloud.md` documents the interface, the settings
//! and the meaning of each status.

mod config;
mod drain;
mod metrics;
mod probe;
mod problem;
mod read;
mod router;
mod server;
mod service;
mod write;

pub use config::Config;
pub use drain::{Ending, run};
pub use router::{PATHS, router};
pub use service::Service;
