//! Buckets computed from blocks are those of the reference, which computes them from rows.

use std::time::Duration;

use annals_core::aggregate::Width;
use annals_core::{
    Aggregate, Batch, Bucket, ErrorKind, Fill, Function, MemoryBackend, Order, PersistenceBackend,
    PersistenceError, QueryExt, Row, Value,
};
use annals_embedded::EmbeddedConfig;
use futures::StreamExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::disk::Disk;
use crate::{NAMES, runtime, still, tiny};

/// Sums of these are exact in any order.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-50_i32..50).prop_map(|number| json!({"at": number, "other": "x"})),
        1 => any::<bool>().prop_map(|state| json!({"at": state})),
        1 => Just(json!({"at": "open"})),
        1 => Just(json!({"other": [1, 2, 3]})),
    ]
}

pub(crate) type Rows = Vec<(u8, u64, Value)>;

/// Mostly in order of time, as records are written, or in any order.
pub(crate) fn rows() -> impl Strategy<Value = Rows> {
    let row = |time| (0..NAMES.len() as u8, time, value());
    let in_order = vec(row(0_u64..2), 1..160).prop_map(|rows| {
        let mut now = 0;
        let advance = |(record, step, value)| {
            now += step;
            (record, now, value)
        };
        rows.into_iter().map(advance).collect::<Rows>()
    });
    prop_oneof![in_order, vec(row(0_u64..80), 1..160)]
}

pub(crate) fn aggregate() -> impl Strategy<Value = Aggregate> {
    let functions = [
        "count",
        "skipped",
        "sum",
        "mean",
        "min",
        "max_at",
        "first",
        "last",
        "stddev",
        "median",
        "p90",
        "delta",
        "increase",
        "rate",
        "integral",
        "time_weighted_mean",
        "covered_ms",
        "duration{\"open\"}",
        "duration{true}",
    ];
    let functions = vec(select(functions.to_vec()), 1..4);
    let fill = select(vec![Fill::None, Fill::None, Fill::Null, Fill::Previous, Fill::Linear]);
    let bound = || option::of(0_u64..90);
    let width = option::of(1_u64..40);
    let flags = (any::<bool>(), any::<bool>(), option::of(1_u64..20));
    (functions, fill, bound(), bound(), width, flags).prop_map(
        |(functions, fill, from, to, width, (merge, newest_first, max_gap))| {
            let mut aggregate = match width {
                Some(ms) => Aggregate::every(Duration::from_millis(ms)),
                None => Aggregate::new(),
            };
            aggregate = aggregate.member("at").fill(fill).merge(merge).now(100);
            aggregate =
                aggregate.functions(functions.iter().map(|name| Function::parse(name).unwrap()));
            if let Some(from) = from {
                aggregate = aggregate.start_time(from);
            }
            if let Some(to) = to {
                aggregate = aggregate.end_time(to);
            }
            if let Some(gap) = max_gap {
                aggregate = aggregate.max_gap(Duration::from_millis(gap));
            }
            if newest_first {
                aggregate = aggregate.order(Order::NewestFirst);
            }
            aggregate
        },
    )
}

