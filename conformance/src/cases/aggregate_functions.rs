//! FUNCTION, apart from values that are held: what is computed of the samples of a bucket.

use annals_core::{Batch, Fill, QueryExt, Row, Value};
use serde_json::json;

use super::aggregate::{answers, as_json, every, functions, same, whole};
use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal};
use crate::context::{Context, Store, row};

cases![
    function_1_extremes_and_ends_are_exact,
    function_1_ties_go_by_time_and_arrival,
    function_2_nothing_is_lost_to_cancellation,
    function_2_a_sum_beyond_the_range_is_infinite,
    function_2_the_order_of_arrival_does_not_matter,
    function_2_a_deviation_needs_two_samples,
    function_3_percentiles_are_exact,
    function_4_a_counter_rises_and_resets,
    function_4_the_increase_starts_before_the_bucket,
    function_7_what_has_no_result_is_absent,
];

/// A store with numbers of the record `r`.
pub(crate) async fn numbers(cx: &Context, samples: &[(u64, f64)]) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for (at, value) in samples {
        store.put("r", json!({ "v": value }), *at).await?;
    }
    Ok(store)
}

/// A bucket of `r` as JSON.
pub(crate) fn bucket(start: u64, end: u64, count: u64, results: Value) -> Value {
    let mut bucket = json!({ "record": "r", "start": start, "end": end, "count": count });
    if let (Some(bucket), Value::Object(results)) = (bucket.as_object_mut(), results) {
        bucket.extend(results);
    }
    bucket
}

const ENDS: &str = "min,min_at,max,max_at,first,first_at,last,last_at";

async fn function_1_extremes_and_ends_are_exact(cx: &Context) -> Verdict {
    let samples = [(3, 0.1), (4, 0.3), (5, -5e-324), (9, 1e308), (12, -1e308), (19, 0.2)];
    let store = numbers(cx, &samples).await?;
    store.put("r", json!({ "v": "x" }), 2).await?;
    store.put("r", json!({ "v": null }), 20).await?;
    let asked = whole().member("v").functions(functions(ENDS)?);
    let results = json!({ "skipped": 2, "min": -1e308, "min_at": 12, "max": 1e308, "max_at": 9,
                          "first": 0.1, "first_at": 3, "last": 0.2, "last_at": 19 });
    answers(&store, "all samples", "r", &asked, &[bucket(2, 21, 6, results)]).await?;
    let asked = every(10).member("v").functions(functions(ENDS)?).range(4, 12);
    let expected = [
        bucket(
            0,
            10,
            3,
            json!({ "min": -5e-324, "min_at": 5, "max": 1e308, "max_at": 9,
                    "first": 0.3, "first_at": 4, "last": 1e308, "last_at": 9 }),
        ),
        bucket(
            10,
            20,
            1,
            json!({ "min": -1e308, "min_at": 12, "max": -1e308, "max_at": 12,
                    "first": -1e308, "first_at": 12, "last": -1e308, "last_at": 12 }),
        ),
    ];
    answers(&store, "samples from 4 to 12", "r", &asked, &expected).await
}

async fn function_1_ties_go_by_time_and_arrival(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    // Equal times across batches, in batches, and late.
    let rows = |samples: &[(u64, i64)]| -> Verdict<Vec<Row>> {
        samples.iter().map(|(at, value)| row("r", json!({ "v": value }), *at)).collect()
    };
    store.load(rows(&[(5, 30), (5, 10), (9, 70), (9, 60)])?).await?;
    store.put("r", json!({ "v": 70 }), 7).await?;
    store.load(rows(&[(9, 50), (9, 70), (5, 10), (7, 10)])?).await?;
    store.put("r", json!({ "v": 40 }), 9).await?;
    let asked = whole().member("v").functions(functions(ENDS)?);
    let results = json!({ "min": 10, "min_at": 5, "max": 70, "max_at": 7,
                          "first": 30, "first_at": 5, "last": 40, "last_at": 9 });
    answers(&store, "samples of equal times", "r", &asked, &[bucket(5, 10, 10, results)]).await
}

