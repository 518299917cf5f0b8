//! Buckets from what a series has gathered: the partials of buckets with rows enter; what values
//! reach into, what is filled in and the order of the answer are added.

use std::sync::Arc;

use super::bucket::{Bucket, BucketValue};
use super::columns::BucketPage;
use super::function::Function;
use super::locator::Span;
use super::partial::Partial;
use super::path::Sample;
use super::path::StatePath;
use super::percentile::between;
use super::plan::{Plan, time};
use super::series::{Series, check_buckets};
use super::spec::{Fill, Interpolation};
use crate::error::PersistenceError;
use crate::query::Order;

impl Series {
    /// The buckets, in the order that was asked for.
    ///
    /// # Errors
    /// [`TooManyBuckets`](PersistenceError::TooManyBuckets) where filling makes them too many.
    pub fn finish(self) -> Result<Vec<Bucket>, PersistenceError> {
        self.finish_page().map(BucketPage::into_buckets)
    }

    /// The buckets as [`finish`](Self::finish) has them, in columns if they are computed so.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_page(mut self) -> Result<BucketPage, PersistenceError> {
        if !self.exists || self.plan.is_empty() {
            return Ok(BucketPage::Buckets(Vec::new()));
        }
        if let Some(flat) = self.flat {
            return Ok(BucketPage::Columns(
                flat.finish(&self.plan, self.record).into_iter().collect(),
            ));
        }
        let plan = self.plan.clone();
        self.parts.iter_mut().for_each(|part| part.partial.seal(&plan));
        let spans = match plan.is_one_bucket() {
            true => self.whole(),
            false => self.with_gaps()?,
        };
        let mut buckets = self.evaluate(spans);
        if plan.fill == Fill::Linear {
            fill_between(&plan, &mut buckets);
        }
        if plan.order == Order::NewestFirst {
            buckets.reverse();
        }
        Ok(BucketPage::Buckets(buckets))
    }

    /// The single bucket: the window. An open window begins with the first row and ends with the
    /// last one. If it has a start, a value that holds and filling go on until now.
    fn whole(&self) -> Vec<Listed> {
        let plan = &self.plan;
        let goes_on = plan.holds_values() || plan.fill != Fill::None;
        let from = match plan.bounded.0 {
            true => Some(plan.from),
            false => self.rows.map(|(first, _)| first),
        };
        let after_last = self.rows.map(|(_, last)| last.saturating_add(1));
        let end = match plan.bounded {
            (_, true) => Some(plan.to.saturating_add(1)),
            (true, false) if goes_on => after_last.max(Some(plan.rules.now)),
            _ => after_last,
        };
        let (Some(from), Some(end)) = (from, end) else { return Vec::new() };
        let span = Span { start: time(from), end: time(end) };
        let has_rows = !self.parts.is_empty();
        let is_listed = has_rows || (plan.fill != Fill::None && from <= plan.rules.now);
        if span.start < span.end && (is_listed || self.reach(self.held_at()) > span.start) {
            vec![Listed { span, has_rows }]
        } else {
            Vec::new()
        }
    }

    /// The times of the last sample and the last state before the window, where they hold.
    fn held_at(&self) -> [Option<u64>; 2] {
        let state = self.states_before.first().map(|state| state.last_at);
        [self.before.map(|sample| sample.at), state]
    }

    /// Until when the later one of a sample and a state holds, if nothing follows.
    fn reach(&self, [sample, state]: [Option<u64>; 2]) -> i64 {
        let holds = |function: &Function| {
            function.holds_values() && !matches!(function, Function::Duration(_))
        };
        let sample = sample.filter(|_| self.plan.functions().iter().any(holds));
        let reach = [sample, state].into_iter().flatten();
        let reach = reach.map(|at| self.plan.rules.held_until(at, None)).max().unwrap_or(0);
        // Nothing is reached before the window.
        let end = self.plan.to.saturating_add(1);
        if reach > self.plan.from { time(reach.min(end)) } else { i64::MIN }
    }

    /// The buckets with rows, and between them those without rows that a value reaches into or that are
    /// to be filled: there may be a million of them, so they take few bytes each.
    fn with_gaps(&self) -> Result<Vec<Listed>, PersistenceError> {
        let plan = &self.plan;
        let fill_end = self.fill_end();
        let mut locator = plan.locator();
        let mut held = self.held_at();
        let mut gap = plan.bounded.0.then(|| locator.locate(time(plan.from)).start);
        let mut all: Vec<Listed> = Vec::with_capacity(self.parts.len());
        let mut parts = self.parts.iter();
        loop {
            let part = parts.next();
            let gap_end = part.map_or(i64::MAX, |part| part.span.start);
            let until = fill_end.max(self.reach(held)).min(gap_end);
            while let Some(start) = gap.filter(|start| *start < until) {
                let span = locator.locate(start);
                all.push(Listed { span, has_rows: false });
                check_buckets(all.len())?;
                gap = (span.end < i64::MAX).then_some(span.end);
            }
            let Some(part) = part else { return Ok(all) };
            gap = (part.span.end < i64::MAX).then_some(part.span.end);
            held[0] = part.partial.last.map(|last| last.at).or(held[0]);
            held[1] = part.partial.more().states.first().map(|state| state.last_at).or(held[1]);
            all.push(Listed { span: part.span, has_rows: true });
            check_buckets(all.len())?;
        }
    }

    /// Buckets that start before are filled: up to the window's end; now, if it has only a start; or
    /// the last row. Never those in the future.
    fn fill_end(&self) -> i64 {
        let plan = &self.plan;
        let last_row = self.rows.map_or(0, |(_, last)| last);
        let last = match plan.bounded {
            _ if plan.fill == Fill::None => return i64::MIN,
            (_, true) => plan.to,
            (true, false) => plan.rules.now.max(last_row),
            (false, false) => last_row,
        };
        time(last.min(plan.rules.now)).saturating_add(1)
    }

    fn evaluate(&mut self, spans: Vec<Listed>) -> Vec<Bucket> {
        let mut carry = Carry { sample: self.before, states: self.states_before.clone() };
        let firsts: Vec<Option<Sample>> = match self.plan.rules.interpolation {
            Interpolation::Linear => {
                let mut parts = self.parts.iter();
                let mut first = || parts.next().and_then(|part| part.partial.first);
                spans.iter().map(|listed| if listed.has_rows { first() } else { None }).collect()
            }
            _ => Vec::new(),
        };
        let mut next = 0;
        let mut parts = std::mem::take(&mut self.parts);
        let mut own = parts.iter_mut();
        // Not the plan's: one counter for the buckets of all records would be written by all threads.
        let functions: Arc<[Function]> = self.plan.functions().iter().cloned().collect();
        let mut buckets = Vec::with_capacity(spans.len());
        for (index, Listed { span, has_rows }) in spans.into_iter().enumerate() {
            let part = if has_rows { own.next() } else { None };
            let mut none;
            let partial = match part {
                Some(part) => &mut part.partial,
                None => {
                    none = Partial::default();
                    &mut none
                }
            };
            // The next sample after this bucket: a line is drawn to it.
            next = next.max(index + 1);
            while firsts.get(next).is_some_and(Option::is_none) {
                next += 1;
            }
            let after = firsts.get(next).copied().flatten();
            let states = match partial.more().states.is_empty() {
                true => Vec::new(),
                false => std::mem::take(&mut partial.more_mut().states),
            };
            let durations = self.durations(span, &states, &carry.states);
            self.complete(span, partial, carry.sample, after);
            buckets.push(self.bucket(span, partial, &functions, &durations, carry.sample));
            carry.sample = partial.last.or(carry.sample);
            if !states.is_empty() {
                carry.states = states;
            }
        }
        buckets
    }

    /// The part of a bucket that lies in the window.
    fn clipped(&self, span: Span) -> (u64, u64) {
        let start = u64::try_from(span.start).unwrap_or(0).max(self.plan.from);
        let end = u64::try_from(span.end).unwrap_or(0).min(self.plan.to.saturating_add(1));
        (start, end)
    }

    /// Adds to the path what lies before the first and after the last sample.
    fn complete(
        &self,
        span: Span,
        partial: &mut Partial,
        before: Option<Sample>,
        after: Option<Sample>,
    ) {
        if !self.plan.needs().path {
            return;
        }
        let (rules, (start, end)) = (&self.plan.rules, self.clipped(span));
        let (first, last) = (partial.first, partial.last);
        let path = &mut partial.more_mut().path;
        if let Some(before) = before {
            let until = first.map_or(end, |first| first.at);
            path.hold(rules, before, first.or(after), (start, until));
            if let Some(first) = first {
                path.rise(before, first);
            }
        }
        if let Some(last) = last {
            path.hold(rules, last, after, (last.at, end));
        }
    }

    /// The milliseconds of each duration; none if no row says anything about the bucket.
    fn durations(&self, span: Span, own: &[StatePath], before: &[StatePath]) -> Vec<u64> {
        let (rules, (start, end)) = (&self.plan.rules, self.clipped(span));
        let first = own.first().map(|state| state.first_at);
        let mut durations: Vec<u64> = own
            .iter()
            .map(|state| {
                let rest = state.held(rules, None, (state.last_at, end)).filter(|_| state.on);
                state.lasted_ms + rest.unwrap_or(0)
            })
            .collect();
        let until = first.map_or(end, |first| first.min(end));
        let held = before.iter().filter_map(|state| {
            Some(state.held(rules, first, (start, until))?.min(if state.on { u64::MAX } else { 0 }))
        });
        let held: Vec<u64> = held.collect();
        if durations.is_empty() {
            return held;
        }
        durations.iter_mut().zip(held).for_each(|(duration, held)| *duration += held);
        durations
    }

    fn bucket(
        &self,
        span: Span,
        partial: &Partial,
        functions: &Arc<[Function]>,
        durations: &[u64],
        before: Option<Sample>,
    ) -> Bucket {
        let mut percentiles = partial.more().percentiles.iter();
        let mut durations = durations.iter();
        let result = |function: &Function| match function {
            Function::Median | Function::Percentile(_) => {
                percentiles.next().copied().map(BucketValue::Number)
            }
            Function::Duration(_) => durations.next().copied().map(BucketValue::Integer),
            _ => result(function, partial),
        };
        let mut bucket = Bucket {
            record: self.record.clone(),
            start: span.start,
            end: span.end,
            count: partial.count,
            skipped: partial.skipped,
            filled: false,
            values: functions.iter().map(result).collect(),
            functions: functions.clone(),
        };
        if self.plan.fill == Fill::Previous
            && may_fill(&self.plan, &bucket)
            && let Some(before) = before
        {
            let values = functions.iter().zip(&mut bucket.values);
            for (_, value) in values.filter(|(function, _)| function.is_value()) {
                bucket.filled |= value.is_none();
                value.get_or_insert(BucketValue::Number(before.value));
            }
        }
        bucket
    }
}

