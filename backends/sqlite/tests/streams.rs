//! Streams that nobody reads.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::time::{Duration, Instant};

use annals_core::{
    Aggregate, Batch, ErrorKind, Fill, Function, PersistenceBackend, PersistenceError, QueryParams,
    Row,
};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use futures::StreamExt;
use rusqlite::Connection;
use serde_json::json;

async fn filled(config: SqliteConfig) -> SqliteBackend {
    let history = SqliteBackend::open(config).unwrap();
    let rows: Vec<Row> = (0..10_000).map(|at| Row::new("a", &json!(at), at).unwrap()).collect();
    history.store_batch(&Batch::new(rows)).await.unwrap();
    history
}

/// Whether all of the log can be copied and started over, which a snapshot prevents.
fn log_is_free(path: &Path) -> bool {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    busy == 0
}

/// A paused reader kept the log growing until the disk was full.
#[tokio::test]
async fn an_idle_stream_lets_go_of_its_snapshot_when_it_may_not_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let config = SqliteConfig::new(&path).with_snapshot_timeout(Duration::from_millis(200));
    let history = filled(config).await;
    let mut rows = history.query_stream("a", QueryParams::default()).await.unwrap();
    rows.next().await.unwrap().unwrap();
    history.store("a", &json!("later"), 20_000).await.unwrap();
    let begun = Instant::now();
    while !log_is_free(&path) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the snapshot is still there");
        tokio::task::yield_now().await;
    }
    let mut read = 1;
    let error = loop {
        match rows.next().await.unwrap() {
            Ok(_) => read += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, PersistenceError::Backend(e) if e.kind() == ErrorKind::Timeout),
        "{error}"
    );
    assert!(error.to_string().contains("200ms") && read < 10_000, "{read}: {error}");
    assert!(rows.next().await.is_none());
    assert_eq!(history.query("a", QueryParams::default()).await.unwrap().len(), 10_001);
}

#[tokio::test]
async fn a_stream_keeps_its_snapshot_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    for timeout in [None, Some(Duration::from_secs(3_600))] {
        let mut config = SqliteConfig::new(&path);
        if let Some(timeout) = timeout {
            config = config.with_snapshot_timeout(timeout);
        }
        let history = filled(config).await;
        let mut rows = history.query_stream("a", QueryParams::default()).await.unwrap();
        rows.next().await.unwrap().unwrap();
        history.store("a", &json!("later"), 20_000).await.unwrap();
        assert!(!log_is_free(&path));
        assert_eq!(rows.map(Result::unwrap).count().await, 9_999);
        assert!(log_is_free(&path));
        assert_eq!(history.cleanup(u64::MAX).await.unwrap(), 10_001);
    }
}

/// The buckets of all records of a step were made at once: a gigabyte for one question with `fill`.
#[tokio::test]
async fn filled_buckets_are_made_when_they_are_asked_for() {
    const BUCKETS: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let history = SqliteBackend::open(SqliteConfig::new(folder.path().join("history.db"))).unwrap();
    let rows: Vec<Row> =
        (0..20).map(|at| Row::new(&format!("r{at}"), &json!(at), 7).unwrap()).collect();
    history.store_batch(&Batch::new(rows)).await.unwrap();
    let every = Aggregate::every(Duration::from_millis(1)).range(0, BUCKETS as u64 - 1);
    let aggregate = every.fill(Fill::Null).functions([Function::Mean]);
    let mut buckets = history.aggregate_stream("*", &aggregate).await.unwrap();
    let (mut all, mut largest) = (0, 0);
    while let Some(page) = buckets.next_page().await {
        let page = page.unwrap();
        let filled = page.iter().filter(|bucket| bucket.count == 0 && bucket.mean().is_none());
        assert_eq!(filled.count() + page.iter().filter(|one| one.start == 7).count(), page.len());
        all += page.len();
        largest = largest.max(page.len());
    }
    assert_eq!((all, largest), (20 * BUCKETS, BUCKETS));
}
