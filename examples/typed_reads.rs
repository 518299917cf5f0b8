//! Read values as your own types, with their times, and learn which rows did not fit.
//!
//! `cargo run -p annals --example typed_reads`

use annals::{Order, PersistenceBackend, QueryExt, QueryParams, StoreExt};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Climate {
    celsius: f64,
    humidity: Option<u8>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> annals::Result<()> {
    let history = annals::connect("memory:").await?;
    for minute in 0..5_u8 {
        let climate = Climate { celsius: 20.0 + f64::from(minute), humidity: Some(40 + minute) };
        history.put_at("climate::attic", &climate, 60_000 * u64::from(minute)).await?;
    }
    // Written by another version of the program.
    history.put_at("climate::attic", &"offline", 300_000).await?;

    // Values only; rows that do not deserialize are skipped with a warning.
    let latest: Vec<Climate> = history.query_latest("climate::*", 3).await?;
    println!("latest: {latest:?}");

    // With record and time, oldest first, and the number of skipped rows.
    let params = QueryParams::range(60_000, u64::MAX).with_order(Order::OldestFirst);
    let typed = history.query_typed::<Climate>("climate::*", params).await?;
    for row in &typed.rows {
        println!("{} at {} ms: {} °C", row.record, row.stored_at, row.value.celsius);
    }
    println!("{} rows skipped", typed.skipped);

    history.close().await
}
