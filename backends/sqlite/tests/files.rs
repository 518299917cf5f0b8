//! The file: whose it is, who else has it open, and what happens when it cannot be used.

use std::time::Duration;

use annals_core::{
    Batch, CleanupPlan, CleanupRule, ErrorKind, Grammar, Pattern, PersistenceBackend,
    PersistenceError, QueryParams, Row,
};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use futures::future::join_all;
use rusqlite::Connection;
use serde_json::json;

fn kind(error: &PersistenceError) -> ErrorKind {
    match error {
        PersistenceError::Backend(error) => error.kind(),
        other => panic!("not an engine's error: {other}"),
    }
}

#[test]
fn missing_folders_are_made_and_no_runtime_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/c/history.db");
    drop(SqliteBackend::new(&path).unwrap());
    assert!(path.exists());
}

#[test]
fn what_is_not_a_history_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "dear diary, ".repeat(1000)).unwrap();
    assert_eq!(kind(&SqliteBackend::new(&text).unwrap_err()), ErrorKind::Corrupt);
    assert_eq!(std::fs::read(&text).unwrap(), "dear diary, ".repeat(1000).as_bytes());

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE Records (id)").unwrap();
    let error = SqliteBackend::new(&other).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Corrupt, "{error}");

    let utf16 = folder.path().join("utf16.db");
    let connection = Connection::open(&utf16).unwrap();
    connection.execute_batch("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (x)").unwrap();
    assert_eq!(kind(&SqliteBackend::new(&utf16).unwrap_err()), ErrorKind::Config);

    assert_eq!(kind(&SqliteBackend::new(folder.path()).unwrap_err()), ErrorKind::Permission);
    assert_eq!(kind(&SqliteBackend::new(":memory:").unwrap_err()), ErrorKind::Config);
    assert_eq!(kind(&SqliteBackend::new("").unwrap_err()), ErrorKind::Config);
    assert_eq!(kind(&SqliteBackend::new(text.join("below")).unwrap_err()), ErrorKind::Permission);
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    drop(SqliteBackend::new(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE annals_meta SET schema_version = 1000", []).unwrap();
    let error = SqliteBackend::new(&path).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::NewerSchema);
    assert!(error.to_string().contains("newer annals"), "{error}");
}

/// The ids that one writer remembers must not outlive what another does to them: a name that the
/// other's cleanup has let go would otherwise get rows that no query finds.
#[tokio::test]
async fn two_writers_on_one_file_see_each_others_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let (one, two) = (SqliteBackend::new(&path).unwrap(), SqliteBackend::new(&path).unwrap());
    one.store("a", &json!(1), 10).await.unwrap();
    two.store("a", &json!(2), 10).await.unwrap();
    assert_eq!(two.cleanup(11).await.unwrap(), 2);
    two.store("b", &json!("takes the id"), 20).await.unwrap();
    one.store("a", &json!(3), 20).await.unwrap();
    for history in [&one, &two] {
        let rows = history.query("*", QueryParams::default()).await.unwrap();
        let seen: Vec<_> = rows.iter().map(|r| (&*r.record_name, r.value.clone())).collect();
        assert_eq!(seen, [("a", json!(3)), ("b", json!("takes the id"))]);
    }
}

/// Equal times keep their order across writers, and after the older of them have been let go.
#[tokio::test]
async fn arrival_order_survives_what_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let (one, two) = (SqliteBackend::new(&path).unwrap(), SqliteBackend::new(&path).unwrap());
    for (at, history) in [&one, &two, &one, &two, &two, &one].into_iter().enumerate() {
        history.store("tied", &json!(at), 7).await.unwrap();
    }
    let plan = CleanupPlan::older_than(u64::MAX).with_keep_newest(2);
    assert_eq!(one.cleanup_plan(&plan).await.unwrap(), 4);
    two.store("tied", &json!(6), 7).await.unwrap();
    let rows = one.query("tied", QueryParams::default()).await.unwrap();
    let values: Vec<_> = rows.into_iter().map(|row| row.value).collect();
    assert_eq!(values, [json!(6), json!(5), json!(4)]);
}

