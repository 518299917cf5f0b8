//! Files of schema version 2 open with their rows, and what numbers go by stays in order.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use annals_core::{Batch, BatchId, Order, PersistenceBackend, QueryParams, Row};
use annals_embedded::format::{Block, Layout, flush};
use annals_redb::RedbBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use serde_json::{Value, json};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("annals_meta");
const RECORDS: TableDefinition<'_, &str, u32> = TableDefinition::new("records");
const NAMES: TableDefinition<'_, u32, &str> = TableDefinition::new("names");
const HEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("head");
const RUNS: TableDefinition<'_, u64, RunEntry> = TableDefinition::new("runs");
type RunEntry = (u64, u8, u64, u64, u64, u64);
const NEW_RUNS: TableDefinition<'_, u64, NewRunEntry> = TableDefinition::new("run_entries");
type NewRunEntry = (u64, u8, u64, u64, u64, u64, bool);
const RUN_INDEXES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("directories");
const BLOCKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("blocks");
const WRITERS_TABLE: TableDefinition<'_, u128, (u64, u64)> = TableDefinition::new("writers");

/// How many writers are remembered.
const WRITERS: u64 = 100_000;

/// The number of the last batch of each of them.
const LAST: u64 = 10;

fn id(writer: u64) -> u128 {
    u128::MAX - u128::from(writer)
}

fn block(rows: &[(u32, u64, &str)]) -> Block {
    let mut block = Block::new();
    for (record, stored_at, json) in rows {
        block.push(*record, *stored_at, json);
    }
    block
}

/// A run of two rows and a head of two. Writers stored in the order of their numbers here.
fn file(path: &Path) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        for (key, number) in
            [("schema_version", 2), ("next_record", 10), ("next_block", 31), ("next_run", 9)]
        {
            meta.insert(key, number).unwrap();
        }
        let mut records = transaction.open_table(RECORDS).unwrap();
        let mut names = transaction.open_table(NAMES).unwrap();
        for (id, name) in [(3, "b"), (7, "a")] {
            records.insert(name, id).unwrap();
            names.insert(id, name).unwrap();
        }
        let flushed = block(&[(3, 5, "1"), (7, 5, "2")]);
        let rank = |record| u32::from(record == 3);
        let run = flush([&flushed], &rank, &Layout::default(), false).unwrap().main.unwrap();
        let entry = (20, 0, 2, 5, 5, run.text_bytes);
        transaction.open_table(RUNS).unwrap().insert(4, entry).unwrap();
        let directory = run.index.encode().unwrap();
        transaction.open_table(RUN_INDEXES).unwrap().insert(4, &*directory).unwrap();
        transaction.open_table(BLOCKS).unwrap().insert((4, 0), &*run.blocks[0]).unwrap();
        let mut head = transaction.open_table(HEAD).unwrap();
        for (number, rows) in [(21, [(3, 5, "3")]), (25, [(3, 0, "0")])] {
            head.insert(number, &*block(&rows).encode().unwrap()).unwrap();
        }
        let mut writers = transaction.open_table(WRITERS_TABLE).unwrap();
        for writer in 1..=WRITERS {
            // A clock that goes on from year to year, backwards in the order of the key.
            writers.insert(id(writer), (LAST, writer * 1_000_000_000)).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn batch(writer: u64, number: u64, value: &str) -> Batch {
    let row = Row::new("b", &json!(value), 5).unwrap();
    Batch::new([row]).with_id(BatchId { writer: id(writer), number })
}

async fn values(history: &RedbBackend, record: &str) -> Vec<Value> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let rows = history.query(record, params).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

#[tokio::test]
async fn its_rows_and_names_are_there_and_no_number_is_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    file(&path);
    let history = RedbBackend::new(&path).unwrap();
    assert_eq!(values(&history, "b").await, [json!(0), json!(1), json!(3)]);
    assert_eq!(values(&history, "a").await, [json!(2)]);
    history.store("c", &json!(4), 1).await.unwrap();
    assert_eq!(history.cleanup(1).await.unwrap(), 1);
    history.close().await.unwrap();
    let database = Database::open(&path).unwrap();
    let read = database.begin_read().unwrap();
    assert!(read.list_tables().unwrap().all(|table| table.name() != NAMES.name()));
    let records = read.open_table(RECORDS).unwrap();
    assert_eq!(records.get("c").unwrap().unwrap().value(), 10);
    let runs = read.open_table(NEW_RUNS).unwrap();
    let runs: Vec<_> = runs.iter().unwrap().map(Result::unwrap).collect();
    // The old run may have been rewritten, too.
    assert!(runs.iter().any(|(id, run)| id.value() >= 9 && run.value().0 > 30), "{}", runs.len());
}

/// Writers were forgotten by the time of their last batch: one whose clock was ahead outlived all
/// that came after it.
#[tokio::test]
async fn the_writer_that_stored_first_is_forgotten_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    file(&path);
    let history = RedbBackend::new(&path).unwrap();
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