/// Equal but for what adding in another order may change.
pub(crate) fn same(one: &[Bucket], other: &[Bucket]) {
    let shown = |buckets: &[Bucket]| serde_json::to_value(buckets).unwrap();
    let (one, other) = (shown(one), shown(other));
    let mut pairs = vec![(&one, &other)];
    while let Some((a, b)) = pairs.pop() {
        match (a, b) {
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                pairs.extend(a.iter().zip(b))
            }
            (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
                pairs.extend(a.values().zip(b.values()));
            }
            (Value::Number(a), Value::Number(b)) => {
                let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{one:#}\n{other:#}");
            }
            _ => assert_eq!(a, b, "{one:#}\n{other:#}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn aggregates_are_those_of_the_reference(rows in rows(), questions in vec(aggregate(), 1..12)) {
        runtime().block_on(async {
            let (store, reference) = (Disk::default().open(tiny()), MemoryBackend::new());
            for rows in rows.chunks(3) {
                let row = |(record, time, value): &(u8, u64, Value)| {
                    Row::new(NAMES[usize::from(*record)], value, *time).unwrap()
                };
                let batch = Batch::new(rows.iter().map(row).collect::<Vec<_>>());
                store.store_batch(&batch).await.unwrap();
                reference.store_batch(&batch).await.unwrap();
            }
            for question in &questions {
                for pattern in ["*", "a*", "b", "none"] {
                    let answer = store.aggregate(pattern, question).await;
                    match (answer, reference.aggregate(pattern, question).await) {
                        (Ok(answer), Ok(expected)) => same(&answer, &expected),
                        (Err(error), Err(expected)) => {
                            assert_eq!(error.to_string(), expected.to_string());
                        }
                        (answer, expected) => panic!("{answer:?} instead of {expected:?}"),
                    }
                }
            }
            store.close().await.unwrap();
        });
    }
}

/// A step ends within a record and is divided there; buckets do not show it.
#[tokio::test]
async fn a_record_longer_than_a_step_has_whole_buckets() {
    let (store, reference) = (Disk::default().open(tiny()), MemoryBackend::new());
    for batch in 0..30 {
        let row = |at: u64| Row::new("a", &json!({"at": at % 7}), batch * 50 + at).unwrap();
        let batch = Batch::new((0..50).map(row).collect::<Vec<_>>());
        store.store_batch(&batch).await.unwrap();
        reference.store_batch(&batch).await.unwrap();
    }
    let functions = ["count", "sum", "p50", "increase", "integral"];
    let functions = functions.map(|name| Function::parse(name).unwrap());
    for width in [7, 50, 999, 10_000] {
        let question = Aggregate::every(Duration::from_millis(width))
            .member("at")
            .functions(functions.clone())
            .now(10_000);
        let answer = store.aggregate("a", &question).await.unwrap();
        same(&answer, &reference.aggregate("a", &question).await.unwrap());
        assert_eq!(answer.iter().map(|bucket| bucket.count).sum::<u64>(), 1_500);
    }
    let month = Aggregate::every(Width::parse("1mo").unwrap()).member("at");
    assert_eq!(store.aggregate("a", &month).await.unwrap()[0].count, 1_500);
}

/// Damage in a block that a question needs is an error, and questions that do not need it are answered.
#[tokio::test]
async fn damage_is_an_error_of_the_question() {
    let disk = Disk::default();
    crate::filled(&disk, 300).await;
    let store = Disk::with(std::sync::Arc::new(disk.data().damaged())).open(still());
    let error = store.aggregate("*", &Aggregate::new().member("/0")).await.unwrap_err();
    assert!(matches!(error, PersistenceError::Backend(_)), "{error}");
    let later = Aggregate::new().member("/0").start_time(1_000);
    assert_eq!(store.aggregate("*", &later).await.unwrap(), []);
}

fn batch(records: u64, from: u64) -> Batch {
    let row = |at: u64| {
        let name = format!("record {}", at % records);
        Row::new(&name, &json!({"at": at}), from + at).unwrap()
    };
    Batch::new((0..200).map(row).collect::<Vec<_>>())
}

/// What is stored while the stream is read is not in it.
#[tokio::test]
async fn a_stream_of_buckets_sees_one_state() {
    let store = Disk::default().open(tiny());
    store.store_batch(&batch(7, 0)).await.unwrap();
    let every = Aggregate::every(Duration::from_millis(5)).member("at");
    let mut buckets = store.aggregate_stream("*", &every).await.unwrap();
    let mut count = buckets.next().await.unwrap().unwrap().count;
    store.store_batch(&batch(7, 1_000)).await.unwrap();
    assert_eq!(store.cleanup(150).await.unwrap(), 150);
    while let Some(bucket) = buckets.next().await {
        count += bucket.unwrap().count;
    }
    assert_eq!(count, 200);
}

/// As a stream of rows does.
#[tokio::test]
async fn a_stream_of_buckets_that_is_not_read_loses_its_snapshot() {
    let config = EmbeddedConfig {
        tuning: tiny(),
        snapshot_timeout: Some(Duration::ZERO),
        ..EmbeddedConfig::new("", 0)
    };
    let store = Disk::default().open_with(config);
    store.store_batch(&batch(7, 0)).await.unwrap();
    let every = Aggregate::every(Duration::from_millis(5)).member("at");
    let buckets = store.aggregate_stream("*", &every).await.unwrap();
    let mut buckets: Vec<Result<Bucket, PersistenceError>> = buckets.collect().await;
    let error = buckets.pop().unwrap().unwrap_err();
    assert!(
        matches!(&error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Timeout),
        "{error}"
    );
    assert!(buckets.iter().all(Result::is_ok));
}
