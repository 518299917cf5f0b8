//! Aggregates that the server computes agree with the reference. `plans.rs` tests what they cost.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use annals_core::aggregate::by_rows;
use annals_core::{
    Aggregate, Batch, Bucket, Fill, Function, Interpolation, JsonText, MemoryBackend, Order,
    PersistenceBackend, PersistenceError, Result, Row, Width,
};
use annals_test_postgres::Extension;
use common::Place;
use futures::TryStreamExt;

const HOUR: u64 = 3_600_000;
/// After all rows but those at the end of time; a value holds until then.
const NOW: u64 = 1_700_000_000_000 + 100 * HOUR;

fn raw(record: &str, json: &str, stored_at: u64) -> Row {
    let mut row = common::row(record, 0, stored_at);
    row.value = JsonText::from_text(json, usize::MAX).unwrap();
    row
}

/// Values that are easy to misread on a server, beside ordinary ones.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let at = |i: u64| 1_700_000_000_000 + i * 7 * 60_000;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for i in 0..200 {
        rows.push(raw("plain", &format!("{{\"v\":{},\"ok\":true}}", random() * 40.0 + 1.0), at(i)));
        rows.push(raw("signs", &format!("{{\"v\":{}}}", random() * 2e6 - 1e6), at(i)));
        let counter = (i * 10) % 900;
        rows.push(raw("counter", &format!("{{\"v\":{counter}}}"), at(i)));
    }
    // Only the exact sum tells: the naive one is 0 here.
    for (i, v) in ["1e16", "1", "-1e16", "1.5", "0.1", "0.2", "-0.3"].iter().enumerate() {
        rows.push(raw("cancels", &format!("{{\"v\":{v}}}"), at(0) + i as u64));
    }
    for (i, json) in [
        r#"{"v":1}"#,
        r#"{"v":"2"}"#,
        r#"{"v":true}"#,
        r#"{"v":false,"v":3}"#,
        r#"{"v":4,"v":null}"#,
        r#"{"v":[5]}"#,
        r#"{"v":{"v":6}}"#,
        r#"{"w":7}"#,
        r#"[8]"#,
        r#"9"#,
        r#"{"v":9007199254740993}"#,
        r#"{"v":18446744073709551615}"#,
        r#"{"v":-0.0}"#,
        r#"{"v":1E5}"#,
        r#"{"v":5e-324}"#,
        r#"{"v":0.1234567890123456789}"#,
        r#"{"v":"true"}"#,
        r#"{ "v" : 10 }"#,
        "\"v\"",
        "null",
    ]
    .iter()
    .enumerate()
    {
        rows.push(raw("mixed", json, at(0) + i as u64 * HOUR));
    }
    for (i, json) in [
        r#"{"v":1,"text":"\u0000"}"#,
        r#"{"v":2}"#,
        r#"{"v":1e-400}"#,
        r#"{"v":1.7976931348623157e308}"#,
        r#"{"v":1.7976931348623157e308}"#,
    ]
    .iter()
    .enumerate()
    {
        rows.push(raw("hostile", json, at(0) + i as u64 * HOUR));
    }
    for (i, json) in
        [r#"{"a":{"b":1},"a":{"c":2}}"#, r#"{"a":{"b":3}}"#, r#"{"a":[4,5]}"#].iter().enumerate()
    {
        rows.push(raw("nested", json, at(i as u64)));
    }
    for (i, at) in [0, 1, HOUR, i64::MAX as u64 - 1, i64::MAX as u64].into_iter().enumerate() {
        rows.push(raw("ends of time", &format!("{{\"v\":{i}}}"), at));
    }
    // Equal times: the first and the last to arrive.
    for v in [3, 1, 2] {
        rows.push(raw("equal times", &format!("{{\"v\":{v}}}"), at(0)));
    }
    rows
}

fn all() -> Vec<Function> {
    Function::parse_list(
        "count,skipped,sum,mean,min,min_at,max,max_at,first,first_at,last,last_at,stddev,median,p95,\
         delta,increase,rate,time_weighted_mean,integral,covered_ms,duration{3}",
    )
    .unwrap()
}

