//! `GET /v1/history` and `GET /v1/records`.

use std::time::Duration;

use annals_server::Config;
use serde_json::{Value, json};

use crate::running::{Running, problem};

/// `a.b` has the values 1 to 4, `a.c` has 5, each at its own time.
async fn filled() -> Running {
    let service = Running::new().await;
    let row = |record: &str, value: u64| {
        format!(r#"{{"record":"{record}","value":{value},"stored_at":{value}}}"#)
    };
    let rows: Vec<String> = (1..=4).map(|value| row("a.b", value)).chain([row("a.c", 5)]).collect();
    service.store(&format!("[{}]", rows.join(","))).await;
    service
}

async fn values(service: &Running, query: &str) -> Vec<u64> {
    let lines = service.lines(query).await;
    lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["value"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn every_parameter_does_what_it_says() {
    let service = filled().await;
    for (query, expected) in [
        ("pattern=*", &[4, 3, 2, 1, 5][..]),
        ("pattern=*&order=oldest", &[1, 2, 3, 4, 5]),
        ("pattern=*&order=newest&latest=2", &[4, 3, 5]),
        ("pattern=*&latest=2&order=oldest", &[3, 4, 5]),
        ("pattern=*&from=2&to=3", &[3, 2]),
        ("pattern=*&from=4", &[4, 5]),
        ("pattern=*&limit=3", &[4, 3, 2]),
        ("pattern=*&limit=0", &[]),
        ("pattern=*&from=3&to=2", &[]),
        ("pattern=a.c", &[5]),
        ("pattern=nobody", &[]),
        ("pattern=%23&grammar=topic&latest=1", &[4, 5]),
        ("pattern=*&grammar=topic", &[]),
    ] {
        assert_eq!(values(&service, query).await, expected, "{query}");
    }
    service.end().await;
}

#[tokio::test]
async fn the_listing_counts() {
    let service = filled().await;
    let answer = service.get("/v1/records?pattern=*b").send().await.unwrap();
    let expected = json!([{"record": "a.b", "count": 4, "first": 1, "last": 4}]);
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    let answer = service.get("/v1/records").send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap().as_array().unwrap().len(), 2);
    service.end().await;
}

#[tokio::test]
async fn an_invalid_query_is_a_problem() {
    let service = filled().await;
    for query in [
        "/v1/history",
        "/v1/history?pattern=",
        "/v1/history?pattern=*&latest=-1",
        "/v1/history?pattern=*&latest=few",
        "/v1/history?pattern=*&order=best",
        "/v1/history?pattern=*&grammar=regex",
        "/v1/history?pattern=*&form=1",
        "/v1/records?pattern=",
    ] {
        let (status, problem) = problem(service.get(query).send().await.unwrap()).await;
        assert_eq!(status, 400, "{query}: {problem}");
    }
    let answer = service.get("/v1/nothing").send().await.unwrap();
    assert_eq!(problem(answer).await.0, 404);
    let answer = service.get("/v1/rows").send().await.unwrap();
    assert_eq!(problem(answer).await.0, 405);
    service.end().await;
}

/// A client must be able to tell an answer that was cut off from a complete one.
#[tokio::test]
async fn an_answer_that_is_cut_off_has_no_end() {
    let service = Running::new().await;
    for rows in [0, 5, 10_000] {
        *service.backend.breaks_after.lock().unwrap() = Some(rows);
        let answer = service.get("/v1/history?pattern=*").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.is_err(), "{rows} rows");
    }
    assert_eq!(
        service.figure(r#"annals_query_duration_seconds_count{outcome="error"}"#).await,
        "3"
    );
    service.end().await;
}

/// 200,000 rows are several megabytes, more than the socket buffers hold.
#[tokio::test]
async fn a_large_answer_is_complete_and_one_that_is_not_read_is_cut_off() {
    let service = Running::with(Config::default().with_stall_timeout(Duration::from_secs(1))).await;
    let text = "x".repeat(100);
    let row = |n: u64| format!(r#"{{"record":"a","value":"{text}","stored_at":{n}}}"#);
    for part in 0..4 {
        let rows: Vec<String> = (0..50_000).map(|n| row(part * 50_000 + n)).collect();
        service.store(&format!("[{}]", rows.join(","))).await;
    }
    assert_eq!(service.lines("pattern=a").await.len(), 200_000);
    let ok = r#"annals_query_duration_seconds_count{outcome="ok"}"#;
    assert_eq!(service.figure(ok).await, "1");

    let stalled = service.get("/v1/history?pattern=a").send().await.unwrap();
    let cancelled = r#"annals_query_duration_seconds_count{outcome="cancelled"} 1"#;
    loop {
        let text = service.get("/metrics").send().await.unwrap().text().await.unwrap();
        if text.contains(cancelled) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(stalled.bytes().await.is_err());
    service.end().await;
}

#[tokio::test]
async fn a_listing_has_pages() {
    let service = Running::new().await;
    let rows: Vec<String> =
        (0..25).map(|n| format!(r#"{{"record":"ü&{n:02}","value":1,"stored_at":1}}"#)).collect();
    service.store(&format!("[{}]", rows.join(","))).await;
    let mut names = Vec::new();
    let mut path = "/v1/records?limit=10".to_owned();
    let mut pages = 0;
    loop {
        let answer = service.get(&path).send().await.unwrap();
        let next = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = answer.json().await.unwrap();
        names.extend(page.as_array().unwrap().iter().map(|record| record["record"].clone()));
        pages += 1;
        let Some(next) = next else { break };
        let query = next.strip_prefix('<').unwrap().split_once('>').unwrap().0;
        path = format!("/v1/records{query}");
    }
    let expected: Vec<Value> = (0..25).map(|n| format!("ü&{n:02}").into()).collect();
    assert_eq!((pages, names), (3, expected));
    for limit in ["0", "10001", "x"] {
        let path = format!("/v1/records?limit={limit}");
        assert_eq!(problem(service.get(&path).send().await.unwrap()).await.0, 400, "{limit}");
    }
    service.end().await;
}

#[tokio::test]
async fn aggregates_and_the_value_at_a_time() {
    let service = filled().await;
    let lines = async |path: &str| {
        let answer = service.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = lines("/v1/aggregate?pattern=a.b&show=mean,max").await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0]["mean"], &all[0]["max"], &all[0]["count"]),
        (&2.5.into(), &4.0.into(), &4.into())
    );
    let every = "/v1/aggregate?pattern=*&every=2ms&show=sum&order=newest&from=1&to=5";
    let sums: Vec<Value> = lines(every).await.iter().map(|bucket| bucket["sum"].clone()).collect();
    assert_eq!(sums, [4.0, 5.0, 1.0, 5.0].map(Value::from));
    assert_eq!(lines("/v1/aggregate?pattern=*&merge=true&limit=1").await.len(), 1);
    let at = lines("/v1/value-at?pattern=*&at=3").await;
    assert_eq!(at, [json!({"record": "a.b", "value": 3, "stored_at": 3})]);
    assert_eq!(lines("/v1/value-at?pattern=*&at=1971-01-01T00:00:00Z").await.len(), 2);
    for wrong in [
        "/v1/aggregate?pattern=*&every=never",
        "/v1/aggregate?pattern=*&show=everything",
        "/v1/aggregate?pattern=*&time_zone=Nowhere&every=1d",
        "/v1/aggregate?pattern=*&max_gap=x",
        // It was 501, as if another store had an answer.
        "/v1/aggregate?pattern=*&merge=true&show=rate",
        "/v1/aggregate",
        "/v1/value-at?pattern=*",
        "/v1/value-at?pattern=*&at=soon",
    ] {
        assert_eq!(problem(service.get(wrong).send().await.unwrap()).await.0, 400, "{wrong}");
    }
    service.end().await;
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let service = Running::new().await;
    let answer = service.get("/v1/openapi.json").send().await.unwrap();
    let api: Value = answer.json().await.unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"), "{}", api["openapi"]);
    for (path, method) in [
        ("/v1/rows", "post"),
        ("/v1/batch", "get"),
        ("/v1/history", "get"),
        ("/v1/records", "get"),
        ("/v1/aggregate", "get"),
        ("/v1/value-at", "get"),
        ("/v1/follow", "get"),
        ("/v1/history", "delete"),
        ("/v1/status", "get"),
    ] {
        assert!(api["paths"][path][method].is_object(), "{path}");
    }
    service.end().await;
}

#[tokio::test]
async fn the_state_of_the_server_is_told() {
    let service = filled().await;
    let status: Value = service.get("/v1/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(
        status["history"],
        json!({"records": 2, "rows": 5, "oldest_row": 1, "newest_row": 5})
    );
    assert_eq!(status["queue"]["rows"], 0);
    assert!(status["rows_per_second"].as_f64().unwrap() > 0.0, "{status}");
    service.end().await;
}
