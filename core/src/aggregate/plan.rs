//! A question that was checked: what a backend works from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::TimeZone;

use super::function::Function;
use super::locator::{Grid, Locator};
use super::member::{Member, State};
use super::path::Rules;
use super::percentile::Percentile;
use super::spec::{Aggregate, Fill, Interpolation};
use super::width::{Kind, Width};
use crate::clock::{Clock, SystemClock};
use crate::error::PersistenceError;
use crate::pattern::Pattern;
use crate::predicate::Predicate;
use crate::query::{MAX_TIMESTAMP, Order, Query, QueryParams};

/// The largest number of buckets of one record in an answer.
pub const MAX_BUCKETS: u64 = 1_000_000;

/// The number of rows without valid JSON that one answer warns of; further ones are only counted.
const WARNINGS: u64 = 100;

/// What a [`Partial`](super::Partial) has to hold for the functions that are asked for. The count,
/// the first and the last sample are always held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Needs {
    /// The exact sum.
    pub sum: bool,
    /// The smallest and the greatest sample.
    pub extremes: bool,
    /// The sums of the standard deviation.
    pub stddev: bool,
    /// All samples, for percentiles.
    pub samples: bool,
    /// What depends on the order in time: the area under the samples, and the rises.
    pub path: bool,
    /// For how long the value equalled a scalar.
    pub states: bool,
}

/// An [`Aggregate`] with everything checked and resolved.
///
/// A backend that computes buckets itself makes a plan, and a [`Series`](super::Series) for each
/// record.
#[derive(Debug)]
pub struct Plan {
    pattern: Pattern,
    member: Member,
    predicate: Option<Predicate>,
    grid: Grid,
    functions: Arc<[Function]>,
    percentiles: Vec<Percentile>,
    states: Vec<State>,
    needs: Needs,
    empty: bool,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) bounded: (bool, bool),
    pub(super) fill: Fill,
    pub(super) order: Order,
    pub(super) rules: Rules,
    pub(super) max_samples: usize,
    merge: bool,
    warnings: AtomicU64,
}

impl Plan {
    /// Checks a question.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern);
    /// [`InvalidAggregate`](PersistenceError::InvalidAggregate) for a member, width, time zone,
    /// origin or gap that cannot work; [`Unsupported`](PersistenceError::Unsupported) for functions
    /// of merged records that need the order in time;
    /// [`TooManyBuckets`](PersistenceError::TooManyBuckets) if the window, the width and the filling
    /// make it certain.
    pub fn new(pattern: &str, aggregate: &Aggregate) -> Result<Self, PersistenceError> {
        let query = Query::new(pattern, &aggregate.params())?;
        let functions = distinct(&aggregate.functions);
        let needs = needs(&functions);
        if aggregate.merge && functions.iter().any(Function::needs_order) {
            return Err(PersistenceError::Unsupported(
                "functions that need one order in time (delta, increase, rate, durations, \
                 time-weighted ones) of merged records",
            ));
        }
        let bound = |time: Option<u64>| time.is_some_and(|time| time <= MAX_TIMESTAMP);
        let percentiles = functions.iter().filter_map(|function| match function {
            Function::Median => Some(Percentile::median()),
            Function::Percentile(percentile) => Some(percentile.clone()),
            _ => None,
        });
        let states = functions.iter().filter_map(|function| match function {
            Function::Duration(state) => Some(state.clone()),
            _ => None,
        });
        let plan = Self {
            empty: query.is_empty(),
            member: Member::parse(&aggregate.member)?,
            predicate: aggregate.predicate.clone(),
            grid: grid(aggregate)?,
            percentiles: percentiles.collect(),
            states: states.collect(),
            functions: functions.into(),
            needs,
            from: query.from,
            to: query.to,
            bounded: (bound(aggregate.start_time), bound(aggregate.end_time)),
            fill: aggregate.fill,
            order: aggregate.order,
            rules: rules(aggregate)?,
            max_samples: aggregate.max_samples,
            merge: aggregate.merge,
            warnings: AtomicU64::new(0),
            pattern: query.pattern,
        };
        plan.refuse_certain_excess()?;
        Ok(plan)
    }

    fn refuse_certain_excess(&self) -> Result<(), PersistenceError> {
        let last = self.to.min(self.rules.now);
        if self.fill == Fill::None || !self.bounded.0 || self.empty || last < self.from {
            return Ok(());
        }
        let mut locator = self.locator();
        let first = locator.locate(time(self.from)).start;
        let distance = locator.locate(time(last)).start.abs_diff(first);
        if distance / self.grid.longest().unsigned_abs() >= MAX_BUCKETS {
            return Err(PersistenceError::TooManyBuckets { limit: MAX_BUCKETS });
        }
        Ok(())
    }

