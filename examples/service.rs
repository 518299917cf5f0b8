//! A complete service: record, retain, query, and shut down in the right order.
//!
//! `cargo run -p annals --example service -- sqlite:history.db`: runs until Ctrl-C
//! `cargo run -p annals --example service -- memory: 3`: three ticks

use std::time::Duration;

use annals::{PersistenceBackend, QueryExt, Recorder, RecorderConfig, Retention, RetentionPolicy};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Load {
    percent: u8,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "memory:".to_owned());
    let ticks: u64 = args.next().map_or(Ok(u64::MAX), |ticks| ticks.parse())?;

    // 1. The store, the recorder in front of it, and a month of retention.
    let history = annals::connect(&url).await?;
    let recorder = Recorder::new(history.clone(), RecorderConfig::default());
    let month = RetentionPolicy::new().keep_all(Duration::from_secs(30 * 24 * 3600));
    let retention = Retention::new(history.clone(), month)?.spawn();

    // 2. A producer. It never waits for the store.
    let load = recorder.handle("load::cpu")?;
    let producer = tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_millis(200));
        for tick in 0..ticks {
            interval.tick().await;
            if load.record(&Load { percent: (tick * 7 % 100) as u8 }).await.is_err() {
                return; // the recorder was closed
            }
        }
    });

    // 3. Serve until the producer ends or Ctrl-C arrives.
    let stop = producer.abort_handle();
    tokio::select! {
        _ = producer => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    recorder.flush().await?;
    let latest: Vec<Load> = history.query_latest("load::*", 3).await?;
    println!("latest: {latest:?}");

    // 4. Shut down: producers first, then the recorder, which stores what is queued, then
    //    retention, and the store last.
    stop.abort();
    let closed = recorder.close().await;
    println!("{:?}", recorder.stats().total);
    retention.stop().await;
    history.close().await?;
    Ok(closed?)
}
