//! What queries lock, of many partitions.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use annals_core::{
    Batch, CleanupPlan, ErrorKind, PersistenceBackend, PersistenceError, QueryParams,
};
use annals_postgres::PostgresBackend;
use annals_test_postgres::LocalServer;
use common::{Place, row};
use futures_util::StreamExt;
use tokio_postgres::NoTls;

/// One row in each of so many partitions.
async fn fill(backend: &PostgresBackend, partitions: u64) {
    let rows: Vec<_> = (0..partitions).map(|i| row("a", 1, i * 1_000)).collect();
    backend.store_batch(&Batch::new(rows)).await.unwrap();
}

/// Each query locked all partitions there are, whatever it asked for: the server's room for locks,
/// which all sessions share, was full with a few queries of a history of a few hundred.
async fn a_query_locks_the_partitions_of_its_window() {
    let place = Place::with_options("partition_interval=1s");
    fill(&place.backend(), 60).await;
    // So many that the query is still under way.
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
    // Two partitions, the parent, the names, and the indexes of all these.
    assert!((5..20).contains(&locked), "{locked} locks");
    drop(stream);
}

/// The snapshot is whole even so: nothing that it may still read is dropped.
async fn what_a_query_did_not_lock_is_kept_for_it() {
    let place = Place::with_options("partition_interval=1s");
    let backend = place.backend();
    fill(&backend, 40).await;
    let rows: Vec<_> = (0..3_000).map(|i| row("b", i, 39_000)).collect();
    backend.store_batch(&Batch::new(rows)).await.unwrap();
    // Nothing of the older partitions is looked at until the newest is read.
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

async fn no_room_for_locks_is_told_with_the_settings_name() {
    let server = LocalServer::start().unwrap();
    server.configure("max_locks_per_transaction = 10\nmax_connections = 20").unwrap();
    server.crash().unwrap();
    server.resume().unwrap();
    let url = format!("{}?partition_interval=1s", server.url());
    let backend = PostgresBackend::connect(&url).await.unwrap();
    // They were made in one transaction, for which there was no room either, however often it was
    // tried again. The rows go in a few at a time: an insert locks what it fills.
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
    async what_a_query_did_not_lock_is_kept_for_it,
    async no_room_for_locks_is_told_with_the_settings_name,
}
