//! The parameters of the tools. A client's model reads the comments here.

use annals::{Aggregate, Function, Order, PersistenceError, Predicate, Width};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use crate::moment::{Moment, duration, now_ms};

/// Parameters of `list_records`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRecords {
    /// Which records, as a name with wildcards. Leave it out for all of them.
    pub(super) pattern: Option<String>,
    /// How wildcards in the pattern work. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// The most records in one answer: 1 to 1000, 100 if left out.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) limit: Option<u32>,
    /// To get the next page: `next_cursor` of the previous answer, with all other parameters as they
    /// were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `query_latest`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryLatest {
    /// Which records: a name, or a name with wildcards.
    pub(super) pattern: String,
    /// How wildcards in the pattern work. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// Only values whose members satisfy this filter, such as `celsius > 30 and ok = true`. A
    /// comparison is a member's name or JSON Pointer, `=`, `!=`, `<`, `<=`, `>` or `>=`, and a JSON
    /// scalar; without a member (`> 30`) it is about the value itself. There are `exists member`,
    /// `not`, `and`, `or` and parentheses. Leave it out for all values.
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    /// How many values of each record, the newest ones: 1 if left out.
    #[schemars(range(min = 1))]
    pub(super) values: Option<u64>,
    /// The most rows in one answer: 1 to 500, 50 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// To get the next page: `next_cursor` of the previous answer, with all other parameters as they
    /// were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `query_range`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryRange {
    /// Which records: a name, or a name with wildcards.
    pub(super) pattern: String,
    /// How wildcards in the pattern work. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// Only values stored at this time or later. Leave it out for no bound.
    pub(super) from: Option<Time>,
    /// Only values stored at this time or earlier. Leave it out for no bound.
    pub(super) to: Option<Time>,
    /// Only values whose members satisfy this filter, such as `celsius > 30 and ok = true`. A
    /// comparison is a member's name or JSON Pointer, `=`, `!=`, `<`, `<=`, `>` or `>=`, and a JSON
    /// scalar; without a member (`> 30`) it is about the value itself. There are `exists member`,
    /// `not`, `and`, `or` and parentheses. Leave it out for all values.
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    /// Whether the oldest value of each record comes first. If left out, the newest does.
    pub(super) oldest_first: Option<bool>,
    /// The most rows in one answer: 1 to 500, 50 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// To get the next page: `next_cursor` of the previous answer, with all other parameters as they
    /// were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `whats_new`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhatsNew {
    /// Which records: a name, or a name with wildcards.
    pub(super) pattern: String,
    /// How wildcards in the pattern work. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// `cursor` of the previous answer, with the same pattern: only what arrived after it comes. Leave
    /// it out in the first call.
    pub(super) cursor: Option<String>,
    /// In the first call only: begin with the values stored at this time or later. If it is left out as
    /// well, the answer has no values, and the cursor of this moment.
    pub(super) from: Option<Time>,
    /// The most rows in one answer: 1 to 500, 50 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
}

