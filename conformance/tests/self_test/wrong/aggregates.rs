//! Backends whose aggregates are wrong.

use std::sync::Arc;
use std::time::Duration;

use annals_core::aggregate::Plan;
use annals_core::{
    Aggregate, Bucket, BucketStream, Fill, Function, Grammar, Interpolation, MAX_TIMESTAMP,
    MemoryBackend, Order, PersistenceBackend, PersistenceError, QueryExt, RawRow, RowStream, Value,
    async_trait,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("booleans_are_no_samples", || Rows(without_booleans), &["SAMPLE-1", "FILTER-4"]),
        twisted("null_is_zero", || Rows(null_is_zero), &["SAMPLE-1", "FUNCTION-1"]),
        twisted("origin_is_the_epoch", || Asks(from_the_epoch), &["BUCKET-1"]).unseen_by_random(),
        twisted("days_of_utc", || Asks(utc), &["BUCKET-2"]),
        twisted(
            "buckets_begin_with_a_row",
            || Answers(begin_with_a_row),
            &["BUCKET-3", "FUNCTION-1", "FUNCTION-5"],
        ),
        twisted(
            "buckets_are_clipped",
            || Answers(clipped),
            &[
                "BUCKET-2",
                "BUCKET-4",
                "FUNCTION-1",
                "FUNCTION-4",
                "FUNCTION-5",
                "FUNCTION-6",
                "FUNCTION-7",
                "FILL-1",
            ],
        ),
        twisted(
            "window_without_its_end",
            || Asks(without_the_end),
            &[
                "BUCKET-2",
                "BUCKET-3",
                "BUCKET-4",
                "FUNCTION-1",
                "FUNCTION-4",
                "FUNCTION-5",
                "FUNCTION-6",
                "FILL-1",
            ],
        ),
        twisted("a_wide_window_is_refused", || WideWindows, &["BUCKET-5"]).unseen_by_random(),
        twisted("newest_record_first", || Answers(last_record_first), &["BUCKET-6"]),
        twisted("a_query_for_each_record", || OneByOne, &["BUCKET-6"]).unseen_by_random(),
        twisted("last_of_equals_is_first", || Rows(equals_reversed), &["FUNCTION-1"]),
        twisted("increase_within_the_bucket", || ForgetsBefore(increases), &["FUNCTION-4"])
            .unseen_by_random(),
        twisted("held_within_the_window", || ForgetsBefore(holds), &["FUNCTION-5", "FUNCTION-6"]),
        twisted("held_for_ever", || Asks(held_for_ever), &["FUNCTION-5", "FUNCTION-6"]),
        twisted("held_across_gaps", || Asks(across_gaps), &["FUNCTION-5", "FUNCTION-6"]),
        twisted("always_steps", || Asks(steps), &["FUNCTION-5"]),
        twisted("states_are_text", || Rows(states_are_text), &["FUNCTION-6"]).unseen_by_random(),
        twisted("empty_is_filled", || Answers(empty_is_filled), &["FUNCTION-7", "FILL-1"]),
        twisted(
            "filled_within_the_window",
            || ForgetsBefore(fills),
            &["FILL-1", "GROUP-1", "FILTER-4"],
        ),
        twisted(
            "never_filled",
            || Asks(never_filled),
            &["BUCKET-5", "FILL-1", "FUNCTION-7", "GROUP-1"],
        ),
        twisted("never_merged", || Asks(never_merged), &["GROUP-1"]),
    ]
}

/// Asks another question.
pub(super) struct Asks(pub(super) fn(Aggregate) -> Aggregate);

#[async_trait]
impl Twist for Asks {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        // What cannot work is refused all the same.
        let Asks(otherwise) = self;
        let plan = Plan::new(pattern, asked);
        let other = otherwise(asked.clone());
        match (plan, Plan::new(pattern, &other)) {
            (Ok(_) | Err(PersistenceError::Unsupported(_)), Ok(_)) => {
                inner.aggregate_stream(pattern, &other).await
            }
            _ => inner.aggregate_stream(pattern, asked).await,
        }
    }
}

fn from_the_epoch(asked: Aggregate) -> Aggregate {
    asked.origin(0)
}

fn utc(asked: Aggregate) -> Aggregate {
    asked.time_zone("UTC")
}

/// `stored_at < end`.
fn without_the_end(asked: Aggregate) -> Aggregate {
    match asked.params().end_time {
        Some(end @ 1..=MAX_TIMESTAMP) => asked.end_time(end - 1),
        _ => asked,
    }
}

/// Nothing ends now.
fn held_for_ever(asked: Aggregate) -> Aggregate {
    if holds(&asked) && asked.params().end_time.is_some() { asked.now(u64::MAX) } else { asked }
}

fn across_gaps(asked: Aggregate) -> Aggregate {
    asked.max_gap(Duration::MAX)
}

fn steps(asked: Aggregate) -> Aggregate {
    asked.interpolation(Interpolation::Step)
}

fn never_filled(asked: Aggregate) -> Aggregate {
    if holds(&asked) { asked } else { asked.fill(Fill::None) }
}

fn never_merged(asked: Aggregate) -> Aggregate {
    asked.merge(false)
}

/// Answers something else.
pub(super) struct Answers(pub(super) fn(&Aggregate, &mut [Bucket], &[Bucket]));

#[async_trait]
impl Twist for Answers {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        let Answers(change) = self;
        let mut buckets = inner.aggregate(pattern, asked).await?;
        let ends = inner.aggregate(pattern, &asked.clone().functions([Function::FirstAt])).await?;
        change(asked, &mut buckets, &ends);
        Ok(BucketStream::from_buckets(buckets))
    }
}

