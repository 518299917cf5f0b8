//! A file that is only read: nothing is created, changed or left behind, also while others use it.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use annals_core::{
    Batch, Erasure, ErrorKind, Outcome, Pattern, PersistenceBackend, PersistenceError, QueryParams,
    Row,
};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use futures::StreamExt;
use serde_json::json;

fn kind(error: &PersistenceError) -> ErrorKind {
    match error {
        PersistenceError::Backend(error) => error.kind(),
        other => panic!("not an engine's error: {other}"),
    }
}

fn read_only(path: &Path) -> Result<SqliteBackend, PersistenceError> {
    SqliteBackend::open(SqliteConfig::new(path).with_read_only(true))
}

/// What lies in a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

async fn count(store: &SqliteBackend) -> usize {
    store.query("*", QueryParams::default()).await.unwrap().len()
}

async fn filled(path: &Path, rows: u64) -> SqliteBackend {
    let store = SqliteBackend::new(path).unwrap();
    let rows: Vec<Row> = (0..rows).map(|at| Row::new("a", &json!(at), at).unwrap()).collect();
    store.store_batch(&Batch::new(rows)).await.unwrap();
    store
}

#[tokio::test]
async fn what_would_change_it_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    filled(&path, 3).await.close().await.unwrap();
    let before = contents(folder.path());
    let store = read_only(&path).unwrap();
    assert_eq!(count(&store).await, 3);
    store.health().await.unwrap();
    assert!(store.check(true).await.unwrap().is_sound());
    let row = Row::new("a", &json!(7), 1).unwrap();
    for refused in [
        store.store("a", &json!(1), 1).await,
        store.store_batch(&Batch::new([row.clone()])).await,
        store.cleanup(u64::MAX).await.map(drop),
        store.erase(&Erasure::new(Pattern::all())).await.map(drop),
        store.correct(&row).await.map(drop),
        store.bring_to_rest(|_| {}).await,
        store.compact().await,
    ] {
        let error = refused.unwrap_err();
        assert_eq!((kind(&error), error.outcome()), (ErrorKind::Permission, Outcome::NotApplied));
        assert!(!error.is_retryable() && error.to_string().contains("reading only"), "{error}");
    }
    // A backup is a question.
    let copies = tempfile::tempdir().unwrap();
    store.backup(copies.path().join("copy")).await.unwrap();
    store.close().await.unwrap();
    let closed = store.query("*", QueryParams::default()).await.unwrap_err();
    assert!(matches!(closed, PersistenceError::BackendShutdown));
    assert_eq!(contents(folder.path()), before);
    assert_eq!(count(&SqliteBackend::new(copies.path().join("copy")).unwrap()).await, 3);
}

#[tokio::test]
async fn a_live_owner_is_followed_and_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let owner = filled(&path, 3).await;
    let reader = read_only(&path).unwrap();
    let names = || contents(folder.path()).into_keys().collect::<Vec<_>>();
    assert_eq!((count(&reader).await, names().len()), (3, 3));
    owner.store("b", &json!(1), 1).await.unwrap();
    assert_eq!(count(&reader).await, 4);
    owner.close().await.unwrap();
    assert_eq!((count(&reader).await, names()), (4, vec!["history.db".to_owned()]));
    // One that comes later.
    let owner = SqliteBackend::new(&path).unwrap();
    owner.store("c", &json!(1), 1).await.unwrap();
    assert_eq!(count(&reader).await, 5);
    reader.close().await.unwrap();
    owner.close().await.unwrap();
    assert_eq!(names(), ["history.db"]);
}

