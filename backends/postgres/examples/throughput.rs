//! How fast this machine's server takes and gives rows, one line per workload.
//!
//! `cargo run --release -p annals-postgres --example throughput -- postgres://…`

use std::time::Instant;

use annals_core::{Batch, PersistenceBackend, QueryParams, Row};
use annals_postgres::{PostgresBackend, PostgresConfig};
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const RECORDS: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or("give the URL of a server")?;
    let backend = PostgresBackend::new(PostgresConfig::from_url(&url)?);
    backend.initialize().await?;

    for callers in [1, 16, 256] {
        let stores = 4_000 / callers;
        let begun = Instant::now();
        let all = join_all((0..callers).map(|caller| {
            let backend = &backend;
            async move {
                for i in 0..stores {
                    let value = json!({"celsius": 21.5, "caller": caller});
                    backend.store(&format!("sensor::{caller}"), &value, i).await?;
                }
                Ok::<_, annals_core::PersistenceError>(())
            }
        }));
        for result in all.await {
            result?;
        }
        report(&format!("store, {callers} callers"), callers * stores, begun);
    }

    for size in [16, 64, 256, 512, 1024, 2048, 4096] {
        let batches: Vec<Batch> = (0..(40_000 / size).clamp(10, 400))
            .map(|batch| {
                let row = |i: u64| {
                    let i = batch * size + i;
                    let value = json!({"celsius": 21.5, "humidity": 0.4, "n": i});
                    Row::new(&format!("sensor::{:04}", i % RECORDS), &value, i / RECORDS * 1_000)
                };
                Ok(Batch::new((0..size).map(row).collect::<std::result::Result<Vec<_>, _>>()?))
            })
            .collect::<Result<_>>()?;
        let begun = Instant::now();
        for batch in &batches {
            backend.store_batch(batch).await?;
        }
        report(&format!("store_batch of {size}"), size * batches.len() as u64, begun);
    }

    for pass in 1..=2 {
        let begun = Instant::now();
        let latest = backend.query("*", QueryParams::latest(5)).await?.len();
        report(&format!("latest 5 of each, pass {pass}"), latest as u64, begun);
        let begun = Instant::now();
        let latest = backend.query("sensor::0007", QueryParams::latest(1)).await?.len();
        report(&format!("latest 1 of one, pass {pass}"), latest as u64, begun);
    }
    let begun = Instant::now();
    let stream = backend.query_stream("*", QueryParams::default()).await?;
    report("stream of everything", stream.count().await as u64, begun);
    let begun = Instant::now();
    report("cleanup of everything", backend.cleanup(u64::MAX).await?, begun);
    backend.close().await?;
    Ok(())
}

fn report(what: &str, rows: u64, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{what:28} {rows:>8} rows {:>9.1} ms {:>9.0} rows/s",
        seconds * 1e3,
        rows as f64 / seconds
    );
}
