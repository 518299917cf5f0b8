//! Check, salvage, compact, back up and restore.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use annals_core::{PersistenceBackend, QueryParams, RawRow, StoredValue};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::tiny;
use serde_json::json;

async fn filled(path: &Path) -> SqliteBackend {
    let config = SqliteConfig::new(path).with_tuning(tiny());
    let store = SqliteBackend::open(config).unwrap();
    for at in 0..300 {
        store.store(&format!("record::{}", at % 3), &json!([at, "text"]), at).await.unwrap();
    }
    store.cleanup(3).await.unwrap();
    store
}

async fn all(store: &SqliteBackend) -> Vec<StoredValue> {
    store.query("*", QueryParams::default()).await.unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_backup_of_a_live_store_is_restored_beside_nothing_old() {
    let folder = tempfile::tempdir().unwrap();
    let (source, copy) = (folder.path().join("history"), folder.path().join("copy"));
    let store = filled(&source).await;
    let rows = all(&store).await;
    let report = store.backup(&copy).await.unwrap();
    assert_eq!((report.rows, report.records, report.is_sound()), (rows.len() as u64, 3, true));
    // What comes later is not in it.
    store.store("record::0", &json!("later"), 1_000).await.unwrap();
    store.backup(&copy).await.unwrap_err();
    store.close().await.unwrap();
    let restored = tempfile::tempdir().unwrap();
    let place = restored.path().join("history");
    std::fs::write(restored.path().join("history-wal"), "the log of another file").unwrap();
    SqliteBackend::restore(&copy, &place).await.unwrap();
    assert_eq!(names(restored.path()), ["history", "history-wal.old"]);
    SqliteBackend::restore(&copy, &place).await.unwrap_err();
    let store = SqliteBackend::new(&place).unwrap();
    assert_eq!(all(&store).await, rows);
}

#[tokio::test]
async fn a_damaged_block_is_reported_and_everything_else_is_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let store = filled(&path).await;
    let rows = all(&store).await.len() as u64;
    let sound = store.check(true).await.unwrap();
    assert!(sound.is_sound() && sound.rows == rows && sound.runs > 0, "{sound:?}");
    store.close().await.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let blocks = "UPDATE blocks SET block = zeroblob(length(block)) WHERE id & 0xffffffff = 0";
    assert!(connection.execute(blocks, []).unwrap() > 0);
    drop(connection);
    let config = SqliteConfig::new(&path).with_tuning(tiny());
    let store = SqliteBackend::open(config).unwrap();
    store.query("*", QueryParams::default()).await.unwrap_err();
    let found = store.check(true).await.unwrap();
    assert!(!found.is_sound() && found.lost_rows() > 0, "{found:?}");
    assert_eq!(found.rows + found.lost_rows(), rows, "{found:?}");
    let salvaged: Arc<Mutex<Vec<RawRow>>> = Arc::default();
    let sink = salvaged.clone();
    let report = store
        .salvage(move |rows| {
            sink.lock().unwrap().extend(rows);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(report.damage, found.damage);
    let salvaged = std::mem::take(&mut *salvaged.lock().unwrap());
    assert_eq!(salvaged.len() as u64, found.rows);
    assert!(salvaged.iter().all(|row| row.record.starts_with("record::")));
    // A damaged history makes no backup.
    store.backup(folder.path().join("copy")).await.unwrap_err();
    store.close().await.unwrap();
    assert_eq!(names(folder.path()), ["history"]);
}

/// Only a deep check noticed it.
#[tokio::test]
async fn a_check_notices_a_damaged_page_of_the_keys_of_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let store = filled(&path).await;
    assert!(store.check(false).await.unwrap().is_sound());
    store.close().await.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let root = "SELECT (rootpage - 1) * page_size FROM sqlite_schema, pragma_page_size \
                WHERE name = 'blocks'";
    let root: u64 = connection.query_row(root, [], |row| row.get(0)).unwrap();
    drop(connection);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[root as usize..][..100].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let store = SqliteBackend::open(SqliteConfig::new(&path).with_read_only(true)).unwrap();
    for deep in [false, true] {
        let found = store.check(deep).await.unwrap();
        assert!(!found.is_sound(), "deep: {deep}");
    }
}

#[tokio::test]
async fn a_compaction_gives_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let store = SqliteBackend::new(&path).unwrap();
    for at in 0..40 {
        let text: String =
            (0..40_000_u64).map(|n| char::from(b'a' + (n * n % (7 + at) % 26) as u8)).collect();
        store.store("large", &json!(text + &at.to_string()), at).await.unwrap();
    }
    store.cleanup(39).await.unwrap();
    let rows = all(&store).await;
    store.compact().await.unwrap();
    assert_eq!(all(&store).await, rows);
    store.store("large", &json!("after"), 50).await.unwrap();
    assert!(store.check(true).await.unwrap().is_sound());
    store.close().await.unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 2 << 20);
}