/// Parameters of `value_at`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ValueAt {
    /// Which records: a name, or a name with wildcards.
    pub(super) pattern: String,
    /// How wildcards in the pattern work. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// The moment.
    pub(super) time: Time,
    /// Only values whose members satisfy this filter, such as `celsius > 30 and ok = true`. A
    /// comparison is a member's name or JSON Pointer, `=`, `!=`, `<`, `<=`, `>` or `>=`, and a JSON
    /// scalar; without a member (`> 30`) it is about the value itself. There are `exists member`,
    /// `not`, `and`, `or` and parentheses. Leave it out for all values.
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    /// The most rows in one answer: 1 to 500, 50 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// To get the next page: `next_cursor` of the previous answer, with all other parameters as they
    /// were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `aggregate`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AggregateRecords {
    /// Which records: a name, or a name with wildcards. Each record has its own buckets.
    pub(super) pattern: String,
    /// How wildcards in the pattern work. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// The number in each value: a member's name (`celsius`) or a JSON Pointer (`/sensor/celsius`).
    /// Leave it out if the values themselves are numbers.
    pub(super) member: Option<String>,
    /// The width of a bucket: `15m`, `1h` or `24h`; or of the calendar: `1d`, `1w`, `1mo`, `1q`,
    /// `1y`. Leave it out for one result over the whole window.
    pub(super) every: Option<String>,
    /// The IANA time zone in which days, weeks and months begin, such as `Europe/Vienna`. UTC if
    /// left out.
    pub(super) time_zone: Option<String>,
    /// Only values stored at this time or later. Leave it out for no bound.
    pub(super) from: Option<Time>,
    /// Only values stored at this time or earlier. Leave it out for no bound.
    pub(super) to: Option<Time>,
    /// Only values whose members satisfy this filter, such as `celsius > 30 and ok = true`. A
    /// comparison is a member's name or JSON Pointer, `=`, `!=`, `<`, `<=`, `>` or `>=`, and a JSON
    /// scalar; without a member (`> 30`) it is about the value itself. There are `exists member`,
    /// `not`, `and`, `or` and parentheses. Leave it out for all values.
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    /// What to compute; `count`, `mean`, `min` and `max` if left out. Others: `sum`, `median`, any
    /// percentile such as `p95`, `stddev`, `first`, `last`, `min_at`, `max_at`, `first_at`,
    /// `last_at` (times in Unix milliseconds); `delta`, `increase`, `rate` (per second) of a
    /// counter; `time_weighted_mean`, `integral` (value × seconds), `covered_ms` of a value that
    /// holds until the next one; `duration{"open"}`, the milliseconds in which the value was
    /// `"open"`.
    pub(super) functions: Option<Vec<String>>,
    /// What to do with intervals without values. They are left out if this is.
    pub(super) fill: Option<Fill>,
    /// Whether the newest bucket of each record comes first. If left out, the oldest does.
    pub(super) newest_first: Option<bool>,
    /// Whether all matching records are one series. If left out, each is a series of its own.
    pub(super) merge: Option<bool>,
    /// How a held value goes on until the next one. It stays the same if this is left out.
    pub(super) interpolation: Option<Interpolation>,
    /// The longest time for which a value holds, such as `5m`, in the functions of held values.
    pub(super) max_gap: Option<String>,
    /// The most buckets in one answer: 1 to 500, 100 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// To get the next page: `next_cursor` of the previous answer, with all other parameters as they
    /// were.
    pub(super) cursor: Option<String>,
}

/// How a held value goes on until the next one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Interpolation {
    /// It stays the same.
    Step,
    /// In a straight line to the next value.
    Linear,
}

/// What to do with intervals without values.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fill {
    /// List them with a count of 0.
    Null,
    /// List them with the last value before.
    Previous,
    /// List them with values interpolated between their neighbours.
    Linear,
}

impl AggregateRecords {
    /// The aggregate with its window and time.
    pub(super) fn aggregate(
        &self,
        (start_time, end_time): (Option<u64>, Option<u64>),
        now: u64,
    ) -> Result<Aggregate, String> {
        let sentence = |error: PersistenceError| error.to_string();
        let width = self.every.as_deref().map(Width::parse).transpose().map_err(sentence)?;
        let mut aggregate = width.map_or_else(Aggregate::new, Aggregate::every).now(now);
        aggregate = aggregate.member(self.member.as_deref().unwrap_or_default());
        aggregate = aggregate.time_zone(self.time_zone.as_deref().unwrap_or("UTC"));
        aggregate = aggregate.order(self.order()).merge(self.merge == Some(true));
        if let Some(Interpolation::Linear) = self.interpolation {
            aggregate = aggregate.interpolation(annals::Interpolation::Linear);
        }
        if let Some(start_time) = start_time {
            aggregate = aggregate.start_time(start_time);
        }
        if let Some(end_time) = end_time {
            aggregate = aggregate.end_time(end_time);
        }
        if let Some(functions) = &self.functions {
            let functions: Result<Vec<_>, _> =
                functions.iter().map(|name| Function::parse(name)).collect();
            aggregate = aggregate.functions(functions.map_err(sentence)?);
        }
        if let Some(filter) = filter(self.filter.as_deref())? {
            aggregate = aggregate.with_where(filter);
        }
        if let Some(max_gap) = &self.max_gap {
            let gap = duration(max_gap).map_err(|error| format!("`max_gap`: {error}"))?;
            aggregate = aggregate.max_gap(gap);
        }
        Ok(aggregate.fill(match self.fill {
            None => annals::Fill::None,
            Some(Fill::Null) => annals::Fill::Null,
            Some(Fill::Previous) => annals::Fill::Previous,
            Some(Fill::Linear) => annals::Fill::Linear,
        }))
    }

