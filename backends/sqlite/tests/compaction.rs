//! What compaction has to cope with: large values, many records, several processes.

#![allow(clippy::unwrap_used, reason = "test code")]

use annals_core::{
    Batch, CleanupPlan, CleanupRule, FollowFrom, FollowParams, FollowStream, Grammar, Pattern,
    PersistenceBackend, QueryParams, Row, StoredValue,
};
use annals_embedded::Tuning;
use annals_embedded::format::Layout;
use annals_sqlite::{SqliteBackend, SqliteConfig};
use rusqlite::Connection;
use serde_json::json;

/// So small that the store flushes and merges all the time.
fn tiny() -> Tuning {
    Tuning {
        flush_rows: 20,
        flush_bytes: 1 << 10,
        flush_blocks: 6,
        tier_rows: [40, 120, 400],
        tier_bytes: [4 << 10, 12 << 10, 40 << 10],
        merged_runs: 3,
        split_rows: 30,
        layout: Layout {
            block_rows: 8,
            block_text: 300,
            fresh_rows: 2,
            fresh_from: 4,
            rest_rows: 32,
            rest_text: 1200,
            rest_percent: usize::MAX,
            statistics_rows: 3,
        },
        ..Tuning::default()
    }
}

fn count(path: &std::path::Path, table: &str) -> u64 {
    let connection = Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Values of the greatest size are blocks of their own, in the head and in runs.
#[tokio::test]
async fn values_of_sixteen_mebibytes_are_folded_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let tuning = Tuning { merged_runs: 2, ..Tuning::default() };
    let history = SqliteBackend::open(SqliteConfig::new(&path).with_tuning(tuning)).unwrap();
    let value = |at: u64| json!(char::from(b'a' + at as u8).to_string().repeat((16 << 20) - 2));
    for at in 0..5 {
        history.store("large", &value(at), at).await.unwrap();
        history.store("small", &json!(at), at).await.unwrap();
    }
    // Flushes the rest of the head, because it has expired rows.
    history.store("small", &json!("late"), 0).await.unwrap();
    assert_eq!(history.cleanup(1).await.unwrap(), 3);
    // The state of the store.
    assert_eq!(count(&path, "head"), 1);
    for at in 1..5 {
        let rows = history.query("large", QueryParams::range(at, at)).await.unwrap();
        assert!(rows.len() == 1 && rows[0].value == value(at), "{at}");
    }
    let newest = history.query("*", QueryParams::latest(1)).await.unwrap();
    assert_eq!(newest[1].value, json!(4));
    assert_eq!(history.cleanup(u64::MAX).await.unwrap(), 8);
    assert_eq!((count(&path, "runs"), count(&path, "blocks")), (0, 0));
}

#[tokio::test]
async fn a_hundred_thousand_records() {
    const RECORDS: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let history = SqliteBackend::new(&path).unwrap();
    for time in 1..=2 {
        let rows =
            (0..RECORDS).map(|at| Row::new(&format!("r{at:06}"), &json!(time), time).unwrap());
        history.store_batch(&Batch::new(rows.collect::<Vec<_>>())).await.unwrap();
    }
    let listed = history.records("*", Grammar::Glob).await.unwrap();
    assert_eq!(listed.len() as u64, RECORDS);
    assert!(listed.iter().all(|record| (record.count, record.first, record.last) == (2, 1, 2)));
    assert_eq!(history.cleanup(2).await.unwrap(), RECORDS);
    let newest = history.query("*", QueryParams::latest(5)).await.unwrap();
    assert_eq!(newest.len() as u64, RECORDS);
    assert!(newest.is_sorted_by_key(|row| &*row.record_name));
    let one = history.query("r054321", QueryParams::default()).await.unwrap();
    assert_eq!((one.len(), &one[0].value), (1, &json!(2)));
    // A tenth of them lose all their rows, and their names.
    let plan = CleanupPlan::new(vec![CleanupRule::new(
        Pattern::new("r05*", Grammar::Glob).unwrap(),
        Some(3),
    )]);
    assert_eq!(history.cleanup_plan(&plan).await.unwrap(), RECORDS / 10);
    assert_eq!(count(&path, "records"), RECORDS / 10 * 9);
}

/// Stores on one file that flush, merge and clean up at the same time, each with its own threads, as
/// processes would.
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_compact_one_file_together_lose_nothing() {
    const ROWS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let open = || SqliteBackend::open(SqliteConfig::new(&path).with_tuning(tiny())).unwrap();
    let writers = (0..3).map(|writer| {
        let history = open();
        tokio::spawn(async move {
            let name = format!("w{writer}");
            let mut removed = 0;
            for at in 0..ROWS {
                history.store(&name, &json!(at), at / 10).await.unwrap();
                history.store("shared", &json!([writer, at]), at / 10).await.unwrap();
                if at % 50 == 49 {
                    // What is old goes, but not the newest of each record.
                    let plan = CleanupPlan::older_than(at / 20).with_keep_newest(100);
                    removed += history.cleanup_plan(&plan).await.unwrap();
                }
            }
            history.close().await.unwrap();
            removed
        })
    });
    let mut removed = 0;
    for writer in writers.collect::<Vec<_>>() {
        removed += writer.await.unwrap();
    }
    let history = open();
    let rows = history.query("*", QueryParams::default()).await.unwrap();
    assert_eq!(rows.len() as u64 + removed, 6 * ROWS);
    for writer in 0..3 {
        // The newest are there, in their order, and nothing between them is missing.
        let of = |row: &&StoredValue| row.record_name == format!("w{writer}");
        let values: Vec<u64> =
            rows.iter().filter(of).map(|row| row.value.as_u64().unwrap()).collect();
        let newest = (0..ROWS).rev().take(values.len()).collect::<Vec<_>>();
        assert!(values.len() >= 100 && values == newest, "{values:?}");
    }
    assert!(count(&path, "runs") < 100);
}

/// A merge left the newest rows of a run in a later one, where followers did not look for them.
#[tokio::test]
async fn every_place_outlives_merges() {
    const ROWS: u64 = 600;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let history = SqliteBackend::open(SqliteConfig::new(&path).with_tuning(tiny())).unwrap();
    let here = FollowParams::from(FollowFrom::Now).with_wait(false);
    let mut places = Vec::new();
    for n in 0..ROWS {
        places.push((n, history.follow_page("*", &here).await.unwrap().cursor));
        history.store(&format!("r{}", n % 3), &json!(n), n / 2).await.unwrap();
    }
    for _ in 0..2 {
        for (n, place) in places.iter().step_by(7) {
            let params = FollowParams::from(place.clone()).with_wait(false).with_page_rows(5);
            let mut rows = FollowStream::new(&history, "*", params);
            let mut values = Vec::new();
            while let Some(rows) = rows.next_rows().await {
                values.extend(rows.unwrap().iter().map(|row| row.json.parse::<u64>().unwrap()));
            }
            assert_eq!(values, (*n..ROWS).collect::<Vec<u64>>(), "behind {n}");
        }
        history.bring_to_rest(|_| {}).await.unwrap();
    }
    history.close().await.unwrap();
}
