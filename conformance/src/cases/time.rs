//! TIME: what `stored_at` may be, and what "latest" means.

use annals_core::{Batch, MAX_TIMESTAMP, Outcome, PersistenceError, QueryParams, Row};
use serde_json::json;

use crate::case::cases;
use crate::check::{Verdict, equal, refused};
use crate::context::{Context, Store, row};

cases![
    time_1_the_first_and_the_last_timestamp_come_back,
    time_1_a_later_one_is_refused,
    time_2_rows_may_arrive_in_any_order,
    time_2_among_equals_the_last_to_arrive_is_latest,
    time_3_equal_timestamps_are_all_kept_in_order,
    time_3_equal_timestamps_keep_their_order_across_reopening,
];

async fn time_1_the_first_and_the_last_timestamp_come_back(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let times =
        [0, 1, 999, u64::from(u32::MAX), 1_740_081_234_567, MAX_TIMESTAMP - 1, MAX_TIMESTAMP];
    for at in times {
        store.put("r", at, at).await?;
    }
    let rows = store.all().await?;
    let expected: Vec<_> = times.iter().rev().map(|at| ("r".to_owned(), *at, json!(at))).collect();
    equal("the rows", &rows, &expected)
}

async fn time_1_a_later_one_is_refused(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for timestamp in [MAX_TIMESTAMP + 1, u64::MAX - 1, u64::MAX] {
        let error = refused(
            format!("storing at {timestamp}"),
            store.store("r", &json!(1), timestamp).await,
            "TimestampOutOfRange",
            |error| {
                matches!(error, PersistenceError::TimestampOutOfRange { timestamp: told }
                    if *told == timestamp)
            },
        )?;
        equal("what the error says of the row", &error.outcome(), &Outcome::NotApplied)?;
        let beyond = Row { stored_at: timestamp, ..row("r", 1, 1)? };
        // How a batch says so is BATCH-1's matter.
        let batch = store.store_batch(&Batch::new(vec![beyond])).await;
        refused(format!("a batch with a row at {timestamp}"), batch, "an error", |_| true)?;
    }
    equal("what was stored", &store.all().await?, &[])
}

async fn time_2_rows_may_arrive_in_any_order(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for at in [50, 10, 90, 30, 70, 20, 80, 40, 60] {
        store.put("r", at, at).await?;
    }
    let latest = store.values("r", QueryParams::latest(1)).await?;
    equal("the latest row", &latest, &[90])?;
    let all = store.values("r", QueryParams::default()).await?;
    equal("all rows", &all, &[90, 80, 70, 60, 50, 40, 30, 20, 10])
}

async fn time_2_among_equals_the_last_to_arrive_is_latest(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for value in 0..5 {
        store.put("r", value, 7).await?;
    }
    store.put("r", "older, but later to arrive", 6).await?;
    equal("the latest row", &store.values("r", QueryParams::latest(1)).await?, &[4])
}

async fn time_3_equal_timestamps_are_all_kept_in_order(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    arrivals(&store, 0..6).await?;
    in_order_of_arrival(&store, 6).await
}

async fn time_3_equal_timestamps_keep_their_order_across_reopening(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    for opening in 0..4 {
        arrivals(&store, 5 * opening..5 * (opening + 1)).await?;
        store = cx.reopen(store).await?;
        in_order_of_arrival(&store, 5 * (opening + 1)).await?;
    }
    Ok(())
}

/// Rows at the same time, some one by one and some in a batch.
async fn arrivals(store: &Store, values: std::ops::Range<u64>) -> Verdict {
    let middle = values.start + 3;
    for value in values.start..middle {
        store.put("r", value, 7).await?;
    }
    let batch: Verdict<Vec<_>> = (middle..values.end).map(|value| row("r", value, 7)).collect();
    store.load(batch?).await
}

async fn in_order_of_arrival(store: &Store, rows: u64) -> Verdict {
    let expected: Vec<u64> = (0..rows).rev().collect();
    let got = store.values("r", QueryParams::default()).await?;
    equal("the rows at 7, the last to arrive first", &got, &expected)
}
