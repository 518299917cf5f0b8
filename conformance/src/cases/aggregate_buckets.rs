//! BUCKET: how an aggregate divides time.

use std::time::Duration;

use annals_core::{
    Aggregate, Batch, Bucket, Fill, Function, MAX_TIMESTAMP, Order, PersistenceError, QueryExt,
    Row, Value, Width,
};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::aggregate::{NOW, answers, as_json, buckets, every, functions, same, whole};
use super::query::memory_does_not_grow;
use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, refused};
use crate::child::Role;
use crate::context::{Context, row};

cases![
    bucket_1_a_fixed_width_counts_from_the_origin,
    bucket_2_days_follow_the_clocks_of_a_zone,
    bucket_2_weeks_months_quarters_and_years,
    bucket_2_what_cannot_work_is_refused,
    bucket_3_one_bucket_is_the_window,
    bucket_4_a_window_cuts_buckets_but_not_their_bounds,
    bucket_4_an_empty_window_has_no_buckets,
    bucket_5_too_many_buckets_are_refused,
    bucket_6_buckets_are_in_order,
    bucket_6_an_aggregate_sees_one_state,
    bucket_6_memory_does_not_grow_with_the_rows,
];

/// Buckets of the calendar.
fn calendar(width: &str, zone: &str) -> Verdict<Aggregate> {
    let width = Width::parse(width).during("parsing a width")?;
    Ok(Aggregate::every(width).time_zone(zone).now(NOW).functions([Function::Count]))
}

async fn bucket_1_a_fixed_width_counts_from_the_origin(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for at in [0, 6, 7, 13, 14, 700_000_000_000, MAX_TIMESTAMP] {
        store.put("r", 1, at).await?;
    }
    let bucket = |start: i64, end: i64, count: u64| json!({ "record": "r", "start": start, "end": end, "count": count });
    let asked = every(7).functions(functions("count")?);
    let expected = [
        bucket(0, 7, 2),
        bucket(7, 14, 2),
        bucket(14, 21, 1),
        bucket(700_000_000_000, 700_000_000_007, 1),
        bucket(i64::MAX, i64::MAX, 1),
    ];
    answers(&store, "buckets of 7 ms from the epoch", "r", &asked, &expected).await?;
    let expected = [
        bucket(-4, 3, 1),
        bucket(3, 10, 2),
        bucket(10, 17, 2),
        bucket(699_999_999_996, 700_000_000_003, 1),
        bucket(i64::MAX - 4, i64::MAX, 1),
    ];
    for origin in [3, -4, 700_000_000_003] {
        let shifted = asked.clone().origin(origin);
        answers(&store, &format!("from the origin {origin}"), "r", &shifted, &expected).await?;
    }
    Ok(())
}

const HOUR: u64 = 3_600_000;

async fn bucket_2_days_follow_the_clocks_of_a_zone(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (zone, days) in [
        // 30 March 2025 has 23 hours.
        ("Europe/Vienna", [1_743_202_800_000, 1_743_289_200_000, 1_743_372_000_000]),
        // 26 October 2025 has 25.
        ("Europe/Vienna", [1_761_343_200_000, 1_761_429_600_000, 1_761_519_600_000]),
        ("America/New_York", [1_741_410_000_000, 1_741_496_400_000, 1_741_579_200_000]),
        ("America/New_York", [1_761_969_600_000, 1_762_056_000_000, 1_762_146_000_000]),
        // Five hours and 45 minutes ahead, always.
        ("Asia/Kathmandu", [1_743_185_700_000, 1_743_272_100_000, 1_743_358_500_000]),
        // Clocks change by half an hour.
        ("Australia/Lord_Howe", [1_743_858_000_000_u64, 1_743_946_200_000, 1_744_032_600_000]),
        // 4 November 2018 began at one o'clock.
        ("America/Sao_Paulo", [1_541_214_000_000, 1_541_300_400_000, 1_541_383_200_000]),
    ] {
        let record = format!("{zone} {}", days[0]);
        let times = days.iter().flat_map(|day| [day - 1, *day, day + 11 * HOUR]);
        let rows: Verdict<Vec<Row>> = times.map(|at| row(&record, 1, at)).collect();
        store.load(rows?).await?;
        let bucket = |start: u64, end: u64, count: u64| json!({ "record": record, "start": start, "end": end, "count": count });
        let asked = calendar("1d", zone)?.range(days[0], days[2] - 1);
        let expected = [bucket(days[0], days[1], 3), bucket(days[1], days[2], 3)];
        answers(&store, &format!("the days in {zone}"), &record, &asked, &expected).await?;
    }
    // A day that is a fixed width knows no zone.
    let asked = calendar("24h", "Europe/Vienna")?.range(1_743_289_200_000, 1_743_289_200_000);
    let expected = json!({ "record": "Europe/Vienna 1743202800000", "start": 1_743_206_400_000_u64,
                           "end": 1_743_292_800_000_u64, "count": 1 });
    answers(&store, "24 hours", "Europe/Vienna 1743202800000", &asked, &[expected]).await
}

