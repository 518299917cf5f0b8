//! FILL, GROUP and ASOF: empty buckets, many records, and the value at a time.

use annals_core::{Aggregate, Fill, MAX_TIMESTAMP, PersistenceError, QueryExt, Value};
use serde_json::json;

use super::aggregate::{answers, every, functions, whole};
use crate::case::cases;
use crate::check::{During, Verdict, equal, plain, refused};
use crate::context::{Context, Store};

cases![
    fill_1_each_filling_gives_what_it_says,
    fill_1_every_record_is_filled_to_the_window,
    fill_1_the_future_is_not_filled,
    fill_1_only_values_are_filled_in,
    group_1_each_record_is_a_series,
    group_1_merged_records_are_one_series,
    group_1_what_needs_the_order_in_time_is_refused,
    asof_1_the_newest_row_that_is_not_later,
];

fn bucket(record: &str, start: u64, count: u64, results: Value) -> Value {
    let mut bucket = json!({ "record": record, "start": start, "end": start + 10, "count": count });
    if let (Some(bucket), Value::Object(results)) = (bucket.as_object_mut(), results) {
        bucket.extend(results);
    }
    bucket
}

fn mean(mean: f64) -> Value {
    json!({ "mean": mean })
}

fn filled(mean: f64) -> Value {
    json!({ "mean": mean, "filled": true })
}

fn tens(fill: Fill) -> Verdict<Aggregate> {
    Ok(every(10).functions(functions("mean")?).fill(fill))
}

async fn fill_1_each_filling_gives_what_it_says(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (at, value) in [
        (5, json!(1)),
        (15, json!("x")),
        (25, json!(2)),
        (28, json!(4)),
        (55, json!("y")),
        (65, json!(9)),
        (95, json!(7)),
    ] {
        store.put("r", value, at).await?;
    }
    let skipped = |mut bucket: Value| {
        bucket["skipped"] = json!(1);
        bucket
    };
    let nothing = || json!({});
    let answer = |fill: Fill| -> Vec<Value> {
        let at = |start, previous: f64, linear: Option<f64>| {
            let results = match fill {
                Fill::Previous => filled(previous),
                Fill::Linear => linear.map_or_else(nothing, filled),
                _ => nothing(),
            };
            bucket("r", start, 0, results)
        };
        let mut all = vec![
            skipped(at(10, 1.0, None)),
            bucket("r", 20, 2, mean(3.0)),
            at(30, 4.0, Some(4.5)),
            at(40, 4.0, Some(6.0)),
            skipped(at(50, 4.0, Some(7.5))),
            bucket("r", 60, 1, mean(9.0)),
            at(70, 9.0, None),
            at(80, 9.0, None),
        ];
        if fill == Fill::None {
            let is_there = |bucket: &Value| bucket["count"] != 0 || bucket["skipped"] == 1;
            all.retain(is_there);
        }
        all
    };
    for fill in [Fill::None, Fill::Null, Fill::Previous, Fill::Linear] {
        let asked = tens(fill)?.range(10, 89);
        answers(&store, &format!("{fill:?}"), "r", &asked, &answer(fill)).await?;
    }
    // Without bounds: from the first to the last row.
    let all = tens(Fill::Null)?;
    let mut expected = vec![bucket("r", 0, 1, mean(1.0))];
    expected.extend(answer(Fill::Null));
    expected.push(bucket("r", 90, 1, mean(7.0)));
    answers(&store, "null without bounds", "r", &all, &expected).await
}

async fn fill_1_every_record_is_filled_to_the_window(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (record, at, value) in [("early", 5, 1), ("late", 95, 2), ("now", 25, 3)] {
        store.put(record, value, at).await?;
    }
    let asked = |fill| Ok::<_, crate::check::Stop>(tens(fill)?.range(12, 38));
    let empty = |record: &str| [10, 20, 30].map(|start| bucket(record, start, 0, json!({})));
    let mut expected = [empty("early"), empty("late"), empty("now")].concat();
    expected[7] = bucket("now", 20, 1, mean(3.0));
    answers(&store, "null", "*", &asked(Fill::Null)?, &expected).await?;
    for (index, start) in [10, 20, 30].into_iter().enumerate() {
        expected[index] = bucket("early", start, 0, filled(1.0));
    }
    expected[8] = bucket("now", 30, 0, filled(3.0));
    answers(&store, "previous", "*", &asked(Fill::Previous)?, &expected).await?;
    answers(&store, "none", "*", &asked(Fill::None)?, &expected[7..8]).await?;
    answers(&store, "records that do not exist", "x*", &asked(Fill::Null)?, &[]).await?;
    let one = whole().functions(functions("last")?).fill(Fill::Previous).range(12, 21);
    let expected = [
        json!({ "record": "early", "start": 12, "end": 22, "count": 0, "last": 1,
                "filled": true }),
        json!({ "record": "late", "start": 12, "end": 22, "count": 0 }),
        json!({ "record": "now", "start": 12, "end": 22, "count": 0 }),
    ];
    answers(&store, "a single bucket", "*", &one, &expected).await
}

