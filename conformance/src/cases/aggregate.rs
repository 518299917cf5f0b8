//! SAMPLE: which numbers an aggregate sees; and what all cases about aggregates ask and compare with.

use std::time::Duration;

use annals_core::{
    Aggregate, Batch, Bucket, Function, JsonText, PersistenceError, QueryExt, Value,
};
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, failure, refused};
use crate::context::{Context, Store, row};

cases![
    sample_1_numbers_and_booleans_are_samples,
    sample_1_anything_else_is_counted_as_skipped,
    sample_1_a_member_is_a_name_or_a_pointer,
    sample_1_the_last_of_equal_names_counts,
];

/// The time at which every question of the suite is asked.
pub(crate) const NOW: u64 = 2_000_000_000_000;

/// Buckets of a fixed number of milliseconds.
pub(crate) fn every(millis: u64) -> Aggregate {
    Aggregate::every(Duration::from_millis(millis)).now(NOW)
}

/// One bucket.
pub(crate) fn whole() -> Aggregate {
    Aggregate::new().now(NOW)
}

/// Functions by their names.
pub(crate) fn functions(names: &str) -> Verdict<Vec<Function>> {
    Function::parse_list(names).during("parsing the names of functions")
}

/// The answer as JSON.
pub(crate) async fn buckets(
    store: &Store,
    pattern: &str,
    aggregate: &Aggregate,
) -> Verdict<Vec<Value>> {
    let buckets = store.aggregate(pattern, aggregate).await;
    as_json(&buckets.during(format!("aggregating {pattern:?}"))?)
}

pub(crate) fn as_json(buckets: &[Bucket]) -> Verdict<Vec<Value>> {
    let json = buckets.iter().map(serde_json::to_value).collect::<Result<_, _>>();
    json.during("serializing buckets")
}

/// The answer must be the one expected: members and their order of results may not differ, numbers
/// not by more than the contract allows.
pub(crate) async fn answers(
    store: &Store,
    what: &str,
    pattern: &str,
    aggregate: &Aggregate,
    expected: &[Value],
) -> Verdict {
    same(what, &buckets(store, pattern, aggregate).await?, expected)
}

#[track_caller]
pub(crate) fn same(what: &str, got: &[Value], expected: &[Value]) -> Verdict {
    let alike = got.len() == expected.len()
        && got.iter().zip(expected).all(|(got, expected)| is_same(got, expected));
    let shown = |buckets: &[Value]| {
        let lines: Vec<String> = buckets.iter().map(Value::to_string).collect();
        format!("{} buckets: {}", buckets.len(), lines.join(" "))
    };
    if alike { Ok(()) } else { Err(failure(what, shown(expected), shown(got))) }
}

/// Functions whose result may be off by a relative 1e-12; all others are exact.
fn is_rounded(function: &str) -> bool {
    let rounded = ["sum", "mean", "stddev", "median", "rate", "increase", "delta", "integral"];
    rounded.contains(&function)
        || function == "time_weighted_mean"
        || function.strip_prefix('p').is_some_and(|rest| rest.starts_with(|c: char| c.is_numeric()))
}

fn is_same(got: &Value, expected: &Value) -> bool {
    let (Some(got), Some(expected)) = (got.as_object(), expected.as_object()) else { return false };
    got.len() == expected.len()
        && expected.iter().all(|(name, expected)| {
            let Some(got) = got.get(name) else { return false };
            match (got.as_f64(), expected.as_f64()) {
                (Some(a), Some(b)) if is_rounded(name) => {
                    (a - b).abs() <= 2e-12 * a.abs().max(b.abs())
                }
                (Some(a), Some(b)) => {
                    let are_integers = got.is_u64() && expected.is_u64();
                    if are_integers { got == expected } else { a == b }
                }
                _ => got == expected,
            }
        })
}

async fn sample_1_numbers_and_booleans_are_samples(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let samples = [
        (json!(0), 0.0),
        (json!(-0.0), 0.0),
        (json!(0.1), 0.1),
        (json!(-1), -1.0),
        (json!((1_u64 << 53) + 1), 9_007_199_254_740_992.0),
        (json!((1_u64 << 53) + 3), 9_007_199_254_740_996.0),
        (json!(u64::MAX), 18_446_744_073_709_551_616.0),
        (json!(i64::MIN), -9_223_372_036_854_775_808.0),
        (json!(1e308), 1e308),
        (json!(f64::MIN), f64::MIN),
        (json!(5e-324), 5e-324),
        (json!(1.5e-300), 1.5e-300),
        (json!(true), 1.0),
        (json!(false), 0.0),
    ];
    let mut expected = Vec::new();
    for (at, (value, sample)) in (0..).zip(samples) {
        store.put("bare", value.clone(), at).await?;
        store.put("member", json!({ "other": "x", "v": value, "w": [1] }), at).await?;
        expected.push(json!({ "record": "", "start": at, "end": at + 1, "count": 1,
                              "first": sample, "max": sample }));
    }
    for (record, member) in [("bare", ""), ("member", "v"), ("member", "/v")] {
        let asked = every(1).member(member).functions(functions("first,max")?);
        expected.iter_mut().for_each(|bucket| bucket["record"] = json!(record));
        answers(&store, &format!("each sample of {member:?}"), record, &asked, &expected).await?;
    }
    Ok(())
}

