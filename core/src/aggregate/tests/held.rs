//! Values that hold until the next one: weights, areas, durations.

use super::*;

const WEIGHTED: &str = "time_weighted_mean,integral,covered_ms";

fn row(start: u64, end: u64, count: u64, mean: f64, covered: u64) -> Value {
    let integral = mean * covered as f64 / 1000.0;
    json!({ "start": start, "end": end, "count": count, "time_weighted_mean": mean,
            "integral": integral, "covered_ms": covered })
}

#[tokio::test]
async fn a_value_holds_until_the_next_one_the_end_or_now() {
    let store = store(&[(1_000, json!(10)), (1_500, json!("x")), (2_500, json!(20))]).await;
    let asked = every(1_000).functions(shown(WEIGHTED)).range(0, 4_499).now(10_000);
    let mut second = row(1_000, 2_000, 1, 10.0, 1_000);
    second["skipped"] = json!(1);
    let held = [
        second.clone(),
        row(2_000, 3_000, 1, 15.0, 1_000),
        row(3_000, 4_000, 0, 20.0, 1_000),
        // The window ends here.
        row(4_000, 5_000, 0, 20.0, 500),
    ];
    assert_eq!(answer(&store, &asked).await, held);
    let now = asked.clone().now(3_250);
    let until_now = [held[0].clone(), held[1].clone(), row(3_000, 4_000, 0, 20.0, 250)];
    assert_eq!(answer(&store, &now).await, until_now);
    // The value before the window counts from its start, past the row without a number.
    let cut = answer(&store, &asked.clone().range(1_750, 1_999)).await;
    assert_eq!(cut, [row(1_000, 2_000, 0, 10.0, 250)]);
    let gap = answer(&store, &asked.max_gap(Duration::from_millis(600))).await;
    let mut first = row(1_000, 2_000, 1, 10.0, 600);
    first["skipped"] = json!(1);
    let expected = [first, row(2_000, 3_000, 1, 20.0, 500), row(3_000, 4_000, 0, 20.0, 100)];
    assert_eq!(gap, expected);
}

#[tokio::test]
async fn an_open_end_holds_until_now() {
    let store = store(&[(1_000, json!(10)), (2_000, json!(30))]).await;
    let asked = every(1_000).functions(shown("covered_ms")).now(3_500);
    let covered: Vec<u64> =
        answer(&store, &asked).await.iter().map(|b| b["covered_ms"].as_u64().unwrap()).collect();
    assert_eq!(covered, [1_000, 1_000, 500]);
    let one = Aggregate::new().functions(shown(WEIGHTED)).now(4_000);
    assert_eq!(
        answer(&store, &one.clone().start_time(1_500)).await,
        [row(1_500, 4_000, 1, 26.0, 2_500)]
    );
    // Without any bound the bucket ends with the last row.
    let whole = answer(&store, &one).await;
    assert_eq!((&whole[0]["end"], &whole[0]["covered_ms"]), (&json!(2_001), &json!(1_001)));
    // A window without rows that the last value reaches into.
    assert_eq!(
        answer(&store, &Aggregate::new().functions(shown(WEIGHTED)).now(4_000).start_time(3_000))
            .await,
        [row(3_000, 4_000, 0, 30.0, 1_000)]
    );
}

#[tokio::test]
async fn lines_cross_the_bounds_of_buckets() {
    let store = store(&[(500, json!(0)), (2_500, json!(20))]).await;
    let asked = every(1_000).functions(shown(WEIGHTED)).interpolation(Interpolation::Linear);
    let expected = [
        row(0, 1_000, 1, 2.5, 500),
        row(1_000, 2_000, 0, 10.0, 1_000),
        // The line to 20, and then 20.
        row(2_000, 3_000, 1, 18.75, 1_000),
    ];
    assert_eq!(answer(&store, &asked.clone().range(0, 2_999)).await, expected);
    // The line begins before the window.
    let cut = answer(&store, &asked.range(1_500, 2_999)).await;
    assert_eq!(cut[0], row(1_000, 2_000, 0, 12.5, 500));
}

#[tokio::test]
async fn a_state_lasts_past_rows_that_say_nothing_of_it() {
    let door = |state: Value| json!({ "door": state });
    let store = store(&[
        (1_000, door(json!("open"))),
        (1_500, json!({ "battery": 3 })),
        (2_500, door(json!("closed"))),
        (4_500, door(json!("open"))),
    ])
    .await;
    let asked = every(1_000)
        .member("door")
        .functions(shown("duration{\"open\"},duration{\"closed\"}"))
        .range(1_000, 5_999);
    let buckets = answer(&store, &asked).await;
    let open: Vec<Value> = buckets.iter().map(|b| b["duration{\"open\"}"].clone()).collect();
    assert_eq!(open, [1_000, 500, 0, 500, 1_000]);
    let closed: Vec<Value> = buckets.iter().map(|b| b["duration{\"closed\"}"].clone()).collect();
    assert_eq!(closed, [0, 500, 1_000, 500, 0]);
    // The state before the window.
    let later = answer(&store, &asked.range(3_200, 3_299)).await;
    assert_eq!(later.len(), 1);
    assert_eq!(later[0]["duration{\"closed\"}"], json!(100));
}

/// Parts of a record that were computed apart are the whole, wherever it is cut.
#[tokio::test]
async fn parts_computed_apart_are_the_whole() {
    let rows: Vec<(u64, Value)> = (0..40_u64)
        .map(|at| (at * 7 % 97 + at, if at % 5 == 0 { json!("x") } else { json!(at * at % 13) }))
        .collect();
    let mut rows = rows;
    rows.sort_by_key(|(at, _)| *at);
    let names = "count,skipped,sum,mean,min,min_at,max,max_at,first,first_at,last,last_at,stddev,\
                 median,p90,delta,increase,rate,time_weighted_mean,integral,covered_ms,\
                 duration{4},duration{\"x\"}";
    for width in [10, 1_000] {
        for interpolation in [Interpolation::Step, Interpolation::Linear] {
            let asked = every(width)
                .functions(shown(names))
                .interpolation(interpolation)
                .range(20, 119)
                .fill(Fill::Previous);
            let plan = std::sync::Arc::new(Plan::new("r", &asked).unwrap());
            let series = |rows: &[(u64, Value)]| {
                let mut series = Series::new(plan.clone(), "r".into());
                rows.iter().for_each(|(at, value)| series.row(*at, &value.to_string()).unwrap());
                series
            };
            let whole = series(&rows).finish().unwrap();
            assert!(!whole.is_empty());
            for cut in 0..rows.len() {
                let (first, rest) = rows.split_at(cut);
                let (middle, last) = rest.split_at(rest.len() / 2);
                let mut joined = series(first);
                joined.merge(series(middle)).unwrap();
                joined.merge(series(last)).unwrap();
                assert_eq!(joined.finish().unwrap(), whole, "cut at {cut}");
            }
        }
    }
}
