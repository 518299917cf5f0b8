//! Write your own backend: three methods are enough. Typed reads, streams, listings, batches, the
//! recorder and retention work on top of them.
//!
//! `cargo run -p annals --example own_backend`
//!
//! Hold a real one to the contract with `annals-conformance`: `Suite::in_memory("mine", make).main()`.

use std::collections::BTreeMap;

use annals::{
    Order, PersistenceBackend, Query, QueryExt, QueryParams, Result, Row, StoreExt, StoredValue,
    Value, async_trait,
};
use tokio::sync::Mutex;

/// The rows of each record, in order of arrival.
#[derive(Default)]
struct MapBackend(Mutex<BTreeMap<String, Vec<StoredValue>>>);

#[async_trait]
impl PersistenceBackend for MapBackend {
    async fn store(&self, record: &str, value: &Value, stored_at: u64) -> Result<()> {
        Row::new(record, value, stored_at)?; // refuses invalid names, times and values
        let row = StoredValue { record_name: record.to_owned(), value: value.clone(), stored_at };
        self.0.lock().await.entry(record.to_owned()).or_default().push(row);
        Ok(())
    }

    async fn query(&self, pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        let query = Query::new(pattern, &params)?; // parses the pattern, clamps the bounds
        let mut found = Vec::new();
        for (_, rows) in self.0.lock().await.iter().filter(|(name, _)| query.pattern.matches(name))
        {
            let in_window = |row: &&StoredValue| (query.from..=query.to).contains(&row.stored_at);
            let mut rows: Vec<_> = rows.iter().filter(in_window).cloned().collect();
            rows.sort_by_key(|row| row.stored_at); // stable: equal times stay in order of arrival
            let limit = if query.is_empty() { 0 } else { query.limit.unwrap_or(u64::MAX) };
            rows.drain(..rows.len().saturating_sub(limit as usize));
            if query.order == Order::NewestFirst {
                rows.reverse();
            }
            found.append(&mut rows);
        }
        Ok(found)
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        let mut removed = 0;
        self.0.lock().await.retain(|_, rows| {
            let expired = rows.extract_if(.., |row| row.stored_at < older_than);
            removed += expired.count() as u64;
            !rows.is_empty()
        });
        Ok(removed)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let history = MapBackend::default();
    for n in 0..5_u64 {
        history.put_at("counter", &n, n).await?;
    }
    println!("the latest two: {:?}", history.query_latest::<u64>("*", 2).await?);
    println!("{} rows removed", history.cleanup(3).await?);
    println!("left: {:?}", history.records("*", Default::default()).await?);
    Ok(())
}
