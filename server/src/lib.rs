//! History over HTTP: an axum [`Router`](axum::Router) over any annals backend.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use annals_core::MemoryBackend;
//! use annals_server::{Config, Server};
//! use axum::Router;
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(Arc::new(MemoryBackend::new()), Config::default())?;
//! let service = Router::new().nest("/history", server.router());
//! axum::serve(TcpListener::bind("127.0.0.1:8080").await?, service).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A connection (`net`) brings requests, each of which passes `admit`, which finds out who asks
//! (`access`), then the limits of its group (`limits`), and reaches a handler (`api`). Every handler
//! that reads history takes a `Reader`: a backend that shows what the client may read and nothing
//! else.
//!
//! * [`router()`] and [`Server::router`]: the interface, to be nested in a router of your own.
//! * [`serve()`]: the interface on a listener of its own, with limits of connections and a drain.
//! * [`Tokens`]: the file of tokens.
//!
//! `docs/serve.md` of the project documents the interface, the settings and the meaning of each
//! status.

mod access;
mod api;
mod caching;
mod config;
mod counted;
mod limits;
mod metrics;
mod net;
mod page;
mod probe;
mod problem;
mod prometheus;
mod queued_names;
mod rate;
mod router;
mod serve;
mod server;
mod times;

pub use access::{
    Access, GrammarName, Grant, NewToken, Right, TokenEntry, TokenLimits, Tokens, TokensError,
};
pub use axum::http::HeaderValue;
pub use config::{Config, Figure};
pub use net::{Tls, TlsError};
pub use prometheus::PrometheusSettings;
pub use router::router;
pub use serve::{Ending, serve};
pub use server::Server;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
