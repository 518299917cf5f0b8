//! Limits that protect clients from each other.

use std::time::Duration;

use annals_server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::running::{Running, problem};

const ROW: &str = r#"{"record":"a","value":1,"stored_at":1}"#;

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let service = Running::with(Config::default().with_body_limit(100)).await;
    service.store(ROW).await;
    let long = format!(r#"{{"record":"a","value":"{}"}}"#, "x".repeat(100));
    let (status, problem) = problem(service.post(long).send().await.unwrap()).await;
    assert_eq!((status, &problem["outcome"]), (413, &"not-applied".into()));
    assert_eq!(service.lines("pattern=*").await.len(), 1);
    service.end().await;
}

#[tokio::test]
async fn so_many_rows_and_no_more() {
    let service = Running::new().await;
    let rows = vec![r#"{"record":"a","value":1}"#; 100_001].join(",");
    let (status, problem) = problem(service.post(format!("[{rows}]")).send().await.unwrap()).await;
    assert_eq!(status, 413, "{problem}");
    service.end().await;
}

#[tokio::test]
async fn writes_beyond_the_limit_are_sent_elsewhere() {
    let service = Running::with(Config::default().with_max_writes(1)).await;
    service.backend.open.send_replace(false);
    let first = tokio::spawn(service.post(ROW).send());
    service.backend.begun.acquire().await.unwrap().forget();
    let answer = service.post(ROW).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "1");
    let (status, problem) = problem(answer).await;
    assert_eq!((status, &problem["outcome"]), (503, &"not-applied".into()));
    service.backend.open.send_replace(true);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    service.end().await;
}

#[tokio::test]
async fn a_store_that_takes_too_long_has_an_unknown_outcome() {
    let service =
        Running::with(Config::default().with_request_timeout(Duration::from_millis(500))).await;
    service.backend.open.send_replace(false);
    let (status, problem) = problem(service.post(ROW).send().await.unwrap()).await;
    assert_eq!((status, &problem["outcome"]), (504, &"unknown".into()));
    service.end().await;
}

#[tokio::test]
async fn a_full_queue_says_how_many_rows_it_took() {
    let service = Running::with(Config::default().with_queue_rows(3)).await;
    service.backend.open.send_replace(false);
    let answer = service.post(ROW).header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    // One row is in flight; three more are queued.
    service.backend.begun.acquire().await.unwrap().forget();
    let rows = format!("[{ROW},{ROW},{ROW},{ROW},{ROW}]");
    let answer = service.post(rows).header("prefer", "respond-async").send().await.unwrap();
    let (status, problem) = problem(answer).await;
    assert_eq!((status, &problem["accepted"]), (503, &3.into()), "{problem}");
    service.backend.open.send_replace(true);
    let backend = service.backend.clone();
    service.end().await;
    let stored =
        annals_core::PersistenceBackend::records(&backend.memory, "a", annals_core::Grammar::Glob);
    assert_eq!(stored.await.unwrap()[0].count, 4);
}

/// An incomplete request head holds a connection no longer than the request timeout.
#[tokio::test]
async fn a_client_that_sends_nothing_is_hung_up_on() {
    let service =
        Running::with(Config::default().with_request_timeout(Duration::from_millis(50))).await;
    let mut half = TcpStream::connect(service.address()).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), half.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stays");
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    service.end().await;
}
