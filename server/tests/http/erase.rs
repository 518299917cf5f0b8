//! `DELETE /v1/history`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_core::{ErrorKind, Outcome, PersistenceBackend};
use annals_server::{Config, Right};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::guarded::{Guarded, grant, unlimited};
use crate::running::{Running, problem};

/// `a.b` has the values 1 to 4, `a.c` has 5, each at its own time.
async fn filled() -> Running {
    filled_with(Config::default()).await
}

async fn filled_with(config: Config) -> Running {
    let service = Running::with(config).await;
    let row = |record: &str, value: u64| {
        format!(r#"{{"record":"{record}","value":{{"n":{value}}},"stored_at":{value}}}"#)
    };
    let rows: Vec<String> = (1..=4).map(|value| row("a.b", value)).chain([row("a.c", 5)]).collect();
    service.store(&format!("[{}]", rows.join(","))).await;
    service
}

async fn rows(service: &Running) -> usize {
    service.lines("pattern=*").await.len()
}

async fn sent(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    assert!(!answer.headers().contains_key("annals-restricted"));
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn what_matches_is_counted_and_erased() {
    for (query, expected) in [
        ("pattern=*", 5),
        ("pattern=a.b", 4),
        ("pattern=nobody", 0),
        ("pattern=a.*&grammar=topic&from=3", 3),
        ("pattern=*&to=2", 2),
        ("pattern=*&from=2&to=3", 2),
        ("pattern=*&from=3&to=2", 0),
        ("pattern=*&where=n%20%3E%203", 2),
        ("pattern=a.b&from=2&where=not%20n%20%3D%203", 2),
    ] {
        let service = filled().await;
        for _ in 0..2 {
            let counted = sent(service.delete(&format!("{query}&dry_run=true"))).await;
            assert_eq!(counted, (200, json!({ "would_erase": expected })), "{query}");
            assert_eq!(rows(&service).await, 5, "{query}");
        }
        let erased = sent(service.delete(query)).await;
        assert_eq!(erased, (200, json!({ "erased": expected })), "{query}");
        assert_eq!(rows(&service).await, 5 - expected, "{query}");
        assert_eq!(sent(service.delete(query)).await, (200, json!({ "erased": 0 })), "{query}");
        assert_eq!(service.figure("annals_rows_erased_total").await, expected.to_string());
        service.end().await;
    }
}

#[tokio::test]
async fn a_wrong_request_erases_nothing_and_says_what_is_wrong() {
    let service = filled().await;
    for (query, says) in [
        ("", "pattern"),
        ("pattern=", "pattern"),
        ("pattern=a*.b&grammar=topic", "pattern"),
        ("pattern=*&where=n%20%3E", "filter"),
        ("pattern=*&where=", "filter"),
        ("pattern=*&from=soon", "RFC 3339"),
        ("pattern=*&from=", "RFC 3339"),
        ("pattern=*&dry_run=perhaps", "dry_run"),
        ("pattern=*&latest=1", "latest"),
        ("pattern=*&pattern=a", "pattern"),
        ("pattern=a%ff", "UTF-8"),
        // Nobody means the year 58000; everything before it would go.
        ("pattern=*&to=1740081234000000", "microseconds"),
    ] {
        let (status, problem) = problem(service.delete(query).send().await.unwrap()).await;
        assert_eq!(status, 400, "{query}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{query}: {problem}");
    }
    // What curl sends with -d: a filter that nobody reads.
    let request = service.delete("pattern=*").body("where=n = 1&dry_run=true");
    let (status, said) = problem(request.send().await.unwrap()).await;
    assert!(status == 400 && said["detail"].to_string().contains("URL"), "{said}");
    assert_eq!(said["outcome"], "not-applied");
    assert_eq!(rows(&service).await, 5);
    service.end().await;

    // A window in seconds begins in 1970: everything would go.
    let service = Running::start(Config::default(), None, std::sync::Arc::default()).await;
    service.store(r#"{"record":"a","value":1}"#).await;
    let answer = service.delete("pattern=*&from=1740081234").send().await.unwrap();
    let (status, problem) = problem(answer).await;
    assert!(status == 400 && problem["detail"].to_string().contains("seconds"), "{problem}");
    assert_eq!(rows(&service).await, 1);
    // The beginning is meant.
    assert_eq!(sent(service.delete("pattern=*&from=0")).await, (200, json!({ "erased": 1 })));
    service.end().await;
}

/// No page of another origin, and no form.
#[tokio::test]
async fn nothing_but_the_method_erases() {
    let service = filled().await;
    let url = format!("{}/v1/history?pattern=*", service.base);
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let form = service.client.request(method.clone(), &url).body("_method=DELETE");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let form = form.header("x-http-method-override", "DELETE");
        assert_eq!(form.send().await.unwrap().status(), 405, "{method}");
    }
    for path in ["/v1/history?pattern=*&_method=DELETE", "/v1/history?pattern=*&dry_run=false"] {
        let answer = service.get(path).header("x-http-method-override", "DELETE");
        assert_eq!(answer.send().await.unwrap().status(), 400, "{path}");
    }
    let asked =
        service.client.request(Method::OPTIONS, &url).header("origin", "http://evil.example");
    let asked = asked.header("access-control-request-method", "DELETE").send().await.unwrap();
    assert!(!asked.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    let foreign = service.delete("pattern=*").header("host", "evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    assert_eq!(rows(&service).await, 5);
    service.end().await;
}

#[tokio::test]
async fn a_store_that_cannot_erase_or_fails_says_so() {
    let service = filled().await;
    service.backend.erases.store(false, Ordering::SeqCst);
    for query in ["pattern=*", "pattern=*&dry_run=true"] {
        let (status, problem) = problem(service.delete(query).send().await.unwrap()).await;
        assert_eq!((status, &problem["outcome"]), (501, &"not-applied".into()), "{query}");
    }
    service.backend.erases.store(true, Ordering::SeqCst);
    for (outcome, says) in [(Outcome::NotApplied, "not-applied"), (Outcome::Unknown, "unknown")] {
        service.backend.fail(ErrorKind::Connection, outcome);
        let (status, problem) = problem(service.delete("pattern=*").send().await.unwrap()).await;
        assert_eq!((status, &problem["outcome"]), (503, &says.into()));
        assert!(problem.get("erased").is_none(), "{problem}");
    }
    service.backend.work();
    assert_eq!(rows(&service).await, 5);
    service.end().await;
}

/// The client that hangs up, or waits no longer, must not leave half of it.
#[tokio::test]
async fn an_erase_that_has_begun_goes_on() {
    let config = Config::default().with_request_timeout(Duration::from_secs(1)).with_max_writes(1);
    let service = filled_with(config).await;
    service.backend.open.send_replace(false);
    let (status, problem) = problem(service.delete("pattern=*").send().await.unwrap()).await;
    assert_eq!((status, &problem["outcome"]), (504, &"unknown".into()));
    assert!(problem["detail"].as_str().unwrap().contains("dry_run"), "{problem}");
    // It keeps its place among the writes.
    let busy = service.delete("pattern=*").send().await.unwrap();
    let (status, busy) = crate::running::problem(busy).await;
    assert_eq!((status, &busy["outcome"]), (503, &"not-applied".into()));
    assert_eq!(
        service.backend.memory.records("*", annals_core::Grammar::Glob).await.unwrap().len(),
        2
    );
    service.backend.open.send_replace(true);
    service.until("annals_rows_erased_total", "5").await;
    service.end().await;
}

/// What a token may not erase is as if it were not there, as with queries.
#[tokio::test]
async fn an_erase_takes_what_the_token_may_erase() {
    let (guarded, tokens) = Guarded::new(vec![
        ("reader", vec![grant(&[Right::Read], "*")], unlimited()),
        ("one", vec![grant(&[Right::Erase], "plant1::*")], unlimited()),
        ("a", vec![grant(&[Right::Erase], "*"), grant(&[Right::Read], "*::a")], unlimited()),
    ])
    .await;
    let [reader, one, of_a] = [0, 1, 2].map(|token| &*tokens[token]);
    let erase = async |query: &str, token: &str| {
        let answer = guarded.service.delete(query).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{query}");
        let restricted = answer.headers().contains_key("annals-restricted");
        let rows: Value = answer.json().await.unwrap();
        let rows = rows["erased"].as_u64().or(rows["would_erase"].as_u64()).unwrap();
        (rows, restricted)
    };
    let refused = async |query: &str, token: Option<&str>| {
        let request = guarded.service.delete(query);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        problem(request.send().await.unwrap()).await.0
    };
    assert_eq!(refused("pattern=*", Some(reader)).await, 403);
    assert_eq!(refused("pattern=*&dry_run=true", Some(reader)).await, 403);
    assert_eq!(refused("pattern=*", None).await, 401);
    // A filter would tell what the values are.
    assert_eq!(refused("pattern=*&where=%3E%200", Some(one)).await, 403);
    assert_eq!(refused("pattern=*&where=%3E%200&dry_run=true", Some(one)).await, 403);
    for (query, token, expected) in [
        ("pattern=*", one, (2, true)),
        ("pattern=plant1::*", one, (2, false)),
        ("pattern=plant1::a", one, (1, false)),
        ("pattern=plant2::a", one, (0, true)),
        ("pattern=plant2::*", one, (0, true)),
        ("pattern=*&from=2", one, (1, true)),
        ("pattern=*", of_a, (3, false)),
        ("pattern=*&where=%3E%200", of_a, (2, true)),
        ("pattern=*::b&where=%3E%200", of_a, (0, true)),
        ("pattern=*::a&where=%3E%202", of_a, (1, false)),
    ] {
        assert_eq!(erase(&format!("{query}&dry_run=true"), token).await, expected, "{query}");
    }
    assert_eq!(guarded.names("/v1/records", reader).await.0.len(), 3);
    assert_eq!(erase("pattern=*&where=%3E%202", of_a).await, (1, true));
    assert_eq!(guarded.names("/v1/records", reader).await.0, ["plant1::a", "plant1::b"]);
    assert_eq!(erase("pattern=plant2::*", one).await, (0, true));
    assert_eq!(erase("pattern=*", one).await, (2, true));
    assert!(guarded.names("/v1/records", reader).await.0.is_empty());
    guarded.service.end().await;
}

/// Records go one after the other if the pattern reaches beyond the right.
#[tokio::test]
async fn an_erase_that_fails_in_between_says_how_many_rows_went() {
    let grants = vec![grant(&[Right::Erase], "plant1::*")];
    let (guarded, tokens) = Guarded::new(vec![("one", grants, unlimited())]).await;
    let service = &guarded.service;
    service.backend.erases_left.store(1, Ordering::SeqCst);
    let answer = service.delete("pattern=*").bearer_auth(&tokens[0]).send().await.unwrap();
    let (status, problem) = problem(answer).await;
    assert_eq!((status, &problem["outcome"]), (503, &"unknown".into()), "{problem}");
    assert_eq!(problem["erased"], 1);
    let left = service.backend.memory.records("*", annals_core::Grammar::Glob).await.unwrap();
    let left: Vec<&str> = left.iter().map(|record| &*record.record).collect();
    assert_eq!(left, ["plant1::b", "plant2::a"]);
    guarded.service.end().await;
}
