//! Backends whose stores are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_conformance::Suite;
use annals_core::{
    Batch, JsonText, MAX_TIMESTAMP, MemoryBackend, PersistenceBackend, PersistenceError, Row,
    Value, async_trait,
};
use serde_json::json;

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, Twisted};

pub(super) fn subjects() -> Vec<Subject> {
    let unlimited = || {
        let memory = MemoryBackend::new().with_max_value_bytes(usize::MAX);
        struct Unlimited;
        #[async_trait]
        impl Twist for Unlimited {
            async fn store(
                &self,
                inner: &MemoryBackend,
                record: &str,
                value: &Value,
                at: u64,
            ) -> Result<()> {
                PersistenceBackend::store(inner, record, value, at).await
            }
        }
        Twisted::new(memory, Arc::new(Unlimited))
    };
    vec![
        twisted("names_with_stars", || Takes(stars), &["NAME-2"]),
        twisted("names_with_nul", || Takes(nuls), &["NAME-2"]),
        twisted(
            "single_precision",
            || Values(single_precision),
            &["VALUE-1", "SAMPLE-1", "FUNCTION-1", "FUNCTION-2"],
        ),
        twisted("no_negative_zero", || Values(no_negative_zero), &["VALUE-1"]),
        twisted("no_nul_in_strings", || Values(no_nul), &["VALUE-1", "FUNCTION-6"]),
        twisted("signed_integers_only", || Values(signed_integers), &["VALUE-1", "FILTER-1"])
            // The identity of a history is a random number.
            .perhaps(&["RETAIN-1"]),
        twisted("too_deep_is_null", || Takes(deep_values), &["VALUE-2"]).unseen_by_random(),
        Subject::new(Suite::in_memory("no_size_limit", unlimited), &["VALUE-3"]).unseen_by_random(),
        twisted("refuses_the_next_too", RefusesTheNextToo::default, &["VALUE-3"])
            .unseen_by_random(),
        twisted("late_times_are_clamped", || Takes(late_times), &["TIME-1"]),
        twisted("broken_by_dropping", BrokenByDropping::default, &["CONCURRENT-2"])
            .unseen_by_random(),
        twisted("stores_twice_under_load", StoresTwiceUnderLoad::default, &["CONCURRENT-1"])
            .unseen_by_random(),
        twisted("blocks_the_executor", || BlocksTheExecutor, &["CONCURRENT-3"]).unseen_by_random(),
        twisted("closes_half", ClosesHalf::default, &["CONCURRENT-5"]).unseen_by_random(),
    ]
}

/// Values that are stored as something else.
pub(crate) struct Values(pub(crate) fn(&Value) -> Value);

impl Values {
    fn deep(&self, value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.deep(item)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(key, member)| (key, self.deep(member))).collect()
            }
            other => (self.0)(&other),
        }
    }
}

impl Twist for Values {
    fn incoming(&self, row: Row) -> Row {
        let value = self.deep(row.value.to_value().unwrap());
        Row { value: JsonText::from_value(&value, usize::MAX).unwrap(), ..row }
    }
}

fn single_precision(value: &Value) -> Value {
    match value.as_f64().filter(|_| value.is_f64()) {
        // Beyond single precision there is infinity, which JSON has not.
        Some(number) if (number as f32).is_finite() => json!(f64::from(number as f32)),
        _ => value.clone(),
    }
}

fn no_negative_zero(value: &Value) -> Value {
    if value.is_f64() && value.as_f64() == Some(0.0) { json!(0.0) } else { value.clone() }
}

fn no_nul(value: &Value) -> Value {
    value.as_str().map_or(value.clone(), |text| json!(text.replace('\0', "")))
}

fn signed_integers(value: &Value) -> Value {
    match value.as_u64() {
        Some(number) if number > i64::MAX as u64 => json!(number as f64),
        _ => value.clone(),
    }
}

/// What is refused is taken instead, in some form.
struct Takes(fn(&PersistenceError, &str, &Value) -> Option<Row>);

#[async_trait]
impl Twist for Takes {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        match inner.store(record, value, at).await {
            Err(error) => match (self.0)(&error, record, value) {
                Some(row) => inner.store_batch(&Batch::new(vec![row])).await,
                None => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }
}

fn stars(error: &PersistenceError, record: &str, value: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::InvalidRecordName { .. });
    if !refused || !record.contains('*') || record.contains('\0') {
        return None;
    }
    Row::new(&record.replace('*', "?"), value, 1).ok()
}

fn nuls(error: &PersistenceError, record: &str, value: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::InvalidRecordName { .. });
    if !refused || !record.contains('\0') {
        return None;
    }
    Row::new(&record.replace('\0', "?"), value, 1).ok()
}

fn deep_values(error: &PersistenceError, record: &str, _: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::ValueTooDeep { .. });
    refused.then(|| Row::new(record, &Value::Null, 1).ok())?
}

fn late_times(error: &PersistenceError, record: &str, value: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::TimestampOutOfRange { .. });
    refused.then(|| Row::new(record, value, MAX_TIMESTAMP).ok())?
}

/// A value that is too large is refused, and so is the next one.
#[derive(Default)]
struct RefusesTheNextToo(AtomicBool);

#[async_trait]
impl Twist for RefusesTheNextToo {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        if self.0.swap(false, Ordering::SeqCst) {
            return Err(PersistenceError::ValueTooLarge { size: 2, limit: 1 });
        }
        let stored: std::result::Result<(), PersistenceError> =
            inner.store(record, value, at).await;
        let too_large = matches!(stored, Err(PersistenceError::ValueTooLarge { .. }));
        self.0.store(too_large, Ordering::SeqCst);
        stored
    }
}

/// A store that is dropped half-way leaves the lock behind.
#[derive(Default)]
struct BrokenByDropping(Arc<AtomicBool>);

#[async_trait]
impl Twist for BrokenByDropping {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        while self.0.swap(true, Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::task::yield_now().await;
        let stored = inner.store(record, value, at).await;
        self.0.store(false, Ordering::SeqCst);
        stored
    }
}

/// Every 64th store is repeated although nothing was wrong with it, once others wait as well.
#[derive(Default)]
struct StoresTwiceUnderLoad(std::sync::atomic::AtomicU64);

#[async_trait]
impl Twist for StoresTwiceUnderLoad {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let beside = self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let stored: Result<()> = inner.store(record, value, at).await;
        if beside > 0 && record == "shared" {
            inner.store(record, value, at).await?;
        }
        self.0.fetch_sub(1, Ordering::SeqCst);
        stored
    }
}

/// Serializes and stores on the executor's thread, and takes its time.
struct BlocksTheExecutor;

#[async_trait]
impl Twist for BlocksTheExecutor {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        std::thread::sleep(Duration::from_millis(60));
        inner.cleanup(older_than).await
    }
}

/// `close` does nothing, except that queries fail from then on.
#[derive(Default)]
struct ClosesHalf(AtomicBool);

#[async_trait]
impl Twist for ClosesHalf {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        match inner.store(record, value, at).await {
            Err(PersistenceError::BackendShutdown) if self.0.load(Ordering::SeqCst) => Ok(()),
            other => other,
        }
    }

    async fn close(&self, inner: &MemoryBackend) -> Result<()> {
        self.0.store(true, Ordering::SeqCst);
        inner.close().await
    }
}
