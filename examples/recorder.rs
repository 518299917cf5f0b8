//! Record many values without waiting for the store, and check what happened to each of them.
//!
//! `cargo run -p annals --example recorder`

use annals::{PersistenceBackend, Recorder, RecorderConfig};
use serde::Serialize;

#[derive(Serialize)]
struct Accuracy {
    value: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let history = annals::connect("memory:").await?;

    // The recorder queues values, stores them in batches and retries during an outage. By default
    // `record` waits while the queue is full; see `Overflow` for the alternatives.
    let config = RecorderConfig::default().with_capacity_rows(10_000);
    let recorder = Recorder::new(history.clone(), config);
    for city in ["vienna", "graz", "linz"] {
        let accuracy = recorder.handle(&format!("accuracy::{city}"))?;
        for step in 0..1_000 {
            accuracy.record(&Accuracy { value: f64::from(step) / 1_000.0 }).await?;
        }
    }
    recorder.flush().await?;

    // recorded = stored + rejected + dropped + pending, at every moment.
    let stats = recorder.stats();
    println!("in total: {:?}", stats.total);
    println!("{} batches; Vienna: {:?}", stats.batches, stats.records["accuracy::vienna"]);

    recorder.close().await?;
    history.close().await?;
    Ok(())
}