async fn sample_1_anything_else_is_counted_as_skipped(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let others = [
        json!({ "v": "5" }),
        json!({ "v": "" }),
        json!({ "v": "true" }),
        json!({ "v": "\u{0}" }),
        json!({ "v": null }),
        json!({ "v": [1] }),
        json!({ "v": { "v": 1 } }),
        json!({ "V": 1 }),
        json!({ "w": { "v": 1 } }),
        json!({ " v": 1, "v ": 1 }),
        json!({}),
        json!([{ "v": 1 }]),
        json!("v"),
        json!(7),
        json!(null),
    ];
    let count = others.len();
    for (at, value) in (0..).zip(others) {
        store.put("r", value, at).await?;
    }
    store.put("r", json!({ "v": 4 }), 20).await?;
    store.put("r", json!({ "v": false }), 21).await?;
    store.put("r", json!({ "v": "6" }), 22).await?;
    let asked = every(20).member("v").functions(functions("count,skipped,sum,min,mean,stddev")?);
    let expected = [
        json!({ "record": "r", "start": 0, "end": 20, "count": 0, "skipped": count }),
        json!({ "record": "r", "start": 20, "end": 40, "count": 2, "skipped": 1, "sum": 4.0,
                "min": 0.0, "mean": 2.0, "stddev": 8_f64.sqrt() }),
    ];
    answers(&store, "rows with and without samples", "r", &asked, &expected).await
}

async fn sample_1_a_member_is_a_name_or_a_pointer(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let value = json!({
        "a": 1, "a.b": 2, "": 3, "a/b": 4, "m~n": 5, "\u{e9}": 6, "e\u{301}": 7, "$x": 8, "%": 9,
        "q\"'\\": 10, "\u{0}": 11, "0": 12, "$serde_json::private::Number": 13, " ": 14,
        "o": { "": 20, "x.y": 21, "list": [30, { "z": 31 }, [32]], "01": 22 },
        "'; DROP TABLE history; --": 15,
    });
    store.put("r", value, 1).await?;
    store.put("list", json!([40, [41, true]]), 1).await?;
    let cases = [
        ("r", "a", Some(1)),
        ("r", "/a", Some(1)),
        ("r", "a.b", Some(2)),
        ("r", "/a.b", Some(2)),
        ("r", "/", Some(3)),
        ("r", "a/b", Some(4)),
        ("r", "/a~1b", Some(4)),
        ("r", "m~n", Some(5)),
        ("r", "/m~0n", Some(5)),
        ("r", "\u{e9}", Some(6)),
        ("r", "e\u{301}", Some(7)),
        ("r", "$x", Some(8)),
        ("r", "%", Some(9)),
        ("r", "q\"'\\", Some(10)),
        ("r", "\u{0}", Some(11)),
        ("r", "0", Some(12)),
        ("r", "/0", Some(12)),
        ("r", "$serde_json::private::Number", Some(13)),
        ("r", " ", Some(14)),
        ("r", "'; DROP TABLE history; --", Some(15)),
        ("r", "/o/", Some(20)),
        ("r", "/o/x.y", Some(21)),
        ("r", "/o/01", Some(22)),
        ("r", "/o/list/0", Some(30)),
        ("r", "/o/list/1/z", Some(31)),
        ("r", "/o/list/2/0", Some(32)),
        ("r", "/o/list/00", None),
        ("r", "/o/list/-", None),
        ("r", "/o/list/3", None),
        ("r", "/o/list/-1", None),
        ("r", "/o/list", None),
        ("r", "/a/b", None),
        ("r", "o", None),
        ("r", "", None),
        ("r", "A", None),
        ("r", "*", None),
        ("list", "/0", Some(40)),
        ("list", "/1/1", Some(1)),
        ("list", "0", None),
    ];
    for (record, member, sample) in cases {
        let asked = whole().member(member).functions(functions("last")?);
        let expected = match sample {
            Some(sample) => {
                json!({ "record": record, "start": 1, "end": 2, "count": 1, "last": sample })
            }
            None => json!({ "record": record, "start": 1, "end": 2, "count": 0, "skipped": 1 }),
        };
        answers(&store, &format!("member {member:?}"), record, &asked, &[expected]).await?;
    }
    for member in ["/~", "/a~2", "/a/~b"] {
        refused(
            format!("member {member:?}"),
            store.aggregate("r", &whole().member(member)).await,
            "InvalidAggregate",
            |error| matches!(error, PersistenceError::InvalidAggregate { .. }),
        )?;
    }
    Ok(())
}

async fn sample_1_the_last_of_equal_names_counts(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let texts = [r#"{"v":1,"v":2}"#, r#"{"v":1,"v":"x"}"#, r#"{"v":{"w":1},"v":{"x":1},"w":3}"#];
    let mut rows = Vec::new();
    for (at, text) in (0..).zip(texts) {
        let mut row = row("r", 0, at)?;
        row.value = JsonText::from_text(text, 1_000).during("making a row")?;
        rows.push(row);
    }
    store.store_batch(&Batch::new(rows)).await.during("storing the values")?;
    let asked = whole().member("v").functions(functions("first")?);
    let expected =
        json!({ "record": "r", "start": 0, "end": 3, "count": 1, "skipped": 2, "first": 2 });
    answers(&store, "member v", "r", &asked, &[expected]).await?;
    let expected = json!({ "record": "r", "start": 0, "end": 3, "count": 0, "skipped": 3 });
    answers(&store, "pointer /v/w", "r", &asked.member("/v/w"), &[expected]).await
}