/// A bucket of the answer, and whether it is one of the parts.
struct Listed {
    span: Span,
    has_rows: bool,
}

/// What a bucket takes over from the one before.
struct Carry {
    sample: Option<Sample>,
    states: Vec<StatePath>,
}

/// The result of a function that follows from the partial alone.
fn result(function: &Function, partial: &Partial) -> Option<BucketValue> {
    let (more, path) = (partial.more(), &partial.more().path);
    let is_reached = partial.count > 0 || path.covered_ms > 0;
    let covered = (path.covered_ms > 0).then_some(path.covered_ms as f64);
    let count = (partial.count > 0).then_some(partial.count as f64);
    let value = |sample: Option<Sample>| sample.map(|sample| sample.value);
    let at = |sample: Option<Sample>| sample.map(|sample| BucketValue::Integer(sample.at));
    let number = match function {
        Function::MinAt => return at(partial.min),
        Function::MaxAt => return at(partial.max),
        Function::FirstAt => return at(partial.first),
        Function::LastAt => return at(partial.last),
        Function::CoveredMs => {
            return is_reached.then_some(BucketValue::Integer(path.covered_ms));
        }
        Function::Sum => count.map(|_| partial.sum.value()),
        Function::Mean => count.map(|count| partial.sum.divided_by(count)),
        Function::Min => value(partial.min),
        Function::Max => value(partial.max),
        Function::First => value(partial.first),
        Function::Last => value(partial.last),
        Function::Stddev => {
            more.deviation.or_else(|| more.spread.as_ref().and_then(|it| it.deviation()))
        }
        Function::Delta => Some(value(partial.last)? - value(partial.first)?),
        Function::Increase => count.map(|_| path.rises.value()),
        Function::Rate => count.and(covered).map(|covered| path.rises.divided_by(covered / 1000.0)),
        Function::TimeWeightedMean => covered.map(|covered| path.area.divided_by(covered)),
        Function::Integral => is_reached.then(|| path.area.divided_by(1000.0)),
        Function::Count
        | Function::Skipped
        | Function::Median
        | Function::Percentile(_)
        | Function::Duration(_) => None,
    };
    number.map(BucketValue::Number)
}

/// A bucket without samples that is not in the future.
fn may_fill(plan: &Plan, bucket: &Bucket) -> bool {
    bucket.count == 0 && bucket.start <= time(plan.rules.now)
}

/// Gives empty buckets the values on the line between their neighbours.
fn fill_between(plan: &Plan, buckets: &mut [Bucket]) {
    let values = plan.functions().iter().enumerate().filter(|(_, function)| function.is_value());
    for (function, _) in values {
        let value = |bucket: &Bucket| bucket.values[function].map(BucketValue::as_f64);
        let mut left: Option<usize> = None;
        for right in 0..buckets.len() {
            let Some(right_value) = value(&buckets[right]) else { continue };
            if let Some(left) = left.filter(|left| left + 1 < right)
                && let Some(left_value) = value(&buckets[left])
            {
                let start = buckets[left].start;
                let distance = (buckets[right].start - start) as f64;
                for bucket in &mut buckets[left + 1..right] {
                    if may_fill(plan, bucket) {
                        let fraction = (bucket.start - start) as f64 / distance;
                        let value = between(left_value, right_value, fraction);
                        bucket.values[function] = Some(BucketValue::Number(value));
                        bucket.filled = true;
                    }
                }
            }
            left = Some(right);
        }
    }
}
