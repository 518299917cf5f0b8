//! Files of schema version 1 open with their rows.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use annals_core::{
    Batch, BatchId, ErrorKind, Order, PersistenceBackend, PersistenceError, QueryExt, QueryParams,
    Row,
};
use annals_embedded::Tuning;
use annals_sqlite::{SqliteBackend, SqliteConfig};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

const VERSION_1: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE annals_meta (schema_version INTEGER NOT NULL) STRICT;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE history (
    record_id INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (record_id, stored_at, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE writers (
    writer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE VIEW record_history (record_name, value_json, stored_at) AS
    SELECT name, value, stored_at FROM history JOIN records ON records.id = history.record_id;
INSERT INTO annals_meta (schema_version) VALUES (1);
INSERT INTO records (id, name) VALUES (3, 'b'), (7, 'a');
";

const WRITER: u128 = 5;

/// Each row as record id, time, seq and value.
fn file(path: &Path, rows: &[(u32, i64, u32, &str)]) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    for (record, stored_at, seq, value) in rows {
        let insert = "INSERT INTO history VALUES (?1, ?2, ?3, ?4)";
        connection.execute(insert, params![record, stored_at, seq, value]).unwrap();
    }
    let insert = "INSERT INTO writers (writer, number, touched_at) VALUES (?1, 10, 1)";
    connection.execute(insert, [WRITER.to_be_bytes()]).unwrap();
}

async fn values(history: &SqliteBackend, record: &str) -> Vec<Value> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let rows = history.query(record, params).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

#[tokio::test]
async fn its_rows_names_and_batch_numbers_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let last = i64::MAX;
    let rows =
        [(3, 5, 0, "1"), (3, 5, 1, "2"), (3, 5, 4, "3"), (3, 0, 0, "0"), (7, last, 0, "\"é\"")];
    file(&path, &rows);
    // A file that is there needs no permission to be made.
    let config = SqliteConfig::new(&path).with_create(false);
    let history = SqliteBackend::open(config).unwrap();
    assert_eq!(values(&history, "b").await, [json!(0), json!(1), json!(2), json!(3)]);
    assert_eq!(values(&history, "a").await, [json!("é")]);

    let batch = |number, value: &str| {
        let row = Row::new("b", &json!(value), 5).unwrap();
        Batch::new([row]).with_id(BatchId { writer: WRITER, number })
    };
    history.store_batch(&batch(10, "stored before")).await.unwrap();
    history.store_batch(&batch(11, "new")).await.unwrap();
    history.close().await.unwrap();
    let history = SqliteBackend::new(&path).unwrap();
    let after = [json!(0), json!(1), json!(2), json!(3), json!("new")];
    assert_eq!(values(&history, "b").await, after);
    history.close().await.unwrap();

    let connection = Connection::open(&path).unwrap();
    let old = "SELECT count(*) FROM sqlite_schema WHERE name IN ('history', 'record_history')";
    assert_eq!(connection.query_row(old, [], |row| row.get(0)), Ok(0));
    let ids = "SELECT group_concat(id || name, ' ') FROM (SELECT * FROM records ORDER BY id)";
    assert_eq!(connection.query_row(ids, [], |row| row.get(0)), Ok("3b 7a".to_owned()));
}

#[tokio::test]
async fn many_rows_become_several_runs_and_damage_stays_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let values_of: Vec<String> = (0..200).map(|at| at.to_string()).collect();
    let rows: Vec<_> = (0..200_usize)
        .map(|at| ([3, 7][at % 2], (at / 8) as i64, (at % 8) as u32, &*values_of[at]))
        .collect();
    file(&path, &rows);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "UPDATE history SET value = '{broken' WHERE value = '4';
             UPDATE history SET value = CAST(x'22ff22' AS TEXT) WHERE value = '6';",
        )
        .unwrap();
    drop(connection);
    let tuning = Tuning { tier_rows: [1, 2, 30], split_rows: 1, ..Tuning::default() };
    let history = SqliteBackend::open(SqliteConfig::new(&path).with_tuning(tuning)).unwrap();
    let of_a: Vec<Value> = (1..200).step_by(2).map(|value: u64| json!(value)).collect();
    assert_eq!(values(&history, "a").await, of_a);
    let of_b: Vec<Value> =
        (0..200).step_by(2).filter(|v| ![4, 6].contains(v)).map(|v: u64| json!(v)).collect();
    assert_eq!(values(&history, "b").await, of_b);
    let params = QueryParams::default();
    let mut typed = history.stream_typed::<Value>("b", params).await.unwrap();
    while let Some(row) = futures::StreamExt::next(&mut typed).await {
        row.unwrap();
    }
    assert_eq!(typed.skipped(), 2);
    assert_eq!(history.cleanup(10).await.unwrap(), 80);
}

/// Rows without a name would be lost.
#[test]
fn a_file_that_cannot_be_converted_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    file(&path, &[(3, 5, 0, "1"), (4, 5, 0, "2")]);
    let error = SqliteBackend::new(&path).unwrap_err();
    assert!(error.to_string().contains("record 4, which has no name"), "{error}");
    assert!(
        matches!(&error, PersistenceError::Backend(e) if e.kind() == ErrorKind::Corrupt),
        "{error}"
    );
    let connection = Connection::open(&path).unwrap();
    let old = "SELECT (SELECT schema_version FROM annals_meta), count(*) FROM history";
    let seen = connection.query_row(old, [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(seen, Ok((1, 2)));
    let new = "SELECT count(*) FROM sqlite_schema WHERE name IN ('head', 'runs', 'blocks')";
    assert_eq!(connection.query_row(new, [], |row| row.get(0)), Ok(0));
}
