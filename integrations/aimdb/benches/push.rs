//! The cost of persistence for producers, on AimDB 1.x: `cargo bench -p annals-aimdb`.
//!
//! First the time of one push. Then the longest push and the largest delay of another task while a
//! backend blocks its caller for 3 s or fails for 10 s.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aimdb_core::buffer::BufferCfg;
use aimdb_core::{AimDb, AimDbBuilder, Producer};
use aimdb_tokio_adapter::{TokioAdapter, TokioRecordRegistrarExt};
use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, Filter, RecordRegistrarPersistExt};
use annals_core::{
    BackendError, ErrorKind, MemoryBackend, PersistenceBackend, PersistenceError, QueryParams,
    RecordStats, StoredValue, Value, async_trait,
};
use annals_sqlite::SqliteBackend;
use futures::FutureExt;
use serde::Serialize;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Clone, Serialize)]
struct Reading {
    value: f64,
    unit: &'static str,
    n: u64,
}

impl Reading {
    fn new(n: u64) -> Self {
        Self { value: 0.94, unit: "percent", n: 1_000_000 + n }
    }
}

#[derive(Debug, Clone, Copy)]
enum How {
    Not,
    Persist,
    PersistBuffer,
    /// `.persist_buffer_with`, every value a change.
    OnChange,
    /// The same, no value a change.
    Unchanged,
}

async fn database(
    backend: Arc<dyn PersistenceBackend>,
    how: How,
    capacity: usize,
) -> (AimDb<TokioAdapter>, Producer<Reading, TokioAdapter>) {
    let mut builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter::new().unwrap()))
        .with_persistence(backend, WEEK);
    let ring = BufferCfg::SpmcRing { capacity };
    builder.configure::<Reading>("reading", |reg| match how {
        How::Not => drop(reg.buffer(ring)),
        How::Persist => drop(reg.buffer(ring).persist("reading")),
        How::PersistBuffer => drop(reg.persist_buffer(ring, "reading")),
        How::OnChange | How::Unchanged => {
            reg.persist_buffer_with(ring, "reading", Filter::new().on_change());
        }
    });
    let db = builder.build().await.unwrap();
    let producer = db.producer("reading");
    (db, producer)
}

fn push(producer: &Producer<Reading, TokioAdapter>, n: u64) {
    producer.produce(Reading::new(n)).now_or_never().unwrap().unwrap();
}

/// The smallest and the median of the mean times of bursts that fit in the recorder's queue.
async fn one_push(how: How) -> (Duration, Duration) {
    const BURST: u64 = 20_000;
    const ROUNDS: usize = 15;
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let (db, producer) = database(backend, how, 500).await;
    let mut means = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let step = u64::from(!matches!(how, How::Unchanged));
        (0..BURST).for_each(|n| push(&producer, n * step));
        means.push(begun.elapsed() / BURST as u32);
        db.persistence().unwrap().flush().await.unwrap();
    }
    let total = db.persistence_stats().unwrap().total;
    let expected = match how {
        How::Not => 0,
        How::Unchanged => 1,
        _ => BURST * ROUNDS as u64,
    };
    assert_eq!((total.stored, total.lost, total.dropped), (expected, 0, 0));
    means.sort_unstable();
    (means[0], means[ROUNDS / 2])
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    Blocks(Duration),
    Fails(Duration),
}

/// Its fault begins a second after it was created.
struct Faulty {
    rows: MemoryBackend,
    fault: Fault,
    begins: Instant,
    had: AtomicBool,
}

#[async_trait]
impl PersistenceBackend for Faulty {
    async fn store(&self, name: &str, value: &Value, at: u64) -> Result<(), PersistenceError> {
        let since = Instant::now().checked_duration_since(self.begins);
        match (self.fault, since) {
            (Fault::Blocks(time), Some(_)) if !self.had.swap(true, Ordering::Relaxed) => {
                thread::sleep(time);
            }
            (Fault::Fails(time), Some(since)) if since < time => {
                let error = BackendError::new("shelf", "store", ErrorKind::Connection, "away");
                return Err(error.into());
            }
            _ => {}
        }
        self.rows.store(name, value, at).await
    }

    async fn query(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.rows.query(pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.rows.cleanup(older_than).await
    }
}

struct Outage {
    longest_push: Duration,
    latest_tick: Duration,
    account: RecordStats,
}

/// Pushes `per_second` values for 12 seconds, on one thread with another task that ticks.
async fn outage(fault: Fault, how: How, per_second: u64) -> Outage {
    const SECONDS: u64 = 12;
    let begins = Instant::now() + Duration::from_secs(1);
    let rows = MemoryBackend::new();
    let backend = Arc::new(Faulty { rows, fault, begins, had: AtomicBool::new(false) });
    let (db, producer) = database(backend, how, 500).await;
    let ticker = tokio::spawn(async {
        let mut latest = Duration::ZERO;
        for _ in 0..SECONDS * 500 {
            let due = Instant::now() + Duration::from_millis(2);
            tokio::time::sleep_until(due.into()).await;
            latest = latest.max(due.elapsed());
        }
        latest
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut longest_push = Duration::ZERO;
    let per_tick = per_second / 100;
    for tick in 0..SECONDS * 100 {
        ticks.tick().await;
        for n in 0..per_tick {
            let begun = Instant::now();
            push(&producer, tick * per_tick + n);
            longest_push = longest_push.max(begun.elapsed());
        }
    }
    let latest_tick = ticker.await.unwrap();
    // Values dropped from the queue are in the account.
    let _ = db.persistence().unwrap().flush().await;
    let account = db.persistence_stats().unwrap().records["reading"];
    assert!(account.balances());
    assert_eq!(account.recorded + account.lost, SECONDS * per_second);
    Outage { longest_push, latest_tick, account }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("one push of 46 bytes of JSON into a ring of 500, SQLite, fastest and median burst:");
    for how in [How::Not, How::Persist, How::PersistBuffer, How::OnChange, How::Unchanged] {
        let (fastest, median) = runtime.block_on(one_push(how));
        println!("  {:13} {fastest:>9.2?} {median:>9.2?}", format!("{how:?}"));
    }
    println!("12 s on one thread, the fault after one second:");
    let three = Duration::from_secs(3);
    let ten = Duration::from_secs(10);
    for (fault, per_second) in [
        (Fault::None, 5_000),
        (Fault::Blocks(three), 5_000),
        (Fault::Fails(ten), 5_000),
        (Fault::Fails(ten), 10_000),
    ] {
        for how in [How::Persist, How::PersistBuffer] {
            let Outage { longest_push, latest_tick, account } =
                runtime.block_on(outage(fault, how, per_second));
            let RecordStats { stored, lost, dropped, .. } = account;
            println!(
                "  {:12} {per_second:>6}/s {:13} longest push {longest_push:>9.2?}, \
                 latest tick {latest_tick:>9.2?}; stored {stored}, lost {lost}, dropped {dropped}",
                format!("{fault:?}"),
                format!("{how:?}"),
            );
        }
    }
}
