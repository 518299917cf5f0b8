//! 50,000 values at once into a ring of 500.

use std::sync::Arc;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt};
use annals_core::RecordStats;
use annals_sqlite::SqliteBackend;

use super::line::{self, Cfg};
use crate::fixture::{How, Reading, WEEK, Watched, until};

const PUSHED: u64 = 50_000;
const RING: Cfg = Cfg::SpmcRing { capacity: 500 };

/// The account after the burst, and the numbers of the stored values.
async fn burst(how: How) -> (RecordStats, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    line::persist::<Reading>(&mut builder, "burst", RING, how);
    let db = line::start(builder).await;

    let pusher = line::pusher::<Reading>(&db, "burst");
    for n in 0..PUSHED {
        pusher.push(Reading::new(n));
    }
    db.persistence().unwrap().flush().await.unwrap();

    let stats = db.persistence_stats().unwrap();
    assert!(stats.total.balances(), "{stats:?}");
    let mut stored: Vec<Reading> = db.query_range("burst", 0, u64::MAX).await.unwrap();
    stored.reverse();
    (stats.records["burst"], stored.into_iter().map(|reading| reading.n).collect())
}

/// The number of values that AimDB's own persistence stores of the same burst, with the same engine.
async fn burst_of_its_own() -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let backend = SqliteBackend::new(folder.path().join("history.db")).unwrap();
    let backend = Watched::new(backend, PUSHED - 1);
    let builder = line::own_persistence::<Reading, _>(backend.clone(), "burst", RING);
    let db = line::start(builder).await;
    // Its tap subscribes when it is first polled; without this it would store almost nothing.
    let pusher = line::pusher::<Reading>(&db, "burst");
    until(|| {
        pusher.push(Reading::new(PUSHED));
        backend.stored() > 0
    })
    .await;

    let before = backend.stored();
    for n in 0..PUSHED {
        pusher.push(Reading::new(n));
    }
    backend.seen().await - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn persist_buffer_stores_all_of_it_in_order() {
    let (account, stored) = burst(How::Push).await;
    assert_eq!((account.stored, account.lost, account.dropped), (PUSHED, 0, 0), "{account:?}");
    assert_eq!(stored, (0..PUSHED).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn persist_accounts_for_all_of_it_and_stores_ten_times_what_aimdb_does() {
    let own = burst_of_its_own().await;
    let (account, stored) = burst(How::Tap).await;
    println!("of {PUSHED}: AimDB's own stores {own}, .persist {}", account.stored);
    assert_eq!(account.stored + account.lost, PUSHED, "{account:?}");
    assert_eq!(account.stored, stored.len() as u64);
    assert!(stored.is_sorted_by(|a, b| a < b), "each once, in order");
    assert!(account.stored >= 10 * own, "{} are not ten times {own}", account.stored);
}

/// Four threads that push a quarter of the values each, at once.
async fn four_at_once(how: How) -> RecordStats {
    const EACH: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    line::persist::<Reading>(&mut builder, "burst", RING, how);
    let db = line::start(builder).await;
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let pusher = line::pusher::<Reading>(&db, "burst");
            threads.spawn(move || {
                (0..EACH).for_each(|n| pusher.push(Reading::new(thread * EACH + n)));
            });
        }
    });
    db.persistence().unwrap().flush().await.unwrap();

    let stored: Vec<Reading> = db.query_range("burst", 0, u64::MAX).await.unwrap();
    let mut numbers: Vec<u64> = stored.iter().map(|reading| reading.n).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let account = db.persistence_stats().unwrap().records["burst"];
    assert_eq!(account.stored, numbers.len() as u64, "each once");
    assert_eq!(account.stored + account.lost, 4 * EACH, "{account:?}");
    account
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn persist_accounts_for_every_value_of_several_producers() {
    println!("of 40000 by four: {:?}", four_at_once(How::Tap).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn persist_buffer_stores_every_value_of_several_producers() {
    assert_eq!(four_at_once(How::Push).await.lost, 0);
}