async fn function_2_nothing_is_lost_to_cancellation(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let offset = [1e9 + 0.001, 1e9 + 0.002, 1e9 + 0.004];
    // What is left of them is a few thousandths: the numbers themselves are not exact.
    let spread = {
        let [a, b, c] = offset.map(|value| value - 1e9);
        let mean = (a + b + c) / 3.0;
        ([a, b, c].iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / 2.0).sqrt()
    };
    let cases: [(&str, &[f64], f64, f64, f64); 7] = [
        ("1e16", &[1e16, 1.0, -1e16], 1.0, 1.0 / 3.0, 1e16),
        (
            "2^53",
            &[9_007_199_254_740_992.0, 1.0, 1.0],
            9_007_199_254_740_994.0,
            3_002_399_751_580_331.5,
            5_200_308_914_369_307.0,
        ),
        ("1e308", &[1e308, 1e-5, -1e308, 1e-5], 2e-5, 5e-6, 8.164_965_809_277_26e307),
        ("tenths", &[0.1; 1_000], 100.000_000_000_000_005_55, 0.1, 0.0),
        ("offset", &offset, 3e9 + 0.007, 1e9 + 0.007 / 3.0, spread),
        ("tiny", &[1e-300, 3e-300], 4e-300, 2e-300, 2_f64.sqrt() * 1e-300),
        ("equal", &[1e308, 1e308, 1e308], f64::INFINITY, 1e308, 0.0),
    ];
    for (record, values, ..) in &cases {
        let rows: Verdict<Vec<Row>> =
            (0..).zip(*values).map(|(at, value)| row(record, json!(value), at)).collect();
        store.load(rows?).await?;
    }
    let asked = whole().functions(functions("sum,mean,stddev")?);
    for (record, values, sum, mean, stddev) in cases {
        // As JSON an infinite sum is null.
        let expected = json!({ "record": record, "start": 0, "end": values.len(),
            "count": values.len(), "sum": sum, "mean": mean, "stddev": stddev });
        answers(&store, &format!("the sums of {record}"), record, &asked, &[expected]).await?;
    }
    Ok(())
}

async fn function_2_a_sum_beyond_the_range_is_infinite(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (record, sign) in [("above", 1.0), ("below", -1.0)] {
        for at in 0..3 {
            store.put(record, json!(sign * 1.5e308), at).await?;
        }
        let asked = whole().functions(functions("sum,mean")?);
        let got = store.aggregate(record, &asked).await.during("aggregating")?;
        let sum = got.first().and_then(|bucket| bucket.get("sum"));
        equal(format!("the sum {record} the range"), &sum, &Some(sign * f64::INFINITY))?;
        let expected = json!({ "record": record, "start": 0, "end": 3, "count": 3, "sum": null,
                               "mean": sign * 1.5e308 });
        same("its JSON", &as_json(&got)?, &[expected])?;
    }
    Ok(())
}

async fn function_2_the_order_of_arrival_does_not_matter(cx: &Context) -> Verdict {
    const ROWS: u64 = 400;
    let store = cx.fresh().await?;
    // Whole multiples of 2^-20 with a great offset: the exact results are known from integers.
    let value = |number: u64| (number * number * 7_919 % 1_000_003) as f64 / 1_048_576.0;
    let offset = 4_294_967_296.0;
    let forwards = (0..ROWS).map(|at| row("forwards", offset + value(at), at));
    let backwards = (0..ROWS).rev().map(|at| row("backwards", offset + value(ROWS - 1 - at), at));
    store.load(forwards.collect::<Verdict<Vec<Row>>>()?).await?;
    store.load(backwards.collect::<Verdict<Vec<Row>>>()?).await?;
    let units: Vec<i128> = (0..ROWS).map(|at| (value(at) * 1_048_576.0) as i128).collect();
    let (sum, squares) = (units.iter().sum::<i128>(), units.iter().map(|u| u * u).sum::<i128>());
    let count = i128::from(ROWS);
    let variance = (count * squares - sum * sum) as f64 / (count * (count - 1)) as f64;
    let exact_sum = (sum as f64) / 1_048_576.0 + offset * ROWS as f64;
    let asked = whole().functions(functions("sum,mean,stddev")?);
    for record in ["forwards", "backwards"] {
        let expected = json!({ "record": record, "start": 0, "end": ROWS, "count": ROWS,
            "sum": exact_sum, "mean": exact_sum / ROWS as f64,
            "stddev": variance.sqrt() / 1_048_576.0 });
        answers(&store, record, record, &asked, &[expected]).await?;
    }
    Ok(())
}

async fn function_2_a_deviation_needs_two_samples(cx: &Context) -> Verdict {
    let store = numbers(cx, &[(1, 4.0), (11, 2.0), (12, 4.0), (21, 3.0), (22, 3.0)]).await?;
    store.put("r", json!({}), 2).await?;
    let asked = every(10).member("v").functions(functions("stddev")?);
    let expected = [
        bucket(0, 10, 1, json!({ "skipped": 1 })),
        bucket(10, 20, 2, json!({ "stddev": 2_f64.sqrt() })),
        bucket(20, 30, 2, json!({ "stddev": 0 })),
    ];
    answers(&store, "deviations", "r", &asked, &expected).await
}

