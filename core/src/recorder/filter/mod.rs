//! Filters: which values of a record are worth a row.
//!
//! A [`Filter`] enters with the configuration and is compiled to [`Rules`]. For each value the rules
//! give its [`Facts`], without a lock; the record's [`Gate`] judges them by what it has seen.

mod gate;
mod rules;
mod text;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::pattern::Pattern;

pub(super) use gate::{Gate, Judgement, Reason};
pub(super) use rules::{Facts, Rules};

/// Which values of a record are recorded.
///
/// Without a filter every value is. The rules of a filter apply in this order, whatever the order in
/// which they were added:
///
/// 1. **Range** ([`within`](Self::within), [`count_outside`](Self::count_outside)): an implausible
///    number is filtered out, or counted and kept.
/// 2. **Heartbeat** ([`heartbeat`](Self::heartbeat)): a value that comes so long after the last one
///    that passed skips the rules 3 and 4.
/// 3. **Change** ([`on_change`](Self::on_change), [`on_change_of`](Self::on_change_of)): a value that
///    equals the last one that passed is filtered out.
/// 4. **Dead band** ([`dead_band`](Self::dead_band),
///    [`relative_dead_band`](Self::relative_dead_band)): a value whose numbers are all close to those
///    of the last one that passed is filtered out.
/// 5. **Minimum interval** ([`min_interval`](Self::min_interval)): a value that comes too soon after
///    the last recorded one is held, and replaces the one that was held before.
///
/// A filter is evaluated when a value is recorded, by the time of the value. It uses no timer: a
/// heartbeat needs a source that repeats its values. The memory per record is bounded: a hash of the
/// last value, its numbers, and with a minimum interval one value.
///
/// # What is compared
/// The first value of a record passes. So does a value after one that was dropped or rejected, or
/// else the history would miss a change. A value older than one before it is recorded whatever it is,
/// unless it is implausible, and the next one passes as well.
///
/// # History of filtered records
/// A history on change answers as a full one wherever a value holds until the next: at a time, and in
/// time-weighted means, integrals and durations of state. Counts, plain means and percentiles are of
/// the rows that were stored. Retention may delete the only row of a record that does not change:
/// use a heartbeat shorter than the retention, or keep the newest row of each record.
///
/// ```
/// # use std::time::Duration;
/// # use annals_core::{Filter, RecorderConfig};
/// let hour = Duration::from_secs(3600);
/// let filter = Filter::new().within("celsius", -60.0..=60.0).dead_band("celsius", 0.2).heartbeat(hour);
/// let config = RecorderConfig::default().with_filter("temperature::*", filter)?;
///
/// // The same as text, for command lines and settings.
/// let parsed: Filter = "within:celsius:-60..60,band:celsius:0.2,heartbeat:1h".parse()?;
/// let again = RecorderConfig::default().with_filter("temperature::*", parsed)?;
/// # let _ = (config, again);
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Filter {
    ranges: Vec<Range>,
    /// The members that are compared; none is the whole value.
    change: Option<Vec<String>>,
    bands: Vec<Band>,
    min_interval: Option<Duration>,
    heartbeat: Option<Duration>,
}

/// The filters of a configuration, by pattern.
#[derive(Debug, Clone, Default)]
pub(super) struct Filters(pub(super) Vec<(Pattern, Arc<Rules>)>);

impl Filters {
    /// The rules of the first pattern that matches `name`.
    pub(super) fn of(&self, name: &str) -> Option<Arc<Rules>> {
        let first = self.0.iter().find(|(pattern, _)| pattern.matches(name));
        first.map(|(_, rules)| Arc::clone(rules))
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Range {
    member: String,
    least: f64,
    greatest: f64,
    /// Whether a value outside is kept.
    keep: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Band {
    member: String,
    width: f64,
    /// Whether the width is a share of the number.
    relative: bool,
}

impl Filter {
    /// A filter without a rule, which everything passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Filters out a value whose number at `member` lies outside `plausible`. A value without a
    /// number there is not affected.
    ///
    /// A member is a JSON Pointer (RFC 6901) if it starts with `/`, otherwise the name of a top-level
    /// member; the empty text is the value itself.
    pub fn within(self, member: impl Into<String>, plausible: RangeInclusive<f64>) -> Self {
        self.range(member.into(), plausible, false)
    }

    /// As [`within`](Self::within), but the value is kept and counted among
    /// [`implausible`](crate::RecordStats::implausible).
    pub fn count_outside(self, member: impl Into<String>, plausible: RangeInclusive<f64>) -> Self {
        self.range(member.into(), plausible, true)
    }

    fn range(mut self, member: String, plausible: RangeInclusive<f64>, keep: bool) -> Self {
        let (least, greatest) = plausible.into_inner();
        self.ranges.push(Range { member, least, greatest, keep });
        self
    }

    /// Filters out a value that equals the last one that passed. Values are compared as JSON: the
    /// order of members does not matter, and `1` equals `1.0`.
    pub fn on_change(mut self) -> Self {
        self.change = Some(Vec::new());
        self
    }

    /// As [`on_change`](Self::on_change), comparing only `members`.
    pub fn on_change_of<M: Into<String>>(mut self, members: impl IntoIterator<Item = M>) -> Self {
        self.change.get_or_insert_default().extend(members.into_iter().map(Into::into));
        self
    }

    /// Filters out a value whose number at `member` differs by at most `width` from the last one that
    /// passed. With several dead bands, one number that moved further is enough to pass. A value
    /// without a number there passes.
    pub fn dead_band(mut self, member: impl Into<String>, width: f64) -> Self {
        self.bands.push(Band { member: member.into(), width, relative: false });
        self
    }

    /// As [`dead_band`](Self::dead_band), with a width that is a share of the last number that
    /// passed: 0.01 is one percent.
    pub fn relative_dead_band(mut self, member: impl Into<String>, share: f64) -> Self {
        self.bands.push(Band { member: member.into(), width: share, relative: true });
        self
    }

    /// Records at most one value per `interval`, and keeps the last one: a value that comes sooner is
    /// held. It is recorded, with its own time, when `flush` or `close` is called, or with the next
    /// value if it stood for `interval` or longer; otherwise a later value replaces it.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = Some(interval);
        self
    }

    /// Lets a value pass `interval` after the last one that passed, even if it did not change.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }
}
