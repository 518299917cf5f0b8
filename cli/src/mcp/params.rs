//! What the tools take. The comments here are what a client's model reads.

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use crate::moment::{Moment, now_ms};

/// Parameters of `list_records`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRecords {
    /// Which records, as a name with wildcards. Leave it out for all of them.
    pub(super) pattern: Option<String>,
    /// How the pattern's wildcards are read. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// The most records in one answer: 1 to 1000, 100 if left out.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) limit: Option<u32>,
    /// To go on: `next_cursor` of the answer before, with all other parameters as they were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `query_latest`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryLatest {
    /// Which records: a name, or a name with wildcards.
    pub(super) pattern: String,
    /// How the pattern's wildcards are read. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// How many values of each record, the newest ones: 1 if left out.
    #[schemars(range(min = 1))]
    pub(super) values: Option<u64>,
    /// The most rows in one answer: 1 to 500, 50 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// To go on: `next_cursor` of the answer before, with all other parameters as they were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `query_range`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryRange {
    /// Which records: a name, or a name with wildcards.
    pub(super) pattern: String,
    /// How the pattern's wildcards are read. Leave it out unless the pattern needs `topic`.
    pub(super) grammar: Option<Grammar>,
    /// Only values stored at this time or later. Leave it out for no bound.
    pub(super) from: Option<Time>,
    /// Only values stored at this time or earlier. Leave it out for no bound.
    pub(super) to: Option<Time>,
    /// Whether the oldest value of each record comes first. If left out, the newest does.
    pub(super) oldest_first: Option<bool>,
    /// The most rows in one answer: 1 to 500, 50 if left out.
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: Option<u32>,
    /// To go on: `next_cursor` of the answer before, with all other parameters as they were.
    pub(super) cursor: Option<String>,
}

/// Parameters of `summarise_record`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SummariseRecord {
    /// The record's name, without wildcards.
    pub(super) record: String,
    /// Which number in the values to take minimum, maximum and mean of: a member's name
    /// (`celsius`) or a JSON pointer (`/sensor/celsius`). Leave it out if the values are numbers
    /// themselves.
    pub(super) member: Option<String>,
    /// Only values stored at this time or later. Leave it out for no bound.
    pub(super) from: Option<Time>,
    /// Only values stored at this time or earlier. Leave it out for no bound.
    pub(super) to: Option<Time>,
}

/// How the wildcards of a pattern are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grammar {
    /// `*` is any run of characters, everything else is literal.
    Glob,
    /// Segments between dots: `*` is exactly one segment, `#` is zero or more.
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

/// The window that two times span, in Unix milliseconds, with one now for both.
pub(super) fn window(
    from: Option<&Time>,
    to: Option<&Time>,
) -> Result<(Option<u64>, Option<u64>), String> {
    let now = now_ms();
    let moment = |name, time: &Time| match time {
        Time::UnixMs(ms) => Ok(Moment::UnixMs(*ms)),
        Time::Text(text) => text.parse().map_err(|error| format!("`{name}` is no time: {error}")),
    };
    let from = from.map(|time| moment("from", time)).transpose()?;
    let to = to.map(|time| moment("to", time)).transpose()?;
    Ok((from.map(|from| from.at_or_after(now)), to.map(|to| to.at_or_before(now))))
}

/// The size of a page.
pub(super) fn page_size(asked: Option<u32>, default: usize, most: usize) -> Result<usize, String> {
    match asked.map(|asked| asked as usize) {
        None => Ok(default),
        Some(asked) if (1..=most).contains(&asked) => Ok(asked),
        Some(asked) => Err(format!("`limit` is {asked} where 1 to {most} are allowed")),
    }
}
