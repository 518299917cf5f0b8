//! Files of schema version 2 open with their rows, and what numbers go by stays in order.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use annals_core::{Batch, BatchId, Order, PersistenceBackend, QueryParams, Row};
use annals_embedded::format::{Block, Layout, flush};
use annals_sqlite::SqliteBackend;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

const VERSION_2: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE annals_meta (schema_version INTEGER NOT NULL) STRICT;
CREATE TABLE records (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE writers (
    writer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (number INTEGER PRIMARY KEY AUTOINCREMENT, block BLOB NOT NULL) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_head INTEGER NOT NULL,
    order_part INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    directory BLOB NOT NULL
) STRICT;
CREATE TABLE blocks (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    block BLOB NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
INSERT INTO annals_meta (schema_version) VALUES (2);
INSERT INTO records (id, name) VALUES (3, 'b'), (7, 'a'), (9, 'gone');
DELETE FROM records WHERE id = 9;
";

/// How many writers are remembered.
const WRITERS: i64 = 100_000;

/// The number of the last batch of each of them.
const LAST: u64 = 10;

fn block(rows: &[(u32, u64, &str)]) -> Block {
    let mut block = Block::new();
    for (record, stored_at, json) in rows {
        block.push(*record, *stored_at, json);
    }
    block
}

/// A run of two rows and a head of two, and before them both a run and a block that are gone.
/// Writers stored in the order of their ids.
fn file(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(VERSION_2).unwrap();
    let flushed = block(&[(3, 5, "1"), (7, 5, "2")]);
    let rank = |record| u32::from(record == 3);
    let run = flush([&flushed], &rank, &Layout::default(), false).unwrap().main.unwrap();
    let insert = "INSERT INTO runs VALUES (4, 20, 0, 2, 5, 5, ?1, ?2)";
    let directory = run.index.encode().unwrap();
    connection.execute(insert, params![run.text_bytes, directory]).unwrap();
    connection.execute("INSERT INTO blocks VALUES (4, 0, ?1)", [&run.blocks[0]]).unwrap();
    for (number, rows) in [(21, [(3, 5, "3")]), (25, [(3, 0, "0")])] {
        let insert = "INSERT INTO head (number, block) VALUES (?1, ?2)";
        connection.execute(insert, params![number, block(&rows).encode().unwrap()]).unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO head (number, block) VALUES (30, x'00');
             DELETE FROM head WHERE number = 30;
             INSERT INTO runs VALUES (8, 30, 0, 0, 0, 0, 0, x'00');
             DELETE FROM runs WHERE id = 8;",
        )
        .unwrap();
    let insert = "INSERT INTO writers VALUES (?1, ?2, ?3)";
    connection.execute_batch("BEGIN").unwrap();
    let mut insert = connection.prepare(insert).unwrap();
    for writer in 1..=WRITERS {
        // A clock that goes on from year to year, backwards in the order of the key.
        let id = u128::MAX - u128::try_from(writer).unwrap();
        insert.execute(params![id.to_be_bytes(), LAST, writer * 1_000_000_000]).unwrap();
    }
    drop(insert);
    connection.execute_batch("COMMIT").unwrap();
    connection
}

fn batch(writer: i64, number: u64, value: &str) -> Batch {
    let writer = u128::MAX - u128::try_from(writer).unwrap();
    let row = Row::new("b", &json!(value), 5).unwrap();
    Batch::new([row]).with_id(BatchId { writer, number })
}

async fn values(history: &SqliteBackend, record: &str) -> Vec<Value> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let rows = history.query(record, params).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

#[tokio::test]
async fn its_rows_and_names_are_there_and_no_number_is_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    drop(file(&path));
    let history = SqliteBackend::new(&path).unwrap();
    assert_eq!(values(&history, "b").await, [json!(0), json!(1), json!(3)]);
    assert_eq!(values(&history, "a").await, [json!(2)]);
    history.store("c", &json!(4), 1).await.unwrap();
    assert_eq!(history.cleanup(1).await.unwrap(), 1);
    history.close().await.unwrap();
    let connection = Connection::open(&path).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT id FROM records WHERE name = 'c'"), 10);
    assert!(number("SELECT max(id) FROM runs") > 8);
    assert!(number("SELECT max(order_head) FROM runs WHERE id > 8") > 30);
    let left = "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%\\_2' ESCAPE '\\'";
    assert_eq!(number(left), 0);
}

/// Writers were forgotten by the time of their last batch: one whose clock was ahead outlived all
/// that came after it.
#[tokio::test]
async fn the_writer_that_stored_first_is_forgotten_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    drop(file(&path));
    let history = SqliteBackend::new(&path).unwrap();
    // The first of all becomes the last, and a new one comes.
    history.store_batch(&batch(1, LAST + 1, "one")).await.unwrap();
    history.store_batch(&batch(0, 1, "new")).await.unwrap();
    history.cleanup(0).await.unwrap();
    for (writer, number) in [(0, 1), (1, LAST + 1), (3, LAST), (WRITERS, LAST)] {
        history.store_batch(&batch(writer, number, "again")).await.unwrap();
    }
    let stored = [json!(0), json!(1), json!(3), json!("one"), json!("new")];
    assert_eq!(values(&history, "b").await, stored);
    history.store_batch(&batch(2, LAST, "of one that was forgotten")).await.unwrap();
    assert_eq!(values(&history, "b").await.len(), stored.len() + 1);
}

/// A program of then that has the file open must not go on in tables it does not know: it would
/// give numbers once more.
#[test]
fn a_program_of_then_cannot_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let old = file(&path);
    drop(SqliteBackend::new(&path).unwrap());
    for statement in [
        "INSERT INTO head (block) VALUES (x'00')",
        "INSERT INTO records (name) VALUES ('d')",
        "INSERT INTO writers (writer, number, touched_at) VALUES (x'00', 1, 1)",
        "SELECT id, order_head, order_part, rows, first, last, bytes FROM runs",
    ] {
        assert!(old.execute_batch(statement).is_err(), "{statement}");
    }
}
