//! A service of your own with its history at `/history`: what `annals_server` needs of it.
//!
//! ```text
//! ANNALS_BACKEND=sqlite:history.db cargo run -p annals-example-cloud-service
//! curl -d '{"record":"temperature::attic","value":21.5}' -H 'content-type: application/json' \
//!     localhost:8080/history/v1/rows
//! curl 'localhost:8080/history/v1/history?pattern=temperature::*'
//! ```
//!
//! `annals serve` is the same without a service around it; see `docs/serve.md`.

use std::error::Error;
use std::time::Duration;

use annals::{PersistenceBackend, RetentionPolicy};
use annals_server::{Access, Config, Server, Tokens};
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("ANNALS_BACKEND").unwrap_or_else(|_| "memory:".to_owned());
    let history = annals::connect(&url).await?;
    // Without tokens, only this machine is served.
    let access = match std::env::var_os("ANNALS_TOKENS") {
        Some(file) => Access::Tokens(Tokens::open(file)?),
        None => Access::Loopback,
    };
    let keep = RetentionPolicy::new().keep_all(Duration::from_secs(90 * 86_400));
    let config = Config::default().with_access(access).with_retention(Some(keep));
    let server = Server::new(history.clone(), config)?;
    let sweeps = server.retention().cloned().map(|retention| retention.spawn());

    let service = Router::new()
        .route("/", get(async || "a service with a history\n"))
        .nest("/history", server.router());
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    let stop = async {
        // Without signals it runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, service).with_graceful_shutdown(stop).await?;

    if let Some(sweeps) = sweeps {
        sweeps.stop().await;
    }
    // First the rows that were answered with 202.
    server.recorder().close().await?;
    history.close().await?;
    Ok(())
}
