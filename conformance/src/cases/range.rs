//! RANGE: time windows.

use annals_core::{MAX_TIMESTAMP, QueryParams};
use serde_json::json;

use crate::case::cases;
use crate::check::{Verdict, ensure, equal};
use crate::context::{Context, Store, row};

cases![
    range_1_a_window_returns_every_row_in_it,
    range_2_bounds_are_inclusive,
    range_2_each_bound_is_optional,
    range_2_a_window_of_one_millisecond,
    range_3_start_after_end_is_empty,
    range_3_bounds_beyond_the_last_timestamp_are_no_bounds,
];

/// 48 hours, one row every 30 seconds, and as much again on both sides of the window. No row lies
/// on a bound: that is RANGE-2's matter.
async fn range_1_a_window_returns_every_row_in_it(cx: &Context) -> Verdict {
    const START: u64 = 1_740_000_000_000;
    const EVERY: u64 = 30_000;
    const ROWS: u64 = 5_760;
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<_>> =
        (0..3 * ROWS).map(|i| row("meter::vienna", json!(i), START + EVERY * i)).collect();
    store.load(rows?).await?;
    let window = QueryParams::range(START + EVERY * ROWS - 1, START + EVERY * 2 * ROWS - 1);
    let values = store.values("meter::vienna", window).await?;
    equal("the number of rows in 48 hours", &values.len(), &(ROWS as usize))?;
    let expected: Vec<_> = (ROWS..2 * ROWS).rev().map(|i| json!(i)).collect();
    ensure(values == expected, "the rows themselves", "rows 5760 to 11519, newest first", &values)
}

async fn range_2_bounds_are_inclusive(cx: &Context) -> Verdict {
    let store = ten(cx).await?;
    equal("from 3 to 6", &store.values("r", QueryParams::range(3, 6)).await?, &[6, 5, 4, 3])?;
    let everything = QueryParams::range(0, 9);
    equal("from 0 to 9", &store.values("r", everything).await?.len(), &10)
}

async fn range_2_each_bound_is_optional(cx: &Context) -> Verdict {
    let store = ten(cx).await?;
    let from = QueryParams::default().with_start_time(7);
    equal("from 7 on", &store.values("r", from).await?, &[9, 8, 7])?;
    let to = QueryParams::default().with_end_time(2);
    equal("up to 2", &store.values("r", to).await?, &[2, 1, 0])?;
    let all = store.values("r", QueryParams::default()).await?;
    equal("no bound at all", &all, &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
}

async fn range_2_a_window_of_one_millisecond(cx: &Context) -> Verdict {
    let store = ten(cx).await?;
    for at in [0, 4, 9] {
        let values = store.values("r", QueryParams::range(at, at)).await?;
        equal(format!("from {at} to {at}"), &values, &[at])?;
    }
    store.put("r", "last", MAX_TIMESTAMP).await?;
    let last = store.values("r", QueryParams::range(MAX_TIMESTAMP, MAX_TIMESTAMP)).await?;
    equal("from i64::MAX to i64::MAX", &last, &["last"])
}

async fn range_3_start_after_end_is_empty(cx: &Context) -> Verdict {
    let store = ten(cx).await?;
    for (start, end) in [(5, 4), (9, 0), (u64::MAX, 3), (MAX_TIMESTAMP, 0)] {
        for pattern in ["r", "*"] {
            let values = store.values(pattern, QueryParams::range(start, end)).await?;
            equal(format!("{pattern} from {start} to {end}"), &values, &[0_u64; 0])?;
        }
    }
    Ok(())
}

async fn range_3_bounds_beyond_the_last_timestamp_are_no_bounds(cx: &Context) -> Verdict {
    const BEYOND: u64 = MAX_TIMESTAMP + 1;
    let store = cx.fresh().await?;
    for at in [0, 5, MAX_TIMESTAMP] {
        store.put("r", at, at).await?;
    }
    for (start, end, expected) in [
        (Some(2), Some(BEYOND), vec![MAX_TIMESTAMP, 5]),
        (Some(2), Some(u64::MAX), vec![MAX_TIMESTAMP, 5]),
        (Some(BEYOND), None, vec![MAX_TIMESTAMP, 5, 0]),
        (Some(u64::MAX), Some(u64::MAX), vec![MAX_TIMESTAMP, 5, 0]),
        (None, Some(u64::MAX), vec![MAX_TIMESTAMP, 5, 0]),
    ] {
        let params = QueryParams::default().with_start_time(start).with_end_time(end);
        let values = store.values("r", params).await?;
        equal(format!("from {start:?} to {end:?}"), &values, &expected)?;
    }
    Ok(())
}

/// Ten rows at 0 to 9, each with its time as the value.
async fn ten(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for at in 0..10 {
        store.put("r", at, at).await?;
    }
    Ok(store)
}