async fn fill_1_the_future_is_not_filled(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", 1, 5).await?;
    store.put("r", 3, 75).await?;
    for fill in [Fill::Null, Fill::Previous, Fill::Linear] {
        let asked = tens(fill)?.now(30);
        let results = |linear: f64| match fill {
            Fill::Previous => filled(1.0),
            Fill::Linear => filled(linear),
            _ => json!({}),
        };
        let expected = [
            bucket("r", 0, 1, mean(1.0)),
            bucket("r", 10, 0, results(1.0 + 2.0 / 7.0)),
            bucket("r", 20, 0, results(1.0 + 4.0 / 7.0)),
            // It has begun.
            bucket("r", 30, 0, results(1.0 + 6.0 / 7.0)),
            bucket("r", 70, 1, mean(3.0)),
        ];
        let bounded = asked.clone().range(0, 99);
        answers(&store, &format!("{fill:?} of a window"), "r", &bounded, &expected).await?;
        answers(&store, &format!("{fill:?} of all rows"), "r", &asked, &expected).await?;
    }
    // A window without an end goes on until now.
    let open = tens(Fill::Null)?.start_time(50).now(95);
    let expected = [50, 60, 70, 80, 90].map(|start| match start {
        70 => bucket("r", 70, 1, mean(3.0)),
        _ => bucket("r", start, 0, json!({})),
    });
    answers(&store, "null from 50 on", "r", &open, &expected).await
}

async fn fill_1_only_values_are_filled_in(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (at, value) in [(1, 2), (9, 4), (21, 8)] {
        store.put("r", value, at).await?;
    }
    let names =
        "count,sum,mean,min,min_at,max,first,first_at,last,median,p90,stddev,delta,increase";
    let asked = every(10).functions(functions(names)?).range(0, 29);
    for (fill, values) in
        [(Fill::Previous, [4.0; 7]), (Fill::Linear, [5.5, 5.0, 6.0, 5.0, 6.0, 5.5, 5.9])]
    {
        let [mean, min, max, first, last, median, p90] = values;
        let expected = [
            bucket(
                "r",
                0,
                2,
                json!({ "sum": 6, "mean": 3, "min": 2, "min_at": 1, "max": 4,
                "first": 2, "first_at": 1, "last": 4, "median": 3, "p90": 3.8,
                "stddev": 2_f64.sqrt(), "delta": 2, "increase": 2 }),
            ),
            bucket(
                "r",
                10,
                0,
                json!({ "mean": mean, "min": min, "max": max, "first": first,
                "last": last, "median": median, "p90": p90, "filled": true }),
            ),
            bucket(
                "r",
                20,
                1,
                json!({ "sum": 8, "mean": 8, "min": 8, "min_at": 21, "max": 8,
                "first": 8, "first_at": 21, "last": 8, "median": 8, "p90": 8, "delta": 0,
                "increase": 4 }),
            ),
        ];
        answers(&store, &format!("{fill:?}"), "r", &asked.clone().fill(fill), &expected).await?;
    }
    // What reaches into a bucket is no filling.
    let held = every(10)
        .functions(functions("time_weighted_mean,last")?)
        .range(0, 29)
        .fill(Fill::Previous);
    let expected = [
        bucket("r", 0, 2, json!({ "time_weighted_mean": (2.0 * 8.0 + 4.0) / 9.0, "last": 4 })),
        bucket("r", 10, 0, json!({ "time_weighted_mean": 4, "last": 4, "filled": true })),
        bucket("r", 20, 1, json!({ "time_weighted_mean": (4.0 + 8.0 * 9.0) / 10.0, "last": 8 })),
    ];
    answers(&store, "beside a value that is held", "r", &held, &expected).await
}

/// Rows of three records, interleaved, with equal times.
async fn three(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for (record, at, value) in [
        ("b", 5, json!(2)),
        ("a", 5, json!(1)),
        ("other", 5, json!(100)),
        ("a", 12, json!(3)),
        ("b", 14, json!(5)),
        ("c", 14, json!(7)),
        ("c", 13, json!("x")),
        ("b", 31, json!(3)),
    ] {
        store.put(record, value, at).await?;
    }
    Ok(store)
}

