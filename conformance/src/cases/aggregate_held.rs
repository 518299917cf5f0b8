//! FUNCTION-5 and FUNCTION-6: values that are held until the next one.

use std::time::Duration;

use annals_core::{Interpolation, Value};
use serde_json::json;

use super::aggregate::{answers, buckets, every, functions, whole};
use super::aggregate_functions::{bucket, numbers};
use crate::case::cases;
use crate::check::{Verdict, equal, failure};
use crate::context::Context;

cases![
    function_5_a_value_holds_until_the_next_one,
    function_5_a_value_reaches_into_buckets_without_rows,
    function_5_a_window_cuts_what_is_held,
    function_5_a_gap_ends_what_is_held,
    function_5_lines_are_drawn_between_samples,
    function_6_a_state_lasts_until_the_next_one,
    function_6_scalars_are_compared_by_kind_and_value,
];

const WEIGHTED: &str = "time_weighted_mean,integral,covered_ms";

/// The results for a mean over a number of milliseconds.
fn weighted(mean: f64, covered: u64) -> Value {
    json!({ "time_weighted_mean": mean, "integral": mean * covered as f64 / 1_000.0,
            "covered_ms": covered })
}

async fn function_5_a_value_holds_until_the_next_one(cx: &Context) -> Verdict {
    // A second of 10, three of 20, and then 40.
    let store = numbers(cx, &[(2_000, 10.0), (3_000, 20.0), (6_000, 40.0)]).await?;
    store.put("r", json!({ "v": "gone" }), 4_000).await?;
    let asked = every(10_000).member("v").functions(functions(WEIGHTED)?).range(0, 9_999);
    let mut expected = bucket(0, 10_000, 3, weighted(28.75, 8_000));
    expected["skipped"] = json!(1);
    answers(&store, "until the bucket's end", "r", &asked, &[expected]).await?;
    let mut expected = bucket(0, 10_000, 3, weighted(22.0, 5_000));
    expected["skipped"] = json!(1);
    let now = asked.clone().now(7_000);
    answers(&store, "until now", "r", &now, &[expected.clone()]).await?;
    let window = asked.range(0, 6_999);
    answers(&store, "until the window's end", "r", &window, &[expected]).await?;
    // Of equal times the last to arrive holds.
    store.put("r", json!({ "v": 0 }), 6_000).await?;
    store.put("r", json!({ "v": 100 }), 6_000).await?;
    let whole = whole().member("v").functions(functions(WEIGHTED)?).range(6_000, 6_999);
    let expected = bucket(6_000, 7_000, 3, weighted(100.0, 1_000));
    answers(&store, "equal times", "r", &whole, &[expected]).await
}

async fn function_5_a_value_reaches_into_buckets_without_rows(cx: &Context) -> Verdict {
    let store = numbers(cx, &[(1_500, 8.0), (4_250, 4.0)]).await?;
    let asked = every(1_000).member("v").functions(functions(WEIGHTED)?).range(0, 5_999);
    let expected = [
        bucket(1_000, 2_000, 1, weighted(8.0, 500)),
        bucket(2_000, 3_000, 0, weighted(8.0, 1_000)),
        bucket(3_000, 4_000, 0, weighted(8.0, 1_000)),
        bucket(4_000, 5_000, 1, weighted(5.0, 1_000)),
        bucket(5_000, 6_000, 0, weighted(4.0, 1_000)),
    ];
    answers(&store, "all buckets", "r", &asked, &expected).await?;
    // No row of the window is needed.
    let later = asked.clone().range(2_000, 3_999);
    answers(&store, "from 2000 to 3999", "r", &later, &expected[1..3]).await?;
    let open = asked.clone().start_time(5_000).end_time(u64::MAX).now(7_500);
    let rest = [
        expected[4].clone(),
        bucket(6_000, 7_000, 0, weighted(4.0, 1_000)),
        bucket(7_000, 8_000, 0, weighted(4.0, 500)),
    ];
    answers(&store, "from 5000 until now", "r", &open, &rest).await?;
    let before = asked.range(0, 999);
    answers(&store, "before the first sample", "r", &before, &[]).await
}

async fn function_5_a_window_cuts_what_is_held(cx: &Context) -> Verdict {
    let store = numbers(cx, &[(100, 1.0), (1_200, 2.0), (1_700, 3.0), (2_500, 4.0)]).await?;
    let asked = every(1_000).member("v").functions(functions(WEIGHTED)?).range(1_500, 2_749);
    let expected = [
        // The sample at 1200 is in the bucket, but before the window.
        bucket(1_000, 2_000, 1, weighted((2.0 * 200.0 + 3.0 * 300.0) / 500.0, 500)),
        bucket(2_000, 3_000, 1, weighted((3.0 * 500.0 + 4.0 * 250.0) / 750.0, 750)),
    ];
    answers(&store, "a window that cuts buckets", "r", &asked, &expected).await?;
    let one = whole().member("v").functions(functions(WEIGHTED)?).range(1_500, 2_749);
    let expected = bucket(1_500, 2_750, 2, weighted(3_800.0 / 1_250.0, 1_250));
    answers(&store, "a single bucket", "r", &one, &[expected]).await
}

