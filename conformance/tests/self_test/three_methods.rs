//! A backend with the three required methods and nothing else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_core::{
    CleanupPlan, Guarantees, PersistenceBackend, PersistenceError, Query, QueryParams, RawRow, Row,
    StoredValue, Value, async_trait,
};

use crate::shelf::Shelf;

#[derive(Default)]
pub(crate) struct ThreeMethods(Mutex<Shelf>);

#[async_trait]
impl PersistenceBackend for ThreeMethods {
    async fn store(&self, name: &str, value: &Value, at: u64) -> Result<(), PersistenceError> {
        let Row { record, value, stored_at } = Row::new(name, value, at)?;
        let (record, json) = (record.into_shared(), value.into_shared());
        self.0.lock().unwrap().insert(RawRow::new(record, json, stored_at));
        Ok(())
    }

    async fn query(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        let rows = self.0.lock().unwrap().select(&Query::new(pattern, &params)?);
        let values = rows.into_iter().map(|row| {
            Ok(StoredValue {
                record_name: row.record.to_string(),
                value: serde_json::from_str(&row.json)?,
                stored_at: row.stored_at,
            })
        });
        values.collect()
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        Ok(self.0.lock().unwrap().sweep(&CleanupPlan::older_than(older_than)))
    }
}

/// Claims that a batch is stored whole, though the default of `store_batch` stores row by row.
#[derive(Default)]
pub(crate) struct ClaimsAtomic(ThreeMethods, AtomicU64);

#[async_trait]
impl PersistenceBackend for ClaimsAtomic {
    async fn store(&self, name: &str, value: &Value, at: u64) -> Result<(), PersistenceError> {
        // The pause of a commit. Without it the lock is never free long enough for a reader that
        // waits for it.
        if self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
            std::thread::sleep(Duration::from_micros(50));
        }
        self.0.store(name, value, at).await
    }

    async fn query(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.0.query(pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.0.cleanup(older_than).await
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees::default().with_atomic_batches(true)
    }
}
