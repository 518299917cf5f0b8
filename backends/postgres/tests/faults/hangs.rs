//! A server or a network that answers nothing: calls and closing end within their limits.

use std::time::{Duration, Instant};

use annals_core::{Batch, ErrorKind, Outcome, PersistenceBackend, QueryExt};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Fault, LocalServer, Proxy};
use serde_json::json;

use crate::common::{Place, row};
use crate::{blocking, kind};

/// Its processes are stopped: connections stay open, and only the kernel accepts new ones.
pub(crate) async fn a_server_that_hangs_is_a_timeout_within_the_limits() {
    let server = LocalServer::start().unwrap();
    let config = PostgresConfig::from_url(server.url()).unwrap();
    let config = config
        .with_statement_timeout(Duration::from_millis(500))
        .with_connect_timeout(Duration::from_secs(3))
        .with_wait_timeout(Duration::from_millis(500));
    let backend = PostgresBackend::new(config.clone());
    backend.store("a", &json!(1), 1).await.unwrap();
    let fresh = PostgresBackend::new(config);
    server.halt().unwrap();
    // Far more than the sum of the limits.
    let within = Duration::from_secs(60);
    let begun = Instant::now();
    let error = backend.store("a", &json!(2), 2).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Timeout, "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown, "the commit was sent");
    let error = backend.query_latest::<i64>("a", 1).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Timeout, "{error}");
    let error = fresh.store("a", &json!(3), 3).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("`connect_timeout`"), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    // With batches in the queue.
    let stores = (0..20).map(|i| {
        let backend = backend.clone();
        tokio::spawn(async move { backend.store("a", &json!(i), 4).await })
    });
    let stores: Vec<_> = stores.collect();
    tokio::task::yield_now().await;
    backend.close().await.unwrap();
    for store in stores {
        store.await.unwrap().unwrap_err();
    }
    blocking(move || drop(fresh)).await;
    assert!(begun.elapsed() < within, "{:?}", begun.elapsed());
    server.go_on().unwrap();
    let back = PostgresBackend::connect(server.url()).await.unwrap();
    back.store("b", &json!(1), 1).await.unwrap();
}

/// As after a pulled cable: no data arrives, and no end of the connection.
pub(crate) async fn a_silent_connection_is_given_up() {
    let place = Place::new();
    let proxy = Proxy::start(&place.url).unwrap();
    let config = PostgresConfig::from_url(&proxy.url(&place.url).unwrap()).unwrap();
    let config = config
        .with_schema(&place.schema)
        .with_statement_timeout(Duration::from_secs(1))
        .with_connect_timeout(Duration::from_secs(2));
    let backend = PostgresBackend::new(config);
    proxy.set(Fault::Delay(Duration::from_millis(5)));
    backend.store("a", &json!(1), 1).await.unwrap();
    proxy.set(Fault::Silence);
    let error = backend.store("a", &json!(2), 2).await.unwrap_err();
    assert_eq!((kind(&error), error.outcome()), (ErrorKind::Timeout, Outcome::Unknown));
    let error = backend.store("a", &json!(3), 3).await.unwrap_err();
    assert_eq!((kind(&error), error.outcome()), (ErrorKind::Timeout, Outcome::NotApplied));
    assert_eq!(kind(&backend.query_latest::<i64>("a", 1).await.unwrap_err()), ErrorKind::Timeout);
    proxy.cut();
    proxy.set(Fault::None);
    backend.store("a", &json!(4), 4).await.unwrap();
    let back: Vec<i64> = backend.query_latest("a", 9).await.unwrap();
    assert!(back == [4, 1] || back == [4, 2, 1], "{back:?}");
}

/// Each transaction once had its limits and the queue had none: closing took their sum.
pub(crate) async fn closing_ends_in_time_if_the_server_hangs() {
    let place = Place::new();
    let proxy = Proxy::start(&place.url).unwrap();
    let config = PostgresConfig::from_url(&proxy.url(&place.url).unwrap()).unwrap();
    let config = config.with_schema(&place.schema).with_close_timeout(Duration::from_secs(1));
    let backend = PostgresBackend::new(config);
    backend.store("a", &json!(0), 0).await.unwrap();
    proxy.set(Fault::Silence);
    // One group under way, and twenty behind it.
    let stores: Vec<_> = (1..=21_u64)
        .map(|i| {
            let backend = backend.clone();
            let rows: Vec<_> = (0..4_096).map(|_| row("a", 1, i)).collect();
            let store = async move { backend.store_batch(&Batch::new(rows)).await };
            tokio::spawn(store)
        })
        .collect();
    while backend.pools()[0].idle > 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    let error = backend.close().await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(kind(&error), ErrorKind::Timeout, "{error}");
    let mut outcomes = Vec::new();
    for store in stores {
        let error = store.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("`close_timeout`"), "{error}");
        outcomes.push(error.outcome());
    }
    // With this many rows the commit waits for the answers to everything before it.
    assert_eq!(outcomes, [Outcome::NotApplied; 21]);
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.to_string().contains("of 21 batches (86016 rows), 21 were"), "{error}");
    assert!(backend.close().await.is_err(), "it is told again");
    // The delayed data arrives, and changes nothing.
    drop(proxy);
    assert_eq!(place.backend().query_latest::<i64>("a", 9).await.unwrap(), [0]);
}

pub(crate) async fn closing_reports_an_unanswered_commit_as_unknown() {
    let place = Place::new();
    let proxy = Proxy::start(&place.url).unwrap();
    let config = PostgresConfig::from_url(&proxy.url(&place.url).unwrap()).unwrap();
    let config = config.with_schema(&place.schema).with_close_timeout(Duration::from_millis(200));
    let backend = PostgresBackend::new(config);
    backend.store("a", &json!(0), 0).await.unwrap();
    proxy.set(Fault::Silence);
    let store = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.store("a", &json!(1), 1).await })
    };
    while backend.pools()[0].idle > 0 {
        tokio::task::yield_now().await;
    }
    let error = backend.close().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(error.to_string().contains("the outcome of 1 is unknown"), "{error}");
    assert_eq!(store.await.unwrap().unwrap_err().outcome(), Outcome::Unknown);
}
