//! Values and backends for the cases.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use annals_aimdb::{
    PersistenceBackend, PersistenceError, QueryParams, Signal, StoredValue, async_trait,
};
use annals_core::{BackendError, ErrorKind, MemoryBackend, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Yields until `condition` holds, and fails after a minute.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the condition never held");
        tokio::task::yield_now().await;
    }
}

/// Which of the two methods persists a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// `.persist`
    Tap,
    /// `.persist_buffer`
    Push,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) n: u64,
    pub(crate) celsius: f64,
}

impl Signal for Reading {
    const MEMBER: &'static str = "celsius";
}

impl Reading {
    pub(crate) fn new(n: u64) -> Self {
        Self { n, celsius: 21.5 }
    }
}

/// Blocks the threads that pass it while it is shut.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicU64,
}

impl Gate {
    pub(crate) fn set(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.changed.notify_all();
    }

    pub(crate) fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let shut = self.shut.lock().unwrap();
        drop(self.changed.wait_while(shut, |shut| *shut).unwrap());
    }

    /// How many threads have arrived so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// A backend with only the three required methods, which blocks or fails on command. It is written
/// with the names that `annals_aimdb` exports.
#[derive(Default)]
pub(crate) struct ThreeMethods {
    pub(crate) rows: MemoryBackend,
    pub(crate) storing: Gate,
    pub(crate) querying: Gate,
    pub(crate) cleaning: Gate,
    pub(crate) failing: AtomicBool,
    pub(crate) failures: AtomicU64,
}

impl ThreeMethods {
    fn check(&self) -> Result<(), PersistenceError> {
        if !self.failing.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.failures.fetch_add(1, Ordering::SeqCst);
        let message = "no answer from postgres://app:hunter2@db:5432/history";
        Err(BackendError::new("shelf", "use", ErrorKind::Connection, message).into())
    }
}

#[async_trait]
impl PersistenceBackend for ThreeMethods {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        self.storing.pass();
        self.check()?;
        self.rows.store(record_name, value, timestamp).await
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.querying.pass();
        self.check()?;
        self.rows.query(record_pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.cleaning.pass();
        self.check()?;
        self.rows.cleanup(older_than).await
    }
}

/// A backend that signals when it has stored the [`Reading`] with the number `until`: AimDB's own
/// persistence has no flush.
pub(crate) struct Watched<B> {
    inner: B,
    until: u64,
    stored: watch::Sender<u64>,
    seen: watch::Sender<bool>,
}

impl<B: PersistenceBackend> Watched<B> {
    pub(crate) fn new(inner: B, until: u64) -> Arc<Self> {
        Arc::new(Self {
            inner,
            until,
            stored: watch::Sender::new(0),
            seen: watch::Sender::new(false),
        })
    }

    pub(crate) fn stored(&self) -> u64 {
        *self.stored.borrow()
    }

    /// Waits for that reading and returns how many were stored by then.
    pub(crate) async fn seen(&self) -> u64 {
        self.seen.subscribe().wait_for(|seen| *seen).await.unwrap();
        self.stored()
    }
}

#[async_trait]
impl<B: PersistenceBackend> PersistenceBackend for Watched<B> {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        self.inner.store(record_name, value, timestamp).await?;
        self.stored.send_modify(|stored| *stored += 1);
        if value["n"] == self.until {
            self.seen.send_replace(true);
        }
        Ok(())
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.inner.query(record_pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.inner.cleanup(older_than).await
    }
}