async fn group_1_each_record_is_a_series(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    let asked = every(10).functions(functions("sum,max_at")?);
    let result = |sum: u64, at: u64| json!({ "sum": sum, "max_at": at });
    let expected = [
        bucket("a", 0, 1, result(1, 5)),
        bucket("a", 10, 1, result(3, 12)),
        bucket("b", 0, 1, result(2, 5)),
        bucket("b", 10, 1, result(5, 14)),
        bucket("b", 30, 1, result(3, 31)),
        bucket("c", 10, 1, json!({ "skipped": 1, "sum": 7, "max_at": 14 })),
        bucket("other", 0, 1, result(100, 5)),
    ];
    answers(&store, "every record", "*", &asked, &expected).await?;
    answers(&store, "one of them", "b", &asked, &expected[2..5]).await
}

async fn group_1_merged_records_are_one_series(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    store.put("aa", json!(-1), 200).await?;
    let names = "sum,mean,min,max,max_at,first,first_at,last,last_at,stddev,median";
    let asked = every(10).functions(functions(names)?).merge(true).range(0, 99);
    let expected = [
        // Of equal times, the first is of the first record and the last of the last one.
        bucket(
            "*",
            0,
            3,
            json!({ "sum": 103, "mean": 103.0 / 3.0, "min": 1, "max": 100,
            "max_at": 5, "first": 1, "first_at": 5, "last": 100, "last_at": 5,
            "stddev": (9_703_f64 / 3.0).sqrt(), "median": 2 }),
        ),
        bucket(
            "*",
            10,
            3,
            json!({ "skipped": 1, "sum": 15, "mean": 5, "min": 3, "max": 7,
            "max_at": 14, "first": 3, "first_at": 12, "last": 7, "last_at": 14, "stddev": 2,
            "median": 5 }),
        ),
        bucket(
            "*",
            30,
            1,
            json!({ "sum": 3, "mean": 3, "min": 3, "max": 3, "max_at": 31,
            "first": 3, "first_at": 31, "last": 3, "last_at": 31, "median": 3 }),
        ),
    ];
    answers(&store, "all records as one", "*", &asked, &expected).await?;
    let merged = tens(Fill::Previous)?.merge(true).range(20, 49);
    let expected = [
        bucket("*", 20, 0, filled(7.0)),
        bucket("*", 30, 1, mean(3.0)),
        bucket("*", 40, 0, filled(3.0)),
    ];
    answers(&store, "filled", "*", &merged, &expected).await?;
    let whole = whole().functions(functions("count,p50")?).merge(true);
    let expected = json!({ "record": "*", "start": 5, "end": 201, "count": 8, "skipped": 1,
                "p50": 3 });
    answers(&store, "in one bucket", "*", &whole, &[expected]).await?;
    let nobody = tens(Fill::Null)?.merge(true).range(0, 9);
    answers(&store, "records that do not exist", "x*", &nobody, &[]).await
}

async fn group_1_what_needs_the_order_in_time_is_refused(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    for name in
        ["delta", "increase", "rate", "time_weighted_mean", "integral", "covered_ms", "duration{1}"]
    {
        let asked = every(10).functions(functions(&format!("count,{name}"))?).merge(true);
        refused(
            format!("{name} of merged records"),
            store.aggregate("*", &asked).await,
            "Unsupported",
            |error| matches!(error, PersistenceError::Unsupported(_)),
        )?;
        let apart = asked.merge(false).range(0, 99);
        store.aggregate("*", &apart).await.during(format!("{name} of each record"))?;
    }
    Ok(())
}

async fn asof_1_the_newest_row_that_is_not_later(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (record, at, value) in [
        ("a", 10, json!(1)),
        ("a", 20, json!({ "state": "x" })),
        ("b", 20, json!(3)),
        ("b", 20, json!(4)),
        ("a", 15, json!(null)),
        ("b", MAX_TIMESTAMP, json!(5)),
        ("c", 0, json!(6)),
        ("ab", 30, json!(7)),
    ] {
        store.put(record, value, at).await?;
    }
    let row = |record: &str, at: u64, value: Value| (record.to_owned(), at, value);
    let c = row("c", 0, json!(6));
    let second = [row("a", 20, json!({ "state": "x" })), row("b", 20, json!(4)), c.clone()];
    for (time, expected) in [
        (0, vec![c.clone()]),
        (9, vec![c.clone()]),
        (10, vec![row("a", 10, json!(1)), c.clone()]),
        (19, vec![row("a", 15, json!(null)), c.clone()]),
        (20, second.to_vec()),
        (29, second.to_vec()),
        (
            u64::MAX,
            vec![
                second[0].clone(),
                row("ab", 30, json!(7)),
                row("b", MAX_TIMESTAMP, json!(5)),
                c.clone(),
            ],
        ),
    ] {
        let got = store.value_at("*", time).await.during("asking for the value at a time")?;
        equal(format!("the values at {time}"), &plain(got), &expected)?;
    }
    let one = store.value_at("b", MAX_TIMESTAMP - 1).await.during("asking for one record")?;
    equal("the value of one record", &plain(one), &[row("b", 20, json!(4))])
}
