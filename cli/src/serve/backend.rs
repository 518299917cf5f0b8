//! The history that is served, and what the server tells of it.

use std::sync::Arc;

use annals::PersistenceBackend;
use annals_server::Config;
#[cfg(feature = "postgres")]
use annals_server::Figure;

use super::disk_bytes;
use crate::failure::Failure;
use crate::store;

/// Checks the URL without opening anything.
pub(super) fn check(url: &str) -> Result<(), Failure> {
    annals::connect_lazy(url)?;
    Ok(())
}

/// Opens the history. A database is connected to when it is first used: the server may start before
/// it, and is not ready until the database is.
pub(super) async fn open(
    url: &str,
    config: Config,
) -> Result<(Arc<dyn PersistenceBackend>, Config), Failure> {
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        use annals::postgres::{PostgresBackend, PostgresConfig};
        let history = PostgresBackend::new(PostgresConfig::from_url(url)?);
        let pools = history.clone();
        return Ok((Arc::new(history), config.with_figures(move || figures(&pools))));
    }
    let history = store::open(url).await?;
    let config = match store::file(url)? {
        Some(path) => config.with_disk_bytes(move || disk_bytes(&path)),
        None => config,
    };
    Ok((history, config))
}

/// The connections to the database.
#[cfg(feature = "postgres")]
fn figures(history: &annals::postgres::PostgresBackend) -> Vec<Figure> {
    let of = |pool: &annals::postgres::PoolState| {
        let labels = vec![("pool", pool.purpose.as_str().to_owned())];
        let figure = |name, help, value: usize| Figure {
            name,
            help,
            labels: labels.clone(),
            value: value as u64,
        };
        [
            figure("pool_limit", "Maximum number of connections", pool.limit),
            figure("pool_open", "Open connections", pool.open),
            figure("pool_idle", "Unused connections", pool.idle),
            figure("pool_waiting", "Operations that wait for a connection", pool.waiting),
        ]
    };
    history.pools().iter().flat_map(of).collect()
}