    /// Whether it is known without asking the store that the answer is empty.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// Which records.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Where the sample of a row is.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Which rows count, if not all of them. [`Series::row`](super::Series::row) tests them; for
    /// samples and partials the caller does.
    pub fn predicate(&self) -> Option<&Predicate> {
        self.predicate.as_ref()
    }

    /// The first and the last time that count, inclusive; 0 and `i64::MAX` where the window is
    /// open.
    pub fn window(&self) -> (u64, u64) {
        (self.from, self.to)
    }

    /// What time it is, in Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.rules.now
    }

    /// How a sample goes on until the next one.
    pub fn interpolation(&self) -> Interpolation {
        self.rules.interpolation
    }

    /// For how many milliseconds a sample holds at most.
    pub fn max_gap(&self) -> Option<u64> {
        self.rules.max_gap
    }

    /// The functions, each once.
    pub fn functions(&self) -> &Arc<[Function]> {
        &self.functions
    }

    /// The percentiles among the functions, in their order; the median is one.
    pub fn percentiles(&self) -> &[Percentile] {
        &self.percentiles
    }

    pub(super) fn states(&self) -> &[State] {
        &self.states
    }

    /// What has to be computed.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether the statistics of a block are enough: count, sum, extremes, first and last sample.
    /// Blocks that lie within one bucket and within the window need not be read then, if all of their
    /// rows satisfy the [predicate](Self::predicate).
    pub fn by_statistics(&self) -> bool {
        let Needs { sum: _, extremes: _, stddev, samples, path, states } = self.needs;
        !(stddev || samples || path || states)
    }

    /// Whether the first and the last sample of a bucket matter: for a function, for filling, or for
    /// what lies between buckets.
    pub fn needs_ends(&self) -> bool {
        let is_end = |function: &Function| {
            use Function::{Delta, First, FirstAt, Last, LastAt};
            matches!(function, First | FirstAt | Last | LastAt | Delta)
        };
        let Needs { path, states, .. } = self.needs;
        path || states || self.fill == Fill::Previous || self.functions.iter().any(is_end)
    }

    /// Whether all matching records are one series.
    pub fn merges(&self) -> bool {
        self.merge
    }

    /// Whether each series needs its last sample before the window (and the last state, for
    /// durations).
    pub fn needs_before(&self) -> bool {
        let Needs { path, states, .. } = self.needs;
        self.from > 0 && (path || states || self.fill == Fill::Previous)
    }

    /// Whether a series needs its last sample before the window, rather than only the last state.
    pub fn needs_sample_before(&self) -> bool {
        self.from > 0 && (self.needs.path || self.fill == Fill::Previous)
    }

    /// Whether a record without rows in the window has buckets, so that there must be a series for
    /// every matching record that has rows at all.
    pub fn needs_all_records(&self) -> bool {
        self.fill != Fill::None && self.bounded.0
    }

    /// The rows to read if all of them are read: what a series needs, oldest first.
    pub fn rows(&self) -> QueryParams {
        let everything = self.needs_all_records();
        let from = (!everything && !self.needs_before()).then_some(self.from);
        QueryParams {
            start_time: from,
            end_time: (!everything).then_some(self.to),
            order: Order::OldestFirst,
            grammar: self.pattern.grammar(),
            ..QueryParams::default()
        }
    }

    /// Finds the bucket of a time.
    pub fn locator(&self) -> Locator {
        Locator::new(self.grid.clone())
    }

    /// The starts of all buckets that have a part of `from..=to`, and the end of the last one.
    ///
    /// # Errors
    /// [`TooManyBuckets`](PersistenceError::TooManyBuckets).
    pub fn boundaries(&self, from: u64, to: u64) -> Result<Vec<i64>, PersistenceError> {
        let mut locator = self.locator();
        let mut span = locator.locate(time(from));
        let mut boundaries = vec![span.start];
        while span.end <= time(to) && span.end < i64::MAX {
            if boundaries.len() as u64 > MAX_BUCKETS {
                return Err(PersistenceError::TooManyBuckets { limit: MAX_BUCKETS });
            }
            span = locator.locate(span.end);
            boundaries.push(span.start);
        }
        boundaries.push(span.end);
        Ok(boundaries)
    }

    pub(super) fn is_one_bucket(&self) -> bool {
        matches!(self.grid, Grid::Whole)
    }

    /// Whether a value holds beyond its row, so that buckets without rows have results.
    pub(super) fn holds_values(&self) -> bool {
        self.functions.iter().any(Function::holds_values)
    }

    /// Whether a bucket follows from its own samples alone, and there may be very many buckets.
    pub(super) fn is_flat(&self) -> bool {
        let is_plain = self.fill == Fill::None && self.order == Order::OldestFirst && !self.merge;
        is_plain && self.by_statistics() && matches!(self.grid, Grid::Fixed { .. })
    }

    /// How many buckets of a record there may be in the window.
    pub(super) fn most_buckets(&self) -> usize {
        let buckets =
            (self.to - self.from.min(self.to)) / self.grid.longest().unsigned_abs().max(1);
        usize::try_from(buckets.saturating_add(2).min(MAX_BUCKETS)).unwrap_or(usize::MAX)
    }

    /// Warns of a row whose text is no JSON, a limited number of times.
    pub(super) fn warn_of(&self, record: &str, stored_at: u64, error: &serde_json::Error) {
        let warnings = self.warnings.fetch_add(1, Ordering::Relaxed) + 1;
        if warnings <= WARNINGS {
            tracing::warn!(record, stored_at, %error, "a stored value is not valid JSON: skipped");
        }
        if warnings == WARNINGS {
            tracing::warn!("further skipped values of this aggregate are counted only");
        }
    }
}