async fn function_5_a_gap_ends_what_is_held(cx: &Context) -> Verdict {
    let store = numbers(cx, &[(0, 2.0), (500, 4.0), (3_200, 6.0)]).await?;
    let asked = every(1_000)
        .member("v")
        .functions(functions(WEIGHTED)?)
        .max_gap(Duration::from_millis(800))
        .range(0, 4_999);
    let expected = [
        bucket(0, 1_000, 2, weighted(3.0, 1_000)),
        bucket(1_000, 2_000, 0, weighted(4.0, 300)),
        bucket(3_000, 4_000, 1, weighted(6.0, 800)),
    ];
    answers(&store, "values that hold for 800 ms", "r", &asked, &expected).await
}

async fn function_5_lines_are_drawn_between_samples(cx: &Context) -> Verdict {
    let store = numbers(cx, &[(500, 0.0), (2_500, 20.0), (2_750, 40.0)]).await?;
    let asked = every(1_000)
        .member("v")
        .functions(functions(WEIGHTED)?)
        .interpolation(Interpolation::Linear);
    let expected = [
        bucket(0, 1_000, 1, weighted(2.5, 500)),
        bucket(1_000, 2_000, 0, weighted(10.0, 1_000)),
        // 15 to 20, 20 to 40, and then 40.
        bucket(2_000, 3_000, 2, weighted(17.5 * 0.5 + 30.0 * 0.25 + 40.0 * 0.25, 1_000)),
    ];
    let all = asked.clone().range(0, 2_999);
    answers(&store, "lines across buckets", "r", &all, &expected).await?;
    let cut = asked.clone().range(1_500, 2_749);
    let expected = [
        bucket(1_000, 2_000, 0, weighted(12.5, 500)),
        // The line to the sample after the window is not drawn: 20 holds.
        bucket(2_000, 3_000, 1, weighted((17.5 * 500.0 + 20.0 * 250.0) / 750.0, 750)),
    ];
    answers(&store, "lines of a window", "r", &cut, &expected).await?;
    let gap = asked.max_gap(Duration::from_millis(1_000)).range(0, 1_999);
    let expected =
        [bucket(0, 1_000, 1, weighted(0.0, 500)), bucket(1_000, 2_000, 0, weighted(0.0, 500))];
    // The next sample is after the window.
    answers(&store, "a line that ends with a gap", "r", &gap, &expected).await
}

async fn function_6_a_state_lasts_until_the_next_one(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (at, value) in [
        (1_000, json!({ "door": "open" })),
        (1_500, json!({ "battery": 80 })),
        (2_500, json!({ "door": "closed" })),
        (4_500, json!({ "door": "open" })),
        (4_600, json!({ "door": ["open"] })),
        (4_700, json!({ "door": "open" })),
    ] {
        store.put("r", value, at).await?;
    }
    let names = "duration{\"open\"},duration{\"closed\"}";
    let asked = every(1_000).member("door").functions(functions(names)?).range(0, 5_999);
    let lasting = |open: u64, closed: u64| json!({ "duration{\"open\"}": open, "duration{\"closed\"}": closed });
    let with_skipped = |mut bucket: Value, skipped: u64| {
        bucket["skipped"] = json!(skipped);
        bucket
    };
    let expected = [
        with_skipped(bucket(1_000, 2_000, 0, lasting(1_000, 0)), 2),
        with_skipped(bucket(2_000, 3_000, 0, lasting(500, 500)), 1),
        bucket(3_000, 4_000, 0, lasting(0, 1_000)),
        with_skipped(bucket(4_000, 5_000, 0, lasting(400, 500)), 3),
        bucket(5_000, 6_000, 0, lasting(1_000, 0)),
    ];
    answers(&store, "a door", "r", &asked, &expected).await?;
    let later = asked.clone().range(3_200, 3_299);
    let held = bucket(3_000, 4_000, 0, lasting(0, 100));
    answers(&store, "the state before the window", "r", &later, &[held]).await?;
    let now = asked.clone().range(4_000, 9_999).now(5_250);
    let expected = [expected[3].clone(), bucket(5_000, 6_000, 0, lasting(250, 0))];
    answers(&store, "a state until now", "r", &now, &expected).await?;
    let gap = asked.max_gap(Duration::from_millis(300)).range(1_000, 3_999);
    let expected = [
        with_skipped(bucket(1_000, 2_000, 0, lasting(300, 0)), 2),
        with_skipped(bucket(2_000, 3_000, 0, lasting(0, 300)), 1),
    ];
    answers(&store, "a state that holds for 300 ms", "r", &gap, &expected).await
}

async fn function_6_scalars_are_compared_by_kind_and_value(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let values = [
        json!(1),
        json!(1.0),
        json!(true),
        json!("1"),
        json!(null),
        json!((1_u64 << 53) + 1),
        json!(1_u64 << 53),
        json!("a\u{0}\"b"),
        json!("\u{e9}"),
        json!({}),
    ];
    let count = values.len() as u64;
    for (at, value) in (0..).step_by(10).zip(values) {
        store.put("r", value, at).await?;
    }
    let names = "duration{1},duration{1e0},duration{true},duration{\"1\"},duration{null},\
                 duration{9007199254740993},duration{\"a\\u0000\\\"b\"},duration{\"e\u{301}\"},\
                 duration{\"\u{e9}\"},duration{0}";
    let asked = whole().functions(functions(names)?).range(0, count * 10 - 1);
    let got = buckets(&store, "r", &asked).await?;
    let bucket = got.first().ok_or_else(|| failure("the answer", "a bucket", "none"))?;
    for (name, expected) in functions(names)?.iter().zip([20, 20, 10, 10, 10, 10, 10, 0, 10, 0]) {
        let lasted = bucket[name.name()].as_u64();
        equal(format!("{name} in {bucket}"), &lasted, &Some(expected))?;
    }
    Ok(())
}
