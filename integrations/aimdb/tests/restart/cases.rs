//! The cases, for either line.

use std::sync::Arc;
use std::time::Duration;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, PersistenceOptions};
use annals_core::{Clock, ManualClock, MemoryBackend, PersistenceBackend};
use serde_json::json;
use tokio::sync::oneshot;

use super::line::{self, Builder, Cfg, Db};
use crate::fixture::{Reading, WEEK, until};

const STARTS: u64 = 200;
const RING: Cfg = Cfg::SpmcRing { capacity: 500 };
const HOUR: Duration = Duration::from_secs(3600);

/// Keeps everything: the first row is from 1970.
fn persistent(backend: &Arc<MemoryBackend>) -> Builder {
    line::builder().with_persistence_options(backend.clone(), PersistenceOptions::default())
}

/// The numbers of the stored readings, oldest first.
async fn stored(db: &Db, name: &str) -> Vec<u64> {
    let readings: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
    readings.iter().rev().map(|reading| reading.n).collect()
}

/// One start after the other over one history. Of two records, one has a source that pushes at once,
/// the other one that waits until somebody has subscribed.
async fn every_start_begins_where_the_last_one_ended() {
    let backend = Arc::new(MemoryBackend::new());
    for record in ["patient", "hasty"] {
        backend.store(record, &json!(Reading::new(0)), 1).await.unwrap();
    }
    for start in 0..STARTS {
        let mut builder = persistent(&backend);
        let (subscribed, go) = oneshot::channel();
        line::restore::<Reading, _, _>(
            &mut builder,
            "patient",
            RING,
            Duration::MAX,
            move |pusher| async move {
                go.await.unwrap();
                pusher.push(Reading::new(start));
                pusher.push(Reading::new(start + 1));
            },
        );
        let (emitted, told) = oneshot::channel();
        line::restore::<Reading, _, _>(
            &mut builder,
            "hasty",
            RING,
            Duration::MAX,
            move |pusher| async move {
                pusher.push(Reading::new(start));
                pusher.push(Reading::new(start + 1));
                emitted.send(()).unwrap();
            },
        );
        let db = line::start(builder).await;
        let mut reader = line::subscribe::<Reading>(&db, "patient");
        assert_eq!(reader.try_recv().unwrap().n, start, "the restored value");
        subscribed.send(()).unwrap();
        assert_eq!(reader.recv().await.unwrap().n, start, "its repetition");
        assert_eq!(reader.recv().await.unwrap().n, start + 1);
        told.await.unwrap();
        db.persistence().unwrap().close().await.unwrap();
        for record in ["patient", "hasty"] {
            // Neither the restored value nor its repetition is stored again.
            let account = db.persistence_stats().unwrap().records[record];
            assert_eq!((account.stored, account.filtered.unchanged), (1, 1), "{record} {start}");
        }
    }
    let db = line::start(persistent(&backend)).await;
    for record in ["patient", "hasty"] {
        assert_eq!(stored(&db, record).await, (0..=STARTS).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_start_begins_where_the_last_one_ended_on_a_current_thread_runtime() {
    every_start_begins_where_the_last_one_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_start_begins_where_the_last_one_ended_on_four_threads() {
    every_start_begins_where_the_last_one_ended().await;
}

/// A record that restores, with a source that pushes nothing; the clock is at `now`.
async fn restored(backend: MemoryBackend, cfg: Cfg, max_age: Duration, now: u64) -> Db {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    let options = PersistenceOptions::default().with_clock(clock);
    let mut builder = line::builder().with_persistence_options(Arc::new(backend), options);
    line::restore::<Reading, _, _>(&mut builder, "oven", cfg, max_age, |_| async {});
    line::start(builder).await
}

async fn history(rows: &[(serde_json::Value, u64)]) -> MemoryBackend {
    let backend = MemoryBackend::new();
    for (value, at) in rows {
        backend.store("oven", value, *at).await.unwrap();
    }
    backend
}

#[tokio::test]
async fn a_latest_value_is_there_until_the_first_push() {
    let rows = [(json!(Reading::new(1)), 1_000), (json!(Reading::new(2)), 2_000)];
    let db = restored(history(&rows).await, Cfg::SingleLatest, HOUR, 5_000).await;
    let [mut early, mut late] = [0, 1].map(|_| line::subscribe::<Reading>(&db, "oven"));
    assert_eq!(early.try_recv().unwrap().n, 2);
    line::pusher::<Reading>(&db, "oven").push(Reading::new(3));
    assert_eq!(early.try_recv().unwrap().n, 3);
    assert_eq!(late.try_recv().unwrap().n, 3, "what is overwritten is not delivered");
    assert!(late.try_recv().is_err());
}

#[tokio::test]
async fn a_mailbox_delivers_it_to_one_reader() {
    let rows = [(json!(Reading::new(1)), 1_000)];
    let db = restored(history(&rows).await, Cfg::Mailbox, HOUR, 5_000).await;
    let [mut one, mut other] = [0, 1].map(|_| line::subscribe::<Reading>(&db, "oven"));
    assert_eq!(other.try_recv().unwrap().n, 1);
    assert!(one.try_recv().is_err());
}

#[tokio::test]
async fn a_value_that_is_too_old_or_does_not_fit_is_not_restored() {
    let hour = 3_600_000;
    for (rows, now, restores) in [
        (vec![(json!(Reading::new(1)), 1_000)], 1_000 + hour, true),
        (vec![(json!(Reading::new(1)), 1_000)], 1_001 + hour, false),
        // The one before it is not the current value.
        (vec![(json!(Reading::new(1)), 1_000), (json!("another shape"), 2_000)], 3_000, false),
        (vec![], 5_000, false),
    ] {
        let db = restored(history(&rows).await, RING, HOUR, now).await;
        let mut reader = line::subscribe::<Reading>(&db, "oven");
        assert_eq!(reader.try_recv().is_ok(), restores, "{rows:?} at {now}");
    }
}

/// A backend that fails leaves the record empty, and the program runs.
#[tokio::test]
async fn a_backend_that_fails_is_no_obstacle() {
    let backend = Arc::new(crate::fixture::ThreeMethods::default());
    backend.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
    line::restore::<Reading, _, _>(&mut builder, "oven", RING, HOUR, |pusher| async move {
        pusher.push(Reading::new(1));
    });
    let db = line::start(builder).await;
    until(|| db.persistence_stats().unwrap().total.recorded == 1).await;
    backend.failing.store(false, std::sync::atomic::Ordering::SeqCst);
    db.persistence().unwrap().close().await.unwrap();
    assert_eq!(stored(&db, "oven").await, [1]);
}
