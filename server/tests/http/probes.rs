//! `/livez`, `/readyz` and `/metrics`.

use std::time::Duration;

use annals_core::{ErrorKind, Outcome, RetentionPolicy};
use annals_server::Config;
use serde_json::{Value, json};

use crate::running::Running;

async fn readiness(service: &Running) -> (u16, Value) {
    let answer = service.get("/readyz").send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn not_ready(reason: &str) -> (u16, Value) {
    (503, json!({"ready": false, "reasons": [reason]}))
}

#[tokio::test]
async fn it_is_ready_while_the_database_answers() {
    let service = Running::new().await;
    let ready = (200, json!({"ready": true, "reasons": []}));
    assert_eq!(readiness(&service).await, ready);
    service.backend.fail(ErrorKind::Connection, Outcome::NotApplied);
    assert_eq!(readiness(&service).await, not_ready("the database cannot be used"));
    assert_eq!(service.get("/livez").send().await.unwrap().status(), 200);
    service.backend.work();
    assert_eq!(readiness(&service).await, ready);
    service.end().await;
}

#[tokio::test]
async fn it_is_not_ready_when_the_queue_is_nearly_full() {
    let service = Running::with(Config::default().with_queue_rows(10)).await;
    service.backend.open.send_replace(false);
    let row = r#"{"record":"a","value":1,"stored_at":1}"#;
    let post = async |rows: usize| {
        let rows = format!("[{}]", vec![row; rows].join(","));
        let answer = service.post(rows).header("prefer", "respond-async").send().await.unwrap();
        assert_eq!(answer.status(), 202);
    };
    post(1).await;
    service.backend.begun.acquire().await.unwrap().forget();
    post(7).await;
    assert_eq!(readiness(&service).await.0, 200);
    post(1).await;
    assert_eq!(readiness(&service).await, not_ready("the queue is nearly full"));
    assert_eq!(service.figure("annals_recorder_pending").await, "9");
    service.backend.open.send_replace(true);
    service.end().await;
}

#[tokio::test]
async fn a_draining_replica_is_alive_not_ready_and_still_answers() {
    let hour = Duration::from_secs(3600);
    let config = Config::default().with_drain_delay(hour).with_grace_period(2 * hour);
    let mut service = Running::with(config).await;
    service.signal();
    while readiness(&service).await != not_ready("draining") {}
    assert_eq!(service.get("/livez").send().await.unwrap().status(), 200);
    service.store(r#"{"record":"a","value":1}"#).await;
}

#[tokio::test]
async fn a_recorder_that_broke_down_asks_for_a_restart() {
    let service = Running::new().await;
    service.backend.shut();
    let row = r#"{"record":"a","value":1}"#;
    let answer = service.post(row).header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(answer.status(), 202);
    while service.get("/livez").send().await.unwrap().status() == 200 {}
    let answer = service.post(row).header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_ne!(service.end().await, annals_server::Ending::AllStored);
}

#[tokio::test]
async fn everything_that_is_measured_is_told() {
    let policy = RetentionPolicy::new().keep_all(Duration::from_secs(86_400));
    let service = Running::with(Config::default().with_retention(Some(policy))).await;
    service.store(r#"{"record":"a","value":1}"#).await;
    service.lines("pattern=*").await;
    // What a client does wrong is no failure of the store.
    for path in
        ["/v1/aggregate?pattern=*&every=1s&time_zone=Nowhere", "/v1/follow?pattern=*&cursor=a"]
    {
        assert!(service.get(path).send().await.unwrap().status().is_client_error(), "{path}");
    }
    let status: Value = service.get("/v1/status").send().await.unwrap().json().await.unwrap();
    assert_eq!((&status["errors"], &status["last_error_at"]), (&json!(0), &Value::Null));
    assert!(status["rows_per_second"].as_f64().unwrap() > 0.0, "{status}");
    let answer = service.get("/metrics").send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    for name in [
        r#"annals_http_requests_total{method="POST",route="/v1/rows",status="200"} 1"#,
        r#"annals_http_requests_total{method="GET",route="/v1/history",status="200"} 1"#,
        "annals_rows_acknowledged_total 1",
        "annals_backend_errors_total 0",
        "annals_rows_skipped_total 0",
        r#"annals_store_batch_rows_bucket{le="1.0"} 1"#,
        r#"annals_store_duration_seconds_count{outcome="ok"} 1"#,
        r#"annals_query_duration_seconds_count{outcome="refused"} 1"#,
        "annals_recorder_recorded_total 0",
        "annals_recorder_stored_total 0",
        "annals_recorder_rejected_total 0",
        "annals_recorder_dropped_total 0",
        "annals_recorder_retries_total 0",
        "annals_recorder_pending 0",
        "annals_recorder_capacity_rows 65536",
        "annals_retention_failures_total 0",
        "annals_connections 1",
        "annals_body_bytes 0",
        "annals_queries_waiting 0",
        "annals_streams_open 0",
    ] {
        assert!(text.lines().any(|line| line == name), "{name} is not in {text}");
    }
    // One by the lines, one by the status; the first sweep, which asks whether anything is forwarded, comes
    // before this or after.
    let counted = r#"annals_query_duration_seconds_count{outcome="ok"} "#;
    let queries = text.lines().find_map(|line| line.strip_prefix(counted));
    assert!(matches!(queries, Some("2" | "3")), "{text}");
    service.end().await;
}
