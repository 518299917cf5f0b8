//! Storing: groups, ids, broken connections, closing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::task::Poll;

use annals_core::{
    Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, QueryExt, QueryParams, Row,
};
use common::{Place, batch, row};
use futures::future::{join_all, poll_fn};
use futures::{FutureExt, StreamExt};
use serde_json::json;

async fn small_groups_and_copies_store_the_same() {
    let place = Place::new();
    let backend = place.backend();
    for rows in [1, 2, 2047, 2048, 5000] {
        let record = format!("n{rows}");
        let rows: Vec<Row> = (0..rows).map(|i| row(&record, i, (i / 3) as u64)).collect();
        backend.store_batch(&Batch::new(rows.clone())).await.unwrap();
        let back: Vec<i64> = backend.query_latest(&record, usize::MAX).await.unwrap();
        assert_eq!(back, (0..rows.len() as i64).rev().collect::<Vec<_>>());
    }
}

async fn large_values_and_odd_text_come_back() {
    let place = Place::new();
    let backend = place.backend();
    let values = [
        json!("\u{0}\u{1}\\\"'%"),
        json!(u64::MAX),
        json!(-0.0),
        json!(null),
        json!("x".repeat(10 << 20)),
        json!({"": {"$": []}}),
    ];
    for (time, value) in values.iter().enumerate() {
        backend.store("v", value, time as u64).await.unwrap();
    }
    let back = backend.query("v", QueryParams::default()).await.unwrap();
    let back: Vec<_> = back.into_iter().rev().map(|row| row.value).collect();
    assert!(back == values);
}

async fn a_batch_with_an_id_is_stored_once() {
    let place = Place::new();
    let backend = place.backend();
    let send = |number, value| {
        let batch = Batch::new([row("a", value, 1)]).with_id(BatchId { writer: 7 << 100, number });
        let backend = &backend;
        async move { backend.store_batch(&batch).await.unwrap() }
    };
    send(1, 1).await;
    send(1, 1).await;
    send(5, 2).await;
    send(4, 3).await;
    // From another backend, many times at once.
    let other = place.backend();
    let again = Batch::new([row("a", 9, 1)]).with_id(BatchId { writer: 7 << 100, number: 6 });
    let backends = [&backend, &other, &backend, &other, &backend, &backend];
    for result in join_all(backends.map(|backend| backend.store_batch(&again))).await {
        result.unwrap();
    }
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [9, 2, 1]);
    assert_eq!(place.number("SELECT number FROM {s}.writers").await, 6);
}

/// A retry that overtakes an attempt that is still committing must wait for its end.
async fn a_retry_waits_for_an_attempt_that_has_not_ended() {
    let place = Place::new();
    let backend = place.backend();
    backend.initialize().await.unwrap();
    let zombie = place.client().await;
    let schema = place.quoted();
    let claim = format!(
        "BEGIN; INSERT INTO {schema}.writers \
         VALUES (decode('0000000000000000000000000000002a', 'hex'), 1)"
    );
    zombie.batch_execute(&claim).await.unwrap();
    let batch = Batch::new([row("a", 1, 1)]).with_id(BatchId { writer: 42, number: 1 });
    let retry = tokio::spawn({
        let backend = backend.clone();
        async move { backend.store_batch(&batch).await }
    });
    // Until the server shows that it waits for the row of the writer.
    while place
        .number(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND query LIKE '%{s}.writers%' AND pid <> pg_backend_pid()",
        )
        .await
        == 0
    {
        assert!(!retry.is_finished());
    }
    zombie.batch_execute("COMMIT").await.unwrap();
    retry.await.unwrap().unwrap();
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 0, "it was there already");
}

async fn concurrent_stores_become_few_transactions() {
    let place = Place::new();
    let backend = place.backend();
    backend.store("a", &json!(0), 0).await.unwrap();
    let stores = (1..=500).map(|i| {
        let backend = &backend;
        async move { backend.store("a", &json!(i), 7).await.unwrap() }
    });
    join_all(stores).await;
    // One writer connection: in the order of submission.
    let back: Vec<i64> = backend.query_latest("a", 500).await.unwrap();
    assert_eq!(back, (1..=500).rev().collect::<Vec<_>>());
    let groups = place.number("SELECT count(DISTINCT xmin::text) FROM {s}.history").await;
    assert!(groups < 100, "{groups} transactions");
}

