//! Values pushed before the shutdown are stored after it.

use std::sync::Arc;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt};
use annals_core::{PersistenceBackend, QueryParams};
use futures::StreamExt;

use super::line::{self, Cfg};
use crate::fixture::{How, Reading, ThreeMethods, WEEK, until};

const PUSHED: u64 = 5_000;
const RING: Cfg = Cfg::SpmcRing { capacity: PUSHED as usize };

async fn count(backend: &dyn PersistenceBackend, name: &str) -> u64 {
    let rows = backend.query_stream(name, QueryParams::default()).await.unwrap();
    rows.map(|row| row.unwrap()).count().await as u64
}

#[tokio::test(flavor = "current_thread")]
async fn close_stores_what_the_buffers_hold_and_ends_recording() {
    let backend = Arc::new(ThreeMethods::default());
    let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    let db = line::start(builder).await;
    let names = ["tapped", "pushed"];
    let pushers = names.map(|name| line::pusher::<Reading>(&db, name));
    for n in 0..PUSHED {
        pushers.iter().for_each(|pusher| pusher.push(Reading::new(n)));
    }

    let persistence = db.persistence().unwrap();
    persistence.close().await.unwrap();
    for name in names {
        assert_eq!(count(&*backend, name).await, PUSHED, "{name}");
    }
    persistence.close().await.unwrap();

    // Later values are counted where possible, and queries still work.
    pushers.iter().for_each(|pusher| pusher.push(Reading::new(PUSHED)));
    let stats = db.persistence_stats().unwrap();
    assert!(!stats.open);
    assert_eq!(stats.records["pushed"].lost, 1);
    let latest: Vec<Reading> = db.query_latest("pushed", 1).await.unwrap();
    assert_eq!(latest, [Reading::new(PUSHED - 1)]);
}

/// Closing while values are pushed stores a prefix of them, without gaps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_producers_push_stores_a_prefix() {
    const MOST: u64 = 200_000;
    let backend = Arc::new(ThreeMethods::default());
    let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    let db = line::start(builder).await;
    let persistence = db.persistence().unwrap();
    let threads = ["tapped", "pushed"].map(|name| {
        let (pusher, persistence) = (line::pusher::<Reading>(&db, name), persistence.clone());
        std::thread::spawn(move || {
            let mut pushed = 0;
            // Some values are pushed after the close.
            while pushed < MOST && (pushed % 100 != 0 || persistence.stats().open) {
                pusher.push(Reading::new(pushed));
                pushed += 1;
            }
            (0..50).for_each(|n| pusher.push(Reading::new(pushed + n)));
            pushed + 50
        })
    });
    until(|| persistence.stats().total.stored > 1_000).await;
    let closed = persistence.close().await;
    let [_, pushed] = threads.map(|thread| thread.join().unwrap());
    let stats = persistence.stats();
    assert!(stats.total.balances() && stats.total.pending == 0, "{stats:?}");
    assert_eq!(closed.is_ok(), stats.total.dropped == 0, "{closed:?}: {stats:?}");
    assert_eq!(stats.records["pushed"].recorded + stats.records["pushed"].lost, pushed);
    for name in ["tapped", "pushed"] {
        let account = stats.records[name];
        let stored: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
        assert_eq!(stored.len() as u64, account.stored, "{name}");
        let numbers = stored.iter().rev().map(|reading| reading.n);
        if account.dropped + account.lost == 0 || name == "pushed" && account.dropped == 0 {
            assert!(numbers.eq(0..account.stored), "{name}: {account:?}");
        } else {
            assert!(numbers.is_sorted_by(|a, b| a < b), "{name}: {account:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_database_stores_what_the_buffers_hold_and_releases_the_backend() {
    let backend = Arc::new(ThreeMethods::default());
    let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    let db = line::start(builder).await;
    for name in ["tapped", "pushed"] {
        let pusher = line::pusher::<Reading>(&db, name);
        (0..PUSHED).for_each(|n| pusher.push(Reading::new(n)));
    }
    drop(db);
    for name in ["tapped", "pushed"] {
        assert_eq!(count(&*backend, name).await, PUSHED, "{name}");
    }
    assert_eq!(Arc::strong_count(&backend), 1, "the backend is released");
}

/// The source ends only because its runtime is dropped.
#[test]
fn values_are_stored_although_the_runtime_ends() {
    let backend = Arc::new(ThreeMethods::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (emitted, told) = tokio::sync::oneshot::channel();
        let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
        line::persist_source(&mut builder, "pushed", RING, How::Push, |pusher| async move {
            (0..PUSHED).for_each(|n| pusher.push(Reading::new(n)));
            emitted.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        let _db = line::start(builder).await;
        told.await.unwrap();
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(count(&*backend, "pushed")), PUSHED);
}
