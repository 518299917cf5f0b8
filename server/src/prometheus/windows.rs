//! Buckets of one series become values at steps.

use annals_core::{Bucket, Function};

use super::extrapolate::{Change, extrapolate};
use super::leaf::{Range, Sample};
use super::steps::Steps;

/// What one bucket with samples tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The first and the last millisecond of the bucket.
    start: i64,
    end: i64,
    count: u64,
    first: (u64, f64),
    last: (u64, f64),
    /// The sum, the smallest, the greatest or the last sample, or the rises between the samples.
    value: f64,
}

/// The buckets that have samples. `before` is the last sample before the first bucket: the rise
/// from it is part of the bucket's increase.
pub(super) fn parts(buckets: &[Bucket], sample: Sample, before: Option<f64>) -> Vec<Part> {
    let number = |bucket: &Bucket, function| {
        bucket.value(&function).map_or(f64::NAN, annals_core::BucketValue::as_f64)
    };
    let mut before = before;
    let with_samples = buckets.iter().filter(|bucket| bucket.count > 0);
    with_samples
        .map(|bucket| {
            let mut part = Part {
                start: bucket.start,
                end: bucket.end.saturating_sub(1),
                count: bucket.count,
                first: (0, 0.0),
                last: (0, 0.0),
                value: match sample {
                    Sample::Mean | Sample::Sum => number(bucket, Function::Sum),
                    Sample::Min => number(bucket, Function::Min),
                    Sample::Max => number(bucket, Function::Max),
                    Sample::Last => number(bucket, Function::Last),
                    Sample::Rate | Sample::Increase => number(bucket, Function::Increase),
                    Sample::Count | Sample::Delta | Sample::Quantile(_) => 0.0,
                },
            };
            if matches!(sample, Sample::Rate | Sample::Increase | Sample::Delta) {
                let at = |function| number(bucket, function) as u64;
                part.first = (at(Function::FirstAt), number(bucket, Function::First));
                part.last = (at(Function::LastAt), number(bucket, Function::Last));
                let into = before.map_or(0.0, |before| rise(before, part.first.1));
                part.value = inner_rises(part.value, into, part.last.1 - part.first.1);
                before = Some(part.last.1);
            }
            part
        })
        .collect()
}

/// The rise of a counter from one sample to the next. After a fall it began at zero.
fn rise(from: f64, to: f64) -> f64 {
    if to >= from { to - from } else { to }
}

/// The rises between a bucket's samples: its increase without the rise into it. Without a reset
/// they are the difference of last and first, which is exact where the increase is rounded.
fn inner_rises(increase: f64, into: f64, difference: f64) -> f64 {
    let inner = increase - into;
    let rounding = 1e-12 * (increase.abs() + into.abs());
    if (inner - difference).abs() <= rounding { difference } else { inner }
}

/// The function over the window before each step.
pub(super) fn windows(parts: &[Part], steps: &Steps, range: &Range) -> Vec<Option<f64>> {
    let (mut first, mut end) = (0, 0);
    let values = (0..steps.count).map(|number| {
        let time = steps.time(number);
        let start = time.saturating_sub(range.millis);
        while parts.get(end).is_some_and(|part| part.end <= time) {
            end += 1;
        }
        while first < end && parts[first].start <= start {
            first += 1;
        }
        combine(&parts[first..end], (start, time), range)
    });
    values.collect()
}

fn combine(parts: &[Part], (start, end): (i64, i64), range: &Range) -> Option<f64> {
    let (first, last) = (parts.first()?, parts.last()?);
    let count: u64 = parts.iter().map(|part| part.count).sum();
    let values = parts.iter().map(|part| part.value);
    let change = |change, is_counter| {
        let of = Change { count, first: first.first, last_at: last.last.0, change };
        extrapolate(of, (start, end), is_counter)
    };
    match range.sample {
        Sample::Mean => Some(values.sum::<f64>() / count as f64),
        Sample::Sum => Some(values.sum()),
        Sample::Min => values.reduce(f64::min),
        Sample::Max => values.reduce(f64::max),
        Sample::Count => Some(count as f64),
        Sample::Last => Some(last.value),
        Sample::Delta => change(last.last.1 - first.first.1, false),
        Sample::Increase => change(rises(parts), true),
        Sample::Rate => {
            change(rises(parts), true).map(|rises| rises / (range.millis as f64 / 1000.0))
        }
        // Quantiles outside of 0 to 1 are infinite, as in Prometheus.
        Sample::Quantile(quantile) => Some(match quantile {
            below if below < 0.0 => f64::NEG_INFINITY,
            above if above > 1.0 => f64::INFINITY,
            _ => f64::NAN,
        }),
    }
}

fn rises(parts: &[Part]) -> f64 {
    let between = parts.windows(2).map(|pair| rise(pair[0].last.1, pair[1].first.1));
    parts.iter().map(|part| part.value).sum::<f64>() + between.sum::<f64>()
}

/// Quantiles from buckets that are the windows.
pub(super) fn quantiles(
    passes: &[Vec<Bucket>],
    function: &Function,
    steps: &Steps,
    range: &Range,
) -> Vec<Option<f64>> {
    let mut values = vec![None; steps.count];
    for bucket in passes.iter().flatten() {
        let Some(value) = bucket.value(function) else { continue };
        let after = bucket.start - 1 + range.millis - steps.start;
        if after < 0 || after % steps.step != 0 {
            // Between two windows.
            continue;
        }
        let number = usize::try_from(after / steps.step).unwrap_or(usize::MAX);
        if let Some(slot) = values.get_mut(number) {
            *slot = Some(value.as_f64());
        }
    }
    values
}

/// The newest sample at each step: `newest` is that of the first step, and each bucket of one step
/// has the last sample of the time since the step before. A sample stands for `lookback`
/// milliseconds.
pub(super) fn carried(
    newest: Option<(u64, f64)>,
    buckets: &[Bucket],
    steps: &Steps,
    lookback: i64,
) -> Vec<Option<f64>> {
    let mut newest = newest;
    let mut buckets = buckets.iter().filter(|bucket| bucket.count > 0).peekable();
    let values = (0..steps.count).map(|number| {
        let time = steps.time(number);
        while let Some(bucket) = buckets.next_if(|bucket| bucket.end.saturating_sub(1) <= time) {
            let result = |function| bucket.value(&function).map(annals_core::BucketValue::as_f64);
            if let (Some(at), Some(value)) = (result(Function::LastAt), result(Function::Last)) {
                newest = Some((at as u64, value));
            }
        }
        let stands = |at: u64| (at as i64).saturating_add(lookback) > time;
        newest.filter(|(at, _)| stands(*at)).map(|(_, value)| value)
    });
    values.collect()
}