/// The rows of a program that was killed are in its log.
#[tokio::test]
async fn the_log_of_a_killed_owner_is_read_with_and_without_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let owner = filled(&path, 500).await;
    let left = tempfile::tempdir().unwrap();
    for end in ["", "-wal", "-shm"] {
        let name = format!("history.db{end}");
        fs::copy(folder.path().join(&name), left.path().join(&name)).unwrap();
    }
    owner.close().await.unwrap();
    let path = left.path().join("history.db");
    for index in [true, false] {
        if !index {
            fs::remove_file(left.path().join("history.db-shm")).unwrap();
        }
        let before = contents(left.path());
        let reader = read_only(&path).unwrap();
        assert_eq!(count(&reader).await, 500);
        reader.close().await.unwrap();
        assert_eq!(contents(left.path()), before, "with its index: {index}");
    }
    // A journal of another mode would have to be rolled back.
    fs::write(left.path().join("history.db-journal"), "changes").unwrap();
    let error = read_only(&path).unwrap_err();
    assert!(kind(&error) == ErrorKind::Permission && error.to_string().contains("-journal"));
}

/// A file without a log is read without locks. Rows of a file that changed meanwhile would be of two
/// states.
#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_an_error_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let owner = filled(&path, 40_000).await;
    // Into blocks that are read one by one.
    owner.bring_to_rest(|_| {}).await.unwrap();
    owner.close().await.unwrap();
    let reader = read_only(&path).unwrap();
    let mut stream = reader.query_stream("*", QueryParams::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let owner = SqliteBackend::new(&path).unwrap();
    owner.store("b", &json!(1), 1).await.unwrap();
    // What is in its log only changes nothing, and what is in the file does.
    owner.close().await.unwrap();
    let rest: Vec<_> = stream.collect().await;
    let error = rest.into_iter().find_map(Result::err).unwrap();
    assert!(kind(&error) == ErrorKind::Busy && error.is_retryable(), "{error}");
    assert_eq!(count(&reader).await, 40_001);
}

#[tokio::test]
async fn what_would_have_to_be_made_or_converted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("empty.db"), "").unwrap();
    fs::write(place("notes.db"), "dear diary, ".repeat(1000)).unwrap();
    rusqlite::Connection::open(place("foreign.db"))
        .unwrap()
        .execute_batch("CREATE TABLE contacts (name)")
        .unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let older = ["aimdb.db", "v1.db", "v2.db", "v3.db"];
    for name in older {
        fs::copy(fixtures.join(name), place(name)).unwrap();
    }
    let before = contents(folder.path());
    for (name, expected) in [
        ("missing/history.db", ErrorKind::Permission),
        ("empty.db", ErrorKind::Corrupt),
        ("notes.db", ErrorKind::Corrupt),
        ("foreign.db", ErrorKind::Corrupt),
    ] {
        assert_eq!(kind(&read_only(&place(name)).unwrap_err()), expected, "{name}");
    }
    assert_eq!(kind(&read_only(folder.path()).unwrap_err()), ErrorKind::Permission);
    for name in older {
        let error = read_only(&place(name)).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::Permission, "{name}: {error}");
        assert!(error.to_string().contains("for writing once"), "{name}: {error}");
    }
    assert_eq!(contents(folder.path()), before);
    // These need no conversion to be read.
    for name in ["v4.db", "v5.db"] {
        fs::copy(fixtures.join(name), place(name)).unwrap();
        assert!(count(&read_only(&place(name)).unwrap()).await > 40, "{name}");
    }
}

/// SQLite takes a name that begins with `file:` for a URI, and the options behind a `?` for its own.
#[tokio::test]
async fn a_path_is_a_path_whatever_characters_it_has() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["file:x.db", "a?mode=memory&vfs=none", "b#c%41 \u{fc}.db"] {
        let path = folder.path().join(name);
        filled(&path, 2).await.close().await.unwrap();
        assert!(path.exists(), "{name}");
        let reader = read_only(&path).unwrap();
        assert_eq!(count(&reader).await, 2, "{name}");
    }
}

/// A database that had other tables was turned into a history beside them.
#[test]
fn a_database_of_another_program_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contacts.db");
    let theirs = "CREATE TABLE contacts (name); INSERT INTO contacts VALUES ('ada')";
    rusqlite::Connection::open(&path).unwrap().execute_batch(theirs).unwrap();
    let before = contents(folder.path());
    let error = SqliteBackend::new(&path).unwrap_err();
    assert!(
        kind(&error) == ErrorKind::Corrupt && error.to_string().contains("contacts"),
        "{error}"
    );
    assert_eq!(contents(folder.path()), before);
}