fn questions() -> Vec<(&'static str, Aggregate)> {
    let by_statistics =
        "count,skipped,sum,mean,min,min_at,max,max_at,first,first_at,last,last_at,delta";
    let by_statistics = || Function::parse_list(by_statistics).unwrap();
    let window = (1_700_000_000_000 + HOUR / 2, 1_700_000_000_000 + 30 * HOUR);
    let hourly = || Aggregate::every(Duration::from_secs(3600)).now(NOW);
    let zone = "Europe/Vienna";
    let daily = || Aggregate::every(Width::parse("1d").unwrap()).time_zone(zone).now(NOW);
    let merged = "count,skipped,sum,mean,min,max,stddev,median";
    let mut questions = vec![
        ("default", Aggregate::new().now(NOW).member("v")),
        ("hourly", hourly().member("v")),
        ("days", daily().member("v")),
        ("months", Aggregate::every(Width::parse("2mo").unwrap()).now(NOW).member("v")),
        ("milliseconds", Aggregate::every(Duration::from_millis(1)).now(NOW).member("v")),
        (
            "odd width",
            Aggregate::every(Duration::from_millis(7_654_321)).origin(-5).now(NOW).member("v"),
        ),
        ("the value itself", hourly().member("")),
        ("pointer", hourly().member("/a/b")),
        ("index", hourly().member("/a/1")),
        ("no index", hourly().member("1")),
        ("quoted", hourly().member("o'k\\\"")),
        (
            "merged",
            hourly().member("v").merge(true).functions(Function::parse_list(merged).unwrap()),
        ),
        ("newest first", hourly().member("v").order(Order::NewestFirst)),
    ];
    for (name, fill) in [
        ("none", Fill::None),
        ("null", Fill::Null),
        ("previous", Fill::Previous),
        ("linear", Fill::Linear),
    ] {
        questions.push((
            name,
            hourly().member("v").range(window.0, window.1).fill(fill).functions(by_statistics()),
        ));
    }
    let ranks = Function::parse_list("median,p0,p25,p99.9,p100,sum").unwrap();
    let paths = "increase,rate,time_weighted_mean,integral,covered_ms";
    let paths = || Function::parse_list(paths).unwrap();
    for (name, interpolation, max_gap) in [
        ("lines", Interpolation::Linear, None),
        ("gaps", Interpolation::Step, Some(5 * 60_000)),
        ("lines with gaps", Interpolation::Linear, Some(5 * 60_000)),
        ("no time", Interpolation::Step, Some(0)),
    ] {
        let mut question = hourly().member("v").functions(paths()).interpolation(interpolation);
        // In the middle of the rows: what comes later is held by nobody.
        question = question.now(1_700_000_000_000 + 10 * HOUR + 3);
        if let Some(max_gap) = max_gap {
            question = question.max_gap(Duration::from_millis(max_gap));
        }
        questions.push((name, question));
    }
    let deviations = Function::parse_list("stddev,mean").unwrap();
    let groups = [by_statistics(), ranks, paths(), deviations, all()];
    for (name, functions) in
        ["by statistics", "percentiles", "paths", "deviations", "all"].into_iter().zip(groups)
    {
        if name == "all" {
            // A state needs the rows: this is the fold of any backend.
            questions
                .push((name, hourly().member("v").range(window.0, window.1).functions(functions)));
            continue;
        }
        questions.push((
            name,
            hourly().member("v").range(window.0, window.1).functions(functions.clone()),
        ));
        questions.push((
            name,
            Aggregate::new().now(NOW).member("v").start_time(window.0).functions(functions.clone()),
        ));
        questions.push((
            name,
            Aggregate::new().now(NOW).member("v").end_time(window.1).functions(functions),
        ));
    }
    questions
}

async fn answer(
    backend: &dyn PersistenceBackend,
    pattern: &str,
    question: &Aggregate,
) -> Result<Vec<Bucket>> {
    backend.aggregate_stream(pattern, question).await?.try_collect().await
}

/// Numbers may differ in the last bits, as the contract allows.
fn agree(got: &[Bucket], expected: &[Bucket]) -> bool {
    let near = |a: f64, b: f64| a == b || ((a - b) / b).abs() <= 1e-12;
    got.len() == expected.len()
        && got.iter().zip(expected).all(|(got, expected)| {
            let head =
                |b: &Bucket| (b.record.clone(), b.start, b.end, b.count, b.skipped, b.filled);
            let (values, others): (Vec<_>, Vec<_>) =
                (got.values().collect(), expected.values().collect());
            head(got) == head(expected)
                && values.len() == others.len()
                && values
                    .iter()
                    .zip(&others)
                    .all(|(a, b)| a.0 == b.0 && near(a.1.as_f64(), b.1.as_f64()))
        })
}

