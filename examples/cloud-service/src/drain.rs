//! Runs a replica: serves until the signal, then drains within the grace period.

use std::sync::Arc;

use annals::postgres::PostgresBackend;
use annals::{PersistenceBackend, PersistenceError};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Config;
use crate::router::router;
use crate::server::accept;
use crate::service::Service;

/// How a replica ended.
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

/// Serves until `stop` resolves, then drains and ends within the grace period. The metrics include
/// the connections of `pools`, if given.
///
/// 1. For the drain delay `/readyz` answers 503 and requests are still served, so that load balancers
///    notice first.
/// 2. No connection is accepted any more; running requests have the request timeout to finish.
/// 3. The recorder stores what it holds, in what remains of the grace period.
///
/// # Errors
/// [`Unsupported`](PersistenceError::Unsupported) when the backend cannot sweep by the configured
/// retention.
pub async fn run(
    listener: TcpListener,
    history: Arc<dyn PersistenceBackend>,
    pools: Option<PostgresBackend>,
    config: &Config,
    stop: impl Future<Output = ()>,
) -> Result<Ending, PersistenceError> {
    let service = Service::new(history, pools, config)?;
    let sweeps = service.retention.clone().map(|retention| retention.spawn());
    let connections = GracefulShutdown::new();
    let accepting =
        accept(&listener, router(service.clone()), config.request_timeout, &connections);
    let mut accepting = Box::pin(accepting);
    tokio::select! {
        never = &mut accepting => match never {},
        () = stop => {}
    }

    let end = Instant::now() + config.grace_period;
    tracing::info!(grace_period = ?config.grace_period, "draining");
    service.drain();
    tokio::select! {
        never = &mut accepting => match never {},
        () = sleep(config.drain_delay) => {}
    }
    drop(accepting);
    drop(listener);

    let requests_end = Instant::now() + config.request_timeout;
    if timeout_at(requests_end.min(end), connections.shutdown()).await.is_err() {
        tracing::warn!("requests that still run are cut off");
    }
    if let Some(sweeps) = sweeps {
        sweeps.stop().await;
    }
    // Its result is in the statistics as well.
    let _ = timeout_at(end, service.recorder.close()).await;
    let total = service.recorder.stats().total;
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
    if timeout_at(end, service.history.close()).await.is_err() {
        tracing::warn!("the connections to the database did not close in time");
    }
    Ok(Ending::AllStored)
}
