//! `cloud-service`: takes all its settings from the environment; see `docs/cloud.md`.

use std::process::ExitCode;
use std::sync::Arc;

use annals::postgres::PostgresBackend;
use annals_example_cloud_service::{Config, Ending, run};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Settings that cannot work.
const BAD_SETTINGS: u8 = 2;
/// Rows that were answered with 202 are not stored.
const ROWS_LEFT: i32 = 3;

fn main() -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("cloud-service: {error}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    tracing_subscriber::fmt().with_max_level(config.log).with_ansi(false).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime does not start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config)) {
        // Nothing that still runs has anybody who waits for it: it is not waited for.
        Ok(Ending::AllStored) => std::process::exit(0),
        Ok(Ending::RowsLeft { .. }) => std::process::exit(ROWS_LEFT),
        Err(error) => {
            tracing::error!(%error, "the service does not start");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<Ending, Box<dyn std::error::Error>> {
    // From here on the signals no longer end the process by themselves.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("{} cannot be listened on: {error}", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    // Connects when it is first used: the service starts before its database does, and is not
    // ready until it is there.
    let history = PostgresBackend::new(config.database.clone());
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(run(listener, Arc::new(history.clone()), Some(history), &config, stop).await?)
}
