//! History over HTTP: several replicas of one small service in front of one PostgreSQL.
//!
//! The program is `main.rs`; everything else is here, so that tests can put another backend behind
//! the same router. The interface, the settings and what a status means are in the project's
//! `docs/cloud.md`.

mod config;
mod drain;
mod metered;
mod metrics;
mod probe;
mod problem;
mod read;
mod router;
mod server;
mod service;
mod write;

pub use config::{Config, ConfigError, VARIABLES};
pub use drain::{Ending, run};
pub use router::{PATHS, router};
pub use service::Service;
