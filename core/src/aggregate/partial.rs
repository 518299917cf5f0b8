//! What is known of the rows of a bucket, or of a part of them, in a form that can be put together.

use std::sync::LazyLock;

use super::path::{Path, Rules, Sample, StatePath};
use super::plan::{Needs, Plan};
use super::spread::Spread;
use super::sum::Sum;

/// The statistics of some rows of one bucket.
///
/// A [`Series`](super::Series) makes them from rows. A backend that knows the statistics of many
/// rows without reading them, from a block or from a server, states them with the setters and hands
/// them to [`Series::partial`](super::Series::partial). What
/// [`Plan::needs`](super::Plan::needs) asks for must be set, and the first and last sample always.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partial {
    pub(super) count: u64,
    pub(super) skipped: u64,
    pub(super) sum: Sum,
    pub(super) min: Option<Sample>,
    pub(super) max: Option<Sample>,
    pub(super) first: Option<Sample>,
    pub(super) last: Option<Sample>,
    /// What few questions need. There may be a million small buckets.
    more: Option<Box<More>>,
}

/// The statistics that only some functions need.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct More {
    pub(super) spread: Option<Spread>,
    pub(super) samples: Vec<f64>,
    pub(super) path: Path,
    /// One for each duration, or none if no row had a state.
    pub(super) states: Vec<StatePath>,
    pub(super) deviation: Option<f64>,
    pub(super) percentiles: Vec<f64>,
}

static NO_MORE: LazyLock<More> = LazyLock::new(More::default);

impl Partial {
    pub(super) fn more(&self) -> &More {
        self.more.as_deref().unwrap_or_else(|| &NO_MORE)
    }

    pub(super) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The statistics that answer a plan [by statistics](super::Plan::by_statistics), of samples in the
    /// order of their times. Both slices have the same length.
    pub fn of_samples(times: &[u64], values: &[f64]) -> Self {
        let needs = Needs { sum: true, extremes: true, ..Needs::default() };
        let mut partial = Self::default();
        partial.push_statistics(needs, times, values);
        partial
    }

    /// Sets the number of samples.
    #[must_use]
    pub fn with_count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// Sets the number of rows without a sample.
    #[must_use]
    pub fn with_skipped(self, skipped: u64) -> Self {
        Self { skipped, ..self }
    }

    /// Sets the sum, as the exact sum of two finite numbers: `low` is what rounding lost of `high`,
    /// 0 if it lost nothing.
    #[must_use]
    pub fn with_sum(mut self, high: f64, low: f64) -> Self {
        self.sum = Sum::default();
        self.sum.add(high);
        self.sum.add(low);
        self
    }

    /// Sets the smallest sample, at its earliest time.
    #[must_use]
    pub fn with_min(self, min: Sample) -> Self {
        Self { min: Some(min), ..self }
    }

    /// Sets the greatest sample, at its earliest time.
    #[must_use]
    pub fn with_max(self, max: Sample) -> Self {
        Self { max: Some(max), ..self }
    }

    /// Sets the earliest sample, among equal times the first to arrive.
    #[must_use]
    pub fn with_first(self, first: Sample) -> Self {
        Self { first: Some(first), ..self }
    }

    /// Sets the latest sample, among equal times the last to arrive.
    #[must_use]
    pub fn with_last(self, last: Sample) -> Self {
        Self { last: Some(last), ..self }
    }

    /// Sets the standard deviation of the whole bucket. It cannot be merged with other rows.
    #[must_use]
    pub fn with_stddev(mut self, deviation: f64) -> Self {
        self.more_mut().deviation = Some(deviation);
        self
    }

    /// Sets the percentiles of the whole bucket, one for each of
    /// [`Plan::percentiles`](super::Plan::percentiles). They cannot be merged with other rows.
    #[must_use]
    pub fn with_percentiles(mut self, percentiles: Vec<f64>) -> Self {
        let more = self.more_mut();
        (more.percentiles, more.samples) = (percentiles, Vec::new());
        self
    }

