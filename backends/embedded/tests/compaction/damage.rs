//! Damage is reported and is never a wrong answer.

use std::sync::Arc;

use annals_core::{
    Batch, BatchId, ErrorKind, Grammar, PersistenceBackend, PersistenceError, QueryParams, Row,
};
use annals_embedded::{Run, Tuning};
use serde_json::json;

use crate::disk::Disk;
use crate::{filled, still, tiny};

fn is_corrupt(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Corrupt)
}

/// A query that needs a damaged block says so; stores go on as long as the head has room.
#[tokio::test]
async fn damage_is_an_error_and_never_a_wrong_answer() {
    let disk = Disk::default();
    filled(&disk, 300).await;
    let store = Disk::with(Arc::new(disk.data().damaged())).open(still());
    let error = store.query("*", QueryParams::default()).await.unwrap_err();
    assert!(is_corrupt(&error), "{error}");
    store.store("a", &json!([0]), 1_000_000).await.unwrap();
    // The newest row is in the head, which is sound.
    let newest = store.query("a", QueryParams::latest(1)).await.unwrap();
    assert_eq!(newest[0].stored_at, 1_000_000);
}

/// The table of runs was trusted: where it had fewer rows than the run, a cleanup that removed those rows
/// removed the run, and where it had other times, queries skipped the run.
#[tokio::test]
async fn a_table_of_runs_that_contradicts_them_is_damage() {
    let disk = Disk::default();
    let store = disk.open(still());
    for time in [0, 10, 11, 20] {
        store.store("a", &json!([time]), time).await.unwrap();
    }
    assert_eq!(store.cleanup(1).await.unwrap(), 1);
    store.close().await.unwrap();
    let changes: [fn(&mut Run); 5] = [
        |run| run.rows = 2,
        |run| run.rows += 1,
        |run| run.first = 5,
        |run| run.last = 21,
        |run| run.last = 11,
    ];
    for change in changes {
        let disk = Disk::with(Arc::new(disk.data().with_runs(change)));
        let store = disk.open(still());
        let query = store.query("a", QueryParams::default()).await.map(drop);
        let listing = store.records("*", Grammar::Glob).await.map(drop);
        let cleanup = store.cleanup(12).await.map(drop);
        for answer in [query, listing, cleanup] {
            let error = answer.unwrap_err();
            assert!(is_corrupt(&error), "{error}");
        }
        assert_eq!(disk.data().runs(), 1);
    }
}

/// A cleanup reports a damaged run, and removes expired rows from all others.
#[tokio::test]
async fn a_damaged_run_keeps_no_others_from_being_cleaned_up() {
    let disk = Disk::default();
    let store = disk.open(still());
    for time in [0, 1, 1_000] {
        store.store("a", &json!([time]), time).await.unwrap();
    }
    assert_eq!(store.cleanup(1).await.unwrap(), 1);
    store.close().await.unwrap();
    let disk = Disk::with(Arc::new(disk.data().damaged()));
    let store = disk.open(Tuning { flush_rows: 10, ..still() });
    for at in 0..100 {
        store.store("b", &json!([at]), at).await.unwrap();
    }
    let error = store.cleanup(90).await.unwrap_err();
    let PersistenceError::PartialCleanup { removed: 90, source } = &error else {
        panic!("{error}")
    };
    assert!(is_corrupt(source), "{error}");
    assert_eq!(store.query("b", QueryParams::default()).await.unwrap().len(), 10);
}

/// When the head cannot be flushed, stores fail with the reason before it takes all memory, and succeed
/// again once it can.
#[tokio::test]
async fn a_head_that_cannot_be_folded_stops_growing() {
    let disk = Disk::default();
    let store = disk.open(still());
    store.store("a", &json!(["text"]), 1).await.unwrap();
    store.close().await.unwrap();
    let disk = Disk::with(Arc::new(disk.data().damaged()));
    let store = disk.open(tiny());
    let mut stored = 0;
    let error = loop {
        match store.store("a", &json!([stored]), stored).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100);
    };
    assert!(is_corrupt(&error), "{error}");
    assert!(stored >= 10, "{stored}");
    store.close().await.unwrap();
}

/// Each of these gave fewer rows, or rows of another record, without an error.
#[tokio::test]
async fn what_was_lost_or_exchanged_is_an_error_for_whoever_needs_it() {
    let disk = Disk::default();
    filled(&disk, 300).await;
    let store = disk.open(still());
    let batch = |record, number| {
        let row = Row::new(record, &json!(number), 5_000_000 + number).unwrap();
        Batch::new([row]).with_id(BatchId { writer: 7, number })
    };
    for (record, number) in [("a", 1), ("b", 2), ("c", 3)] {
        store.store_batch(&batch(record, number)).await.unwrap();
    }
    let all = store.query("*", QueryParams::default()).await.unwrap();
    store.close().await.unwrap();
    let data = disk.data();
    let last = |numbers: &[u64]| numbers[numbers.len() - 1];
    for (what, damaged) in [
        ("a name", data.without_a_name()),
        ("two names", data.with_names_exchanged()),
        ("the first block", data.without_a_head_block(|numbers| numbers[0])),
        ("a block", data.without_a_head_block(|numbers| numbers[1])),
        ("the last block", data.without_a_head_block(last)),
        ("blocks of the head", data.with_head_blocks_exchanged()),
        ("blocks", data.with_blocks_exchanged()),
        ("a run", data.without_a_run()),
    ] {
        let store = Disk::with(Arc::new(damaged)).open(still());
        let error = store.query("*", QueryParams::default()).await.expect_err(what);
        assert!(is_corrupt(&error), "{what}: {error}");
    }
    let store = Disk::with(Arc::new(data.without_a_writer())).open(still());
    assert_eq!(store.query("*", QueryParams::default()).await.unwrap(), all);
    for error in [
        store.has_batch(BatchId { writer: 7, number: 3 }).await.unwrap_err(),
        store.store_batch(&batch("a", 3)).await.unwrap_err(),
    ] {
        assert!(is_corrupt(&error), "{error}");
    }
}