async fn bucket_2_weeks_months_quarters_and_years(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    // 15 May 2024, 10:00 in Vienna, and the first row of all.
    for at in [0, 1_715_760_000_000] {
        store.put("r", 1, at).await?;
    }
    for (width, bounds) in [
        ("1d", [1_715_724_000_000, 1_715_810_400_000]),
        ("1w", [1_715_551_200_000, 1_716_156_000_000]),
        ("1mo", [1_714_514_400_000, 1_717_192_800_000]),
        ("2mo", [1_714_514_400_000, 1_719_784_800_000]),
        ("1q", [1_711_922_400_000, 1_719_784_800_000]),
        ("1y", [1_704_063_600_000_i64, 1_735_686_000_000]),
    ] {
        let asked = calendar(width, "Europe/Vienna")?;
        let first = asked.clone().end_time(0);
        let bucket = |[start, end]: [i64; 2]| json!({ "record": "r", "start": start, "end": end, "count": 1 });
        let expected = [bucket(bounds)];
        answers(&store, width, "r", &asked.start_time(1), &expected).await?;
        // In 1970 Vienna was an hour ahead: the epoch lies in a bucket that begins before it.
        let got = buckets(&store, "r", &first).await?;
        let start = got.first().and_then(|bucket| bucket["start"].as_i64());
        ensure(
            got.len() == 1 && start.is_some_and(|start| start < 0),
            format!("the bucket of {width} that the epoch lies in"),
            "a start before the epoch",
            got,
        )?;
    }
    Ok(())
}

async fn bucket_2_what_cannot_work_is_refused(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", 1, 1).await?;
    for (what, asked) in [
        ("a zone that does not exist", calendar("1d", "Europe/Atlantis")?),
        ("a width of nothing", every(0)),
        ("a width of nanoseconds", Aggregate::every(Duration::from_nanos(5))),
        ("an origin of a calendar", calendar("1d", "UTC")?.origin(5)),
        ("a gap of nothing", whole().max_gap(Duration::ZERO)),
    ] {
        let is_expected =
            |error: &PersistenceError| matches!(error, PersistenceError::InvalidAggregate { .. });
        refused(what, store.aggregate("r", &asked).await, "InvalidAggregate", is_expected)?;
    }
    refused("the empty pattern", store.aggregate("", &whole()).await, "InvalidPattern", |error| {
        matches!(error, PersistenceError::InvalidPattern { .. })
    })
    .map(drop)
}

async fn bucket_3_one_bucket_is_the_window(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (record, at) in [("a", 10), ("a", 20), ("a", 30), ("b", 15)] {
        store.put(record, at, at).await?;
    }
    let asked = whole().functions(functions("count,sum")?);
    let bucket = |record: &str, start: u64, end: u64, count: u64, sum: u64| json!({ "record": record, "start": start, "end": end, "count": count, "sum": sum });
    let expected = [bucket("a", 10, 31, 3, 60), bucket("b", 15, 16, 1, 15)];
    answers(&store, "without bounds", "*", &asked, &expected).await?;
    let expected = [bucket("a", 5, 21, 2, 30), bucket("b", 5, 21, 1, 15)];
    answers(&store, "from 5 to 20", "*", &asked.clone().range(5, 20), &expected).await?;
    let expected = [bucket("a", 12, 31, 2, 50), bucket("b", 12, 16, 1, 15)];
    answers(&store, "from 12 on", "*", &asked.clone().start_time(12), &expected).await?;
    let expected = [bucket("a", 10, 26, 2, 30), bucket("b", 15, 26, 1, 15)];
    answers(&store, "up to 25", "*", &asked.clone().end_time(25), &expected).await?;
    answers(&store, "from 40 to 50", "*", &asked.clone().range(40, 50), &[]).await?;
    answers(&store, "records that do not exist", "c*", &asked, &[]).await
}

async fn bucket_4_a_window_cuts_buckets_but_not_their_bounds(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> = (0..60).map(|at| row("r", at, at)).collect();
    store.load(rows?).await?;
    let asked = every(10).functions(functions("count,first_at,last_at,min,max,sum")?);
    let bucket = |start: u64, first: u64, last: u64| {
        let sum: u64 = (first..=last).sum();
        json!({ "record": "r", "start": start, "end": start + 10, "count": last - first + 1,
                "first_at": first, "last_at": last, "min": first, "max": last, "sum": sum })
    };
    for (from, to) in [(5, 24), (0, 0), (9, 10), (19, 20), (20, 29), (0, 59), (33, 37), (59, 90)] {
        let mut expected = Vec::new();
        for start in (from / 10 * 10..=to).step_by(10) {
            let (first, last) = (from.max(start), to.min(start + 9).min(59));
            if first <= last {
                expected.push(bucket(start, first, last));
            }
        }
        let what = format!("from {from} to {to}");
        answers(&store, &what, "r", &asked.clone().range(from, to), &expected).await?;
    }
    let expected: Vec<Value> = (0..6).map(|n| bucket(n * 10, n * 10, n * 10 + 9)).collect();
    for (from, to) in [(None, Some(u64::MAX)), (Some(u64::MAX), None), (None, None)] {
        let mut open = asked.clone();
        open = from.map_or(open.clone(), |from| open.start_time(from));
        open = to.map_or(open.clone(), |to| open.end_time(to));
        answers(&store, &format!("from {from:?} to {to:?}"), "r", &open, &expected).await?;
    }
    Ok(())
}