/// A time of a row or a bound as a signed number: none is above `i64::MAX`.
pub(super) fn time(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn distinct(asked: &[Function]) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::with_capacity(asked.len());
    for function in asked {
        if !functions.contains(function) {
            functions.push(function.clone());
        }
    }
    functions
}

fn needs(functions: &[Function]) -> Needs {
    let mut needs = Needs::default();
    for function in functions {
        match function {
            Function::Sum | Function::Mean => needs.sum = true,
            Function::Min | Function::MinAt | Function::Max | Function::MaxAt => {
                needs.extremes = true;
            }
            Function::Stddev => needs.stddev = true,
            Function::Median | Function::Percentile(_) => needs.samples = true,
            Function::Increase
            | Function::Rate
            | Function::TimeWeightedMean
            | Function::Integral
            | Function::CoveredMs => needs.path = true,
            Function::Duration(_) => needs.states = true,
            Function::Count
            | Function::Skipped
            | Function::First
            | Function::FirstAt
            | Function::Last
            | Function::LastAt
            | Function::Delta => {}
        }
    }
    needs
}

fn grid(aggregate: &Aggregate) -> Result<Grid, PersistenceError> {
    let name = aggregate.time_zone.as_deref().unwrap_or("UTC");
    let zone = TimeZone::get(name).map_err(|_| {
        let reason = "it is no IANA time zone; write a name such as Europe/Vienna or UTC";
        PersistenceError::invalid_aggregate("time zone", name, reason)
    })?;
    let origin = |origin: i64, reason| {
        PersistenceError::invalid_aggregate("origin", origin.to_string(), reason)
    };
    match aggregate.width.map(Width::checked).transpose()?.map(|width| width.0) {
        None => match aggregate.origin {
            Some(given) => Err(origin(given, "a single bucket begins with its window")),
            None => Ok(Grid::Whole),
        },
        Some(Kind::Calendar { units, unit }) => match aggregate.origin {
            Some(given) => Err(origin(given, "a width of the calendar begins at local midnight")),
            None => Ok(Grid::Calendar { units, unit, zone }),
        },
        Some(Kind::Fixed(width)) => {
            let width = i64::try_from(width.as_millis()).unwrap_or(i64::MAX);
            let origin = aggregate.origin.unwrap_or(0).rem_euclid(width);
            Ok(Grid::Fixed { width, origin })
        }
    }
}

fn rules(aggregate: &Aggregate) -> Result<Rules, PersistenceError> {
    let max_gap = match aggregate.max_gap {
        Some(gap) if gap.as_millis() == 0 => {
            let reason = "a value holds for at least a millisecond";
            return Err(PersistenceError::invalid_aggregate("gap", format!("{gap:?}"), reason));
        }
        gap => gap.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX)),
    };
    let now = aggregate.now.unwrap_or_else(|| SystemClock.now_ms()).min(MAX_TIMESTAMP);
    Ok(Rules { interpolation: aggregate.interpolation, max_gap, now })
}
