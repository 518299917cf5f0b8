//! Databases written by the programs that had these formats open with every row. The files in
//! `fixtures/` are never written again: what the present program writes is no proof that it reads
//! what an older one wrote.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_core::{
    Batch, BatchId, FollowFrom, FollowParams, PersistenceBackend, QueryParams, Row, Value,
};
use annals_sqlite::SqliteBackend;
use serde_json::json;

/// What each file holds, in order of arrival. The rows from the twentieth on are one batch, except
/// in AimDB's file, which knows no batches.
fn rows() -> Vec<(String, Value, u64)> {
    let mut rows: Vec<(String, Value, u64)> = (0..40_u64)
        .map(|i| {
            let value = json!({ "celsius": 20.5 + i as f64, "ok": i % 3 == 0 });
            ("kiln::temp".to_owned(), value, 1_700_000_000_000 + i / 2 * 1_000)
        })
        .collect();
    rows.extend((0..5).map(|n| ("order".to_owned(), json!(n), 7)));
    rows.push(("Kiln::temp".to_owned(), json!("upper case"), 5));
    let nested = json!({ "a": { "b": [1, [2, { "c": null }]] }, "": "\u{0}" });
    rows.push(("\u{fc}ber/\u{f6} \u{65e5}\u{672c} \u{1f980}".to_owned(), nested, 0));
    let numbers = json!([u64::MAX, i64::MIN, -0.0, 1e-7, "e\u{301}\u{e9}"]);
    rows.push(("a'b\"c;--%_\\\n".to_owned(), numbers, i64::MAX as u64));
    rows
}

/// Records in byte order, the newest first and the last to arrive of equals before the others.
/// Values as text, which tells -0.0 from 0.
fn expected() -> Vec<(String, u64, String)> {
    let mut rows: Vec<_> =
        rows().into_iter().rev().map(|(name, value, at)| (name, at, value.to_string())).collect();
    rows.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()).then(b.1.cmp(&a.1)));
    rows
}

async fn all(backend: &SqliteBackend) -> Vec<(String, u64, String)> {
    let rows = backend.query("*", QueryParams::default()).await.unwrap();
    rows.into_iter().map(|row| (row.record_name, row.stored_at, row.value.to_string())).collect()
}

/// Opens a copy of the file twice, since the first opening may convert it.
async fn opens_with_every_row(file: &str, has_batches: bool) {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(file);
    std::fs::copy(frozen, &copy).unwrap();
    for opening in 0..2 {
        let backend = SqliteBackend::new(&copy).unwrap();
        backend.initialize().await.unwrap();
        assert_eq!(all(&backend).await, expected(), "{file}, opening {opening}");
        if has_batches {
            let batch: Vec<Row> = rows()[20..]
                .iter()
                .map(|(record, value, at)| Row::new(record, value, *at).unwrap())
                .collect();
            let batch = Batch::new(batch).with_id(BatchId { writer: 7, number: 3 });
            backend.store_batch(&batch).await.unwrap();
            assert_eq!(all(&backend).await, expected(), "{file}: the batch is known");
        }
        backend.close().await.unwrap();
    }
}

#[tokio::test]
async fn version_1_a_table_of_rows() {
    opens_with_every_row("v1.db", true).await;
}

#[tokio::test]
async fn version_2_head_and_runs() {
    opens_with_every_row("v2.db", true).await;
}

#[tokio::test]
async fn version_3_writers_in_blocks() {
    opens_with_every_row("v3.db", true).await;
}

#[tokio::test]
async fn aimdb_persistence_sqlite_0_1_1() {
    opens_with_every_row("aimdb.db", false).await;
}

/// The last one whose state had no identity.
#[tokio::test]
async fn version_4_without_an_identity() {
    opens_with_every_row("v4.db", false).await;
}

/// Its blocks stay where they are, in a table that is renamed.
#[tokio::test]
async fn version_4_with_blocks_of_runs() {
    opens_with_every_row("v4-runs.db", false).await;
}

/// A flipped bit in the table of new blocks, which the conversion made, says nothing about the old ones; nor
/// does a file that cannot be converted any more, because its end is missing.
#[tokio::test]
async fn blocks_of_version_4_are_found_whatever_became_of_the_new_table() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v4-runs.db");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("converted.db");
    std::fs::copy(&frozen, &copy).unwrap();
    SqliteBackend::new(&copy).unwrap().close().await.unwrap();
    let connection = rusqlite::Connection::open(&copy).unwrap();
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, usize>(0)).unwrap();
    let root = number("SELECT rootpage FROM sqlite_schema WHERE name = 'blocks'");
    let page = number("PRAGMA page_size");
    drop(connection);
    let mut bytes = std::fs::read(&copy).unwrap();
    bytes[(root - 1) * page] ^= 4;
    std::fs::write(&copy, bytes).unwrap();
    let backend = SqliteBackend::new(&copy).unwrap();
    assert_eq!(all(&backend).await, expected());
    backend.close().await.unwrap();

    let cut = folder.path().join("cut.db");
    let bytes = std::fs::read(&frozen).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - page]).unwrap();
    let visited = Arc::new(AtomicUsize::new(0));
    let count = visited.clone();
    let visit = move |rows: Vec<annals_core::RawRow>| {
        count.fetch_add(rows.len(), Ordering::Relaxed);
        Ok(())
    };
    let report = SqliteBackend::salvage_file(&cut, visit).await.unwrap();
    assert!(!report.is_sound(), "{report:?}");
    let (found, rows) = (visited.load(Ordering::Relaxed), expected().len());
    assert_eq!(found + report.lost_rows() as usize, rows, "{report:?}");
}

/// The first one whose blocks have one number as their key.
#[tokio::test]
async fn version_5_blocks_by_rowid() {
    opens_with_every_row("v5.db", true).await;
}

/// One that changed with each opening would make every cursor useless.
#[tokio::test]
async fn an_identity_is_given_once() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v4.db");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("v4.db");
    std::fs::copy(frozen, &copy).unwrap();
    let mut cursors = Vec::new();
    for _ in 0..2 {
        let backend = SqliteBackend::new(&copy).unwrap();
        let now = FollowParams::from(FollowFrom::Now).with_wait(false);
        cursors.push(backend.follow_page("*", &now).await.unwrap().cursor);
        backend.close().await.unwrap();
    }
    assert_eq!(cursors[0], cursors[1]);
    assert_ne!(cursors[0].position().unwrap().1.history, 0);
}
