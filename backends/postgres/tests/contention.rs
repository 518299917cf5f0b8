//! Many processes sweep one history, one at a time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use annals_core::{CleanupPlan, PersistenceBackend, Retention, RetentionPolicy, Swept};
use common::{Place, batch};
use futures::future::join_all;

/// The sweeping sessions of the named backend that wait for a lock.
const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity \
                       WHERE application_name = '{a}' AND wait_event_type = 'Lock'";

/// A named backend in the middle of a step, for as long as the client lives.
async fn sweep_that_hangs(
    place: &Place,
) -> (tokio_postgres::Client, tokio::task::JoinHandle<Result<u64, annals_core::PersistenceError>>) {
    let client = place.client().await;
    let lock = format!("BEGIN; LOCK TABLE {}.history IN EXCLUSIVE MODE", place.quoted());
    client.batch_execute(&lock).await.unwrap();
    let leader = place.named_backend();
    let sweep = tokio::spawn(async move { leader.cleanup(u64::MAX).await });
    let blocked = BLOCKED.replace("{a}", &place.application());
    while place.number(&blocked).await == 0 {
        assert!(!sweep.is_finished());
    }
    (client, sweep)
}

async fn a_sweep_is_skipped_while_another_process_sweeps() {
    let place = Place::new();
    let backend = place.backend();
    backend.store_batch(&batch(5, 500)).await.unwrap();
    let (client, sweep) = sweep_that_hangs(&place).await;
    let plan = CleanupPlan::older_than(u64::MAX);
    for _ in 0..3 {
        let swept = backend.sweep(&plan).await.unwrap();
        assert_eq!(swept, Swept::left(0));
    }
    drop(client);
    assert_eq!(sweep.await.unwrap().unwrap(), 500);
    assert_eq!(backend.sweep(&plan).await.unwrap(), Swept::finished(0));
}

/// Its connections end, as after a kill, and its step is rolled back.
async fn the_next_sweep_takes_over_from_one_that_dies() {
    let place = Place::new();
    let backend = place.backend();
    backend.store_batch(&batch(5, 500)).await.unwrap();
    let (client, sweep) = sweep_that_hangs(&place).await;
    // A cleanup waits and then runs.
    let waiting = tokio::spawn({
        let backend = backend.clone();
        async move { backend.cleanup(u64::MAX).await.unwrap() }
    });
    // A scheduled sweep comes back later.
    let policy = RetentionPolicy::new().keep_all(Duration::ZERO);
    let other: Arc<dyn PersistenceBackend> = Arc::new(place.backend());
    let retention = Retention::new(other, policy).unwrap();
    let retention = retention.with_interval(Duration::from_millis(20)).spawn();
    while retention.stats().left_to_others == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(retention.stats().sweeps, 0);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = $1";
    place.client().await.query(kill, &[&place.application()]).await.unwrap();
    sweep.await.unwrap().unwrap_err();
    drop(client);
    let waited = waiting.await.unwrap();
    while retention.stats().sweeps == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(waited + retention.stats().removed, 500);
    retention.stop().await;
}

/// Every row is counted by exactly one of many concurrent sweeps.
async fn replicas_count_every_row_once() {
    for options in ["", "partition_interval=1s"] {
        let place = Place::with_options(options);
        place.backend().store_batch(&batch(10, 40_000)).await.unwrap();
        let plan = CleanupPlan::older_than(3_500);
        let sweeps = (0..8).map(|_| {
            let (backend, plan) = (place.backend(), plan.clone());
            async move {
                loop {
                    let swept = backend.sweep(&plan).await.unwrap();
                    if swept.finished {
                        return swept.removed;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let finished: u64 = join_all(sweeps).await.into_iter().sum();
        // The removals of a skipped sweep are in no sum here; nothing is counted twice.
        assert!(finished <= 35_000, "{finished}");
        assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 5_000);
    }
}

annals_test_postgres::server_tests! {
    async a_sweep_is_skipped_while_another_process_sweeps,
    async the_next_sweep_takes_over_from_one_that_dies,
    async replicas_count_every_row_once,
}
