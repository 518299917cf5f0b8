//! Rows that come to rest, by themselves and when they are told to.

use std::time::Duration;

use annals_core::{Aggregate, Batch, PersistenceBackend, QueryExt, Row};
use serde_json::json;

use super::disk::Disk;
use super::{everything, still, tiny};
use annals_embedded::Tuning;

/// Stores rows of three records in batches of 20.
async fn stored(store: &dyn PersistenceBackend, rows: u64) {
    let row =
        |at: u64| Row::new(["a", "b", "c"][(at % 3) as usize], &json!({"n": at, "ok": true}), at);
    for first in (0..rows).step_by(20) {
        let batch: Vec<Row> = (first..rows.min(first + 20)).map(|at| row(at).unwrap()).collect();
        store.store_batch(&Batch::new(batch)).await.unwrap();
    }
}

#[tokio::test]
async fn a_compaction_brings_everything_to_rest_once() {
    let disk = Disk::default();
    let store = disk.open(Tuning { merged_runs: usize::MAX, ..tiny() });
    stored(&store, 1_000).await;
    let before = everything(&store).await;
    let mut steps = Vec::new();
    store.compact(|step| steps.push(step)).await.unwrap();
    assert!(steps.len() > 3, "{steps:?}");
    assert_eq!(steps.last().map(|step| (step.rows, step.left)), Some((0, 0)));
    assert!(steps.windows(2).all(|pair| pair[1].left < pair[0].left), "{steps:?}");
    let data = disk.data();
    assert_eq!((data.head_blocks(), data.rows_at_rest()), (0, (1_000, 1_000)));
    assert!(data.blocks_in_columns() > 10);
    assert_eq!(everything(&store).await, before);
    // A second one has nothing to do.
    steps.clear();
    store.compact(|step| steps.push(step)).await.unwrap();
    assert_eq!(steps.iter().map(|step| step.rows).collect::<Vec<_>>(), [0]);
    assert_eq!(disk.data().runs(), data.runs());
}

#[tokio::test]
async fn small_histories_of_large_blocks_rest_as_well() {
    let disk = Disk::default();
    let store = disk.open(still());
    stored(&store, 3_000).await;
    let question = Aggregate::new().member("n");
    let before = store.aggregate("*", &question).await.unwrap();
    store.compact(|_| {}).await.unwrap();
    let data = disk.data();
    assert_eq!(
        (data.runs(), data.blocks_in_columns(), data.rows_at_rest()),
        (1, 1, (3_000, 3_000))
    );
    assert_eq!(store.aggregate("*", &question).await.unwrap(), before);
    // Nothing to compact, and a store that is closed.
    assert!(Disk::default().open(still()).compact(|_| {}).await.is_ok());
    store.close().await.unwrap();
    assert!(store.compact(|_| {}).await.is_err());
}

/// Runs that were final before there were columns.
#[tokio::test]
async fn final_runs_of_text_are_rewritten_while_nothing_else_is_to_do() {
    let disk = Disk::default();
    let store = disk.open(Tuning {
        flush_rows: 100,
        flush_blocks: usize::MAX,
        flush_bytes: usize::MAX,
        ..tiny()
    });
    stored(&store, 1_000).await;
    // A flush makes runs of text, some of which are final at once.
    store.close().await.unwrap();
    let store = disk.open(Tuning { merged_runs: usize::MAX, ..tiny() });
    let mut waited = 0;
    while disk.data().rows_at_rest().1 < 900 {
        // The compactor works beside this task.
        tokio::task::yield_now().await;
        store.health().await.unwrap();
        waited += 1;
        assert!(waited < 100_000, "{:?}", disk.data().rows_at_rest());
    }
    assert_eq!(everything(&store).await.len(), 1_000);
}

/// A block at rest has rows of several records, and is large for the cache.
#[tokio::test]
async fn a_question_about_all_records_reads_each_block_once() {
    const RECORDS: u64 = 40;
    let disk = Disk::default();
    let store = disk.open(still());
    for at in 0..2_000 {
        let row = |record| Row::new(&format!("{record}"), &json!({"n": at, "ok": true}), at);
        let rows: Vec<Row> = (0..RECORDS).map(|record| row(record).unwrap()).collect();
        store.store_batch(&Batch::new(rows)).await.unwrap();
    }
    store.compact(|_| {}).await.unwrap();
    store.close().await.unwrap();
    let data = disk.data();
    // The newest rows of each record are in a run of their own.
    let blocks = data.blocks_in_columns() as u64;
    assert_eq!((data.runs(), blocks), (2, 10));

    let store = disk.open(still());
    disk.take_blocks_read();
    assert_eq!(store.value_at("*", 1_000).await.unwrap().len() as u64, RECORDS);
    assert_eq!(disk.take_blocks_read(), blocks);

    // A step for each record, by statistics and by samples.
    let store = disk.open(Tuning { step_rows: 2_000, ..still() });
    for bucket in [2_000, 700] {
        let question = Aggregate::every(Duration::from_millis(bucket)).member("n");
        disk.take_blocks_read();
        let buckets = store.aggregate("*", &question).await.unwrap();
        assert_eq!(buckets.len() as u64, RECORDS * 2_000_u64.div_ceil(bucket));
        assert!(disk.take_blocks_read() <= blocks + 1, "{bucket}");
    }
}
