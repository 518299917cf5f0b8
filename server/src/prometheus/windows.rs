//! Buckets of one series become values at steps.

use std::ops::Range as Indexes;

use annals_core::Function;
use annals_core::aggregate::{BucketColumns, BucketValue, Sample as At, Span};

use super::extrapolate::{Change, extrapolate};
use super::leaf::{Range, Sample};
use super::steps::Steps;

/// What the buckets with samples tell.
#[derive(Debug)]
struct Parts {
    parts: Vec<Part>,
    /// The first and the last sample of each, for functions of the change.
    ends: Vec<(At, At)>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    span: Span,
    count: u64,
    /// The sum, the smallest, the greatest or the last sample, or the rises between the samples.
    value: f64,
}

impl Parts {
    /// `before` is the last sample before the first bucket: the rise from it is part of the bucket's increase.
    fn new(buckets: &BucketColumns, sample: Sample, before: Option<f64>) -> Self {
        let values = told(sample).and_then(|function| buckets.values(&function));
        let each = buckets.spans().iter().zip(buckets.counts()).enumerate();
        let with_samples = each.filter(|(_, (_, count))| **count > 0);
        let part = |(at, (span, count)): (usize, (&Span, &u64))| Part {
            span: *span,
            count: *count,
            value: values.map_or(0.0, |values| number(values[at])),
        };
        let mut parts = Self { parts: with_samples.map(part).collect(), ends: Vec::new() };
        if matches!(sample, Sample::Rate | Sample::Increase | Sample::Delta) {
            parts.ends = ends(buckets);
            let mut before = before;
            for (part, (first, last)) in parts.parts.iter_mut().zip(&parts.ends) {
                let into = before.map_or(0.0, |before| rise(before, first.value));
                part.value = inner_rises(part.value, into, last.value - first.value);
                before = Some(last.value);
            }
        }
        parts
    }
}

/// The function of a bucket that is its part of the result.
fn told(sample: Sample) -> Option<Function> {
    match sample {
        Sample::Mean | Sample::Sum => Some(Function::Sum),
        Sample::Min => Some(Function::Min),
        Sample::Max => Some(Function::Max),
        Sample::Last => Some(Function::Last),
        Sample::Rate | Sample::Increase => Some(Function::Increase),
        Sample::Count | Sample::Delta | Sample::Quantile(_) => None,
    }
}

fn number(value: Option<BucketValue>) -> f64 {
    value.map_or(f64::NAN, BucketValue::as_f64)
}

