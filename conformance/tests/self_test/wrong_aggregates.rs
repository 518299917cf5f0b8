//! Backends whose aggregates are wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_core::aggregate::{Partial, Plan, Sample, Series};
use annals_core::{
    Aggregate, Bucket, BucketStream, Fill, Function, Grammar, Interpolation, MAX_TIMESTAMP,
    MemoryBackend, Order, PersistenceBackend, PersistenceError, QueryExt, RawRow, RowStream, Value,
    async_trait,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::twist::{Result, Twist, select};

/// Asks another question.
pub(crate) struct Asks(pub(crate) fn(Aggregate) -> Aggregate);

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

pub(crate) fn from_the_epoch(asked: Aggregate) -> Aggregate {
    asked.origin(0)
}

pub(crate) fn utc(asked: Aggregate) -> Aggregate {
    asked.time_zone("UTC")
}

/// `stored_at < end`.
pub(crate) fn without_the_end(asked: Aggregate) -> Aggregate {
    match asked.params().end_time {
        Some(end @ 1..=MAX_TIMESTAMP) => asked.end_time(end - 1),
        _ => asked,
    }
}

/// Nothing ends now.
pub(crate) fn held_for_ever(asked: Aggregate) -> Aggregate {
    if holds(&asked) && asked.params().end_time.is_some() { asked.now(u64::MAX) } else { asked }
}

pub(crate) fn across_gaps(asked: Aggregate) -> Aggregate {
    asked.max_gap(Duration::MAX)
}

pub(crate) fn steps(asked: Aggregate) -> Aggregate {
    asked.interpolation(Interpolation::Step)
}

pub(crate) fn never_filled(asked: Aggregate) -> Aggregate {
    if holds(&asked) { asked } else { asked.fill(Fill::None) }
}

pub(crate) fn never_merged(asked: Aggregate) -> Aggregate {
    asked.merge(false)
}

/// Answers something else.
pub(crate) struct Answers(pub(crate) fn(&Aggregate, &mut [Bucket], &[Bucket]));

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
pub(crate) fn begin_with_a_row(asked: &Aggregate, buckets: &mut [Bucket], ends: &[Bucket]) {
    for (bucket, first) in buckets.iter_mut().zip(ends) {
        if let (None, Some(first)) = (asked.width(), first.get("first_at")) {
            bucket.start = first as i64;
        }
    }
}

pub(crate) fn clipped(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
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
pub(crate) fn last_record_first(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
    if asked.params().order == Order::NewestFirst {
        buckets.sort_by(|a, b| b.record.cmp(&a.record));
    }
}

pub(crate) fn empty_is_filled(asked: &Aggregate, buckets: &mut [Bucket], _: &[Bucket]) {
    for bucket in buckets {
        bucket.filled |= bucket.count + bucket.skipped == 0 && !holds(asked);
    }
}

/// Folds other rows.
pub(crate) struct Rows(pub(crate) fn(&Aggregate, &mut [RawRow]));

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

pub(crate) fn without_booleans(asked: &Aggregate, rows: &mut [RawRow]) {
    if !asked.shown().iter().any(is_duration) {
        scalars(rows, |scalar| {
            if scalar.is_boolean() {
                *scalar = json!("a boolean");
            }
        });
    }
}

pub(crate) fn null_is_zero(asked: &Aggregate, rows: &mut [RawRow]) {
    if !asked.shown().iter().any(is_duration) {
        scalars(rows, |scalar| {
            if scalar.is_null() {
                *scalar = json!(0);
            }
        });
    }
}

pub(crate) fn states_are_text(asked: &Aggregate, rows: &mut [RawRow]) {
    if asked.shown().iter().all(is_duration) {
        scalars(rows, |scalar| {
            if scalar.is_boolean() || scalar.is_null() {
                *scalar = json!(scalar.to_string());
            }
        });
    }
}

pub(crate) fn equals_reversed(asked: &Aggregate, rows: &mut [RawRow]) {
    if !holds(asked) {
        let same = |a: &RawRow, b: &RawRow| a.record == b.record && a.stored_at == b.stored_at;
        rows.chunk_by_mut(same).for_each(<[RawRow]>::reverse);
    }
}

fn is_duration(function: &Function) -> bool {
    matches!(function, Function::Duration(_))
}

/// Whether the question is about values that hold.
pub(crate) fn holds(asked: &Aggregate) -> bool {
    asked.shown().iter().any(|function| {
        function.needs_order()
            && !matches!(function, Function::Delta | Function::Increase | Function::Rate)
    })
}

pub(crate) fn increases(asked: &Aggregate) -> bool {
    !holds(asked) && asked.shown().contains(&Function::Increase)
}

pub(crate) fn fills(asked: &Aggregate) -> bool {
    !holds(asked) && !increases(asked)
}

/// Knows nothing of what was before the window, where this is asked.
pub(crate) struct ForgetsBefore(pub(crate) fn(&Aggregate) -> bool);

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
pub(crate) struct WideWindows;

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
pub(crate) struct OneByOne;

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

/// Hands over the statistics of each bucket, of which one is wrong.
pub(crate) struct Partials(pub(crate) fn(&Plan, Partial, &[f64]) -> Partial);

#[async_trait]
impl Twist for Partials {
    async fn aggregate(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        asked: &Aggregate,
    ) -> Result<BucketStream> {
        let plan = Arc::new(Plan::new(pattern, asked)?);
        let needs = plan.needs();
        let simple = asked.shown().iter().all(|function| !function.needs_order());
        if !simple || plan.merges() || plan.needs_all_records() || needs.stddev && needs.samples {
            return inner.aggregate_stream(pattern, asked).await;
        }
        let rows = select(inner, pattern, plan.rows()).await?;
        let mut buckets = Vec::new();
        for rows in rows.chunk_by(|a, b| a.record == b.record) {
            let mut series = Series::new(plan.clone(), rows[0].record.clone());
            let mut locator = plan.locator();
            let mut parts: BTreeMap<i64, Vec<&RawRow>> = BTreeMap::new();
            for row in rows {
                parts.entry(locator.locate(row.stored_at as i64).start).or_default().push(row);
            }
            for rows in parts.values() {
                let (mut partial, mut values) = (Partial::default(), Vec::new());
                for row in rows {
                    match plan.member().read(&row.json)? {
                        Some(value) => {
                            partial.push(&plan, Sample { at: row.stored_at, value });
                            values.push(value);
                        }
                        None => partial.skip(1),
                    }
                }
                let times = (rows[0].stored_at, rows[rows.len() - 1].stored_at);
                series.partial(times, (self.0)(&plan, partial, &values))?;
            }
            buckets.extend(series.finish()?);
        }
        Ok(BucketStream::from_buckets(buckets))
    }
}

/// `sum += value`.
pub(crate) fn rounded_sum(_: &Plan, partial: Partial, values: &[f64]) -> Partial {
    let sum: f64 = values.iter().sum();
    if sum.is_finite() { partial.with_sum(sum, 0.0) } else { partial }
}

/// The sample at the rank that is nearest.
pub(crate) fn nearest_rank(plan: &Plan, partial: Partial, values: &[f64]) -> Partial {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    if values.is_empty() || !plan.needs().samples {
        return partial;
    }
    let nearest = plan.percentiles().iter().map(|percentile| {
        values[(percentile.fraction() * (values.len() - 1) as f64).round() as usize]
    });
    partial.with_percentiles(nearest.collect())
}

/// The mean of the squares less the square of the mean.
pub(crate) fn from_squares(plan: &Plan, partial: Partial, values: &[f64]) -> Partial {
    let n = values.len() as f64;
    if !plan.needs().stddev || values.len() < 2 {
        return partial;
    }
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    partial.with_stddev(((squares - sum * sum / n) / (n - 1.0)).max(0.0).sqrt())
}

/// Rows without a sample are not counted.
pub(crate) fn nothing_skipped(_: &Plan, partial: Partial, _: &[f64]) -> Partial {
    partial.with_skipped(0)
}
