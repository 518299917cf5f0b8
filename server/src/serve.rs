//! Serves until the signal, then drains within the grace period.

use annals_core::{PersistenceBackend, PersistenceError};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout_at};

use crate::net::{Tls, accept};
use crate::server::Server;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every row that was answered with 200 or 202 is stored.
    AllStored,
    /// Some rows that were answered with 202 are not stored.
    RowsLeft {
        /// Their number.
        rows: u64,
    },
}

/// Serves until `stop` resolves, then drains and ends within the grace period. Retention runs
/// meanwhile, if there is one. At the end the history is closed.
///
/// 1. For the drain delay `/readyz` answers 503 and requests are still served, so that load balancers
///    notice first.
/// 2. No connection is accepted any more, and followers are told to connect elsewhere; running requests
///    have the request timeout to finish.
/// 3. The recorder stores what it holds, in what remains of the grace period.
///
/// # Errors
/// [`NotConfigured`](PersistenceError::NotConfigured) when the listener can be reached from other
/// machines and nothing says that everybody may use it.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    tls: Option<Tls>,
    stop: impl Future<Output = ()>,
) -> Result<Ending, PersistenceError> {
    let config = server.config();
    if let Ok(address) = listener.local_addr() {
        config.check_listen(address.ip())?;
    }
    let sweeps = server.retention().cloned().map(|retention| retention.spawn());
    let connections = GracefulShutdown::new();
    let mut accepting = Box::pin(accept(&listener, &server, tls.as_ref(), &connections));
    tokio::select! {
        never = &mut accepting => match never {},
        () = stop => {}
    }

    let end = Instant::now() + config.grace_period;
    tracing::info!(grace_period = ?config.grace_period, "draining");
    server.drain();
    tokio::select! {
        never = &mut accepting => match never {},
        () = sleep(config.drain_delay) => {}
    }
    drop(accepting);
    drop(listener);
    server.stop();

    let requests_end = Instant::now() + config.request_timeout;
    if timeout_at(requests_end.min(end), connections.shutdown()).await.is_err() {
        tracing::warn!("requests that still run are cut off");
    }
    if let Some(sweeps) = sweeps {
        sweeps.stop().await;
    }
    // Its result is in the statistics as well.
    let _ = timeout_at(end, server.recorder().close()).await;
    let total = server.recorder().stats().total;
    let rows = total.dropped + total.pending;
    tracing::info!(
        recorded = total.recorded,
        stored = total.stored,
        rejected = total.rejected,
        left = rows,
        "drained"
    );
    if rows > 0 {
        return Ok(Ending::RowsLeft { rows });
    }
    if timeout_at(end, server.history().close()).await.is_err() {
        tracing::warn!("the history did not close in time");
    }
    Ok(Ending::AllStored)
}
