//! Files written by AimDB's own SQLite backend open with their rows.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::time::Duration;

use annals_core::{
    BackendError, ErrorKind, Grammar, Order, PersistenceBackend, PersistenceError, QueryParams,
};
use annals_embedded::Tuning;
use annals_sqlite::{SqliteBackend, SqliteConfig};
use rusqlite::{Connection, params};
use serde_json::json;

/// As aimdb-persistence-sqlite 0.1.1 makes it.
const AIMDB: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS record_history (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    record_name TEXT    NOT NULL,
    value_json  TEXT    NOT NULL,
    stored_at   INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_record_time ON record_history(record_name, stored_at DESC);
";

fn aimdb_file(path: &Path, rows: &[(&str, &str, i64)]) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(AIMDB).unwrap();
    for (name, json, stored_at) in rows {
        connection
            .execute(
                "INSERT INTO record_history (record_name, value_json, stored_at) VALUES (?1, ?2, \
                 ?3)",
                params![name, json, stored_at],
            )
            .unwrap();
    }
}

fn dump(path: &Path) -> Vec<(i64, String, String, i64)> {
    let connection = Connection::open(path).unwrap();
    let mut rows = connection
        .prepare("SELECT id, record_name, value_json, stored_at FROM record_history ORDER BY id")
        .unwrap();
    let rows =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn its_rows_are_there_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    aimdb_file(
        &path,
        &[
            ("accuracy::vienna", "{\"value\":0.9}", 2_000),
            ("accuracy::graz", "1", 1_000),
            ("accuracy::vienna", "\"first of two\"", 1_000),
            ("accuracy::vienna", "\"second of two\"", 1_000),
        ],
    );
    let history = SqliteBackend::new(&path).unwrap();
    let rows = history.query("*", QueryParams::default()).await.unwrap();
    let seen: Vec<_> =
        rows.iter().map(|r| (&*r.record_name, r.value.clone(), r.stored_at)).collect();
    assert_eq!(
        seen,
        [
            ("accuracy::graz", json!(1), 1_000),
            ("accuracy::vienna", json!({"value": 0.9}), 2_000),
            ("accuracy::vienna", json!("second of two"), 1_000),
            ("accuracy::vienna", json!("first of two"), 1_000),
        ]
    );
    // It is now a file of annals: written, closed and opened again.
    history.store("accuracy::vienna", &json!("third"), 1_000).await.unwrap();
    history.close().await.unwrap();
    let history = SqliteBackend::new(&path).unwrap();
    let rows = history.query("accuracy::vienna", QueryParams::range(0, 1_000)).await.unwrap();
    let values: Vec<_> = rows.iter().map(|row| row.value.clone()).collect();
    assert_eq!(values, ["third", "second of two", "first of two"]);
    let connection = Connection::open(&path).unwrap();
    let left: u64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'record_history'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(left, 0);
}

/// More rows than one run takes, and text that is no JSON any more, or not even text.
#[tokio::test]
async fn many_rows_become_several_runs_and_damage_stays_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let rows: Vec<_> = (0..100).map(|at| (["a", "b"][at % 2], "1", (at / 4) as i64)).collect();
    aimdb_file(&path, &rows);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "UPDATE record_history SET value_json = id;
             UPDATE record_history SET value_json = '{broken' WHERE id = 7;
             UPDATE record_history SET value_json = x'22ff22' WHERE id = 9;",
        )
        .unwrap();
    drop(connection);
    let tuning = Tuning { tier_rows: [1, 2, 12], split_rows: 1, ..Tuning::default() };
    let history = SqliteBackend::open(SqliteConfig::new(&path).with_tuning(tuning)).unwrap();
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let values: Vec<_> = history.query("*", params).await.unwrap();
    let values: Vec<_> = values.iter().map(|row| row.value.as_u64().unwrap()).collect();
    let odd = (1..100).step_by(2).filter(|id| ![7, 9].contains(id));
    assert_eq!(values, odd.chain((2..=100).step_by(2)).collect::<Vec<_>>());
    let listed = history.records("*", Grammar::Glob).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.count).collect::<Vec<_>>(), [50, 50]);
}

#[test]
fn a_row_that_no_backend_would_have_taken_leaves_the_file_as_it_was() {
    for (name, stored_at, complaint) in
        [("bad*name", 1_000, "row 2"), ("", 1_000, "row 2"), ("before the epoch", -1, "row 2")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db");
        aimdb_file(&path, &[("good", "1", 1), (name, "2", stored_at)]);
        let before = dump(&path);
        let error = SqliteBackend::new(&path).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
        assert!(matches!(&error, PersistenceError::Backend(e) if is_corrupt(e)), "{error}");
        assert_eq!(dump(&path), before);
        let tables: u64 = Connection::open(&path)
            .unwrap()
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'annals%' OR name IN \
                 ('records', 'head', 'runs', 'blocks', 'writers')",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(tables, 0);
    }
}

fn is_corrupt(error: &BackendError) -> bool {
    error.kind() == ErrorKind::Corrupt
}

/// While another process writes, the conversion waits, and gives up without having changed anything.
#[test]
fn a_file_in_use_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    aimdb_file(&path, &[("a", "1", 1), ("a", "2", 2)]);
    let before = dump(&path);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let config = SqliteConfig::new(&path).with_busy_timeout(Duration::from_millis(50));
    let error = SqliteBackend::open(config).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(dump(&path), before);
    SqliteBackend::new(&path).unwrap();
}

/// With another collation than its own, AimDB's table had two names that were taken for one, and
/// lost the rows of the second.
#[tokio::test]
async fn names_are_compared_byte_by_byte_whatever_the_column_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let schema = AIMDB.replace("record_name TEXT    NOT NULL", "record_name TEXT COLLATE NOCASE");
    assert_ne!(schema, AIMDB);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(&schema).unwrap();
    drop(connection);
    aimdb_file(&path, &[("a", "1", 1), ("A", "2", 1), ("b", "3", 1)]);
    let history = SqliteBackend::new(&path).unwrap();
    assert_eq!(history.query("*", QueryParams::default()).await.unwrap().len(), 3);
}
