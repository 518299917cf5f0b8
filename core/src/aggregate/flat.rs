//! Small buckets in columns: samples of one record enter, oldest first; [`BucketColumns`] leave.
//!
//! A question with a bucket for every sample or two costs what is written per bucket. A
//! [`Partial`](super::Partial) has room for everything; these columns have what the plan needs.

use std::sync::Arc;

use super::bucket::BucketValue;
use super::columns::BucketColumns;
use super::function::Function;
use super::locator::Span;
use super::partial::Partial;
use super::path::Sample;
use super::plan::{Needs, Plan};
use super::sum::Sum;

/// The buckets of a series in which every row has a sample.
#[derive(Debug, Default)]
pub(super) struct Flat {
    spans: Vec<Span>,
    counts: Vec<u64>,
    /// Empty unless the plan needs them, as are the others.
    sums: Vec<Sum>,
    /// The smallest and the greatest sample.
    extremes: Vec<(Sample, Sample)>,
    /// The first and the last sample.
    ends: Vec<(Sample, Sample)>,
}

impl Flat {
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn reserve(&mut self, plan: &Plan, buckets: usize) {
        let Needs { sum, extremes, .. } = plan.needs();
        self.spans.reserve(buckets);
        self.counts.reserve(buckets);
        self.sums.reserve(if sum { buckets } else { 0 });
        self.extremes.reserve(if extremes { buckets } else { 0 });
        self.ends.reserve(if plan.needs_ends() { buckets } else { 0 });
    }

    /// Whether the last bucket is this one.
    pub(super) fn is_at(&self, span: Span) -> bool {
        self.spans.last() == Some(&span)
    }

    /// Adds samples of one bucket, none of which is before those that are there. Both slices have the same
    /// length, which is not 0.
    pub(super) fn push(&mut self, plan: &Plan, span: Span, times: &[u64], values: &[f64]) {
        let ([first_at, ..], [.., last_at]) = (times, times) else { return };
        let ([first, ..], [.., last]) = (values, values) else { return };
        let first = Sample { at: *first_at, value: *first };
        let last = Sample { at: *last_at, value: *last };
        let is_new = !self.is_at(span);
        if is_new {
            self.spans.push(span);
            self.counts.push(0);
        }
        add(&mut self.counts, values.len() as u64);
        let Needs { sum, extremes, .. } = plan.needs();
        if sum {
            if is_new {
                self.sums.push(Sum::default());
            }
            if let Some(sum) = self.sums.last_mut() {
                sum.add_all(values);
            }
        }
        if extremes {
            if is_new {
                self.extremes.push((first, first));
            }
            if let Some((min, max)) = self.extremes.last_mut() {
                for (at, value) in times.iter().zip(values) {
                    let sample = Sample { at: *at, value: *value };
                    *min = if sample.value < min.value { sample } else { *min };
                    *max = if sample.value > max.value { sample } else { *max };
                }
            }
        }
        if plan.needs_ends() {
            if is_new {
                self.ends.push((first, last));
            } else if let Some((_, end)) = self.ends.last_mut() {
                *end = last;
            }
        }
    }

    /// Whether no bucket of `later` is before one of these. One may be the last of these.
    pub(super) fn is_followed_by(&self, later: &Flat) -> bool {
        let (last, first) = (self.spans.last(), later.spans.first());
        last.zip(first).is_none_or(|(last, first)| last.start <= first.start)
    }

    /// Moves the buckets of `later`, which [follow](Self::is_followed_by), behind these.
    pub(super) fn append(&mut self, later: &mut Flat) {
        if later.spans.first().is_some_and(|first| self.is_at(*first)) {
            later.take_first(self);
        }
        self.spans.append(&mut later.spans);
        self.counts.append(&mut later.counts);
        self.sums.append(&mut later.sums);
        self.extremes.append(&mut later.extremes);
        self.ends.append(&mut later.ends);
    }

    /// Moves the first bucket into the last one of `earlier`.
    fn take_first(&mut self, earlier: &mut Flat) {
        self.spans.remove(0);
        add(&mut earlier.counts, self.counts.remove(0));
        if let Some(sum) = earlier.sums.last_mut() {
            sum.merge(&self.sums.remove(0));
        }
        if let Some((min, max)) = earlier.extremes.last_mut() {
            let (later_min, later_max) = self.extremes.remove(0);
            *min = if later_min.value < min.value { later_min } else { *min };
            *max = if later_max.value > max.value { later_max } else { *max };
        }
        if let Some((_, last)) = earlier.ends.last_mut() {
            *last = self.ends.remove(0).1;
        }
    }

    /// The same as partials.
    pub(super) fn into_partials(self) -> impl Iterator<Item = (Span, Partial)> {
        let Self { spans, counts, sums, extremes, ends } = self;
        let (mut sums, mut extremes, mut ends) =
            (sums.into_iter(), extremes.into_iter(), ends.into_iter());
        spans.into_iter().zip(counts).map(move |(span, count)| {
            let (min, max) = extremes.next().unzip();
            let (first, last) = ends.next().unzip();
            let sum = sums.next().unwrap_or_default();
            let mut partial = Partial::default().with_count(count);
            partial.sum = sum;
            (partial.min, partial.max) = (min, max);
            (partial.first, partial.last) = (first, last);
            (span, partial)
        })
    }

    /// The answer; `None` if there are no buckets.
    pub(super) fn finish(self, plan: &Plan, record: Arc<str>) -> Option<BucketColumns> {
        if self.spans.is_empty() {
            return None;
        }
        let functions: Arc<[Function]> = plan.functions().iter().cloned().collect();
        let values = functions.iter().map(|function| self.column(function)).collect();
        Some(BucketColumns {
            record,
            values,
            functions,
            spans: self.spans,
            counts: self.counts,
            skipped: Vec::new(),
            filled: Vec::new(),
        })
    }

    /// The results of a function.
    fn column(&self, function: &Function) -> Vec<Option<BucketValue>> {
        let number = |number: f64| Some(BucketValue::Number(number));
        let of = |samples: &[(Sample, Sample)], pick: fn(&(Sample, Sample)) -> Sample| {
            samples.iter().map(|both| number(pick(both).value)).collect()
        };
        let at = |samples: &[(Sample, Sample)], pick: fn(&(Sample, Sample)) -> Sample| {
            samples.iter().map(|both| Some(BucketValue::Integer(pick(both).at))).collect()
        };
        match function {
            Function::Sum => self.sums.iter().map(|sum| number(sum.value())).collect(),
            Function::Mean => {
                let sums = self.sums.iter().zip(&self.counts);
                sums.map(|(sum, count)| number(sum.divided_by(*count as f64))).collect()
            }
            Function::Min => of(&self.extremes, |both| both.0),
            Function::Max => of(&self.extremes, |both| both.1),
            Function::First => of(&self.ends, |both| both.0),
            Function::Last => of(&self.ends, |both| both.1),
            Function::MinAt => at(&self.extremes, |both| both.0),
            Function::MaxAt => at(&self.extremes, |both| both.1),
            Function::FirstAt => at(&self.ends, |both| both.0),
            Function::LastAt => at(&self.ends, |both| both.1),
            Function::Delta => {
                let ends = self.ends.iter();
                ends.map(|(first, last)| number(last.value - first.value)).collect()
            }
            // The others have no column of their own or need more than statistics.
            _ => vec![None; self.len()],
        }
    }
}

/// Adds to the last of the counts.
fn add(counts: &mut [u64], samples: u64) {
    if let Some(count) = counts.last_mut() {
        *count += samples;
    }
}