/// A check constraint stands for any refusal of the server.
async fn a_refused_batch_does_not_fail_its_neighbours() {
    let place = Place::new();
    let backend = place.backend();
    backend.initialize().await.unwrap();
    let schema = place.quoted();
    let check = format!("ALTER TABLE {schema}.history ADD CHECK (value <> '13')");
    place.client().await.batch_execute(&check).await.unwrap();
    let stores = (0..20).map(|i| {
        let backend = &backend;
        async move { backend.store("a", &json!(i), 1).await }
    });
    let results = join_all(stores).await;
    for (i, result) in results.iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(i, 13),
            Err(error) => {
                assert_eq!(i, 13, "{error}");
                assert_eq!(error.outcome(), Outcome::NotApplied);
            }
        }
    }
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 19);
}

/// All connections of the backend are terminated repeatedly while rows are stored.
async fn a_broken_connection_is_a_retryable_error() {
    let place = Place::new();
    let backend = place.named_backend();
    backend.initialize().await.unwrap();
    let killer = place.client().await;
    let mut number = 0;
    for round in 0..30 {
        let stores = (0..20).map(|i| {
            let batch = Batch::new([row("a", round * 20 + i, 1)]);
            let id = BatchId { writer: i as u128 + 1, number: round as u64 + 1 };
            let (backend, batch) = (backend.clone(), batch.with_id(id));
            tokio::spawn(async move {
                loop {
                    match backend.store_batch(&batch).await {
                        Ok(()) => return,
                        Err(error) => assert!(error.is_retryable(), "{error:?}"),
                    }
                }
            })
        });
        let stores: Vec<_> = stores.collect();
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE application_name = $1";
        number += killer.query_one(kill, &[&place.application()]).await.unwrap().get::<_, i64>(0);
        for store in stores {
            store.await.unwrap();
        }
    }
    assert!(number > 0, "nothing was ever killed");
    let mut back: Vec<i64> = backend.query_latest("a", usize::MAX).await.unwrap();
    back.sort_unstable();
    assert_eq!(back, (0..600).collect::<Vec<_>>(), "each exactly once");
}

