//! A backend that blocks its thread or fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, PersistenceOptions};
use annals_core::{RecorderConfig, RetryPolicy};

use super::line::{self, Cfg, Db};
use crate::fixture::{How, Reading, ThreeMethods, WEEK, until};

const RING: Cfg = Cfg::SpmcRing { capacity: 20_000 };
const PUSHED: u64 = 10_000;

async fn started(backend: &Arc<ThreeMethods>, recorder: RecorderConfig) -> Db {
    let options = PersistenceOptions::new(WEEK).with_recorder(recorder);
    let mut builder = line::builder().with_persistence_options(backend.clone(), options);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    line::start(builder).await
}

fn push_all(db: &Db) {
    for name in ["tapped", "pushed"] {
        let pusher = line::pusher::<Reading>(db, name);
        (0..PUSHED).for_each(|n| pusher.push(Reading::new(n)));
    }
}

async fn assert_all_stored(db: &Db) {
    db.persistence().unwrap().flush().await.unwrap();
    for name in ["tapped", "pushed"] {
        let account = db.persistence_stats().unwrap().records[name];
        let counts = (account.stored, account.lost, account.dropped, account.pending);
        assert_eq!(counts, (PUSHED, 0, 0, 0), "{name}");
        let stored: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
        assert!(stored.iter().rev().map(|reading| reading.n).eq(0..PUSHED), "{name}");
    }
}

/// With a single thread for all tasks, other tasks can only run while the backend blocks its caller if
/// the caller is none of them.
#[tokio::test(flavor = "current_thread")]
async fn a_blocking_backend_delays_no_task() {
    let backend = Arc::new(ThreeMethods::default());
    backend.cleaning.set(true);
    backend.storing.set(true);
    let db = started(&backend, RecorderConfig::default()).await;

    push_all(&db);
    // The sweep at the start blocks, and so does the first value.
    until(|| backend.cleaning.arrived() > 0 && backend.storing.arrived() > 0).await;
    let other = tokio::spawn(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    other.await.unwrap();
    assert_eq!(db.persistence_stats().unwrap().total.stored, 0);

    backend.storing.set(false);
    backend.cleaning.set(false);
    assert_all_stored(&db).await;
}

#[tokio::test(flavor = "current_thread")]
async fn values_are_stored_when_the_backend_recovers() {
    let backend = Arc::new(ThreeMethods::default());
    backend.failing.store(true, Ordering::SeqCst);
    let soon = Duration::from_millis(1);
    let retry = RetryPolicy::default().with_delays(soon, soon);
    let db = started(&backend, RecorderConfig::default().with_retry(retry)).await;

    push_all(&db);
    // The sweep fails as well and is retried.
    until(|| backend.failures.load(Ordering::SeqCst) >= 5).await;
    let stats = db.persistence_stats().unwrap();
    assert_eq!((stats.total.stored, stats.total.dropped), (0, 0), "{stats:?}");
    assert!(stats.last_error.is_some());

    backend.failing.store(false, Ordering::SeqCst);
    assert_all_stored(&db).await;
}

#[tokio::test(flavor = "current_thread")]
async fn values_beyond_the_capacity_are_counted_as_dropped() {
    const CAPACITY: u64 = 1_000;
    let backend = Arc::new(ThreeMethods::default());
    backend.storing.set(true);
    let options = PersistenceOptions::new(WEEK)
        .with_recorder(RecorderConfig::default().with_capacity_rows(CAPACITY as usize));
    let mut builder = line::builder().with_persistence_options(backend.clone(), options);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    let db = line::start(builder).await;

    let pusher = line::pusher::<Reading>(&db, "pushed");
    (0..PUSHED).for_each(|n| pusher.push(Reading::new(n)));
    backend.storing.set(false);
    // Fails, because some values were dropped before.
    db.persistence().unwrap().flush().await.unwrap();

    let account = db.persistence_stats().unwrap().records["pushed"];
    assert_eq!(account.recorded, PUSHED);
    assert!(account.balances() && account.dropped > 0 && account.stored >= CAPACITY, "{account:?}");
    let stored: Vec<Reading> = db.query_range("pushed", 0, u64::MAX).await.unwrap();
    assert_eq!(stored.len() as u64, account.stored);
    let newest: Vec<u64> = stored.iter().take(CAPACITY as usize).map(|r| r.n).collect();
    assert!(newest.iter().copied().eq((PUSHED - CAPACITY..PUSHED).rev()), "the oldest go");
}
