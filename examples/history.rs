//! Records a few values, asks for them, and lets old ones go. The store's URL is the only argument;
//! without one the history is kept in memory.
//!
//! `cargo run -p annals --example history -- sqlite:history.db`

use annals::{PersistenceBackend, QueryExt, Recorder, RecorderConfig};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Accuracy {
    value: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let history = annals::connect(&url).await?;

    // The recorder takes values without waiting for the store and keeps account of each.
    let recorder = Recorder::new(history.clone(), RecorderConfig::default());
    for city in ["vienna", "graz", "linz"] {
        let accuracy = recorder.handle(&format!("accuracy::{city}"))?;
        for step in 0..10 {
            accuracy.record(&Accuracy { value: 0.9 + f64::from(step) / 100.0 }).await?;
        }
    }
    recorder.close().await?;
    let total = recorder.stats().total;
    println!("{} recorded, {} stored, {} dropped", total.recorded, total.stored, total.dropped);

    let latest: Vec<Accuracy> = history.query_latest("accuracy::*", 2).await?;
    println!("the latest two of each city: {latest:?}");
    let all: Vec<Accuracy> = history.query_range("accuracy::vienna", 0, u64::MAX).await?;
    println!("{} values of Vienna", all.len());

    let removed = history.cleanup(u64::MAX).await?;
    println!("{removed} rows let go");
    history.close().await?;
    Ok(())
}
