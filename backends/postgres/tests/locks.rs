//! The locks of queries over many partitions.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use annals_core::{
    Batch, CleanupPlan, ErrorKind, PersistenceBackend, PersistenceError, QueryParams,
};
use annals_postgres::PostgresBackend;
use annals_test_postgres::LocalServer;
use common::{Place, row};
use futures::StreamExt;
use tokio_postgres::NoTls;

/// Stores one row in each of `partitions` partitions.
async fn fill(backend: &PostgresBackend, partitions: u64) {
    let rows: Vec<_> = (0..partitions).map(|i| row("a", 1, i * 1_000)).collect();
    backend.store_batch(&Batch::new(rows)).await.unwrap();
}

/// Each query once locked every partition: a few queries of a history with a few hundred partitions filled
/// the server's lock table, which all sessions share.
async fn a_query_locks_the_partitions_of_its_window() {
    let place = Place::with_options("partition_interval=1s");
    fill(&place.backend(), 60).await;
    // Enough rows that the query is still under way.
    let rows: Vec<_> = (0..4_000).map(|i| row("a", i, 31_999)).collect();
    place.backend().store_batch(&Batch::new(rows)).await.unwrap();
    let backend = place.named_backend();
    let params = QueryParams::default().with_start_time(30_000).with_end_time(31_999);
    let mut stream = backend.query_stream("a", params).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().stored_at, 31_999);
    let locks = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE a.application_name = '{}' AND l.locktype IN ('relation', 'advisory')",
        place.application()
    );
    let locked = place.number(&locks).await;
    // Two partitions, the parent, the names, and the indexes of all of them.
    assert!((5..20).contains(&locked), "{locked} locks");
    drop(stream);
}

/// The snapshot remains complete: nothing that it may still read is dropped.
async fn partitions_that_a_query_has_not_locked_yet_are_kept() {
    let place = Place::with_options("partition_interval=1s");
    let backend = place.backend();
    fill(&backend, 40).await;
    let rows: Vec<_> = (0..3_000).map(|i| row("b", i, 39_000)).collect();
    backend.store_batch(&Batch::new(rows)).await.unwrap();
    // The older partitions are not touched until the newest is read.
    let mut stream = backend.query_stream("*", QueryParams::default()).await.unwrap();
    let sweep = tokio::spawn({
        let backend = backend.clone();
        async move { backend.cleanup_plan(&CleanupPlan::older_than(39_000)).await.unwrap() }
    });
    assert_eq!(sweep.await.unwrap(), 39);
    let mut seen = 0;
    while let Some(row) = stream.next().await {
        row.unwrap();
        seen += 1;
    }
    assert_eq!(seen, 3_040);
}

async fn a_full_lock_table_is_reported_with_the_name_of_the_setting() {
    let server = LocalServer::start().unwrap();
    server.configure("max_locks_per_transaction = 10\nmax_connections = 20").unwrap();
    server.crash().unwrap();
    server.resume().unwrap();
    let url = format!("{}?partition_interval=1s", server.url());
    let backend = PostgresBackend::connect(&url).await.unwrap();
    // The partitions were once created in one transaction, which filled the lock table as well. The rows
    // are inserted a few at a time, because an insert locks what it fills.
    let all: Vec<_> = (0..400).map(|i| row("a", 1, i * 1_000)).collect();
    backend.store_batch(&Batch::new(all.clone())).await.unwrap_err();
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let partitions = "SELECT count(*) FROM pg_inherits";
    let made: i64 = client.query_one(partitions, &[]).await.unwrap().get(0);
    assert!(made >= 400, "{made} partitions");
    for some in all.chunks(50) {
        backend.store_batch(&Batch::new(some.to_vec())).await.unwrap();
    }
    let error = backend.query("a", QueryParams::default()).await.unwrap_err();
    let PersistenceError::Backend(reported) = &error else { panic!("{error:?}") };
    assert_eq!(reported.kind(), ErrorKind::Full, "{error}");
    assert!(error.is_retryable(), "others end");
    assert!(error.to_string().contains("`max_locks_per_transaction`"), "{error}");
    let params = QueryParams::default().with_start_time(300_000);
    assert_eq!(backend.query("a", params).await.unwrap().len(), 100);
}

annals_test_postgres::server_tests! {
    async a_query_locks_the_partitions_of_its_window,
    async partitions_that_a_query_has_not_locked_yet_are_kept,
    async a_full_lock_table_is_reported_with_the_name_of_the_setting,
}