/// A single bucket begins with its first row.
fn begin_with_a_row(asked: &Aggregate, buckets: &mut [Bucket], ends: &[Bucket]) {
    for (bucket, first) in buckets.iter_mut().zip(ends) {
        if let (None, Some(first)) = (asked.width(), first.get("first_at")) {
            bucket.start = first as i64;
        }
    }
}

fn clipped(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
    let bounds = asked.params();
    let inside = |time: &u64| *time < MAX_TIMESTAMP;
    for bucket in buckets {
        if let Some(start) = bounds.start_time.filter(inside) {
            bucket.start = bucket.start.max(start as i64);
        }
        if let Some(end) = bounds.end_time.filter(inside) {
            bucket.end = bucket.end.min(end as i64 + 1);
        }
    }
}

/// Newest first turns everything around.
fn last_record_first(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
    if asked.params().order == Order::NewestFirst {
        buckets.sort_by(|a, b| b.record.cmp(&a.record));
    }
}

fn empty_is_filled(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
    for bucket in buckets {
        bucket.filled |= bucket.count + bucket.skipped == 0 && !holds(asked);
    }
}

/// Folds other rows.
struct Rows(fn(&Aggregate, &mut [RawRow]));

#[async_trait]
impl Twist for Rows {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        let plan = Plan::new(pattern, asked)?;
        let mut rows = select(inner, pattern, plan.rows()).await?;
        let Rows(change) = self;
        if !plan.is_empty() {
            change(asked, &mut rows);
        }
        Ok(BucketStream::fold(Arc::new(plan), RowStream::from_rows(rows)))
    }
}

/// Changes every scalar of every row.
fn scalars(rows: &mut [RawRow], change: fn(&mut Value)) {
    fn each(value: &mut Value, change: fn(&mut Value)) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
            Value::Object(members) => members.values_mut().for_each(|item| each(item, change)),
            scalar => change(scalar),
        }
    }
    for row in rows {
        let mut value: Value = serde_json::from_str(&row.json).unwrap();
        each(&mut value, change);
        row.json = value.to_string().into();
    }
}

fn without_booleans(asked: &Aggregate, rows: &mut [RawRow]) {
    if !asked.shown().iter().any(is_duration) {
        scalars(rows, |scalar| {
            if scalar.is_boolean() {
                *scalar = json!("a boolean");
            }
        });
    }
}

fn null_is_zero(asked: &Aggregate, rows: &mut [RawRow]) {
    if !asked.shown().iter().any(is_duration) {
        scalars(rows, |scalar| {
            if scalar.is_null() {
                *scalar = json!(0);
            }
        });
    }
}

fn states_are_text(asked: &Aggregate, rows: &mut [RawRow]) {
    if asked.shown().iter().all(is_duration) {
        scalars(rows, |scalar| {
            if scalar.is_boolean() || scalar.is_null() {
                *scalar = json!(scalar.to_string());
            }
        });
    }
}

fn equals_reversed(asked: &Aggregate, rows: &mut [RawRow]) {
    if !holds(asked) {
        let same = |a: &RawRow, b: &RawRow| a.record == b.record && a.stored_at == b.stored_at;
        rows.chunk_by_mut(same).for_each(<[RawRow]>::reverse);
    }
}

fn is_duration(function: &Function) -> bool {
    matches!(function, Function::Duration(_))
}

/// Whether the question is about values that hold.
fn holds(asked: &Aggregate) -> bool {
    asked.shown().iter().any(|function| {
        function.needs_order()
            && !matches!(function, Function::Delta | Function::Increase | Function::Rate)
    })
}

fn increases(asked: &Aggregate) -> bool {
    !holds(asked) && asked.shown().contains(&Function::Increase)
}

fn fills(asked: &Aggregate) -> bool {
    !holds(asked) && !increases(asked)
}

/// Knows nothing of what was before the window, where this is asked.
struct ForgetsBefore(fn(&Aggregate) -> bool);

#[async_trait]
impl Twist for ForgetsBefore {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        let plan = Plan::new(pattern, asked)?;
        let mut rows = select(inner, pattern, plan.rows()).await?;
        if (self.0)(asked) {
            let from = asked.params().start_time.filter(|from| *from <= MAX_TIMESTAMP).unwrap_or(0);
            // The record is still there.
            for row in &mut rows {
                if row.stored_at < from {
                    row.json = "null".into();
                }
            }
        }
        match plan.is_empty() {
            true => Ok(BucketStream::from_buckets(Vec::new())),
            false => Ok(BucketStream::fold(Arc::new(plan), RowStream::from_rows(rows))),
        }
    }
}

/// Refuses a window with too many buckets, although most of them have no rows.
struct WideWindows;

#[async_trait]
impl Twist for WideWindows {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        if asked.params().end_time == Some(MAX_TIMESTAMP) && asked.width().is_some() {
            return Err(PersistenceError::TooManyBuckets { limit: 1_000_000 });
        }
        inner.aggregate_stream(pattern, asked).await
    }
}

/// Asks about one record after the other, each in its own state of the store.
struct OneByOne;

#[async_trait]
impl Twist for OneByOne {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        let merges = Plan::new(pattern, asked)?.merges();
        if merges || !pattern.contains('*') {
            return inner.aggregate_stream(pattern, asked).await;
        }
        let names = inner.records(pattern, Grammar::Glob).await?;
        let (inner, asked) = (inner.clone(), asked.clone());
        Ok(BucketStream::new(stream::iter(names).then(move |name| {
            let (inner, asked) = (inner.clone(), asked.clone());
            async move {
                inner.aggregate_stream(&name.record, &asked).await?.try_collect::<Vec<_>>().await
            }
        })))
    }
}
