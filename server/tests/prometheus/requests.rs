//! Requests as Grafana and others send them, and those that are refused.

use annals_core::{MemoryBackend, StoreExt};
use annals_server::{Config, PrometheusSettings, router};
use serde_json::{Value, json};

use crate::servers::{annals, get};

async fn two_records() -> String {
    let history = MemoryBackend::new();
    history.put_at("host::cpu", &json!({ "percent": 12.5, "up": true }), 1_000_000).await.unwrap();
    history.put_at("level", &3, 1_000_500).await.unwrap();
    history.put_at("note", &"text", 1_000_700).await.unwrap();
    annals(history).await
}

#[tokio::test]
async fn grafana_finds_labels_values_and_series() {
    let base = two_records().await;
    let data = async |path: &str, parameters: &[(&str, &str)]| {
        let (status, body) = get(&base, path, parameters).await;
        assert_eq!((status, &body["status"]), (200, &json!("success")), "{path}: {body}");
        body["data"].clone()
    };
    assert_eq!(data("labels", &[]).await, json!(["__name__", "member", "record"]));
    let of_level = [("match[]", r#"annals{record="level"}"#)];
    assert_eq!(data("labels", &of_level).await, json!(["__name__", "record"]));
    assert_eq!(data("label/record/values", &[]).await, json!(["host::cpu", "level"]));
    assert_eq!(data("label/member/values", &[]).await, json!(["percent", "up"]));
    assert_eq!(data("label/__name__/values", &[]).await, json!(["annals"]));
    assert_eq!(data("label/job/values", &[]).await, json!([]));
    assert_eq!(data("label/record/values", &of_level).await, json!(["level"]));
    let up = json!([{ "__name__": "annals", "member": "up", "record": "host::cpu" }]);
    assert_eq!(data("series", &[("match[]", r#"{member="up"}"#)]).await, up);
    let both = [("match[]", r#"{member="up"}"#), ("match[]", "annals")];
    assert_eq!(data("series", &both).await.as_array().unwrap().len(), 3);
    let later = [("match[]", "annals"), ("start", "99999999"), ("end", "99999999")];
    assert_eq!(data("series", &later).await, json!([]));
    assert!(data("metadata", &[]).await["annals"][0]["type"].is_string());
    assert!(data("status/buildinfo", &[]).await["version"].as_str().unwrap().starts_with("2."));
}

#[tokio::test]
async fn a_form_is_read_as_the_parameters_of_the_url() {
    let base = two_records().await;
    let form = "query=annals&start=1000&end=1002&step=1s&match%5B%5D=annals";
    for path in ["query_range", "query", "series", "labels"] {
        let post = reqwest::Client::new().post(format!("{base}/api/v1/{path}"));
        let post = post.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer: Value = post.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        if path == "query_range" {
            let of_cpu =
                json!({ "__name__": "annals", "member": "percent", "record": "host::cpu" });
            let series = answer["data"]["result"].as_array().unwrap().iter();
            let mut series = series.filter(|series| series["metric"] == of_cpu);
            let values = &series.next().unwrap()["values"];
            assert_eq!(values, &json!([[1000, "12.5"], [1001, "12.5"], [1002, "12.5"]]));
        }
    }
}

/// Compression polls an answer's body once more after its end, and the body panicked: every browser
/// got half an answer.
#[tokio::test]
async fn a_compressed_answer_is_complete() {
    let base = two_records().await;
    let history = base.replace("/prometheus", "/v1/history?pattern=*");
    let query = format!("{base}/api/v1/query?query=annals&time=1002");
    for url in [history, query] {
        let request = reqwest::Client::new().get(&url).header("accept-encoding", "gzip");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{url}");
        let body = answer.bytes().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        assert!(body.starts_with(&[0x1f, 0x8b]), "{url}");
    }
}

#[tokio::test]
async fn the_newest_value_stands_for_the_look_back() {
    let history = MemoryBackend::new();
    history.put_at("door", &1, 1_000_000).await.unwrap();
    let hour = PrometheusSettings::default().with_lookback(std::time::Duration::from_secs(3600));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/prometheus", listener.local_addr().unwrap());
    let router =
        router(std::sync::Arc::new(history), Config::default().with_prometheus(hour)).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for (time, lookback, series) in [
        ("4599.999", None, 1),
        ("4600", None, 0),
        ("1299", Some("5m"), 1),
        ("1300", Some("5m"), 0),
        ("999", None, 0),
    ] {
        let mut asked = vec![("query", "annals"), ("time", time)];
        asked.extend(lookback.map(|lookback| ("lookback_delta", lookback)));
        let (_, body) = get(&base, "query", &asked).await;
        assert_eq!(body["data"]["result"].as_array().unwrap().len(), series, "{asked:?}: {body}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name_and_position() {
    let base = two_records().await;
    for (query, names) in [
        ("histogram_quantile(0.9, annals)", "function histogram_quantile at 1:1"),
        ("1 +\n  abs(annals)", "function abs at 2:3"),
        ("topk(3, annals)", "aggregation topk at 1:1"),
        ("sum without (record) (annals)", "modifier without at 1:5"),
        ("annals offset 5m", "modifier offset at 1:8"),
        ("annals @ 5", "modifier @ at 1:8"),
        ("annals > 5", "comparison > at 1:8"),
        ("annals == bool 1", "comparison == at 1:8"),
        ("annals and annals", "operator and at 1:8"),
        ("1 + 2 * (annals - annals)", "operator - between two series at 1:17"),
        ("-1 - -annals / annals", "operator / between two series at 1:14"),
        ("rate(annals[5m:1m])", "subquery at 1:15"),
        // The parser panicked, and took the second for five seconds.
        ("rate(annals[888888888888888888888])", "the range at 1:13"),
        ("rate(annals[99999999999m5s])", "the range at 1:13"),
        ("rate(annals[1e99])", "the range at 1:13"),
        ("annals[5m]", "a range of samples outside of a function"),
        ("\"text\"", "a text as a query"),
        ("{record=\"a\" or record=\"b\"}", "`or` between matchers at 1:13"),
        ("rate(annals)", ""),
        ("avg_over_time(5)", ""),
        ("quantile_over_time(annals, annals[5m])", ""),
        ("sum(5)", ""),
        ("annals{", ""),
        ("annals{record=~\"(\"}", ""),
        ("{}", ""),
        ("", "missing"),
        ("   ", "empty"),
    ] {
        let (status, body) = get(&base, "query", &[("query", query)]).await;
        assert_eq!((status, &body["errorType"]), (400, &json!("bad_data")), "{query}: {body}");
        assert!(body["error"].as_str().unwrap().contains(names), "{query}: {body}");
    }
    let deep = "(".repeat(10_000) + "1" + &")".repeat(10_000);
    let wide = "1+".repeat(5_000) + "1";
    for hostile in [deep, wide, "-".repeat(3_000) + "1", "é".repeat(9_000), "a\0b".to_owned()] {
        let post = reqwest::Client::new().post(format!("{base}/api/v1/query"));
        let form: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("query", &hostile).finish();
        assert_eq!(post.body(form).send().await.unwrap().status(), 400);
    }
}

#[tokio::test]
async fn answers_are_bounded() {
    let history = MemoryBackend::new();
    for number in 0..20 {
        history.put_at(&format!("r{number}"), &number, 1_000_000 + number).await.unwrap();
    }
    let few = PrometheusSettings::default().with_max_series(19);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/prometheus", listener.local_addr().unwrap());
    let router =
        router(std::sync::Arc::new(history), Config::default().with_prometheus(few)).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let (status, body) = get(&base, "query", &[("query", "annals"), ("time", "2000")]).await;
    assert_eq!((status, &body["errorType"]), (422, &json!("execution")), "{body}");
    let range =
        [("query", "annals{record=\"r1\"}"), ("start", "0"), ("end", "11001"), ("step", "1")];
    let (status, body) = get(&base, "query_range", &range).await;
    assert_eq!(status, 400, "{body}");
    let overlapping = "quantile_over_time(0.5, annals{record=\"r1\"}[1h])";
    let range = [("query", overlapping), ("start", "1000"), ("end", "5000"), ("step", "1")];
    let (status, body) = get(&base, "query_range", &range).await;
    assert_eq!(status, 422, "{body}");
}

/// The sum of a window's start and its length was larger than an i64, and the answer 500.
#[tokio::test]
async fn a_window_may_be_as_long_as_can_be_said() {
    let history = MemoryBackend::new();
    history.put_at("level", &3, 1_760_000_000_000).await.unwrap();
    let base = annals(history).await;
    let query = "quantile_over_time(0.5, annals[292471208y])";
    let range = [("query", query), ("start", "1759999999"), ("end", "1760000001"), ("step", "1")];
    let (status, body) = get(&base, "query_range", &range).await;
    let values = json!([[1_760_000_000, "3"], [1_760_000_001, "3"]]);
    assert_eq!((status, &body["data"]["result"][0]["values"]), (200, &values), "{body}");
}