    /// Sets what lies between the first and the last sample and nowhere else: the area (value ×
    /// milliseconds) as the exact sum of two numbers, the milliseconds in which a value held, and
    /// the rises.
    #[must_use]
    pub fn with_path(mut self, area: (f64, f64), covered_ms: u64, rises: (f64, f64)) -> Self {
        let mut path = Path { covered_ms, ..Path::default() };
        path.area.add(area.0);
        path.area.add(area.1);
        path.rises.add(rises.0);
        path.rises.add(rises.1);
        self.more_mut().path = path;
        self
    }

    /// The number of samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum as [`with_sum`](Self::with_sum) takes it; `None` if two numbers do not hold it exactly.
    pub fn sum(&self) -> Option<(f64, f64)> {
        self.sum.pair()
    }

    /// The smallest sample, at its earliest time.
    pub fn min(&self) -> Option<Sample> {
        self.min
    }

    /// The greatest sample, at its earliest time.
    pub fn max(&self) -> Option<Sample> {
        self.max
    }

    /// The earliest sample, among equal times the first to arrive.
    pub fn first(&self) -> Option<Sample> {
        self.first
    }

    /// The latest sample, among equal times the last to arrive.
    pub fn last(&self) -> Option<Sample> {
        self.last
    }

    /// Adds a sample that is not before any other.
    pub fn push(&mut self, plan: &Plan, sample: Sample) {
        self.push_with(plan.needs(), &plan.rules, sample);
    }

    fn push_with(&mut self, needs: Needs, rules: &Rules, sample: Sample) {
        let Sample { value, .. } = sample;
        self.count += 1;
        if needs.sum {
            self.sum.add(value);
        }
        if needs.extremes {
            if self.min.is_none_or(|min| value < min.value) {
                self.min = Some(sample);
            }
            if self.max.is_none_or(|max| value > max.value) {
                self.max = Some(sample);
            }
        }
        if needs.stddev {
            self.spread_over(value);
        }
        if needs.samples {
            self.more_mut().samples.push(value);
        }
        if needs.path
            && let Some(last) = self.last
        {
            self.more_mut().path.step(rules, last, sample);
        }
        self.first.get_or_insert(sample);
        self.last = Some(sample);
    }

    fn spread_over(&mut self, value: f64) {
        match &mut self.more_mut().spread {
            Some(spread) => spread.add(value),
            spread => *spread = Some(Spread::new(value)),
        }
    }

    /// Adds samples in the order of their times, none before those that are there. Both slices have
    /// the same length.
    pub fn push_all(&mut self, plan: &Plan, times: &[u64], values: &[f64]) {
        let (needs, rules) = (plan.needs(), &plan.rules);
        if !plan.by_statistics() {
            for (at, value) in times.iter().zip(values) {
                self.push_with(needs, rules, Sample { at: *at, value: *value });
            }
            return;
        }
        self.push_statistics(needs, times, values);
    }

    fn push_statistics(&mut self, needs: Needs, times: &[u64], values: &[f64]) {
        let sample = |index: usize| Some(Sample { at: *times.get(index)?, value: values[index] });
        let Some(last) = sample(values.len().wrapping_sub(1)) else { return };
        self.count += values.len() as u64;
        self.first = self.first.or(sample(0));
        self.last = Some(last);
        if needs.sum {
            self.sum.add_all(values);
        }
        if needs.extremes {
            let (min, max) = extremes(values);
            let at = |wanted: f64| values.iter().position(|value| *value == wanted);
            self.lower_to(at(min).and_then(sample));
            self.raise_to(at(max).and_then(sample));
        }
    }

