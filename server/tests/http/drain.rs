//! The shutdown of a replica.

use std::time::Duration;

use annals_core::{ErrorKind, Outcome, QueryExt};
use annals_server::{Config, Ending};

use crate::running::Running;

const ROW: &str = r#"{"record":"a","value":1,"stored_at":1}"#;

#[tokio::test]
async fn requests_that_are_under_way_are_answered() {
    let mut service = Running::new().await;
    service.backend.open.send_replace(false);
    let request = tokio::spawn(service.post(ROW).send());
    service.backend.begun.acquire().await.unwrap().forget();
    service.signal();
    // No connection is accepted any more, and the one that was accepted is served.
    while service.get("/livez").send().await.is_ok() {}
    assert!(!request.is_finished());
    service.backend.open.send_replace(true);
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
    assert_eq!(service.end().await, Ending::AllStored);
}

#[tokio::test]
async fn what_was_accepted_is_stored_before_the_end() {
    let mut service = Running::new().await;
    service.backend.fail(ErrorKind::Connection, Outcome::NotApplied);
    for _ in 0..5 {
        let answer = service.post(ROW).header("prefer", "respond-async").send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }
    service.signal();
    while service.get("/livez").send().await.is_ok() {}
    let backend = service.backend.clone();
    backend.work();
    assert_eq!(service.end().await, Ending::AllStored);
    let values: Vec<u64> = backend.memory.query_latest("a", 9).await.unwrap();
    assert_eq!(values, [1; 5]);
}

#[tokio::test]
async fn rows_that_cannot_be_stored_within_the_grace_period_are_counted() {
    let config = Config::default()
        .with_request_timeout(Duration::from_millis(100))
        .with_grace_period(Duration::from_millis(500));
    let service = Running::with(config).await;
    service.backend.open.send_replace(false);
    let rows = format!("[{ROW},{ROW}]");
    let answer = service.post(rows).header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(service.end().await, Ending::RowsLeft { rows: 2 });
}
