//! The question: what is aggregated, and how.

use std::time::Duration;

use super::function::Function;
use super::width::Width;
use crate::pattern::Grammar;
use crate::predicate::Predicate;
use crate::query::{Order, QueryParams};

/// How many samples the percentiles of one answer may hold in memory unless it is set otherwise:
/// 16,777,216, which take 128 MiB.
pub(super) const DEFAULT_MAX_SAMPLES: usize = 1 << 24;

/// What a bucket without samples gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Fill {
    /// It is left out.
    #[default]
    None,
    /// It is listed, with a count of 0 and no values.
    Null,
    /// It is listed with the last sample before it, also from before the window.
    Previous,
    /// It is listed with the values between those of its neighbours. At the edges there are none.
    Linear,
}

/// What lies between two samples, for the time-weighted functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Interpolation {
    /// The value holds until the next one.
    #[default]
    Step,
    /// A straight line to the next one; the last value holds.
    Linear,
}

/// A question about the history of records: which rows, in which buckets, and what of them.
///
/// Everything that is wrong with it is said by the call that asks it, with
/// [`InvalidAggregate`](crate::PersistenceError::InvalidAggregate).
///
/// ```
/// # use std::time::Duration;
/// # use annals_core::{Aggregate, Fill, Function, MemoryBackend, PersistenceBackend, QueryExt, Width};
/// # use serde_json::json;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let history = MemoryBackend::new();
/// # history.store("accuracy::vienna", &json!({ "value": 0.94 }), 1_740_081_234_000).await?;
/// let hourly = Aggregate::every(Duration::from_secs(3600)).member("value");
/// for bucket in history.aggregate("accuracy::*", &hourly).await? {
///     println!("{} from {}: {:?} of {}", bucket.record, bucket.start, bucket.mean(), bucket.count);
/// }
///
/// let monthly = Aggregate::every(Width::parse("1mo")?)
///     .time_zone("Europe/Vienna")
///     .functions([Function::Increase])
///     .fill(Fill::Null);
/// # assert!(history.aggregate("meter::*", &monthly).await?.is_empty());
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Aggregate {
    pub(super) width: Option<Width>,
    pub(super) member: String,
    pub(super) predicate: Option<Predicate>,
    pub(super) origin: Option<i64>,
    pub(super) time_zone: Option<String>,
    pub(super) start_time: Option<u64>,
    pub(super) end_time: Option<u64>,
    pub(super) functions: Vec<Function>,
    pub(super) fill: Fill,
    pub(super) merge: bool,
    pub(super) order: Order,
    pub(super) grammar: Grammar,
    pub(super) max_gap: Option<Duration>,
    pub(super) interpolation: Interpolation,
    pub(super) max_samples: usize,
    pub(super) now: Option<u64>,
}

impl Default for Aggregate {
    fn default() -> Self {
        Self::new()
    }
}

impl Aggregate {
    /// One bucket: the window, or from a record's first to its last row where the window is open.
    pub fn new() -> Self {
        Self {
            width: None,
            member: String::new(),
            predicate: None,
            origin: None,
            time_zone: None,
            start_time: None,
            end_time: None,
            functions: Function::DEFAULT.to_vec(),
            fill: Fill::None,
            merge: false,
            order: Order::OldestFirst,
            grammar: Grammar::default(),
            max_gap: None,
            interpolation: Interpolation::default(),
            max_samples: DEFAULT_MAX_SAMPLES,
            now: None,
        }
    }

    /// Buckets of a fixed time (a [`Duration`]) or of the calendar
    /// ([`Width::parse`]).
    pub fn every(width: impl Into<Width>) -> Self {
        Self { width: Some(width.into()), ..Self::new() }
    }

    /// Where the number of a row is: a JSON Pointer (RFC 6901) if it starts with `/`, otherwise the
    /// name of a top-level member. The default, the empty text, is the value itself.
    pub fn member(self, member: &str) -> Self {
        Self { member: member.to_owned(), ..self }
    }

    /// Counts only the rows that satisfy `predicate`. The others are as if they were not stored.
    pub fn with_where(self, predicate: Predicate) -> Self {
        Self { predicate: Some(predicate), ..self }
    }

    /// A time at which a bucket of fixed width starts, in Unix milliseconds. The default is 0.
    pub fn origin(self, origin: i64) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// The IANA time zone whose midnights bound buckets of the calendar, `Europe/Vienna` for
    /// instance. The default is `UTC`. A fixed width has none.
    pub fn time_zone(self, name: &str) -> Self {
        Self { time_zone: Some(name.to_owned()), ..self }
    }

    /// The first `stored_at` that counts, in Unix milliseconds, inclusive.
    pub fn start_time(self, start_time: u64) -> Self {
        Self { start_time: Some(start_time), ..self }
    }

    /// The last `stored_at` that counts, in Unix milliseconds, inclusive.
    pub fn end_time(self, end_time: u64) -> Self {
        Self { end_time: Some(end_time), ..self }
    }

    /// Both bounds at once.
    pub fn range(self, start_time: u64, end_time: u64) -> Self {
        self.start_time(start_time).end_time(end_time)
    }

    /// What is computed. The default is count, mean, min and max.
    pub fn functions(self, functions: impl IntoIterator<Item = Function>) -> Self {
        Self { functions: functions.into_iter().collect(), ..self }
    }

    /// What a bucket without samples gets.
    pub fn fill(self, fill: Fill) -> Self {
        Self { fill, ..self }
    }

    /// Whether all matching records are one series, which is then named like the pattern.
    pub fn merge(self, merge: bool) -> Self {
        Self { merge, ..self }
    }

    /// In which order the buckets of a record come. The default is oldest first.
    pub fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// How the pattern is read.
    pub fn grammar(self, grammar: Grammar) -> Self {
        Self { grammar, ..self }
    }

    /// For how long a value holds at the most, for the time-weighted functions.
    pub fn max_gap(self, max_gap: Duration) -> Self {
        Self { max_gap: Some(max_gap), ..self }
    }

    /// What lies between two samples, for the time-weighted functions.
    pub fn interpolation(self, interpolation: Interpolation) -> Self {
        Self { interpolation, ..self }
    }

    /// How many samples percentiles may hold in memory at once, at 8 bytes each, before the answer
    /// is refused with [`TooManySamples`](crate::PersistenceError::TooManySamples). They hold those
    /// of one bucket of one record, or of all buckets where records are merged.
    pub fn max_samples(self, max_samples: usize) -> Self {
        Self { max_samples, ..self }
    }

    /// What time it is, in Unix milliseconds, for tests. No value holds, and nothing is filled,
    /// beyond it. The default is the system clock.
    pub fn now(self, now: u64) -> Self {
        Self { now: Some(now), ..self }
    }

    /// The width of a bucket; `None` for a single one.
    pub fn width(&self) -> Option<Width> {
        self.width
    }

    /// The functions that are asked for, in their order.
    pub fn shown(&self) -> &[Function] {
        &self.functions
    }

    /// The member, as it was given.
    pub fn member_text(&self) -> &str {
        &self.member
    }

    /// Which rows count, if not all of them.
    pub fn predicate(&self) -> Option<&Predicate> {
        self.predicate.as_ref()
    }

    /// The window, the order and the grammar as a query has them.
    pub fn params(&self) -> QueryParams {
        QueryParams {
            limit_per_record: None,
            start_time: self.start_time,
            end_time: self.end_time,
            order: self.order,
            grammar: self.grammar,
        }
    }
}