    fn lower_to(&mut self, other: Option<Sample>) {
        let Some(other) = other else { return };
        let is_lower = |min: Sample| {
            other.value < min.value || (other.value == min.value && other.at < min.at)
        };
        if self.min.is_none_or(is_lower) {
            self.min = Some(other);
        }
    }

    fn raise_to(&mut self, other: Option<Sample>) {
        let Some(other) = other else { return };
        let is_higher = |max: Sample| {
            other.value > max.value || (other.value == max.value && other.at < max.at)
        };
        if self.max.is_none_or(is_higher) {
            self.max = Some(other);
        }
    }

    /// Adds rows without a sample.
    pub fn skip(&mut self, rows: u64) {
        self.skipped += rows;
    }

    /// Adds a row that says of each duration whether its state is on.
    pub(super) fn push_states(&mut self, rules: &Rules, at: u64, on: impl Iterator<Item = bool>) {
        let rows = on.map(|on| StatePath::new(at, on));
        let states = &mut self.more_mut().states;
        if states.is_empty() {
            *states = rows.collect();
        } else {
            states.iter_mut().zip(rows).for_each(|(state, row)| state.join(rules, &row));
        }
    }

    /// Adds the rows of `later`. They may be of any time unless the plan needs the order
    /// ([`Needs::path`] and [`Needs::states`]): then none may be before those that are there. Of
    /// equal times, those of `later` are the later ones.
    pub fn merge(&mut self, plan: &Plan, later: Partial) {
        let rules = &plan.rules;
        if let (true, Some(last), Some(first)) = (plan.needs().path, self.last, later.first) {
            self.more_mut().path.step(rules, last, first);
        }
        self.count += later.count;
        self.skipped += later.skipped;
        self.sum.merge(&later.sum);
        self.lower_to(later.min);
        self.raise_to(later.max);
        if let Some(first) = later.first
            && self.first.is_none_or(|own| first.at < own.at)
        {
            self.first = Some(first);
        }
        if let Some(last) = later.last
            && self.last.is_none_or(|own| last.at >= own.at)
        {
            self.last = Some(last);
        }
        match (&mut self.more, later.more) {
            (Some(more), Some(later)) => more.merge(rules, *later),
            (more @ None, later) => *more = later,
            (Some(_), None) => {}
        }
    }

    /// Computes the percentiles and frees the samples.
    pub(super) fn seal(&mut self, plan: &Plan) {
        let Some(more) = &mut self.more else { return };
        let mut samples = std::mem::take(&mut more.samples);
        if !samples.is_empty() {
            let percentiles = plan.percentiles().iter();
            more.percentiles = percentiles.filter_map(|wanted| wanted.of(&mut samples)).collect();
        }
    }
}

impl More {
    fn merge(&mut self, rules: &Rules, later: Self) {
        self.path.merge(&later.path);
        match (&mut self.spread, later.spread) {
            (Some(spread), Some(later)) => spread.merge(&later),
            (spread @ None, later) => *spread = later,
            (Some(_), None) => {}
        }
        self.samples.extend(later.samples);
        if self.states.is_empty() {
            self.states = later.states;
        } else {
            let joined = self.states.iter_mut().zip(&later.states);
            joined.for_each(|(state, later)| state.join(rules, later));
        }
        self.deviation = self.deviation.or(later.deviation);
        if self.percentiles.is_empty() {
            self.percentiles = later.percentiles;
        }
    }
}

/// The smallest and the greatest of some values.
fn extremes(values: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    let first = values.first().copied().unwrap_or_default();
    let (mut min, mut max) = ([first; LANES], [first; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in chunk.iter().enumerate() {
            min[lane] = if *value < min[lane] { *value } else { min[lane] };
            max[lane] = if *value > max[lane] { *value } else { max[lane] };
        }
    }
    let min =
        min.iter().chain(rest).fold(first, |min, value| if *value < min { *value } else { min });
    let max =
        max.iter().chain(rest).fold(first, |max, value| if *value > max { *value } else { max });
    (min, max)
}