async fn dropping_a_future_leaves_the_row_stored_once_or_not_at_all() {
    let place = Place::new();
    let backend = place.backend();
    backend.initialize().await.unwrap();
    for polls in 0..4 {
        for i in 0..25 {
            let value = json!(polls * 25 + i);
            let mut store = Box::pin(backend.store("a", &value, 1));
            for _ in 0..polls {
                let polled = poll_fn(|cx| Poll::Ready(store.poll_unpin(cx).is_ready())).await;
                if polled {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
    backend.store("b", &json!(1), 1).await.unwrap();
    let mut back: Vec<i64> = backend.query_latest("a", usize::MAX).await.unwrap();
    back.sort_unstable();
    let before = back.len();
    back.dedup();
    assert_eq!(back.len(), before);
    assert!(back.len() >= 75, "what was handed over is stored: {}", back.len());
}

async fn closing_stores_what_was_accepted_and_ends_all_clones() {
    let place = Place::new();
    let backend = place.backend();
    backend.initialize().await.unwrap();
    let clone = backend.clone();
    let accepted = batch(10, 3000);
    let mut store = Box::pin(backend.store_batch(&accepted));
    assert!(store.as_mut().now_or_never().is_none());
    let mut stream = backend.query_stream("*", QueryParams::default()).await.unwrap();
    clone.close().await.unwrap();
    store.await.unwrap();
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 3000);
    for backend in [&backend, &clone] {
        let closed = |error| matches!(error, PersistenceError::BackendShutdown);
        assert!(closed(backend.store("a", &json!(1), 1).await.unwrap_err()));
        assert!(closed(backend.query("a", QueryParams::default()).await.unwrap_err()));
        assert!(closed(backend.query("a", QueryParams::latest(0)).await.unwrap_err()));
        assert!(closed(backend.initialize().await.unwrap_err()));
        assert!(closed(backend.cleanup(1).await.unwrap_err()));
        assert!(closed(backend.health().await.unwrap_err()));
        assert!(closed(backend.store_batch(&Batch::new([])).await.unwrap_err()));
        backend.close().await.unwrap();
    }
    // It may have been answered before, but it must not hang.
    while let Some(row) = stream.next().await {
        drop(row);
    }
}

/// Without a tokio runtime, and with the last handle dropped at the end.
fn any_executor_works_and_the_last_handle_waits() {
    let place = Place::new();
    let backend = place.backend();
    pollster(backend.store("a", &json!(1), 1)).unwrap();
    assert_eq!(pollster(backend.query_latest::<i64>("*", 1)).unwrap(), [1]);
    let accepted = batch(10, 3000);
    let mut store = Box::pin(backend.store_batch(&accepted));
    assert!(store.as_mut().now_or_never().is_none());
    drop(store);
    drop(backend);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(place.number("SELECT count(*) FROM {s}.history")), 3001);
}

/// Ids of a dropped schema must not fit its successor.
async fn a_recreated_schema_does_not_accept_old_ids() {
    let place = Place::new();
    let backend = place.backend();
    backend.store("a", &json!(1), 1).await.unwrap();
    backend.store("b", &json!(1), 1).await.unwrap();
    let drop_schema = format!("DROP SCHEMA {} CASCADE", place.quoted());
    place.client().await.batch_execute(&drop_schema).await.unwrap();
    // Another backend creates it again and assigns the ids in reverse.
    let other = place.backend();
    other.store("b", &json!(1), 1).await.unwrap();
    // The first may fail, but must not report a wrong success.
    let _ = backend.store("a", &json!(2), 2).await;
    let b: Vec<i64> = other.query_latest("b", 9).await.unwrap();
    assert_eq!(b, [1], "the row of another record");
}

/// A trigger makes the server answer without storing anything.
async fn rows_that_are_not_inserted_are_an_error() {
    let place = Place::new();
    let backend = place.backend();
    backend.store("a", &json!(1), 1).await.unwrap();
    let schema = place.quoted();
    let trigger = format!(
        "CREATE FUNCTION {schema}.nothing() RETURNS trigger LANGUAGE plpgsql \
         AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER nothing BEFORE INSERT ON {schema}.history \
         FOR EACH ROW EXECUTE FUNCTION {schema}.nothing()"
    );
    place.client().await.batch_execute(&trigger).await.unwrap();
    let id = BatchId { writer: 1, number: 1 };
    let batch = Batch::new([row("a", 2, 2)]);
    for batch in [batch.clone(), batch.with_id(id)] {
        let error = backend.store_batch(&batch).await.unwrap_err();
        let PersistenceError::Backend(reported) = &error else { panic!("{error:?}") };
        assert_eq!(reported.kind(), annals_core::ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("PgBouncer"), "{error}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    assert_eq!(place.number("SELECT count(*) FROM {s}.writers").await, 0, "rolled back");
}

/// Every transaction that writes is explicitly READ WRITE.
async fn sessions_may_be_read_only_by_default() {
    let place = Place::new();
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", place.url);
    let config = annals_postgres::PostgresConfig::from_url(&url).unwrap();
    let backend = annals_postgres::PostgresBackend::new(config.with_schema(&place.schema));
    backend.store("a", &json!(1), 1).await.unwrap();
    assert_eq!(backend.cleanup(2).await.unwrap(), 1);
}

/// The first of several hosts accepts the connection and never answers.
async fn a_host_that_hangs_is_skipped() {
    let place = Place::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (before, host) = place.url.rsplit_once('@').unwrap();
    let url = format!("{before}@{},{host}", silent.local_addr().unwrap());
    let config = annals_postgres::PostgresConfig::from_url(&url).unwrap();
    let config =
        config.with_schema(&place.schema).with_connect_timeout(std::time::Duration::from_secs(2));
    annals_postgres::PostgresBackend::new(config).initialize().await.unwrap();
}

/// Dropping a runtime within a runtime panics; dropping the backend must not.
async fn the_last_handle_can_be_dropped_within_a_runtime() {
    let place = Place::new();
    let backend = Arc::new(place.backend());
    backend.store("a", &json!(1), 1).await.unwrap();
    let mut stream = backend.query_stream("a", QueryParams::default()).await.unwrap();
    drop(backend);
    assert_eq!(&*stream.next().await.unwrap().unwrap().json, "1");
    drop(stream);
    drop(place.backend());
}

fn pollster<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

annals_test_postgres::server_tests! {
    async small_groups_and_copies_store_the_same,
    async large_values_and_odd_text_come_back,
    async a_batch_with_an_id_is_stored_once,
    async a_retry_waits_for_an_attempt_that_has_not_ended,
    async concurrent_stores_become_few_transactions,
    async a_refused_batch_does_not_fail_its_neighbours,
    async a_broken_connection_is_a_retryable_error,
    async dropping_a_future_leaves_the_row_stored_once_or_not_at_all,
    async closing_stores_what_was_accepted_and_ends_all_clones,
    sync any_executor_works_and_the_last_handle_waits,
    async a_recreated_schema_does_not_accept_old_ids,
    async rows_that_are_not_inserted_are_an_error,
    async sessions_may_be_read_only_by_default,
    async a_host_that_hangs_is_skipped,
    async the_last_handle_can_be_dropped_within_a_runtime,
}
