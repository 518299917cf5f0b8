//! The reference answers of the default fold, clause by clause where the suite cannot look.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::backend::PersistenceBackend;
use crate::error::PersistenceError;
use crate::memory::MemoryBackend;
use crate::query::Order;
use crate::typed::QueryExt;

mod calendar;
mod exact;
mod flat;
mod held;
mod members;
mod moments;

/// A store with rows of one record, `r`.
async fn store(rows: &[(u64, Value)]) -> MemoryBackend {
    let store = MemoryBackend::new();
    for (at, value) in rows {
        store.store("r", value, *at).await.unwrap();
    }
    store
}

/// The buckets as JSON without the record's name.
async fn answer(store: &MemoryBackend, aggregate: &Aggregate) -> Vec<Value> {
    let buckets = store.aggregate("r", aggregate).await.unwrap();
    let mut buckets: Vec<Value> =
        buckets.iter().map(|bucket| serde_json::to_value(bucket).unwrap()).collect();
    for bucket in &mut buckets {
        assert_eq!(bucket.as_object_mut().unwrap().remove("record"), Some(json!("r")));
    }
    buckets
}

fn every(millis: u64) -> Aggregate {
    Aggregate::every(Duration::from_millis(millis)).now(1_000_000)
}

fn shown(names: &str) -> Vec<Function> {
    Function::parse_list(names).unwrap()
}

