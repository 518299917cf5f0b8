//! Backends that compute a statistic of a bucket wrongly.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_core::aggregate::{Partial, Plan, Sample, Series};
use annals_core::{
    Aggregate, BucketStream, MemoryBackend, PersistenceBackend, RawRow, async_trait,
};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("sums_are_rounded", || Partials(rounded_sum), &["FUNCTION-2", "FILTER-4"])
            .unseen_by_random(),
        twisted("stddev_from_squares", || Partials(from_squares), &["FUNCTION-2", "FILTER-4"])
            .unseen_by_random(),
        twisted(
            "nothing_is_skipped",
            || Partials(nothing_skipped),
            &[
                "SAMPLE-1",
                "FUNCTION-1",
                "FUNCTION-2",
                "FUNCTION-3",
                "FILL-1",
                "GROUP-1",
                "FILTER-4",
            ],
        ),
        twisted("nearest_rank", || Partials(nearest_rank), &["FUNCTION-3", "FILTER-4"]),
    ]
}

/// Hands over the statistics of each bucket, of which one is wrong.
struct Partials(fn(&Plan, Partial, &[f64]) -> Partial);

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
fn rounded_sum(_: &Plan, partial: Partial, values: &[f64]) -> Partial {
    let sum: f64 = values.iter().sum();
    if sum.is_finite() { partial.with_sum(sum, 0.0) } else { partial }
}

/// The sample at the rank that is nearest.
fn nearest_rank(plan: &Plan, partial: Partial, values: &[f64]) -> Partial {
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
fn from_squares(plan: &Plan, partial: Partial, values: &[f64]) -> Partial {
    let n = values.len() as f64;
    if !plan.needs().stddev || values.len() < 2 {
        return partial;
    }
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    partial.with_stddev(((squares - sum * sum / n) / (n - 1.0)).max(0.0).sqrt())
}

/// Rows without a sample are not counted.
fn nothing_skipped(_: &Plan, partial: Partial, _: &[f64]) -> Partial {
    partial.with_skipped(0)
}
