//! Embed a history: open a store, write a few values, query them.
//!
//! `cargo run -p annals --example embed`: in memory
//! `cargo run -p annals --example embed -- sqlite:history.db`: in a file
//!
//! Any URL that `annals::connect` knows works: the code does not depend on the store.

use annals::{PersistenceBackend, QueryExt, StoreExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> annals::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let history = annals::connect(&url).await?;

    // Each call returns when the row is durable.
    history.put("temperature::attic", &21.5).await?;
    history.put("temperature::attic", &22.0).await?;
    history.put("temperature::cellar", &11.0).await?;

    let latest: Vec<f64> = history.query_latest("temperature::*", 1).await?;
    println!("the latest value of each record: {latest:?}");
    let attic: Vec<f64> = history.query_range("temperature::attic", 0, u64::MAX).await?;
    println!("all values of the attic, newest first: {attic:?}");

    history.close().await
}
