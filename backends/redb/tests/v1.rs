//! Files of schema version 1 open with their rows.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use annals_core::{
    Batch, BatchId, ErrorKind, Grammar, Order, PersistenceBackend, PersistenceError, QueryExt,
    QueryParams, Row,
};
use annals_embedded::Tuning;
use annals_redb::{RedbBackend, RedbConfig};
use futures::StreamExt;
use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};
use serde_json::{Value, json};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("annals_meta");
const RECORDS: TableDefinition<'_, &str, u32> = TableDefinition::new("records");
const NAMES: TableDefinition<'_, u32, &str> = TableDefinition::new("names");
const HISTORY: TableDefinition<'_, (u32, u64, u32), &[u8]> = TableDefinition::new("history");
const WRITERS: TableDefinition<'_, u128, (u64, u64)> = TableDefinition::new("writers");

const WRITER: u128 = 5;

/// Each row as record id, time, seq and value.
fn file(path: &Path, rows: &[(u32, u64, u32, &[u8])]) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("schema_version", 1).unwrap();
        meta.insert("next_record", 8).unwrap();
        let mut records = transaction.open_table(RECORDS).unwrap();
        let mut names = transaction.open_table(NAMES).unwrap();
        for (id, name) in [(3, "b"), (7, "a")] {
            records.insert(name, id).unwrap();
            names.insert(id, name).unwrap();
        }
        let mut history = transaction.open_table(HISTORY).unwrap();
        for (record, time, seq, value) in rows {
            history.insert((*record, *time, *seq), *value).unwrap();
        }
        transaction.open_table(WRITERS).unwrap().insert(WRITER, (10, 1)).unwrap();
    }
    transaction.commit().unwrap();
}

async fn values(history: &RedbBackend, record: &str) -> Vec<Value> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let rows = history.query(record, params).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

#[tokio::test]
async fn its_rows_names_and_batch_numbers_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let last = i64::MAX as u64;
    file(
        &path,
        &[
            (3, 5, 0, b"1"),
            (3, 5, 1, b"2"),
            (3, 5, 4, b"3"),
            (3, 0, 0, b"0"),
            (7, last, 0, "\"é\"".as_bytes()),
        ],
    );
    let history = RedbBackend::new(&path).unwrap();
    assert_eq!(values(&history, "b").await, [json!(0), json!(1), json!(2), json!(3)]);
    assert_eq!(values(&history, "a").await, [json!("é")]);

    let batch = |number, value: &str| {
        let row = Row::new("b", &json!(value), 5).unwrap();
        Batch::new([row]).with_id(BatchId { writer: WRITER, number })
    };
    history.store_batch(&batch(10, "stored before")).await.unwrap();
    history.store_batch(&batch(11, "new")).await.unwrap();
    history.store("c", &json!("another id"), 1).await.unwrap();
    history.close().await.unwrap();
    let history = RedbBackend::new(&path).unwrap();
    let after = [json!(0), json!(1), json!(2), json!(3), json!("new")];
    assert_eq!(values(&history, "b").await, after);
    assert_eq!(values(&history, "c").await, ["another id"]);
    history.close().await.unwrap();

    let database = Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    assert!(transaction.list_tables().unwrap().all(|table| table.name() != HISTORY.name()));
    let records = transaction.open_table(RECORDS).unwrap();
    let id = |name: &str| records.get(name).unwrap().unwrap().value();
    assert_eq!(["a", "b", "c"].map(id), [7, 3, 8]);
}

#[tokio::test]
async fn many_rows_become_several_runs_and_damage_stays_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let texts: Vec<String> = (0..200).map(|at| at.to_string()).collect();
    let rows: Vec<_> = (0..200_usize)
        .map(|at| {
            let value = match at {
                4 => b"{broken",
                6 => &b"\"\xff\""[..],
                _ => texts[at].as_bytes(),
            };
            ([3, 7][at % 2], (at / 8) as u64, (at % 8) as u32, value)
        })
        .collect();
    file(&path, &rows);
    let tuning = Tuning { tier_rows: [1, 2, 30], split_rows: 1, ..Tuning::default() };
    let history = RedbBackend::open(RedbConfig::new(&path).with_tuning(tuning)).unwrap();
    let of_a: Vec<Value> = (1..200).step_by(2).map(|value: u64| json!(value)).collect();
    assert_eq!(values(&history, "a").await, of_a);
    let of_b: Vec<Value> =
        (0..200).step_by(2).filter(|v| ![4, 6].contains(v)).map(|v: u64| json!(v)).collect();
    assert_eq!(values(&history, "b").await, of_b);
    let mut typed = history.stream_typed::<Value>("b", QueryParams::default()).await.unwrap();
    while let Some(row) = typed.next().await {
        row.unwrap();
    }
    assert_eq!(typed.skipped(), 2);
    assert_eq!(history.cleanup(10).await.unwrap(), 80);
}

#[tokio::test]
async fn a_file_without_rows_is_one_without_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    file(&path, &[]);
    let history = RedbBackend::new(&path).unwrap();
    assert_eq!(history.records("*", Grammar::Glob).await.unwrap(), []);
    history.store("a", &json!(1), 1).await.unwrap();
    assert_eq!(values(&history, "a").await, [1]);
}

/// Rows without a name would be lost.
#[test]
fn a_file_that_cannot_be_converted_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    file(&path, &[(3, 5, 0, b"1"), (4, 5, 0, b"2")]);
    let error = RedbBackend::new(&path).unwrap_err();
    assert!(error.to_string().contains("1 rows of the file have no record name"), "{error}");
    assert!(
        matches!(&error, PersistenceError::Backend(e) if e.kind() == ErrorKind::Corrupt),
        "{error}"
    );
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    let version = transaction.open_table(META).unwrap().get("schema_version").unwrap();
    assert_eq!(version.unwrap().value(), 1);
    let history = transaction.open_table(HISTORY).unwrap();
    assert_eq!(history.get((4, 5, 0)).unwrap().unwrap().value(), b"2");
    assert_eq!(transaction.list_tables().unwrap().count(), 5);
}
