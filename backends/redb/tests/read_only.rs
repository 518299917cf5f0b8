//! A file that is only read: nothing is made, changed or left behind.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use annals_core::{
    Batch, Erasure, ErrorKind, Outcome, Pattern, PersistenceBackend, PersistenceError, QueryParams,
    Row,
};
use annals_redb::{RedbBackend, RedbConfig};
use serde_json::json;

fn kind(error: &PersistenceError) -> ErrorKind {
    match error {
        PersistenceError::Backend(error) => error.kind(),
        other => panic!("not an engine's error: {other}"),
    }
}

fn read_only(path: &Path) -> Result<RedbBackend, PersistenceError> {
    RedbBackend::open(RedbConfig::new(path).with_read_only(true))
}

/// What lies in a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

async fn count(store: &RedbBackend) -> usize {
    store.query("*", QueryParams::default()).await.unwrap().len()
}

async fn filled(path: &Path, rows: u64) -> RedbBackend {
    let store = RedbBackend::new(path).unwrap();
    let rows: Vec<Row> = (0..rows).map(|at| Row::new("a", &json!(at), at).unwrap()).collect();
    store.store_batch(&Batch::new(rows)).await.unwrap();
    store
}

#[tokio::test]
async fn what_would_change_it_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    filled(&path, 3).await.close().await.unwrap();
    let before = contents(folder.path());
    let store = read_only(&path).unwrap();
    // Several may read one file.
    let other = read_only(&path).unwrap();
    assert_eq!((count(&store).await, count(&other).await), (3, 3));
    other.close().await.unwrap();
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
    // A writer would change what is being read.
    assert_eq!(kind(&RedbBackend::new(&path).unwrap_err()), ErrorKind::Busy);
    let copies = tempfile::tempdir().unwrap();
    store.backup(copies.path().join("copy")).await.unwrap();
    store.close().await.unwrap();
    let closed = store.query("*", QueryParams::default()).await.unwrap_err();
    assert!(matches!(closed, PersistenceError::BackendShutdown));
    assert_eq!(contents(folder.path()), before);
    let owner = RedbBackend::new(&path).unwrap();
    assert_eq!(kind(&read_only(&path).unwrap_err()), ErrorKind::Busy);
    assert_eq!(count(&owner).await, 3);
}

/// The file of a program that was killed has to be repaired, which happens in memory.
#[tokio::test]
async fn the_file_of_a_killed_owner_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let owner = filled(&path, 20_000).await;
    let left = tempfile::tempdir().unwrap();
    let copy = left.path().join("history.redb");
    fs::copy(&path, &copy).unwrap();
    owner.close().await.unwrap();
    let before = contents(left.path());
    for verify in [true, false] {
        let config = RedbConfig::new(&copy).with_read_only(true).with_verify(verify);
        let reader = RedbBackend::open(config).unwrap();
        assert_eq!(count(&reader).await, 20_000);
        reader.close().await.unwrap();
    }
    assert_eq!(contents(left.path()), before);
}

#[tokio::test]
async fn what_would_have_to_be_made_or_converted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("empty.redb"), "").unwrap();
    fs::write(place("notes.redb"), "dear diary, ".repeat(1000)).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let older = ["v1.redb", "v2.redb", "v3.redb"];
    for name in older {
        fs::copy(fixtures.join(name), place(name)).unwrap();
    }
    redb::Database::create(place("theirs.redb")).unwrap().close().unwrap();
    let before = contents(folder.path());
    for (name, expected) in [
        ("missing/history.redb", ErrorKind::Permission),
        ("empty.redb", ErrorKind::Permission),
        ("notes.redb", ErrorKind::Corrupt),
        ("theirs.redb", ErrorKind::Corrupt),
    ] {
        assert_eq!(kind(&read_only(&place(name)).unwrap_err()), expected, "{name}");
    }
    for name in older {
        let error = read_only(&place(name)).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::Permission, "{name}: {error}");
        assert!(error.to_string().contains("for writing once"), "{name}: {error}");
    }
    assert_eq!(contents(folder.path()), before);
    fs::copy(fixtures.join("v4.redb"), place("v4.redb")).unwrap();
    assert!(count(&read_only(&place("v4.redb")).unwrap()).await > 40);
}
