//! Ask history a question: hourly means, a percentile, the value at a time.
//!
//! `cargo run -p annals --example aggregate`

use std::time::Duration;

use annals::{Aggregate, Function, PersistenceBackend, QueryExt, StoreExt, Width};
use serde::Serialize;

#[derive(Serialize)]
struct Climate {
    celsius: f64,
    humidity: u8,
}

const MINUTE: u64 = 60_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> annals::Result<()> {
    let history = annals::connect("memory:").await?;
    for n in 0..240_u64 {
        let climate = Climate { celsius: 20.0 + (n % 60) as f64 / 10.0, humidity: 40 };
        history.put_at("climate::attic", &climate, n * MINUTE).await?;
    }

    // One bucket per hour and record.
    let hourly = Aggregate::every(Duration::from_secs(3_600)).member("celsius");
    for bucket in history.aggregate("climate::*", &hourly).await? {
        println!("{} from {}: {:?} °C", bucket.record, bucket.start, bucket.mean());
    }

    // One bucket per local day, with functions by name.
    let daily = Aggregate::every(Width::parse("1d")?)
        .time_zone("Europe/Vienna")
        .member("celsius")
        .functions([Function::Max, Function::MaxAt, Function::parse("p95")?]);
    for bucket in history.aggregate("climate::*", &daily).await? {
        println!("{:?}", bucket.values().collect::<Vec<_>>());
    }

    // The newest row of each record that is not later.
    println!("at 01:30: {:?}", history.value_at("climate::*", 90 * MINUTE).await?);
    history.close().await
}