async fn agrees_with_the_reference(place: Place) {
    let (backend, reference) = (place.backend(), Arc::new(MemoryBackend::new()));
    for batch in rows().chunks(500) {
        let batch = Batch::new(batch.to_vec());
        backend.store_batch(&batch).await.unwrap();
        reference.store_batch(&batch).await.unwrap();
    }
    for (name, question) in questions() {
        for pattern in ["*", "hostile"].into_iter().take(if name == "default" { 2 } else { 1 }) {
            let got = answer(&backend, pattern, &question).await;
            let expected = by_rows(&*reference, pattern, &question).await;
            let expected: Result<Vec<Bucket>> = match expected {
                Ok(stream) => stream.try_collect().await,
                Err(error) => Err(error),
            };
            match (got, expected) {
                (Ok(got), Ok(expected)) => {
                    let same = agree(&got, &expected);
                    assert!(same, "{name} of {pattern}: {got:#?} instead of {expected:#?}");
                }
                (got, expected) => assert_eq!(
                    got.map_err(|error| error.to_string()),
                    expected.map_err(|error| error.to_string()),
                    "{name} of {pattern}"
                ),
            }
        }
    }
}

async fn a_plain_table_agrees_with_the_reference() {
    agrees_with_the_reference(Place::new()).await;
}

async fn partitions_agree_with_the_reference() {
    agrees_with_the_reference(Place::with_options("partition_interval=1d")).await;
}

async fn chunks_agree_with_the_reference() {
    let options = "timescale=require&chunk_interval=1d";
    agrees_with_the_reference(Place::with(Extension::Timescale, options)).await;
}

async fn shards_agree_with_the_reference() {
    agrees_with_the_reference(Place::with(Extension::Citus, "distribute=require")).await;
}

/// Text that is no longer JSON is counted as skipped, as for every backend.
async fn a_row_that_is_no_longer_json_fails_no_aggregate() {
    let place = Place::new();
    let backend = place.backend();
    for i in 0..3 {
        backend.store("a", &serde_json::json!(i), i).await.unwrap();
        backend.store("b", &serde_json::json!(i), i).await.unwrap();
    }
    let update = "UPDATE {s}.history SET value = '{' WHERE stored_at = 1 AND record_id = \
                  (SELECT id FROM {s}.records WHERE name = 'a')";
    place.execute(update).await;
    let got = answer(&backend, "*", &Aggregate::new()).await.unwrap();
    let shown: Vec<_> = got.iter().map(|b| (&*b.record, b.count, b.skipped, b.max())).collect();
    assert_eq!(shown, [("a", 2, 1, Some(2.0)), ("b", 3, 0, Some(2.0))]);
}

/// Buckets with many rows, whose sums the server alone would get wrong.
async fn sums_of_many_rows_are_exact() {
    let place = Place::new();
    let backend = place.backend();
    let value = |i: u64| if i.is_multiple_of(2) { 1e9 + 0.1 * i as f64 } else { -1e9 };
    let rows: Vec<Row> = (0..60_000).map(|i| raw("a", &format!("{:?}", value(i)), i)).collect();
    for batch in rows.chunks(5_000) {
        backend.store_batch(&Batch::new(batch.to_vec())).await.unwrap();
    }
    let question = Aggregate::new().functions([Function::Sum, Function::Mean]);
    let got = answer(&backend, "a", &question).await.unwrap();
    let expected: Vec<Bucket> =
        by_rows(&backend, "a", &question).await.unwrap().try_collect().await.unwrap();
    assert!(agree(&got, &expected), "{got:?} instead of {expected:?}");
    assert_eq!(got[0].count, 60_000);
}

async fn a_wrong_question_never_reaches_the_server() {
    let backend = annals_postgres::PostgresBackend::new(
        annals_postgres::PostgresConfig::from_url("postgres://a:b@127.0.0.1:1/x").unwrap(),
    );
    let error = answer(&backend, "*", &Aggregate::new().member("/~2")).await.unwrap_err();
    assert!(matches!(error, PersistenceError::InvalidAggregate { .. }), "{error}");
    assert_eq!(answer(&backend, "*", &Aggregate::new().range(2, 1)).await.unwrap(), []);
}

/// One snapshot: an answer that nobody reads for a while does not change.
async fn an_answer_sees_the_moment_it_was_asked() {
    let place = Place::new();
    let backend = place.backend();
    for record in ["a", "b", "c"] {
        backend.store(record, &serde_json::json!(1), 1).await.unwrap();
    }
    let stream = backend.aggregate_stream("*", &Aggregate::new()).await.unwrap();
    backend.store("c", &serde_json::json!(1), 2).await.unwrap();
    backend.cleanup(2).await.unwrap();
    let got: Vec<Bucket> = stream.try_collect().await.unwrap();
    assert_eq!(got.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [1, 1, 1]);
}

annals_test_postgres::server_tests! {
    async a_plain_table_agrees_with_the_reference,
    async partitions_agree_with_the_reference,
    async chunks_agree_with_the_reference with Timescale,
    async shards_agree_with_the_reference with Citus,
    async a_row_that_is_no_longer_json_fails_no_aggregate,
    async sums_of_many_rows_are_exact,
    async a_wrong_question_never_reaches_the_server,
    async an_answer_sees_the_moment_it_was_asked,
}
