//! The Prometheus API beside a real Prometheus that holds the same samples.
#![allow(clippy::unwrap_used, reason = "helpers of tests panic like tests")]

mod compare;
mod requests;
mod samples;
mod servers;

use std::fmt::Write as _;

use crate::compare::{difference, read};
use crate::samples::{END, START, history, open_metrics};
use crate::servers::{Servers, get, promtool};

/// Every query is asked at several times and over several ranges.
const QUERIES: [&str; 64] = [
    "annals",
    r#"annals{record="gauge::plain"}"#,
    r#"annals{record="host::cpu0"}"#,
    r#"annals{record="host::cpu0",member="percent"}"#,
    r#"annals{record=~"host::.*",member="percent"}"#,
    r#"annals{record=~"host::cpu[01]"}"#,
    r#"annals{record!="gauge::plain"}"#,
    r#"annals{record!~"host.*|net.*"}"#,
    r#"annals{member=""}"#,
    r#"annals{member!=""}"#,
    r#"annals{member=~"percent|bytes"}"#,
    r#"annals{member=~"per.*"}"#,
    r#"annals{member!~"per.*",record=~"host.*"}"#,
    r#"annals{record="door::front"}"#,
    r#"annals{record="weather \"attic\"\\"}"#,
    r#"annals{member="/outdoor/value"}"#,
    r#"annals{job=""}"#,
    r#"annals{job="none"}"#,
    r#"{__name__="annals",record="net::eth0"}"#,
    r#"{record="net::eth0"}"#,
    "other",
    r#"annals{record="nowhere"}"#,
    "avg_over_time(annals[5m])",
    "min_over_time(annals[5m])",
    "max_over_time(annals[5m])",
    "sum_over_time(annals[5m])",
    "count_over_time(annals[5m])",
    "last_over_time(annals[5m])",
    "quantile_over_time(0.95, annals[5m])",
    "quantile_over_time(0, annals[7m])",
    "quantile_over_time(0.5, annals[90s])",
    r#"quantile_over_time(0.333, annals{record=~"host.*"}[10m])"#,
    r#"quantile_over_time(1.5, annals{record="gauge::plain"}[5m])"#,
    r#"quantile_over_time(-1, annals{record="gauge::plain"}[5m])"#,
    r#"rate(annals{member="bytes"}[5m])"#,
    r#"rate(annals{member="bytes"}[1m])"#,
    r#"rate(annals{member="bytes"}[47s])"#,
    r#"increase(annals{member="bytes"}[10m])"#,
    r#"increase(annals{record="net::eth1"}[1h])"#,
    r#"delta(annals{record="gauge::plain"}[5m])"#,
    "delta(annals[13m])",
    "rate(annals[2h])",
    "count_over_time(annals[1h30m])",
    "avg_over_time(annals[17s])",
    "sum(annals)",
    "avg(annals)",
    "min(annals)",
    "max(annals)",
    "count(annals)",
    "sum by (record) (annals)",
    "avg by (member) (annals)",
    "count by (record, member) (annals)",
    "sum by (nothing) (annals)",
    "max by (__name__) (annals)",
    r#"sum by (record) (rate(annals{member="bytes"}[5m]))"#,
    r#"sum(rate(annals{member="bytes"}[5m])) by (record) * 8"#,
    "count(sum by (record) (annals))",
    r#"annals{record="gauge::plain"} * 2 + 1"#,
    r#"100 - annals{record="host::cpu0",member="percent"}"#,
    r#"-annals{record="gauge::plain"} / 0"#,
    r#"annals{record="gauge::plain"} % 7"#,
    r#"2 ^ (annals{record="gauge::plain"} / 10)"#,
    "1 + 2 * 3 - 4 / 8",
    "-(2 ^ 3 ^ 0.5) % 5",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_have_the_answers_of_prometheus() {
    let servers = Servers::start(history().await, &open_metrics()).await;
    let seconds = |millis: u64| (millis / 1_000).to_string();
    let mut differences = String::new();
    let (mut compared, mut with_series) = (0, 0);
    for query in QUERIES {
        let mut questions: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
        for at in [START - 10_000, START + 1_800_000, START + 7_203_000, END + 600_000] {
            questions.push(("query", vec![("time", seconds(at))]));
        }
        for (from, to, step) in [
            (START, END, "60"),
            (START + 600_000, START + 4_000_000, "15"),
            // A step that is no part of the ranges, and one that is greater than most of them.
            (START - 600_000, END + 600_000, "437"),
            (START, END, "1800"),
        ] {
            let range = [("start", seconds(from)), ("end", seconds(to)), ("step", step.to_owned())];
            questions.push(("query_range", range.into()));
        }
        for (path, parameters) in questions {
            let mut given: Vec<(&str, &str)> = vec![("query", query)];
            given.extend(parameters.iter().map(|(name, value)| (*name, value.as_str())));
            let (status, ours) = get(&servers.annals, path, &given).await;
            assert_eq!(status, 200, "{given:?}: {ours}");
            let (_, theirs) = get(&servers.prometheus, path, &given).await;
            compared += 1;
            with_series += usize::from(!read(&ours).is_empty());
            if let Some(difference) = difference(&read(&ours), &read(&theirs)) {
                writeln!(differences, "{path} {given:?}: {difference}").unwrap();
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(compared, QUERIES.len() * 8);
    assert!(with_series > compared * 3 / 4, "only {with_series} of {compared} have series");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_prints_the_same_of_both() {
    let servers = Servers::start(history().await, &open_metrics()).await;
    let at = (START + 7_200_000) / 1_000;
    let (from, to) = ((at - 3_600).to_string(), at.to_string());
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let ask = |arguments: &[&str]| {
        let of = |url: &str| {
            let with_url = arguments.iter().map(|argument| match *argument {
                "URL" => url,
                argument => argument,
            });
            sorted(promtool(&with_url.collect::<Vec<&str>>()))
        };
        let (ours, theirs) = (of(&servers.annals), of(&servers.prometheus));
        assert!(!ours.is_empty() && !ours[0].is_empty(), "{arguments:?} prints nothing");
        assert_eq!(ours, theirs, "{arguments:?}");
    };
    for query in ["annals", "count_over_time(annals[5m])", "max by (record) (annals)", "6 * 7"] {
        let time = format!("--time={at}");
        ask(&["query", "instant", &time, "URL", query]);
        let (start, end) = (format!("--start={from}"), format!("--end={to}"));
        ask(&["query", "range", &start, &end, "--step=5m", "URL", query]);
    }
    let (start, end) = (format!("--start={from}"), format!("--end={to}"));
    ask(&["query", "series", &start, &end, "--match=annals", "URL"]);
    ask(&["query", "labels", &start, &end, "URL", "record"]);
    ask(&["query", "labels", &start, &end, "URL", "member"]);
}

/// The one difference that is meant: a window does not have its first millisecond, as in Prometheus
/// 3. Prometheus 2 counts a sample there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_at_the_start_of_a_window_counts_in_prometheus_2_only() {
    use annals_core::{MemoryBackend, StoreExt};

    let history = MemoryBackend::new();
    let mut text = "# TYPE annals unknown\n".to_owned();
    for minute in 0..10 {
        let at = START + minute * 60_000;
        history.put_at("edge", &minute, at).await.unwrap();
        writeln!(text, "annals{{record=\"edge\"}} {minute} {}", at / 1_000).unwrap();
    }
    let servers = Servers::start(history, &(text + "# EOF\n")).await;
    let time = ((START + 300_000) / 1_000).to_string();
    let question = [("query", "count_over_time(annals[2m])"), ("time", time.as_str())];
    let (_, ours) = get(&servers.annals, "query", &question).await;
    let (_, theirs) = get(&servers.prometheus, "query", &question).await;
    let (_, build) = get(&servers.prometheus, "status/buildinfo", &[]).await;
    let is_2 = build["data"]["version"].as_str().unwrap().starts_with("2.");
    assert_eq!(ours["data"]["result"][0]["value"][1], "2");
    assert_eq!(theirs["data"]["result"][0]["value"][1], if is_2 { "3" } else { "2" });
}