async fn function_3_percentiles_are_exact(cx: &Context) -> Verdict {
    let samples: Vec<(u64, f64)> = [35.0, 15.0, 50.0, 20.0, 40.0]
        .into_iter()
        .zip(0..)
        .map(|(value, at)| (at, value))
        .chain((0..100).map(|at| (1_000 + at, ((at * 37) % 100) as f64)))
        .chain([(2_000, -1e308), (2_001, 1e308)])
        .chain([(3_000, 7.0)])
        .collect();
    let store = numbers(cx, &samples).await?;
    store.put("r", json!({ "v": "z" }), 3_001).await?;
    let names = "p0,p5,p30,p40,median,p50,p95,p99.9,p100";
    let asked = every(1_000).member("v").functions(functions(names)?);
    let expected = [
        bucket(
            0,
            1_000,
            5,
            json!({ "p0": 15, "p5": 16, "p30": 23, "p40": 29, "median": 35,
            "p50": 35, "p95": 48, "p99.9": 49.96, "p100": 50 }),
        ),
        bucket(
            1_000,
            2_000,
            100,
            json!({ "p0": 0, "p5": 4.95, "p30": 29.7, "p40": 39.6,
            "median": 49.5, "p50": 49.5, "p95": 94.05, "p99.9": 98.901, "p100": 99 }),
        ),
        bucket(
            2_000,
            3_000,
            2,
            json!({ "p0": -1e308, "p5": -9e307, "p30": -4e307, "p40": -2e307,
            "median": 0, "p50": 0, "p95": 9e307, "p99.9": 9.98e307, "p100": 1e308 }),
        ),
        bucket(
            3_000,
            4_000,
            1,
            json!({ "skipped": 1, "p0": 7, "p5": 7, "p30": 7, "p40": 7,
            "median": 7, "p50": 7, "p95": 7, "p99.9": 7, "p100": 7 }),
        ),
    ];
    answers(&store, "percentiles", "r", &asked, &expected).await
}

async fn function_4_a_counter_rises_and_resets(cx: &Context) -> Verdict {
    let samples =
        [(0, 10.0), (10, 14.0), (20, 3.0), (30, 3.0), (40, 8.5), (1_000, 9.0), (1_500, 1.0)];
    let store = numbers(cx, &samples).await?;
    store.put("r", json!({ "v": "reset" }), 15).await?;
    let asked = every(1_000).member("v").functions(functions("delta,increase,rate")?);
    let expected = [
        // 4, then 3 after a reset, and 5.5; from the first sample on a second is covered.
        bucket(0, 1_000, 5, json!({ "skipped": 1, "delta": -1.5, "increase": 12.5, "rate": 12.5 })),
        // From 8.5 on, and then 1 after a reset.
        bucket(1_000, 2_000, 2, json!({ "delta": -8, "increase": 1.5, "rate": 1.5 })),
    ];
    let bounded = asked.clone().range(0, 1_999);
    answers(&store, "a counter", "r", &bounded, &expected).await?;
    let covered = whole().member("v").functions(functions("increase,rate")?).range(0, 3_999);
    let expected = bucket(0, 4_000, 7, json!({ "skipped": 1, "increase": 14, "rate": 3.5 }));
    answers(&store, "a counter in one bucket", "r", &covered, &[expected]).await
}

async fn function_4_the_increase_starts_before_the_bucket(cx: &Context) -> Verdict {
    let store = numbers(cx, &[(100, 5.0), (900, 7.0), (3_100, 12.0)]).await?;
    store.put("r", json!({ "w": 1 }), 950).await?;
    let asked = every(1_000).member("v").functions(functions("delta,increase")?);
    let last = bucket(3_000, 4_000, 1, json!({ "delta": 0, "increase": 5 }));
    let first = bucket(0, 1_000, 2, json!({ "skipped": 1, "delta": 2, "increase": 2 }));
    answers(&store, "all buckets", "r", &asked, &[first, last.clone()]).await?;
    // The sample before the window, past a row without one, and before the cut bucket.
    let later = asked.clone().start_time(1_000);
    answers(&store, "from 1000 on", "r", &later, std::slice::from_ref(&last)).await?;
    let cut = asked.range(500, 999);
    let expected = bucket(0, 1_000, 1, json!({ "skipped": 1, "delta": 0, "increase": 2 }));
    answers(&store, "from 500 to 999", "r", &cut, &[expected]).await
}

async fn function_7_what_has_no_result_is_absent(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store
        .store_batch(&Batch::new([row("r", "x", 5)?, row("r", 2, 15)?]))
        .await
        .during("storing")?;
    let all = "sum,mean,min,min_at,max,max_at,first,first_at,last,last_at,stddev,median,p95,delta,\
               increase,rate,time_weighted_mean,integral,covered_ms";
    let asked = every(10).functions(functions(all)?).fill(Fill::Null).range(0, 12);
    let expected = [bucket(0, 10, 0, json!({ "skipped": 1 })), bucket(10, 20, 0, json!({}))];
    answers(&store, "buckets without samples", "r", &asked, &expected).await?;
    let plain = every(10).fill(Fill::Null).range(0, 12);
    answers(&store, "the same of a plain question", "r", &plain, &expected).await?;
    let shown = every(10).functions(functions("skipped")?).range(10, 19);
    let expected = bucket(10, 20, 1, json!({ "skipped": 0 }));
    answers(&store, "skipped if it is asked for", "r", &shown, &[expected]).await?;
    // The default is count, mean, min and max.
    let expected = bucket(10, 20, 1, json!({ "mean": 2, "min": 2, "max": 2 }));
    let default = every(10).range(10, 19);
    answers(&store, "the functions of a plain question", "r", &default, &[expected]).await?;
    let got = store.aggregate("r", &default).await.during("aggregating")?;
    let absent = got.iter().all(|bucket| bucket.get("sum").is_none());
    ensure(absent, "a function that was not asked for", "none", got)
}