async fn bucket_4_an_empty_window_has_no_buckets(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", 1, 5).await?;
    store.put("r", 1, 500).await?;
    for asked in [every(10).range(100, 200), every(10).range(6, 4), whole().range(6, 499)] {
        answers(&store, "a window without rows", "r", &asked, &[]).await?;
    }
    let crossed = every(10).range(9, 3).fill(Fill::Null);
    answers(&store, "a window that ends before it starts", "r", &crossed, &[]).await
}

async fn bucket_5_too_many_buckets_are_refused(cx: &Context) -> Verdict {
    const MANY: u64 = 1_000_000;
    let is_expected =
        |error: &PersistenceError| matches!(error, PersistenceError::TooManyBuckets { .. });
    let store = cx.fresh().await?;
    let certain = every(1).range(0, MANY).fill(Fill::Null);
    // Nothing is there to be read.
    let result = store.aggregate("r", &certain).await;
    refused("1,000,001 buckets for certain", result, "TooManyBuckets", is_expected)?;
    store.put("r", 1, 7).await?;
    store.put("r", 1, 7 + MANY).await?;
    let open = every(1).functions(functions("count")?);
    let bucket =
        |start: u64| json!({ "record": "r", "start": start, "end": start + 1, "count": 1 });
    let expected = [bucket(7), bucket(7 + MANY)];
    answers(&store, "two buckets far apart", "r", &open, &expected).await?;
    let wide = open.clone().range(0, MAX_TIMESTAMP);
    answers(&store, "the same of all time", "r", &wide, &expected).await?;
    let result = store.aggregate("r", &open.fill(Fill::Null)).await;
    refused("1,000,001 buckets between rows", result, "TooManyBuckets", is_expected).map(drop)
}

async fn bucket_6_buckets_are_in_order(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let names = ["A", "B", "a", "a.b", "ab", "b", "\u{e9}", "\u{10ffff}"];
    for at in [35, 5, 15, 6] {
        for name in names.iter().rev() {
            store.put(name, at, at).await?;
        }
    }
    let asked = every(10).functions(functions("count")?);
    let mut expected = Vec::new();
    for name in names {
        for (start, count) in [(0, 2), (10, 1), (30, 1)] {
            let end = start + 10;
            expected.push(json!({ "record": name, "start": start, "end": end, "count": count }));
        }
    }
    answers(&store, "oldest first", "*", &asked, &expected).await?;
    expected.chunks_mut(3).for_each(<[Value]>::reverse);
    let newest = asked.order(Order::NewestFirst);
    answers(&store, "newest first", "*", &newest, &expected).await?;
    let streamed = store.aggregate_stream("*", &newest).await?;
    let streamed: Vec<Bucket> = streamed.try_collect().await.during("reading the stream")?;
    same("the stream", &as_json(&streamed)?, &expected)
}

async fn bucket_6_an_aggregate_sees_one_state(cx: &Context) -> Verdict {
    const RECORDS: u64 = 40;
    const ROWS: u64 = 60;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().snapshot_queries, "snapshot_queries")?;
    let names: Vec<String> = (0..RECORDS).map(|number| format!("r{number:02}")).collect();
    let rows: Verdict<Vec<Row>> =
        names.iter().flat_map(|name| (0..ROWS).map(move |at| row(name, at, at))).collect();
    store.load(rows?).await?;
    let asked = every(1_000).functions(functions("count,max")?);
    let mut stream = store.aggregate_stream("*", &asked).await?;
    let first = stream.next().await.transpose().during("reading the stream")?;
    let first = first.ok_or_else(|| failure("the stream", "a bucket", "none"))?;
    let later: Verdict<Vec<Row>> = names.iter().map(|name| row(name, 1_000, 500)).collect();
    store.store_batch(&Batch::new(later?)).await.during("storing beside the stream")?;
    let rest: Vec<Bucket> = stream.try_collect().await.during("reading the stream")?;
    equal("the number of buckets", &(rest.len() as u64 + 1), &RECORDS)?;
    for bucket in std::iter::once(&first).chain(&rest) {
        let what = format!("the rows of {} that are seen", bucket.record);
        equal(what, &(bucket.count, bucket.max()), &(ROWS, Some(ROWS as f64 - 1.0)))?;
    }
    Ok(())
}

async fn bucket_6_memory_does_not_grow_with_the_rows(cx: &Context) -> Verdict {
    memory_does_not_grow(cx, |records| Role::MeasureAggregate { records }).await
}