/// A lock that does not go away is an error that can be retried; nothing was applied, and what is
/// stored afterwards is stored once.
#[tokio::test]
async fn a_lasting_lock_is_an_error_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let config = SqliteConfig::new(&path).with_busy_timeout(Duration::from_millis(100));
    let history = SqliteBackend::open(config).unwrap();
    history.store("a", &json!(1), 1).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let stores = (0..20).map(|at| {
        let history = history.clone();
        async move { history.store("a", &json!(at), at).await }
    });
    for stored in join_all(stores).await {
        let error = stored.unwrap_err();
        assert_eq!(kind(&error), ErrorKind::Busy);
        assert!(error.is_retryable());
        assert_eq!(error.outcome(), annals_core::Outcome::NotApplied);
    }
    // Readers do not care.
    assert_eq!(history.query("a", QueryParams::default()).await.unwrap().len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    history.store("a", &json!(2), 2).await.unwrap();
    assert_eq!(history.query("a", QueryParams::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_log_is_copied_into_the_file_and_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let config = SqliteConfig::new(&path).with_durability(annals_core::Durability::Process);
    let history = SqliteBackend::open(config).unwrap();
    // Text that zstd makes little of.
    let mut noise: u64 = 1;
    let mut letter = || {
        noise =
            noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (noise >> 58) as u8 % 64)
    };
    let value = json!((0..100_000).map(|_| letter()).collect::<String>());
    for at in 0..1_000 {
        history.store("bulk", &value, at).await.unwrap();
    }
    let log = std::fs::metadata(folder.path().join("history.db-wal")).unwrap().len();
    let file = std::fs::metadata(&path).unwrap().len();
    // 75 MB of rows went through it, and what merges wrote. One merge may write 32 MiB on top of the 16
    // at which it is copied; on a busy machine merges come late.
    assert!(log < 60 << 20, "the log has {log} bytes");
    assert!(file > 20 << 20, "the file has {file} bytes");
}

/// Ids of records that are gone were given to new ones, whose rows a sweep that had begun before
/// then took for expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_under_way_leaves_new_records_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let one = SqliteBackend::new(&path).unwrap();
    let rows: Vec<Row> =
        (0..60_000).map(|at| Row::new("debug::big", &json!(at), at).unwrap()).collect();
    one.store_batch(&Batch::new(rows)).await.unwrap();
    one.store("debug::last", &json!(0), 1).await.unwrap();
    let plan = |pattern: &str| {
        CleanupPlan::new(vec![CleanupRule::new(
            Pattern::new(pattern, Grammar::Glob).unwrap(),
            Some(1_000_000),
        )])
    };
    let sweeping = tokio::spawn({
        let (one, plan) = (one.clone(), plan("debug::*"));
        async move { one.cleanup_plan(&plan).await }
    });
    let two = SqliteBackend::new(&path).unwrap();
    let gone = two.cleanup_plan(&plan("debug::last")).await.unwrap();
    two.store("audit::login", &json!("precious"), 5).await.unwrap();
    assert_eq!(sweeping.await.unwrap().unwrap() + gone, 60_001);
    assert_eq!(one.query("*", QueryParams::default()).await.unwrap().len(), 1);
}

/// A copy of the file that is made after `close` lacked the rows: idle readers kept the log.
#[tokio::test]
async fn closing_leaves_one_file_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let history = SqliteBackend::new(&path).unwrap();
    history.store("a", &json!(1), 1).await.unwrap();
    assert_eq!(history.query("a", QueryParams::default()).await.unwrap().len(), 1);
    history.close().await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let copy = SqliteBackend::new(&copy).unwrap();
    assert_eq!(copy.query("a", QueryParams::default()).await.unwrap().len(), 1);
}

/// SQLite goes on writing to a file that nobody can find any more.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_deleted_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let history = SqliteBackend::new(&path).unwrap();
    history.store("a", &json!(1), 1).await.unwrap();
    history.health().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = history.store("a", &json!(2), 2).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Permission, "{error}");
    assert_eq!(kind(&history.health().await.unwrap_err()), ErrorKind::Permission);
}

/// Rows stored under one name overwrote rows stored under the other: each had its own log.
#[cfg(unix)]
#[tokio::test]
async fn a_file_with_two_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("history.db"), folder.path().join("other.db"));
    let history = SqliteBackend::new(&path).unwrap();
    history.store("a", &json!(1), 1).await.unwrap();
    history.close().await.unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    for name in [&path, &other] {
        for read_only in [false, true] {
            let config = SqliteConfig::new(name).with_read_only(read_only);
            let error = SqliteBackend::open(config).unwrap_err();
            assert_eq!(kind(&error), ErrorKind::Config, "{error}");
            assert!(error.to_string().contains("hard link"), "{error}");
        }
    }
    std::fs::remove_file(&other).unwrap();
    assert_eq!(
        SqliteBackend::new(&path).unwrap().query("a", QueryParams::default()).await.unwrap().len(),
        1
    );
}

/// Limits beyond what the libraries below can count made them panic.
#[tokio::test]
async fn extreme_settings_are_brought_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let url = format!(
        "sqlite:{}?busy_timeout_ms={max}&queue_capacity={max}&readers={max}&cache_bytes={max}",
        path.display(),
        max = usize::MAX
    );
    let history = SqliteBackend::open(SqliteConfig::from_url(&url).unwrap()).unwrap();
    history.store("a", &json!(1), 1).await.unwrap();
    let config = SqliteConfig::new(&path).with_busy_timeout(Duration::MAX);
    SqliteBackend::open(config).unwrap();
}

/// Asking a file that is somebody else's used to put tables into it.
#[test]
fn nothing_is_made_where_nothing_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        SqliteBackend::open(SqliteConfig::new(folder.path().join(name)).with_create(false))
    };
    assert_eq!(kind(&open("missing.db").unwrap_err()), ErrorKind::Permission);
    assert!(!folder.path().join("missing.db").exists());

    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(kind(&open("empty.db").unwrap_err()), ErrorKind::Corrupt);
    assert_eq!(std::fs::metadata(&empty).unwrap().len(), 0);

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE contacts (name)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    assert_eq!(kind(&open("foreign.db").unwrap_err()), ErrorKind::Corrupt);
    assert_eq!(std::fs::read(&foreign).unwrap(), before);

    drop(SqliteBackend::new(folder.path().join("ours.db")).unwrap());
    open("ours.db").unwrap();
}
