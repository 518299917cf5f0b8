//! Stream a result that is larger than memory: rows are fetched while they are read, from one state
//! of the store, and writes go on meanwhile.
//!
//! `cargo run -p annals --example streaming -- sqlite:history.db`

use annals::{Batch, BatchId, Order, PersistenceBackend, QueryExt, QueryParams, Row, Value};
use futures::StreamExt;

const ROWS: u64 = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> annals::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let history = annals::connect(&url).await?;

    // One batch is stored whole or not at all. Its id makes a retry safe.
    let rows = (0..ROWS).map(|n| Row::new("power::meter", &Value::from(n % 3_000), n * 1_000));
    let batch = Batch::new(rows.collect::<annals::Result<Vec<_>>>()?);
    history.store_batch(&batch.with_id(BatchId { writer: 1, number: 1 })).await?;

    let params = QueryParams::default().with_order(Order::OldestFirst);
    let mut stream = history.stream_typed::<f64>("power::*", params).await?;
    let (mut count, mut watt_seconds) = (0_u64, 0.0);
    while let Some(row) = stream.next().await {
        watt_seconds += row?.value;
        count += 1;
    }
    println!("{count} rows, {:.1} kWh", watt_seconds / 3_600_000.0);

    history.close().await
}
