//! LATEST: limits.

use std::time::{Duration, Instant};

use annals_core::{Order, QueryParams};
use serde_json::{Value, json};

use crate::case::cases;
use crate::check::{Verdict, ensure, equal};
use crate::context::{Context, Store, row};

cases![
    latest_1_a_limit_counts_per_record,
    latest_1_a_limit_counts_after_the_window,
    latest_1_a_limit_means_the_newest_in_either_order,
    latest_2_limit_zero_returns_nothing,
    latest_3_the_newest_cost_what_is_returned,
];

/// Records `a`, `b` and `c` with 3, 10 and 1 rows at 10, 20, 30, …
async fn three(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for (record, rows) in [("a", 3), ("b", 10), ("c", 1)] {
        for at in 1..=rows {
            store.put(record, format!("{record}{at}"), 10 * at).await?;
        }
    }
    Ok(store)
}

async fn latest_1_a_limit_counts_per_record(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    let two = store.values("*", QueryParams::latest(2)).await?;
    equal("the newest two", &two, &["a3", "a2", "b10", "b9", "c1"])?;
    let one = store.values("*", QueryParams::latest(1)).await?;
    equal("the newest", &one, &["a3", "b10", "c1"])?;
    let many = store.values("*", QueryParams::latest(usize::MAX)).await?;
    equal("the number of rows with the greatest limit", &many.len(), &14)
}

async fn latest_1_a_limit_counts_after_the_window(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    let params = QueryParams::range(5, 55).with_limit_per_record(2);
    let got = store.values("*", params).await?;
    equal("the newest two up to 55", &got, &["a3", "a2", "b5", "b4", "c1"])?;
    let params = QueryParams::range(15, 75).with_limit_per_record(2);
    let got = store.values("*", params).await?;
    equal("the newest two from 15 to 75", &got, &["a3", "a2", "b7", "b6"])
}

async fn latest_1_a_limit_means_the_newest_in_either_order(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    for window in [QueryParams::default(), QueryParams::range(5, 105)] {
        let params = window.with_limit_per_record(2).with_order(Order::OldestFirst);
        // Which rows they are is this clause's matter, their order QUERY-1's.
        let mut got = store.values("*", params).await?;
        got.sort_unstable_by_key(Value::to_string);
        equal("the newest two, oldest first", &got, &["a2", "a3", "b10", "b9", "c1"])?;
    }
    Ok(())
}

async fn latest_2_limit_zero_returns_nothing(cx: &Context) -> Verdict {
    let store = three(cx).await?;
    let in_window = QueryParams::range(5, 95).with_limit_per_record(0);
    for params in [QueryParams::latest(0), in_window] {
        for pattern in ["*", "b"] {
            let got = store.values(pattern, params).await?;
            equal(format!("{pattern:?} with limit 0"), &got, &[""; 0])?;
        }
    }
    Ok(())
}

/// The same question to a short and to a long history, in turn; the best of many answers counts,
/// since whatever else the machine does can only make an answer slower.
async fn latest_3_the_newest_cost_what_is_returned(cx: &Context) -> Verdict {
    const SHORT: u64 = 500;
    /// A busy machine is slow by itself, but a seek is fast some time.
    const ROUNDS: usize = 200;
    const LEAST_ROUNDS: usize = 25;
    /// A scan costs as many times more as there are rows. A seek costs about the same.
    const FACTOR: u32 = 5;
    /// Nobody can tell a scan from a seek below this.
    const NOISE: Duration = Duration::from_micros(150);
    let (short, long) = (cx.fresh().await?, cx.fresh().await?);
    let long_rows = if long.claims().atomic_batches { 30_000 } else { 10_000 };
    for (store, rows) in [(&short, SHORT), (&long, long_rows)] {
        let rows: Verdict<Vec<_>> = (0..rows)
            .map(|at| row(if at % 2 == 0 { "a" } else { "b" }, json!({ "reading": at }), at))
            .collect();
        store.load(rows?).await?;
    }
    let newest = QueryParams::latest(5);
    let oldest_first = newest.with_order(Order::OldestFirst);
    for (what, params) in [
        ("the newest 5", newest),
        ("the newest 5, oldest first", oldest_first),
        ("the newest 5 up to a time", newest.with_end_time(400)),
    ] {
        let (mut on_short, mut on_long) = (Duration::MAX, Duration::MAX);
        for round in 1..=ROUNDS {
            on_short = on_short.min(time(&short, params).await?);
            on_long = on_long.min(time(&long, params).await?);
            if round >= LEAST_ROUNDS && on_long < on_short * FACTOR + NOISE {
                break;
            }
        }
        ensure(
            on_long < on_short * FACTOR + NOISE,
            format!("the time for {what}, of {long_rows} rows where {SHORT} take {on_short:?}"),
            format!("less than {FACTOR} times as long"),
            on_long,
        )?;
    }
    Ok(())
}

async fn time(store: &Store, params: QueryParams) -> Verdict<Duration> {
    let started = Instant::now();
    // How many they are is LATEST-1's matter.
    store.rows("a*", params).await?;
    Ok(started.elapsed())
}
