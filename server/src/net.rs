//! Accepts connections.

use std::io;

use tokio::net::TcpListener;

use crate::router;
use crate::server::Server;

/// Serves until `stop` resolves, then finishes the requests that run.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router::of(server)).with_graceful_shutdown(stop).await
}
