//! Filters are tested on columns, and the answers are those of the reference, which tests the text.

use annals_core::{
    Aggregate, Batch, MemoryBackend, Order, PersistenceBackend, Predicate, QueryExt, QueryParams,
    Row, Value,
};
use annals_embedded::Tuning;
use annals_embedded::format::Layout;
use futures::TryStreamExt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::aggregates::{aggregate, rows, same};
use crate::disk::Disk;
use crate::{NAMES, params, runtime, still, tiny};

fn predicate() -> impl Strategy<Value = Predicate> {
    let text = select(vec![
        "at > 0",
        "at <= -20",
        "at = 7",
        "at != 7",
        "at > 1000",
        "not at > 1000",
        "at = 'open' or at = true",
        "exists at and not at > -30",
        "exists other",
        "other = 'x' and at < 10",
        "/other/1 = 2",
        "exists nothing",
    ]);
    text.prop_map(|text| Predicate::parse(text).unwrap())
}

async fn found(
    store: &dyn PersistenceBackend,
    params: QueryParams,
    predicate: &Predicate,
) -> Vec<(String, u64, String)> {
    let rows = store.query_where("*", params, predicate).await.unwrap();
    let row =
        |row: annals_core::RawRow| (row.record.to_string(), row.stored_at, row.json.to_string());
    rows.map_ok(row).try_collect().await.unwrap()
}

/// Blocks that hold several records with statistics.
fn small() -> Tuning {
    let layout = Layout { rest_rows: 32, rest_text: 2_000, ..tiny().layout };
    Tuning { layout, ..tiny() }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn filters_are_those_of_the_reference(
        rows in rows(),
        later in rows(),
        // Limit, start, end, oldest first.
        queries in vec(
            (
                predicate(),
                option::of(1_usize..9),
                option::of(0_u64..90),
                option::of(0_u64..90),
                any::<bool>(),
            ),
            1..8,
        ),
        questions in vec((predicate(), aggregate()), 1..6),
    ) {
        runtime().block_on(async {
            let (store, reference) = (Disk::default().open(small()), MemoryBackend::new());
            for (part, rows) in [rows, later].iter().enumerate() {
                for rows in rows.chunks(3) {
                    let row = |(record, time, value): &(u8, u64, Value)| {
                        Row::new(NAMES[usize::from(*record)], value, *time).unwrap()
                    };
                    let batch = Batch::new(rows.iter().map(row).collect::<Vec<_>>());
                    store.store_batch(&batch).await.unwrap();
                    reference.store_batch(&batch).await.unwrap();
                }
                if part == 0 {
                    store.compact(|_| {}).await.unwrap();
                }
            }
            for (predicate, limit, from, to, forward) in &queries {
                let params = params(*limit, *from, *to, *forward);
                let expected = found(&reference, params, predicate).await;
                assert_eq!(found(&store, params, predicate).await, expected, "{predicate} {params:?}");
            }
            for (predicate, question) in questions {
                let question = question.with_where(predicate);
                for pattern in ["*", "a"] {
                    let answer = store.aggregate(pattern, &question).await;
                    match (answer, reference.aggregate(pattern, &question).await) {
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

/// More rows without a match than a step passes over.
#[tokio::test]
async fn the_one_row_among_many_is_found_from_both_ends() {
    let store = Disk::default().open(still());
    for batch in 0..80 {
        let row = |at: u64| {
            let at = batch * 1_000 + at;
            Row::new("a", &json!({"n": at % 500, "alarm": at == 41_234}), at).unwrap()
        };
        store.store_batch(&Batch::new((0..1_000).map(row).collect::<Vec<_>>())).await.unwrap();
    }
    store.compact(|_| {}).await.unwrap();
    for text in ["alarm = true", "n > 600 or alarm = true", "n = 234 and alarm != false"] {
        let alarm = Predicate::parse(text).unwrap();
        for order in [Order::NewestFirst, Order::OldestFirst] {
            for limit in [None, Some(1), Some(2)] {
                let params = QueryParams::default().with_order(order).with_limit_per_record(limit);
                let rows = found(&store, params, &alarm).await;
                assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [41_234], "{text}");
            }
        }
        let none = QueryParams::range(0, 41_233);
        assert_eq!(found(&store, none, &alarm).await, []);
    }
    let never = Predicate::parse("n > 499").unwrap();
    assert_eq!(found(&store, QueryParams::latest(5), &never).await, []);
}

/// What statistics rule out is what no row satisfies, up to the greatest value itself.
#[tokio::test]
async fn the_greatest_value_is_found_and_nothing_above_it() {
    let store = Disk::default().open(still());
    for batch in 0..20 {
        let row = |at: u64| Row::new("a", &json!({"n": at}), batch * 1_000 + at).unwrap();
        store.store_batch(&Batch::new((0..1_000).map(row).collect::<Vec<_>>())).await.unwrap();
    }
    store.compact(|_| {}).await.unwrap();
    for (text, expected) in [("n >= 999", 20), ("n > 999", 0), ("n != 999", 19_980)] {
        let predicate = Predicate::parse(text).unwrap();
        let rows = found(&store, QueryParams::default(), &predicate).await;
        assert_eq!(rows.len(), expected, "{text}");
        let question = Aggregate::new().member("n").with_where(predicate);
        let buckets = store.aggregate("*", &question).await.unwrap();
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), expected as u64);
    }
}
