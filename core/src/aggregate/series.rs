//! The rows of one series on their way into buckets: rows, samples or ready partials enter, oldest
//! first; [`finish`](Series::finish) turns them into buckets.

use std::sync::Arc;

use super::flat::Flat;
use super::locator::{Locator, Span};
use super::member::Found;
use super::partial::Partial;
use super::path::Sample;
use super::path::StatePath;
use super::plan::{MAX_BUCKETS, Plan, time};
use crate::error::PersistenceError;

/// One bucket that has rows.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) span: Span,
    pub(super) partial: Partial,
}

/// The buckets of one record, or of all of them where they are merged, while they are computed.
///
/// Everything is fed oldest first, equal times in their order of arrival. Rows before the window
/// leave the last sample before it; rows after the window are ignored. Memory is a partial for each
/// bucket that has rows, and the samples of one bucket (of all buckets where records are merged) if
/// percentiles are asked for.
///
/// Parts of one record may be computed apart, on two threads for instance, and
/// [merged](Self::merge).
#[derive(Debug)]
pub struct Series {
    pub(super) plan: Arc<Plan>,
    pub(super) record: Arc<str>,
    locator: Locator,
    pub(super) before: Option<Sample>,
    pub(super) states_before: Vec<StatePath>,
    pub(super) parts: Vec<Part>,
    /// The buckets instead of `parts`, where the plan allows it and as long as there are only samples.
    pub(super) flat: Option<Flat>,
    /// The first and the last row in the window, with or without a sample.
    pub(super) rows: Option<(u64, u64)>,
    /// Whether there is a record at all.
    pub(super) exists: bool,
    /// How many samples are held for percentiles.
    held: usize,
}

impl Series {
    /// A series of a record that has rows, whether in the window or not. If the plan has a predicate,
    /// there is a series only once a row satisfies it.
    pub fn new(plan: Arc<Plan>, record: Arc<str>) -> Self {
        let locator = plan.locator();
        Self {
            locator,
            record,
            before: None,
            states_before: Vec::new(),
            parts: Vec::new(),
            flat: plan.is_flat().then(Flat::default),
            rows: None,
            exists: plan.predicate().is_none(),
            held: 0,
            plan,
        }
    }

    /// A series named like the pattern, into which those of the records are
    /// [merged](Self::merge). It has no buckets if there are none.
    pub fn merged(plan: Arc<Plan>) -> Self {
        let record = plan.pattern().as_str().into();
        Self { exists: false, ..Self::new(plan, record) }
    }

    /// States the last sample before the window.
    pub fn before(&mut self, sample: Sample) {
        self.exists = true;
        self.before = Some(sample);
    }

    /// States that the record has a row that satisfies the predicate.
    pub fn exists(&mut self) {
        self.exists = true;
    }

