//! The weather of three cities on AimDB 2.x, with history.
//!
//! `cargo run -p annals-example-weather --no-default-features --features aimdb-2
//! --ignore-rust-version -- [HISTORY [SOCKET [MILLISECONDS]]]`

use std::sync::Arc;

use aimdb_core_2::remote::AimxConfig;
use aimdb_core_2::{AimDbBuilder, StringKey, buffer::BufferCfg};
use aimdb_tokio_adapter_2::{TokioAdapter, TokioRecordRegistrarExt};
use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, AimxServer, RecordRegistrarPersistExt};
use annals_example_weather::{Accuracy, CITIES, Settings, Station, Temperature, WEEK, termination};
use annals_sqlite::SqliteBackend;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Settings { history, socket, every } = Settings::from_args()?;
    let backend = Arc::new(SqliteBackend::new(&history)?);
    let mut builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter::new()?))
        .with_persistence(backend, WEEK)
        // Like UdsServer, with error messages for record.query.
        .with_connector(AimxServer::unix(AimxConfig::uds_default().socket_path(&socket)));

    for city in CITIES {
        let temperature = format!("temperature.{city}");
        let accuracy = format!("accuracy.{city}");
        // Records every measurement in the push, although the buffer keeps only the latest.
        builder.configure::<Temperature>(StringKey::from_dynamic(&temperature), |reg| {
            reg.persist_buffer(BufferCfg::SingleLatest, &temperature)
                .source(move |ctx, producer| async move {
                    let mut station = Station::of(city);
                    loop {
                        // Sleep first: a transform misses values pushed before it subscribes.
                        ctx.time().sleep(every).await;
                        producer.produce(station.measure());
                    }
                })
                .with_remote_access();
        });
        builder.configure::<Accuracy>(StringKey::from_dynamic(&accuracy), |reg| {
            reg.buffer(BufferCfg::SpmcRing { capacity: 500 })
                .transform::<Temperature, _>(StringKey::from_dynamic(&temperature), |derived| {
                    derived.map(|temperature| Some(Accuracy::of(temperature)))
                })
                .persist(&accuracy)
                .with_remote_access();
        });
    }
    let (db, runner) = builder.build().await?;

    let before: Vec<Accuracy> = db.query_range("accuracy.*", 0, u64::MAX).await?;
    println!("{} accuracies in {} from before", before.len(), history.display());
    println!("AimX on {socket}");
    tokio::select! {
        () = runner.run() => {}
        signal = termination() => signal?,
    }

    db.persistence()?.close().await?;
    let stored = db.persistence_stats()?.total.stored;
    println!("{stored} values stored");
    Ok(())
}
