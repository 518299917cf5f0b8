//! `cloud-service`: see `--help` and `docs/cloud.md`.

use std::process::ExitCode;
use std::sync::Arc;

use annals::postgres::PostgresBackend;
use annals_example_cloud_service::{Config, Ending, run};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Some rows that were answered with 202 are not stored.
const ROWS_LEFT: i32 = 3;

fn main() -> ExitCode {
    // Exit code 2 after an invalid setting.
    let config = Config::from_env().unwrap_or_else(|error| error.exit());
    tracing_subscriber::fmt().with_max_level(config.log).with_ansi(false).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime could not start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config)) {
        // Do not wait for tasks that still run: nothing depends on them.
        Ok(Ending::AllStored) => std::process::exit(0),
        Ok(Ending::RowsLeft { .. }) => std::process::exit(ROWS_LEFT),
        Err(error) => {
            tracing::error!(%error, "the service could not start");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<Ending, Box<dyn std::error::Error>> {
    // From now on these signals do not end the process by themselves.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    // It connects when it is first used: the service may start before its database, and is not
    // ready until the database is.
    let history = PostgresBackend::new(config.database()?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(run(listener, Arc::new(history.clone()), Some(history), &config, stop).await?)
}
