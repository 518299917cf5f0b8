//! What depends on the order in time: the area under the samples, the rises of a counter, and for
//! how long a state lasted.
//!
//! A path runs from the first to the last sample of its bucket, or of a part of it. What lies
//! between two paths is added when they are joined, and what lies before the first and after the
//! last sample when the bucket is finished.

use super::percentile::between;
use super::spec::Interpolation;
use super::sum::Sum;

/// A number and its time in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The time of the row.
    pub at: u64,
    /// The number.
    pub value: f64,
}

/// How a value goes on until the next one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) interpolation: Interpolation,
    /// In milliseconds.
    pub(super) max_gap: Option<u64>,
    /// Unix milliseconds.
    pub(super) now: u64,
}

impl Rules {
    /// The first time at which a value of `from` no longer holds, given the time of the next one.
    pub(super) fn held_until(&self, from: u64, next: Option<u64>) -> u64 {
        let gap = self.max_gap.map_or(u64::MAX, |gap| from.saturating_add(gap));
        gap.min(next.unwrap_or(u64::MAX)).min(self.now)
    }

    /// For how many milliseconds of `start..end` a value of `from` holds.
    fn held(&self, from: u64, next: Option<u64>, start: u64, end: u64) -> Option<(u64, u64)> {
        let (start, end) = (start.max(from), end.min(self.held_until(from, next)));
        (start < end).then_some((start, end))
    }
}

/// A path through samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Path {
    /// Value × milliseconds.
    pub(super) area: Sum,
    pub(super) covered_ms: u64,
    pub(super) rises: Sum,
}

impl Path {
    /// Adds what `from` contributes to `start..end` until the next sample.
    pub(super) fn hold(
        &mut self,
        rules: &Rules,
        from: Sample,
        next: Option<Sample>,
        (start, end): (u64, u64),
    ) {
        let Some((start, end)) = rules.held(from.at, next.map(|next| next.at), start, end) else {
            return;
        };
        let millis = end - start;
        self.covered_ms += millis;
        match next {
            Some(next) if rules.interpolation == Interpolation::Linear => {
                let distance = (next.at - from.at) as f64;
                let at =
                    |time: u64| between(from.value, next.value, (time - from.at) as f64 / distance);
                self.area.add_product(at(start), millis as f64 / 2.0);
                self.area.add_product(at(end), millis as f64 / 2.0);
            }
            _ => self.area.add_product(from.value, millis as f64),
        }
    }

    /// Adds the rise from one sample to the next. After a fall the counter began at zero.
    pub(super) fn rise(&mut self, from: Sample, to: Sample) {
        self.rises.add(to.value);
        if to.value >= from.value {
            self.rises.add(-from.value);
        }
    }

    /// Adds what lies between two samples of one bucket.
    pub(super) fn step(&mut self, rules: &Rules, from: Sample, to: Sample) {
        self.hold(rules, from, Some(to), (from.at, to.at));
        self.rise(from, to);
    }

    pub(super) fn merge(&mut self, later: &Path) {
        self.area.merge(&later.area);
        self.rises.merge(&later.rises);
        self.covered_ms += later.covered_ms;
    }
}

/// How long a state lasted between the first and the last row that says whether it was on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StatePath {
    pub(super) first_at: u64,
    pub(super) last_at: u64,
    /// Whether the last row says that it is on.
    pub(super) on: bool,
    pub(super) lasted_ms: u64,
}

impl StatePath {
    pub(super) fn new(at: u64, on: bool) -> Self {
        Self { first_at: at, last_at: at, on, lasted_ms: 0 }
    }

    /// Joins a later path to this one.
    pub(super) fn join(&mut self, rules: &Rules, later: &StatePath) {
        let between = self.held(rules, Some(later.first_at), (self.last_at, later.first_at));
        self.lasted_ms += later.lasted_ms + if self.on { between.unwrap_or(0) } else { 0 };
        (self.last_at, self.on) = (later.last_at, later.on);
    }

    /// For how many milliseconds of an interval the last row holds; `None` if it does not reach
    /// into it.
    pub(super) fn held(
        &self,
        rules: &Rules,
        next: Option<u64>,
        (start, end): (u64, u64),
    ) -> Option<u64> {
        rules.held(self.last_at, next, start, end).map(|(start, end)| end - start)
    }
}