fn refused(aggregate: Aggregate) -> String {
    let error = Plan::new("r", &aggregate).unwrap_err();
    assert!(matches!(error, PersistenceError::InvalidAggregate { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn the_defaults_are_count_mean_min_and_max_of_the_value_itself() {
    let store = store(&[(0, json!(1)), (9, json!(3)), (25, json!(true)), (26, json!("x"))]).await;
    let expected = [
        json!({ "start": 0, "end": 10, "count": 2, "mean": 2.0, "min": 1.0, "max": 3.0 }),
        json!({ "start": 20, "end": 30, "count": 1, "skipped": 1, "mean": 1.0, "min": 1.0,
                "max": 1.0 }),
    ];
    assert_eq!(answer(&store, &every(10)).await, expected);
    let newest_first = every(10).order(Order::NewestFirst);
    let reversed: Vec<Value> = expected.iter().rev().cloned().collect();
    assert_eq!(answer(&store, &newest_first).await, reversed);
    let one = json!({ "start": 0, "end": 27, "count": 3, "skipped": 1, "mean": 5.0 / 3.0,
                      "min": 1.0, "max": 3.0 });
    assert_eq!(answer(&store, &Aggregate::new()).await, [one]);
}

#[tokio::test]
async fn a_window_cuts_buckets_but_not_their_bounds() {
    let rows: Vec<(u64, Value)> = (0..30).map(|at| (at, json!(at))).collect();
    let store = store(&rows).await;
    let window = every(10).range(5, 24).functions(shown("count,min_at,max_at,first_at,last_at"));
    let expected = [(0, 5, 9), (10, 10, 19), (20, 20, 24)].map(|(start, first, last)| {
        json!({ "start": start, "end": start + 10, "count": last - first + 1,
                "min_at": first, "max_at": last, "first_at": first, "last_at": last })
    });
    assert_eq!(answer(&store, &window).await, expected);
    let whole = Aggregate::new().range(5, 24).functions([Function::Count]);
    assert_eq!(answer(&store, &whole).await, [json!({ "start": 5, "end": 25, "count": 20 })]);
    for empty in [every(10).range(40, 50), every(10).range(9, 5)] {
        assert!(answer(&store, &empty).await.is_empty());
    }
}

#[tokio::test]
async fn an_origin_shifts_the_buckets_and_may_lie_after_the_rows() {
    let store = store(&[(0, json!(1)), (4, json!(2))]).await;
    let count = |origin| every(10).origin(origin).functions([Function::Count]);
    let expected = [
        json!({ "start": -6, "end": 4, "count": 1 }),
        json!({ "start": 4, "end": 14, "count": 1 }),
    ];
    for origin in [4, 14, -6, i64::MAX - i64::MAX % 10 - 6] {
        assert_eq!(answer(&store, &count(origin)).await, expected, "{origin}");
    }
}

#[tokio::test]
async fn percentiles_interpolate_and_are_bounded_in_memory() {
    let rows: Vec<(u64, Value)> = [7, 1, 5, 3].into_iter().map(|v| (v, json!(v))).collect();
    let store = store(&rows).await;
    let asked = Aggregate::new().functions(shown("median,p0,p100,p99.9,p25"));
    let expected = json!({ "start": 1, "end": 8, "count": 4, "median": 4.0, "p0": 1.0,
                           "p100": 7.0, "p99.9": 5.0 + 2.0 * 0.997, "p25": 2.5 });
    assert_eq!(answer(&store, &asked).await, [expected]);
    let error = store.aggregate("r", &asked.clone().max_samples(3)).await.unwrap_err();
    assert!(matches!(error, PersistenceError::TooManySamples { limit: 3 }), "{error}");
    // A bucket that is complete frees its samples.
    let apart = every(1).functions(shown("median")).max_samples(2);
    assert_eq!(answer(&store, &apart).await.len(), 4);
}

#[tokio::test]
async fn a_counter_rises_from_before_the_bucket_and_falls_to_zero() {
    let rows = [(1, 5), (11, 8), (12, 2), (13, 4), (21, 4), (31, 9)];
    let store = store(&rows.map(|(at, value)| (at, json!(value)))).await;
    let asked = every(10).functions(shown("delta,increase,rate"));
    let got = answer(&store, &asked.clone().range(10, 29)).await;
    assert_eq!(
        got,
        [
            // From 5 to 8, then 2 and 4 after a reset; all of the ten milliseconds are covered.
            json!({ "start": 10, "end": 20, "count": 3, "delta": -4.0, "increase": 7.0,
                    "rate": 700.0 }),
            json!({ "start": 20, "end": 30, "count": 1, "delta": 0.0, "increase": 0.0,
                    "rate": 0.0 }),
        ]
    );
    let first = answer(&store, &asked.range(0, 9)).await;
    let expected = json!({ "start": 0, "end": 10, "count": 1, "delta": 0.0, "increase": 0.0,
                           "rate": 0.0 });
    assert_eq!(first, [expected]);
}

#[tokio::test]
async fn filling_leaves_the_future_alone() {
    let store = store(&[(5, json!(1)), (15, json!(2)), (45, json!(5)), (46, json!(null))]).await;
    let asked = |fill| every(10).range(10, 69).now(55).fill(fill).functions(shown("mean,sum"));
    let row = |start: u64, count: u64, values: Value| {
        let mut row = json!({ "start": start, "end": start + 10, "count": count });
        row.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        row
    };
    let full = row(10, 1, json!({ "mean": 2.0, "sum": 2.0 }));
    let last = row(40, 1, json!({ "skipped": 1, "mean": 5.0, "sum": 5.0 }));
    let with = |between: [Value; 2], after: Value| {
        let [a, b] = between;
        vec![full.clone(), row(20, 0, a), row(30, 0, b), last.clone(), row(50, 0, after)]
    };
    let none = json!({});
    let filled = |mean: f64| json!({ "mean": mean, "filled": true });
    assert_eq!(answer(&store, &asked(Fill::None)).await, [full.clone(), last.clone()]);
    let expected = with([none.clone(), none.clone()], none.clone());
    assert_eq!(answer(&store, &asked(Fill::Null)).await, expected);
    let expected = with([filled(2.0), filled(2.0)], filled(5.0));
    assert_eq!(answer(&store, &asked(Fill::Previous)).await, expected);
    let expected = with([filled(3.0), filled(4.0)], none);
    assert_eq!(answer(&store, &asked(Fill::Linear)).await, expected);
    // The value before the window, in a window without rows.
    let before = every(10).range(20, 29).fill(Fill::Previous).functions(shown("last"));
    let expected = json!({ "start": 20, "end": 30, "count": 0, "last": 2.0, "filled": true });
    assert_eq!(answer(&store, &before).await, [expected]);
}

#[tokio::test]
async fn too_many_buckets_are_refused_before_reading_or_when_they_are() {
    let store = store(&[(0, json!(1)), (2_000_000, json!(2))]).await;
    store.close().await.unwrap();
    let all = |to: u64| every(1).range(0, to).now(5_000_000).fill(Fill::Null);
    let certain = store.aggregate("r", &all(1_000_000)).await.unwrap_err();
    assert!(matches!(certain, PersistenceError::TooManyBuckets { limit: 1_000_000 }), "{certain}");
    let asked = store.aggregate("r", &all(999_999)).await.unwrap_err();
    assert!(matches!(asked, PersistenceError::BackendShutdown), "{asked}");
    let store = self::store(&[(0, json!(1)), (2_000_000, json!(2))]).await;
    let open = every(1).now(5_000_000);
    assert_eq!(store.aggregate("r", &open).await.unwrap().len(), 2);
    let filled = store.aggregate("r", &open.fill(Fill::Null)).await.unwrap_err();
    assert!(matches!(filled, PersistenceError::TooManyBuckets { .. }), "{filled}");
}

#[tokio::test]
async fn merged_records_are_one_series_of_order_free_functions() {
    let store = MemoryBackend::new();
    for (record, at, value) in [("a", 1, 1), ("b", 1, 2), ("b", 12, 3), ("a", 13, 6), ("c", 30, 0)]
    {
        store.store(record, &json!(value), at).await.unwrap();
    }
    let names = "count,sum,first,first_at,last,last_at,median,stddev";
    let asked = every(10).range(0, 19).merge(true).functions(shown(names));
    let got = store.aggregate("*", &asked).await.unwrap();
    let got: Vec<Value> = got.iter().map(|bucket| serde_json::to_value(bucket).unwrap()).collect();
    assert_eq!(
        got,
        [
            json!({ "record": "*", "start": 0, "end": 10, "count": 2, "sum": 3.0, "first": 1.0,
                    "first_at": 1, "last": 2.0, "last_at": 1, "median": 1.5,
                    "stddev": 0.5_f64.sqrt() }),
            json!({ "record": "*", "start": 10, "end": 20, "count": 2, "sum": 9.0, "first": 3.0,
                    "first_at": 12, "last": 6.0, "last_at": 13, "median": 4.5,
                    "stddev": 4.5_f64.sqrt() }),
        ]
    );
    for name in ["delta", "increase", "rate", "time_weighted_mean", "integral", "covered_ms"] {
        let error = store.aggregate("*", &asked.clone().functions(shown(name))).await.unwrap_err();
        assert!(matches!(error, PersistenceError::Unsupported(_)), "{name}: {error}");
    }
    let nothing = every(10).range(0, 19).merge(true).fill(Fill::Null);
    assert_eq!(store.aggregate("nobody", &nothing).await.unwrap(), []);
}

#[test]
fn what_cannot_work_says_what_to_write() {
    let messages = [
        refused(Aggregate::every(Duration::ZERO)),
        refused(Aggregate::every(Duration::from_nanos(1))),
        refused(Aggregate::new().member("/a~2")),
        refused(Aggregate::new().time_zone("Mars/Olympus")),
        refused(Aggregate::new().origin(1)),
        refused(Aggregate::every(Width::parse("1d").unwrap()).origin(1)),
        refused(Aggregate::new().max_gap(Duration::ZERO)),
    ];
    assert!(messages[3].starts_with("invalid time zone \"Mars/Olympus\": "), "{}", messages[3]);
    for text in ["", "1", "-1h", "1d12h", "0d", "1.5d", "two", "0h"] {
        assert!(Width::parse(text).is_err(), "{text}");
    }
    for text in ["1ms", "90 seconds", "PT1H", "1h 30m", "2mo", "1 week"] {
        assert!(Width::parse(text).is_ok(), "{text}");
    }
    for name in ["", "avg", "p", "p101", "p-1", "p1.", "p.5", "duration{}", "duration{[1]}"] {
        assert!(Function::parse(name).is_err(), "{name}");
    }
    for name in ["p0", "p100", "p99.999", "duration{null}", "duration{\"}\"}", "duration{1e3}"] {
        assert_eq!(Function::parse(name).unwrap().name(), name);
    }
    let list = shown("count,duration{\"a,\\\"}b\"},p5");
    let names: Vec<&str> = list.iter().map(Function::name).collect();
    assert_eq!(names, ["count", "duration{\"a,\\\"}b\"}", "p5"]);
}