    pub(super) fn order(&self) -> Order {
        match self.newest_first {
            Some(true) => Order::NewestFirst,
            _ => Order::OldestFirst,
        }
    }
}

/// Parameters of `summarise_record`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SummariseRecord {
    /// The record's name, without wildcards.
    pub(super) record: String,
    /// The number in each value for minimum, maximum and mean: a member's name (`celsius`) or a JSON
    /// Pointer (`/sensor/celsius`). Leave it out if the values themselves are numbers.
    pub(super) member: Option<String>,
    /// Only values stored at this time or later. Leave it out for no bound.
    pub(super) from: Option<Time>,
    /// Only values stored at this time or earlier. Leave it out for no bound.
    pub(super) to: Option<Time>,
}

/// How wildcards in a pattern work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grammar {
    /// `*` matches any run of characters, everything else is literal.
    Glob,
    /// Names are segments between dots: `*` matches exactly one segment, `#` zero or more.
    Topic,
}

impl From<Grammar> for annals::Grammar {
    fn from(grammar: Grammar) -> Self {
        match grammar {
            Grammar::Glob => Self::Glob,
            Grammar::Topic => Self::Topic,
        }
    }
}

/// A point in time: Unix milliseconds (1740081234000), RFC 3339 ("2026-05-17T08:30:00Z"), or an
/// age ("24h", "7d", "1h30m").
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a time is Unix milliseconds, RFC 3339, or an age such as \"24h\"")]
pub(super) enum Time {
    /// Unix milliseconds.
    UnixMs(u64),
    /// RFC 3339 or an age.
    Text(String),
}

impl Time {
    /// `name` is the parameter's.
    fn moment(&self, name: &str) -> Result<Moment, String> {
        match self {
            Self::UnixMs(ms) => Ok(Moment::UnixMs(*ms)),
            Self::Text(text) => {
                text.parse().map_err(|error| format!("`{name}` is not a time: {error}"))
            }
        }
    }
}

/// The window between two times, in Unix milliseconds, with the same now for both.
pub(super) fn window(
    from: Option<&Time>,
    to: Option<&Time>,
) -> Result<(Option<u64>, Option<u64>), String> {
    let now = now_ms();
    let from = from.map(|time| time.moment("from")).transpose()?;
    let to = to.map(|time| moment("to", time, now)).transpose()?;
    Ok((from.map(|from| from.at_or_after(now)), to))
}

/// The last millisecond that is not after a time.
pub(super) fn moment(name: &str, time: &Time, now: u64) -> Result<u64, String> {
    Ok(time.moment(name)?.at_or_before(now))
}

/// The filter of a question.
pub(super) fn filter(text: Option<&str>) -> Result<Option<Predicate>, String> {
    let filter = text.map(Predicate::parse).transpose();
    filter.map_err(|error| format!("`where`: {error}"))
}

/// The size of a page.
pub(super) fn page_size(asked: Option<u32>, default: usize, most: usize) -> Result<usize, String> {
    match asked.map(|asked| asked as usize) {
        None => Ok(default),
        Some(asked) if (1..=most).contains(&asked) => Ok(asked),
        Some(asked) => Err(format!("`limit` is {asked} where 1 to {most} are allowed")),
    }
}