    /// Adds a row as it is stored, if it satisfies the plan's predicate. Text that is no longer JSON is
    /// skipped with a warning.
    ///
    /// # Errors
    /// [`TooManyBuckets`](PersistenceError::TooManyBuckets),
    /// [`TooManySamples`](PersistenceError::TooManySamples).
    pub fn row(&mut self, stored_at: u64, json: &str) -> Result<(), PersistenceError> {
        let is_before = stored_at < self.plan.from;
        let is_ignored = stored_at > self.plan.to || (is_before && !self.plan.needs_before());
        if is_ignored && self.exists {
            return Ok(());
        }
        if let Some(predicate) = self.plan.predicate() {
            match predicate.test(json) {
                Ok(true) => self.exists = true,
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.plan.warn_of(&self.record, stored_at, &error);
                    return Ok(());
                }
            }
        }
        if is_ignored {
            return Ok(());
        }
        let found = self.plan.member().find(json, self.plan.needs().states);
        let found = found.unwrap_or_else(|error| {
            self.plan.warn_of(&self.record, stored_at, &error);
            Found::Absent
        });
        if found != Found::Absent && self.plan.needs().states {
            self.state(stored_at, &found)?;
        }
        match found.sample() {
            Some(value) => self.sample(stored_at, value),
            None => self.skip(stored_at),
        }
    }

    fn state(&mut self, at: u64, found: &Found) -> Result<(), PersistenceError> {
        let part = if at < self.plan.from { None } else { Some(self.part(at)?) };
        let on = self.plan.states().iter().map(|state| state.is(found));
        match part {
            Some(part) => self.parts[part].partial.push_states(&self.plan.rules, at, on),
            None => self.states_before = on.map(|on| StatePath::new(at, on)).collect(),
        }
        Ok(())
    }

    /// Adds a sample.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn sample(&mut self, at: u64, value: f64) -> Result<(), PersistenceError> {
        let sample = Sample { at, value };
        self.exists = true;
        if at < self.plan.from {
            self.before = Some(sample);
            return Ok(());
        }
        if at > self.plan.to {
            return Ok(());
        }
        if self.flat.is_some() {
            return self.samples(&[at], &[value]);
        }
        let part = self.part(at)?;
        self.parts[part].partial.push(&self.plan, sample);
        self.hold(1)
    }

    /// Adds many samples in the order of their times. Both slices have the same length.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn samples(&mut self, times: &[u64], values: &[f64]) -> Result<(), PersistenceError> {
        self.exists |= !times.is_empty();
        let from = times.partition_point(|at| *at < self.plan.from);
        let to = times.partition_point(|at| *at <= self.plan.to);
        if let Some(last) = from.checked_sub(1) {
            self.before = Some(Sample { at: times[last], value: values[last] });
        }
        let (mut times, mut values) = (&times[from..to.max(from)], &values[from..to.max(from)]);
        self.reserve(times);
        if let (Some(flat), [first, ..], [.., last]) = (&mut self.flat, times, times) {
            let rows = (*first, *last);
            while let Some(first) = times.first() {
                let span = self.locator.locate(time(*first));
                let here = ends_at(times, span.end);
                flat.push(&self.plan, span, &times[..here], &values[..here]);
                (times, values) = (&times[here..], &values[here..]);
            }
            check_buckets(flat.len())?;
            self.row_between(rows.0);
            self.row_between(rows.1);
            return Ok(());
        }
        while let Some(first) = times.first() {
            let here = ends_at(times, self.locator.locate(time(*first)).end);
            self.row_between(times[here - 1]);
            let part = self.part(*first)?;
            self.parts[part].partial.push_all(&self.plan, &times[..here], &values[..here]);
            self.hold(here)?;
            (times, values) = (&times[here..], &values[here..]);
        }
        Ok(())
    }

    /// Adds a row without a sample.
    ///
    /// # Errors
    /// [`TooManyBuckets`](PersistenceError::TooManyBuckets).
    pub fn skip(&mut self, at: u64) -> Result<(), PersistenceError> {
        self.exists = true;
        if (self.plan.from..=self.plan.to).contains(&at) {
            self.use_parts();
            let part = self.part(at)?;
            self.parts[part].partial.skip(1);
        }
        Ok(())
    }

    /// Whether all rows from `first` to `last` (Unix milliseconds) lie in the window and in one bucket.
    pub fn has_in_one_bucket(&mut self, first: u64, last: u64) -> bool {
        let is_inside = self.plan.from <= first && first <= last && last <= self.plan.to;
        is_inside && self.locator.locate(time(first)).contains(time(last))
    }

    /// Adds the statistics of rows from `first` to `last` (Unix milliseconds), which lie in one
    /// bucket and in the window.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn partial(
        &mut self,
        (first, last): (u64, u64),
        partial: Partial,
    ) -> Result<(), PersistenceError> {
        self.exists = true;
        self.use_parts();
        let held = partial.more().samples.len();
        let part = self.part(first)?;
        self.parts[part].partial.merge(&self.plan, partial);
        self.row_between(last);
        self.hold(held)
    }

    /// Adds what was computed apart: later rows of the same record, or, where records are merged,
    /// another record.
    ///
    /// # Errors
    /// As [`row`](Self::row).
    pub fn merge(&mut self, mut later: Series) -> Result<(), PersistenceError> {
        if later.before.is_some_and(|later| self.before.is_none_or(|own| later.at >= own.at)) {
            self.before = later.before;
        }
        if !later.states_before.is_empty() {
            self.states_before = std::mem::take(&mut later.states_before);
        }
        if let Some((first, last)) = later.rows {
            self.row_between(first);
            self.row_between(last);
        }
        self.exists |= later.exists;
        if let (Some(flat), Some(after)) = (&mut self.flat, &mut later.flat)
            && flat.is_followed_by(after)
        {
            flat.append(after);
            return check_buckets(flat.len());
        }
        self.use_parts();
        later.use_parts();
        let mut own = std::mem::take(&mut self.parts).into_iter().peekable();
        let mut parts = Vec::with_capacity(own.len().max(later.parts.len()));
        for mut part in later.parts {
            while let Some(earlier) = own.next_if(|own| own.span.start < part.span.start) {
                parts.push(earlier);
            }
            if let Some(mut same) = own.next_if(|own| own.span.start == part.span.start) {
                same.partial.merge(&self.plan, part.partial);
                part = same;
            }
            parts.push(part);
        }
        parts.extend(own);
        self.parts = parts;
        check_buckets(self.parts.len())?;
        self.hold(later.held)
    }

    /// Goes on with partials, which can hold everything.
    fn use_parts(&mut self) {
        if let Some(flat) = self.flat.take() {
            let parts = flat.into_partials().map(|(span, partial)| Part { span, partial });
            self.parts = parts.collect();
        }
    }

    fn row_between(&mut self, at: u64) {
        let (first, last) = self.rows.unwrap_or((at, at));
        self.rows = Some((first.min(at), last.max(at)));
    }

    /// The index of the bucket that `at` lies in: the last one.
    fn part(&mut self, at: u64) -> Result<usize, PersistenceError> {
        self.row_between(at);
        let at = time(at);
        let is_new = self.parts.last().is_none_or(|part| !part.span.contains(at));
        if is_new {
            self.seal_last();
            check_buckets(self.parts.len() + 1)?;
            let span = self.locator.locate(at);
            self.parts.push(Part { span, partial: Partial::default() });
        }
        Ok(self.parts.len() - 1)
    }

    /// Reserves memory for the buckets of this many rows.
    pub fn reserve_for(&mut self, rows: usize) {
        if let Some(flat) = &mut self.flat {
            flat.reserve(&self.plan, rows.min(self.plan.most_buckets()).min(MOST_EXPECTED));
        }
    }

    /// Makes room for the buckets of these times: there may be as many as rows.
    fn reserve(&mut self, times: &[u64]) {
        if let [first, .., last] = times {
            let span = self.locator.locate(time(*first));
            let width = span.end.saturating_sub(span.start).max(1).unsigned_abs();
            let buckets = usize::try_from((last - first) / width).unwrap_or(usize::MAX);
            let buckets = buckets.min(times.len());
            match &mut self.flat {
                Some(flat) => flat.reserve(&self.plan, buckets),
                None => self.parts.reserve(buckets),
            }
        }
    }

    /// Computes the percentiles of a bucket that gets no more rows. The first may get some of a
    /// series before this one.
    fn seal_last(&mut self) {
        if self.parts.len() > 1
            && !self.plan.merges()
            && let Some(last) = self.parts.last_mut()
        {
            self.held -= last.partial.more().samples.len();
            last.partial.seal(&self.plan);
        }
    }

    /// Counts samples that are held.
    fn hold(&mut self, samples: usize) -> Result<(), PersistenceError> {
        if self.plan.needs().samples {
            self.held += samples;
            let limit = self.plan.max_samples;
            if self.held > limit {
                return Err(PersistenceError::TooManySamples { limit });
            }
        }
        Ok(())
    }
}

/// Room is made for this many buckets at once: large buckets have many rows each.
const MOST_EXPECTED: usize = 1 << 10;

/// How many of the times lie in a bucket that ends with `end`, found in steps that double: buckets may be small.
fn ends_at(times: &[u64], end: i64) -> usize {
    if end == i64::MAX {
        return times.len();
    }
    let is_before = |at: &u64| time(*at) < end;
    let mut reach = 1;
    while times.get(reach).is_some_and(is_before) {
        reach *= 2;
    }
    let from = reach / 2;
    from + times[from..times.len().min(reach)].partition_point(is_before)
}

pub(super) fn check_buckets(buckets: usize) -> Result<(), PersistenceError> {
    if buckets as u64 > MAX_BUCKETS {
        return Err(PersistenceError::TooManyBuckets { limit: MAX_BUCKETS });
    }
    Ok(())
}