/// The first and the last sample of each bucket with samples.
fn ends(buckets: &BucketColumns) -> Vec<(At, At)> {
    let columns = [Function::FirstAt, Function::First, Function::LastAt, Function::Last]
        .map(|function| buckets.values(&function).unwrap_or_default());
    let of = |at: usize| {
        let [first_at, first, last_at, last] =
            columns.map(|column| number(column.get(at).copied().flatten()));
        (At { at: first_at as u64, value: first }, At { at: last_at as u64, value: last })
    };
    let with_samples = buckets.counts().iter().enumerate().filter(|(_, count)| **count > 0);
    with_samples.map(|(at, _)| of(at)).collect()
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

/// The function over the window before each step. `before` is the last sample before the first bucket.
pub(super) fn windows(
    buckets: &BucketColumns,
    before: Option<f64>,
    steps: &Steps,
    range: &Range,
) -> Vec<Option<f64>> {
    let is_window = range.millis == steps.step || steps.count == 1;
    use Sample::{Count, Last, Max, Mean, Min, Sum};
    if is_window && matches!(range.sample, Mean | Sum | Min | Max | Count | Last) {
        return each(buckets, steps, range.sample);
    }
    let all = Parts::new(buckets, range.sample, before);
    let (mut first, mut end) = (0, 0);
    let parts = &all.parts;
    let values = (0..steps.count).map(|number| {
        let time = steps.time(number);
        let start = time.saturating_sub(range.millis);
        while parts.get(end).is_some_and(|part| part.span.end.saturating_sub(1) <= time) {
            end += 1;
        }
        while first < end && parts[first].span.start <= start {
            first += 1;
        }
        all.combine(first..end, (start, time), range)
    });
    values.collect()
}

/// The same where each bucket is the window of a step and tells the result.
fn each(buckets: &BucketColumns, steps: &Steps, sample: Sample) -> Vec<Option<f64>> {
    let values = told(sample).and_then(|function| buckets.values(&function));
    let mut windows = vec![None; steps.count];
    let mut next = 0;
    for (at, (span, count)) in buckets.spans().iter().zip(buckets.counts()).enumerate() {
        let last = span.end.saturating_sub(1);
        while next < steps.count && steps.time(next) < last {
            next += 1;
        }
        let Some(slot) = windows.get_mut(next).filter(|_| *count > 0) else { continue };
        let value = || values.map_or(0.0, |values| number(values[at]));
        *slot = Some(match sample {
            Sample::Mean => value() / *count as f64,
            Sample::Count => *count as f64,
            _ => value(),
        });
    }
    windows
}

impl Parts {
    fn combine(
        &self,
        window: Indexes<usize>,
        (start, end): (i64, i64),
        range: &Range,
    ) -> Option<f64> {
        let parts = &self.parts[window.clone()];
        let newest = parts.last()?;
        let count = || parts.iter().map(|part| part.count).sum::<u64>();
        let values = parts.iter().map(|part| part.value);
        let ends = || self.ends.get(window.clone()).unwrap_or_default();
        let change = |change: &dyn Fn(At, At) -> f64, is_counter| {
            let ((first, _), (_, last)) = (ends().first()?, ends().last()?);
            let change = change(*first, *last);
            let of =
                Change { count: count(), first: (first.at, first.value), last_at: last.at, change };
            extrapolate(of, (start, end), is_counter)
        };
        let rises = |_, _| rises(parts, ends());
        match range.sample {
            Sample::Mean => Some(values.sum::<f64>() / count() as f64),
            Sample::Sum => Some(values.sum()),
            Sample::Min => values.reduce(f64::min),
            Sample::Max => values.reduce(f64::max),
            Sample::Count => Some(count() as f64),
            Sample::Last => Some(newest.value),
            Sample::Delta => change(&|first, last| last.value - first.value, false),
            Sample::Increase => change(&rises, true),
            Sample::Rate => {
                change(&rises, true).map(|rises| rises / (range.millis as f64 / 1000.0))
            }
            // Quantiles outside of 0 to 1 are infinite, as in Prometheus.
            Sample::Quantile(quantile) => Some(match quantile {
                below if below < 0.0 => f64::NEG_INFINITY,
                above if above > 1.0 => f64::INFINITY,
                _ => f64::NAN,
            }),
        }
    }
}

fn rises(parts: &[Part], ends: &[(At, At)]) -> f64 {
    let between = ends.windows(2).map(|pair| rise(pair[0].1.value, pair[1].0.value));
    parts.iter().map(|part| part.value).sum::<f64>() + between.sum::<f64>()
}

/// Quantiles from buckets that are the windows.
pub(super) fn quantiles(
    passes: &[Option<BucketColumns>],
    function: &Function,
    steps: &Steps,
    range: &Range,
) -> Vec<Option<f64>> {
    let mut values = vec![None; steps.count];
    for buckets in passes.iter().flatten() {
        let results = buckets.values(function).unwrap_or_default();
        for (span, result) in buckets.spans().iter().zip(results) {
            let Some(value) = result else { continue };
            // A window may be as long as an i64 can say, and end after 1970.
            let start = i128::from(span.start) - 1 - i128::from(steps.start);
            let (after, step) = (start + i128::from(range.millis), i128::from(steps.step));
            if after < 0 || after % step != 0 {
                // Between two windows.
                continue;
            }
            let number = usize::try_from(after / step).unwrap_or(usize::MAX);
            if let Some(slot) = values.get_mut(number) {
                *slot = Some(value.as_f64());
            }
        }
    }
    values
}

/// The newest sample at each step: `newest` is that of the first step, and each bucket of one step
/// has the last sample of the time since the step before. A sample stands for `lookback`
/// milliseconds.
pub(super) fn carried(
    newest: Option<(u64, f64)>,
    buckets: Option<&BucketColumns>,
    steps: &Steps,
    lookback: i64,
) -> Vec<Option<f64>> {
    let column = |function| buckets.and_then(|all| all.values(&function)).unwrap_or_default();
    let samples = column(Function::LastAt).iter().zip(column(Function::Last));
    let spans = buckets.map(BucketColumns::spans).unwrap_or_default();
    let mut buckets = spans.iter().zip(samples).peekable();
    let mut newest = newest;
    let values = (0..steps.count).map(|number| {
        let time = steps.time(number);
        while let Some((_, sample)) =
            buckets.next_if(|(span, _)| span.end.saturating_sub(1) <= time)
        {
            if let (Some(at), Some(value)) = sample {
                newest = Some((at.as_f64() as u64, value.as_f64()));
            }
        }
        let stands = |at: u64| (at as i64).saturating_add(lookback) > time;
        newest.filter(|(at, _)| stands(*at)).map(|(_, value)| value)
    });
    values.collect()
}
