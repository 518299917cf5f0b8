//! The program `annals` with a backend of your own, for URLs that begin with `mystore:`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use annals::{
    Order, PersistenceBackend, PersistenceError, Query, QueryParams, Row, StoredValue, Value,
    async_trait,
};

fn main() -> ExitCode {
    annals_cli::App::new().backend("mystore", |_url| async { Ok(MyStore::default()) }).run()
}

/// The rows of each record in order of time, equal times in order of arrival.
type Records = BTreeMap<String, Vec<StoredValue>>;

#[derive(Default)]
struct MyStore(Mutex<Records>);

impl MyStore {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PersistenceBackend for MyStore {
    async fn store(
        &self,
        record: &str,
        value: &Value,
        stored_at: u64,
    ) -> Result<(), PersistenceError> {
        Row::new(record, value, stored_at)?; // refuses what no backend may store
        let mut records = self.records();
        let rows = records.entry(record.to_owned()).or_default();
        let at = rows.partition_point(|row| row.stored_at <= stored_at);
        let row = StoredValue { record_name: record.to_owned(), value: value.clone(), stored_at };
        rows.insert(at, row);
        Ok(())
    }

    async fn query(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        let query = Query::new(pattern, &params)?;
        let mut selected = Vec::new();
        for (record, rows) in &*self.records() {
            if query.is_empty() || !query.pattern.matches(record) {
                continue;
            }
            let from = rows.partition_point(|row| row.stored_at < query.from);
            let to = rows.partition_point(|row| row.stored_at <= query.to);
            let newest = (to - from).min(params.limit_per_record.unwrap_or(usize::MAX));
            let rows = rows[to - newest..to].iter().cloned();
            match query.order {
                Order::NewestFirst => selected.extend(rows.rev()),
                Order::OldestFirst => selected.extend(rows),
            }
        }
        Ok(selected)
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        let mut removed = 0;
        self.records().retain(|_, rows| {
            let expired = rows.partition_point(|row| row.stored_at < older_than);
            removed += rows.drain(..expired).len() as u64;
            !rows.is_empty()
        });
        Ok(removed)
    }
}
