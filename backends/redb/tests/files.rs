//! The file: what happens when it is not there yet, not ours, or in use.

use annals_core::{Batch, ErrorKind, PersistenceBackend, PersistenceError, QueryParams, Row};
use annals_redb::{RedbBackend, RedbConfig};
use futures::StreamExt;
use redb::{Database, TableDefinition};
use serde_json::json;

fn kind(error: &PersistenceError) -> ErrorKind {
    match error {
        PersistenceError::Backend(error) => error.kind(),
        other => panic!("not an engine's error: {other}"),
    }
}

/// A process that was killed while redb laid out a new file left one that nobody could open; now the
/// file appears when it is whole, and nothing stays beside it.
#[test]
fn a_new_file_appears_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/history.redb");
    drop(RedbBackend::new(&path).unwrap());
    let files: Vec<_> = std::fs::read_dir(folder.path().join("a/b")).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    // A file that somebody made to have the name is taken for a new one.
    let reserved = folder.path().join("reserved.redb");
    std::fs::write(&reserved, "").unwrap();
    drop(RedbBackend::new(&reserved).unwrap());
    drop(RedbBackend::new(&reserved).unwrap());
}

/// redb goes on writing to a file that nobody can find any more.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_deleted_or_replaced_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let history = RedbBackend::new(&path).unwrap();
    history.store("a", &json!(1), 1).await.unwrap();
    // A compaction replaces the file itself.
    history.compact().await.unwrap();
    history.store("a", &json!(2), 2).await.unwrap();
    history.health().await.unwrap();
    std::fs::rename(&path, folder.path().join("moved.redb")).unwrap();
    let is_refused = |error: PersistenceError| {
        assert_eq!(kind(&error), ErrorKind::Permission, "{error}");
        assert!(error.to_string().contains("deleted or moved"), "{error}");
    };
    is_refused(history.store("a", &json!(3), 3).await.unwrap_err());
    is_refused(history.health().await.unwrap_err());
    let other = RedbBackend::new(&path).unwrap();
    other.store("b", &json!(4), 4).await.unwrap();
    is_refused(history.store("a", &json!(3), 3).await.unwrap_err());
    is_refused(history.cleanup(u64::MAX).await.unwrap_err());
    is_refused(history.compact().await.unwrap_err());
    other.close().await.unwrap();
    drop(history);
    let count = |name| {
        let store = RedbBackend::new(folder.path().join(name)).unwrap();
        async move { store.query("*", QueryParams::default()).await.unwrap().len() }
    };
    assert_eq!((count("moved.redb").await, count("history.redb").await), (2, 1));
}

#[test]
fn what_is_not_a_history_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "dear diary, ".repeat(1000)).unwrap();
    assert_eq!(kind(&RedbBackend::new(&text).unwrap_err()), ErrorKind::Corrupt);
    assert_eq!(std::fs::read(&text).unwrap(), "dear diary, ".repeat(1000).as_bytes());

    let other = folder.path().join("other.redb");
    let database = Database::create(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u8, u8>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = RedbBackend::new(&other).unwrap_err();
    assert!(error.to_string().contains("theirs"), "{error}");
    assert_eq!(kind(&error), ErrorKind::Corrupt);
    assert_eq!(kind(&RedbBackend::new(folder.path()).unwrap_err()), ErrorKind::Permission);
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    drop(RedbBackend::new(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = TableDefinition::<&str, u64>::new("annals_meta");
    transaction.open_table(meta).unwrap().insert("schema_version", 1000).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(kind(&RedbBackend::new(&path).unwrap_err()), ErrorKind::NewerSchema);
}

#[test]
fn the_error_says_which_file_is_open_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let first = RedbBackend::new(&path).unwrap();
    let error = RedbBackend::new(&path).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Busy);
    let shown = error.to_string();
    assert!(shown.contains("history.redb") && shown.contains("by this process"), "{shown}");
    drop(first);
    // As another process would hold it: not through a backend of this one.
    let database = Database::open(&path).unwrap();
    let error = RedbBackend::new(&path).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Busy);
    assert!(error.to_string().contains("by another process"), "{error}");
    drop(database);
    RedbBackend::new(&path).unwrap();
}

/// A mistyped name began a new history.
#[test]
fn a_missing_file_is_created_only_if_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let config = || RedbConfig::new(&path).with_create(false);
    assert_eq!(kind(&RedbBackend::open(config()).unwrap_err()), ErrorKind::Permission);
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    assert_eq!(kind(&RedbBackend::open(config()).unwrap_err()), ErrorKind::Permission);
    drop(RedbBackend::new(&path).unwrap());
    RedbBackend::open(config()).unwrap();
}

/// The file was closed under a stream whose handle was gone.
#[tokio::test]
async fn a_stream_keeps_the_file_open() {
    let folder = tempfile::tempdir().unwrap();
    let history = RedbBackend::new(folder.path().join("history.redb")).unwrap();
    let rows: Vec<Row> = (0..10_000).map(|at| Row::new("a", &json!(at), at).unwrap()).collect();
    history.store_batch(&Batch::new(rows)).await.unwrap();
    let rows = history.query_stream("a", QueryParams::default()).await.unwrap();
    drop(history);
    assert_eq!(rows.map(Result::unwrap).count().await, 10_000);
}
