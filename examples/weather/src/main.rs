//! A hub for weather stations, on AimDB 1.x or 2.x: `cargo run -p annals-example-weather -- --help`

use std::sync::Arc;

#[cfg(not(feature = "aimdb-2"))]
use {aimdb_core as aimdb, aimdb_tokio_adapter as adapter};
#[cfg(feature = "aimdb-2")]
use {aimdb_core_2 as aimdb, aimdb_tokio_adapter_2 as adapter};

use adapter::TokioAdapter;
use aimdb::{AimDbBuilder, StringKey, buffer::BufferCfg, remote::AimxConfig};
use annals::Filter;
use annals_aimdb::{
    AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt, RecordRegistrarRestoreExt,
};
use annals_example_weather::{Accuracy, CITIES, HOUR, Hub, Settings, Temperature};
use clap::Parser;

/// The two lines of AimDB name and match records differently.
const SEPARATOR: &str = if cfg!(feature = "aimdb-2") { "." } else { "::" };

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::parse();
    let remote = AimxConfig::uds_default().socket_path(&settings.socket);
    let hub = Hub::open(settings).await?;
    let builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter::new()?))
        .with_persistence_options(hub.history.clone(), hub.options());
    #[cfg(not(feature = "aimdb-2"))]
    let mut builder = builder.with_remote_access(remote);
    // Like UdsServer, with error messages for record.query.
    #[cfg(feature = "aimdb-2")]
    let mut builder = builder.with_connector(annals_aimdb::AimxServer::unix(remote));

    let temperature_of = |city| format!("temperature{SEPARATOR}{city}");
    let accuracy_of = |city| format!("accuracy{SEPARATOR}{city}");
    for city in CITIES {
        let (temperature, accuracy) = (temperature_of(city), accuracy_of(city));
        builder.configure::<Temperature>(StringKey::from_dynamic(&temperature), |reg| {
            let plausible = Filter::new().within("celsius", -60.0..=60.0);
            let filter = plausible.dead_band("celsius", 0.2).heartbeat(HOUR);
            reg.persist_buffer_with(BufferCfg::SingleLatest, &temperature, filter)
                .restore()
                .with_remote_access();
        });
        builder.configure::<Accuracy>(StringKey::from_dynamic(&accuracy), |reg| {
            let filter = Filter::new().dead_band("value", 0.02).heartbeat(HOUR);
            reg.persist_buffer_with(BufferCfg::SpmcRing { capacity: 500 }, &accuracy, filter)
                .restore()
                .with_remote_access();
        });
    }
    #[cfg(not(feature = "aimdb-2"))]
    let db = builder.build().await?;
    #[cfg(feature = "aimdb-2")]
    let (db, runner) = builder.build().await?;
    #[cfg(feature = "aimdb-2")]
    tokio::spawn(runner.run());

    for city in CITIES {
        if let Ok(restored) = db.subscribe::<Accuracy>(accuracy_of(city))?.try_recv() {
            println!("{city} begins with an accuracy of {}", restored.value);
        }
    }
    hub.run(db.persistence()?, async |city, temperature, accuracy| {
        let produced = (
            db.produce(temperature_of(city), temperature),
            db.produce(accuracy_of(city), accuracy),
        );
        #[cfg(not(feature = "aimdb-2"))]
        let produced = (produced.0.await, produced.1.await);
        Ok(produced.0.and(produced.1)?)
    })
    .await
}
