//! History over HTTP: an axum [`Router`](axum::Router) over any annals backend.
//!
//! A request passes through [`router`](router()), which finds out who asks (`access`), and reaches
//! a handler (`api`). Every handler that reads history takes a [`Reader`](access::Reader): a
//! backend that shows what the client may read and nothing else.

mod access;
mod api;
mod config;
mod net;
mod problem;
mod prometheus;
mod router;
mod server;

pub use config::Config;
pub use net::serve;
pub use prometheus::PrometheusSettings;
pub use router::router;
pub use server::Server;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
