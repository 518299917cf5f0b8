//! Streams that nobody reads.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use annals_core::{Batch, ErrorKind, PersistenceBackend, PersistenceError, QueryParams, Row};
use annals_redb::{RedbBackend, RedbConfig};
use futures::StreamExt;
use serde_json::json;

/// A paused reader kept pages from being used again until the disk was full.
#[tokio::test]
async fn an_idle_stream_loses_its_snapshot_when_it_may_not_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    for (timeout, loses) in [(Duration::ZERO, true), (Duration::from_secs(3_600), false)] {
        let config = RedbConfig::new(&path).with_snapshot_timeout(timeout);
        let history = RedbBackend::open(config).unwrap();
        let rows: Vec<Row> = (0..10_000).map(|at| Row::new("a", &json!(at), at).unwrap()).collect();
        history.store_batch(&Batch::new(rows)).await.unwrap();
        let mut rows = history.query_stream("a", QueryParams::default()).await.unwrap();
        rows.next().await.unwrap().unwrap();
        let rest: Vec<_> = rows.collect().await;
        let timed_out = rest.iter().any(|row| match row {
            Err(PersistenceError::Backend(error)) => error.kind() == ErrorKind::Timeout,
            _ => false,
        });
        assert_eq!(timed_out, loses);
        assert_eq!(history.cleanup(u64::MAX).await.unwrap(), 10_000);
    }
}
