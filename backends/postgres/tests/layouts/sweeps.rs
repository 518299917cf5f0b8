//! What a sweep removes and counts while others write, read and sweep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{
    Batch, CleanupPlan, CleanupRule, Grammar, Pattern, PersistenceBackend, QueryParams,
};
use annals_postgres::PostgresBackend;
use futures::StreamExt;
use futures::future::join_all;
use serde_json::json;

use crate::common::{Place, batch, row};
use crate::{OLD_PARTITIONS, PARTITIONS, distributed, hypertable, partitioned};

/// Rows arrive in parts that are being removed: each is counted once, by one of the sweeps.
async fn counts_are_exact_while_others_write(place: Place) {
    let sweeper = place.backend();
    sweeper.initialize().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let sweeps = tokio::spawn({
        let done = done.clone();
        async move {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                removed += sweeper.cleanup(10_000).await.unwrap();
            }
            removed + sweeper.cleanup(10_000).await.unwrap()
        }
    });
    let writers = (0..3).map(|writer| {
        let backend = place.backend();
        async move {
            for i in 0..60_u64 {
                let at = [i * 100 % 9_000, 20_000 + i];
                let rows = at.map(|at| row(&format!("w{writer}"), 1, at));
                while let Err(error) = backend.store_batch(&Batch::new(rows.clone())).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
        }
    });
    join_all(writers).await;
    done.store(true, Ordering::Relaxed);
    assert_eq!(sweeps.await.unwrap(), 180, "each expired row was counted once");
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 180);
}

pub(crate) async fn partitions_are_counted_while_others_write() {
    counts_are_exact_while_others_write(partitioned()).await;
}

pub(crate) async fn chunks_are_counted_while_others_write() {
    counts_are_exact_while_others_write(hypertable()).await;
}

pub(crate) async fn shards_are_counted_while_others_write() {
    counts_are_exact_while_others_write(distributed()).await;
}

/// Each sweep lists the parts before it holds the lock, and finds some of them gone.
async fn sweeps_at_once_share_the_parts(place: Place) {
    let backends: Vec<PostgresBackend> = (0..3).map(|_| place.backend()).collect();
    // Without a common cutoff, the emptied parts are removed.
    for kept in [Some(i64::MAX as u64), None] {
        let rows: Vec<_> = (0..24).map(|i| row("a", i, i as u64 * 1_000)).collect();
        backends[0].store_batch(&Batch::new(rows)).await.unwrap();
        let rules = [("b", kept), ("*", Some(i64::MAX as u64))].map(|(pattern, older_than)| {
            let pattern = Pattern::new(pattern, Grammar::Glob).unwrap();
            CleanupRule::new(pattern, older_than)
        });
        let plan = CleanupPlan::new(rules.into());
        let swept = join_all(backends.iter().map(|backend| backend.cleanup_plan(&plan))).await;
        let removed: u64 = swept.into_iter().map(Result::unwrap).sum();
        assert_eq!(removed, 24, "each row was counted once");
    }
}

pub(crate) async fn sweeps_at_once_share_the_partitions() {
    sweeps_at_once_share_the_parts(partitioned()).await;
}

pub(crate) async fn sweeps_at_once_share_the_chunks() {
    sweeps_at_once_share_the_parts(hypertable()).await;
}

pub(crate) async fn expired_partitions_are_dropped_and_others_created() {
    let place = partitioned();
    let backend = place.backend();
    backend.initialize().await.unwrap();
    let ahead = place.number(PARTITIONS).await;
    assert!(ahead >= 3, "for now and the next intervals: {ahead}");
    backend.store_batch(&batch(10, 100_000)).await.unwrap();
    assert_eq!(place.number(OLD_PARTITIONS).await, 10);
    assert_eq!(backend.cleanup(5_500).await.unwrap(), 55_000);
    assert_eq!(
        place.number(OLD_PARTITIONS).await,
        5,
        "the one that is half expired is still there"
    );
    // Nothing else is left behind.
    let tables = format!(
        "SELECT count(*) FROM pg_tables WHERE schemaname = '{}' AND tablename LIKE 'removed%'",
        place.schema
    );
    assert_eq!(place.number(&tables).await, 0);
    // An old row finds no partition, which is then created.
    backend.store("late", &json!(1), 100).await.unwrap();
    assert_eq!(place.number(OLD_PARTITIONS).await, 6);
    assert_eq!(backend.cleanup(5_500).await.unwrap(), 1);
    assert_eq!(place.number(OLD_PARTITIONS).await, 5);
    // A partition that was emptied row by row is dropped as well.
    let newest = CleanupPlan::older_than(9_000).with_keep_newest(1);
    backend.cleanup_plan(&newest).await.unwrap();
    assert_eq!(place.number(OLD_PARTITIONS).await, 1);
}

/// A reader of the whole history holds every partition: the sweep deletes the rows instead, and drops the
/// partitions later.
async fn a_reader_blocks_neither_sweep_nor_store(place: Place, parts: &str) {
    let backend = place.backend();
    backend.store_batch(&batch(10, 30_000)).await.unwrap();
    let mut stream = backend.query_stream("*", QueryParams::default()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let sweep = tokio::spawn({
        let backend = backend.clone();
        async move { backend.cleanup(2_000).await.unwrap() }
    });
    let mut at = 100_000;
    while !sweep.is_finished() {
        at += 1;
        backend.store("r0", &json!(at), at).await.unwrap();
    }
    assert_eq!(sweep.await.unwrap(), 20_000);
    let before = place.number(parts).await;
    // The snapshot contains the rows deleted meanwhile, and not the new ones.
    let mut rows = 1;
    while let Some(row) = stream.next().await {
        row.unwrap();
        rows += 1;
    }
    assert_eq!(rows, 30_000);
    assert_eq!(backend.cleanup(2_000).await.unwrap(), 0);
    assert_eq!(place.number(parts).await, before - 2);
}

pub(crate) async fn a_reader_of_partitions_blocks_nobody() {
    a_reader_blocks_neither_sweep_nor_store(partitioned(), OLD_PARTITIONS).await;
}

pub(crate) async fn a_reader_of_chunks_blocks_nobody() {
    a_reader_blocks_neither_sweep_nor_store(hypertable(), PARTITIONS).await;
}

/// A sweep that dies between its two steps leaves this behind.
pub(crate) async fn the_next_sweep_counts_what_a_dead_one_detached() {
    let place = partitioned();
    let backend = place.backend();
    backend.store_batch(&batch(10, 30_000)).await.unwrap();
    let detach = "ALTER TABLE {s}.history DETACH PARTITION {s}.history_0_1000; \
                  ALTER TABLE {s}.history_0_1000 RENAME TO removed_42";
    place.execute(detach).await;
    backend.store("r0", &json!(1), 5).await.unwrap();
    assert_eq!(backend.cleanup(1_500).await.unwrap(), 15_001);
}
