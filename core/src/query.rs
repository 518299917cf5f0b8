//! What is asked, and what comes back.

use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::PersistenceError;
use crate::pattern::{Grammar, Pattern};

/// The last timestamp there is, in Unix milliseconds: `i64::MAX`.
pub const MAX_TIMESTAMP: u64 = i64::MAX as u64;

/// In which order the rows of one record come. Records always come in byte order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Greatest `stored_at` first; among equals the last to arrive first.
    #[default]
    NewestFirst,
    /// The exact reverse within each record.
    OldestFirst,
}

/// Which rows of the matching records are wanted. The default is all of them, newest first.
///
/// ```
/// # use annals_core::{Order, QueryParams};
/// let newest_five = QueryParams::latest(5);
/// let an_hour = QueryParams::range(0, 3_600_000).with_order(Order::OldestFirst);
/// # assert_eq!((newest_five.limit_per_record, an_hour.end_time), (Some(5), Some(3_600_000)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueryParams {
    /// The newest so many rows of each record, counted within the time window, whatever the order
    /// they are returned in. `None`: all.
    pub limit_per_record: Option<usize>,
    /// The first `stored_at` wanted, in Unix milliseconds, inclusive. Above `i64::MAX`: no bound.
    pub start_time: Option<u64>,
    /// The last `stored_at` wanted, in Unix milliseconds, inclusive. Above `i64::MAX`: no bound.
    pub end_time: Option<u64>,
    /// The order of each record's rows.
    pub order: Order,
    /// How the pattern is read.
    pub grammar: Grammar,
}

impl QueryParams {
    /// The newest `n` rows of each record.
    pub fn latest(n: usize) -> Self {
        Self { limit_per_record: Some(n), ..Self::default() }
    }

    /// Everything from `start` to `end`, both inclusive, in Unix milliseconds.
    pub fn range(start: u64, end: u64) -> Self {
        Self { start_time: Some(start), end_time: Some(end), ..Self::default() }
    }

    /// Sets how many rows of each record to return at most: the newest ones in the time window.
    #[must_use]
    pub fn with_limit_per_record(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.limit_per_record = limit.into();
        self
    }

    /// Sets the start of the time window, inclusive, in Unix milliseconds.
    #[must_use]
    pub fn with_start_time(mut self, start_time: impl Into<Option<u64>>) -> Self {
        self.start_time = start_time.into();
        self
    }

    /// Sets the end of the time window, inclusive, in Unix milliseconds.
    #[must_use]
    pub fn with_end_time(mut self, end_time: impl Into<Option<u64>>) -> Self {
        self.end_time = end_time.into();
        self
    }

    /// Sets the order of each record's rows.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets the grammar of the pattern.
    #[must_use]
    pub fn with_grammar(mut self, grammar: Grammar) -> Self {
        self.grammar = grammar;
        self
    }
}

/// A row as a query returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredValue {
    /// The record's name.
    #[serde(rename = "record")]
    pub record_name: String,
    /// The value.
    pub value: Value,
    /// Unix time in milliseconds.
    pub stored_at: u64,
}

/// A row as the store has it. The text was valid JSON when it was stored. It is not checked again here;
/// what parses it does that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RawRow {
    /// The record's name, shared between the rows of one record.
    pub record: Arc<str>,
    /// The value's text. Serialized as the member `value`, as JSON; text that is not valid JSON
    /// fails to serialize.
    #[serde(rename = "value", serialize_with = "as_json")]
    pub json: Arc<str>,
    /// Unix time in milliseconds.
    pub stored_at: u64,
}

impl RawRow {
    /// A row of `record` at `stored_at` (Unix milliseconds) with the text `json`.
    pub fn new(record: Arc<str>, json: Arc<str>, stored_at: u64) -> Self {
        Self { record, json, stored_at }
    }
}

fn as_json<S: Serializer>(json: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let raw: &RawValue = serde_json::from_str(json).map_err(S::Error::custom)?;
    raw.serialize(serializer)
}

/// A row with its value as `T`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypedRow<T> {
    /// The record's name, shared between the rows of one record.
    pub record: Arc<str>,
    /// The value.
    pub value: T,
    /// Unix time in milliseconds.
    pub stored_at: u64,
}

/// What a listing tells of a record. Only records that have rows are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordSummary {
    /// The record's name.
    pub record: String,
    /// How many rows it has.
    pub count: u64,
    /// The smallest `stored_at`, in Unix milliseconds.
    pub first: u64,
    /// The greatest `stored_at`, in Unix milliseconds.
    pub last: u64,
}

impl RecordSummary {
    /// A record with `count` rows from `first` to `last`, in Unix milliseconds.
    pub fn new(record: impl Into<String>, count: u64, first: u64, last: u64) -> Self {
        Self { record: record.into(), count, first, last }
    }
}

/// A query with its pattern parsed and its bounds resolved: what a backend works from.
#[derive(Debug, Clone)]
pub struct Query {
    /// Which records.
    pub pattern: Pattern,
    /// The first `stored_at`, inclusive, 0 to `i64::MAX`.
    pub from: u64,
    /// The last `stored_at`, inclusive, 0 to `i64::MAX`.
    pub to: u64,
    /// The newest so many of each record.
    pub limit: Option<u64>,
    /// The order of each record's rows.
    pub order: Order,
    crossed: bool,
}

impl Query {
    /// Parses the pattern and resolves the bounds.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern).
    pub fn new(pattern: &str, params: &QueryParams) -> Result<Self, PersistenceError> {
        let crossed = matches!((params.start_time, params.end_time), (Some(a), Some(b)) if a > b);
        let bound = |time: Option<u64>| time.filter(|time| *time <= MAX_TIMESTAMP);
        Ok(Self {
            pattern: Pattern::new(pattern, params.grammar)?,
            from: bound(params.start_time).unwrap_or(0),
            to: bound(params.end_time).unwrap_or(MAX_TIMESTAMP),
            limit: params.limit_per_record.map(|limit| limit as u64),
            order: params.order,
            crossed,
        })
    }

    /// Whether it is known without asking the store that nothing matches.
    pub fn is_empty(&self) -> bool {
        self.crossed || self.limit == Some(0) || !self.pattern.can_match()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_beyond_the_last_timestamp_are_no_bounds() {
        let query = Query::new("*", &QueryParams::range(0, u64::MAX)).unwrap();
        assert_eq!((query.from, query.to), (0, MAX_TIMESTAMP));
        let query = Query::new("*", &QueryParams::range(u64::MAX, u64::MAX)).unwrap();
        assert!(!query.is_empty());
        assert_eq!((query.from, query.to), (0, MAX_TIMESTAMP));
    }

    #[test]
    fn crossed_bounds_and_limit_zero_are_empty() {
        assert!(Query::new("*", &QueryParams::range(2, 1)).unwrap().is_empty());
        assert!(Query::new("*", &QueryParams::range(u64::MAX, 1)).unwrap().is_empty());
        assert!(Query::new("*", &QueryParams::latest(0)).unwrap().is_empty());
        assert!(!Query::new("*", &QueryParams::range(1, 1)).unwrap().is_empty());
    }

    #[test]
    fn a_raw_row_serializes_its_text_as_json() {
        let row = RawRow::new("a".into(), "{\"x\": 1}".into(), 5);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(text, r#"{"record":"a","value":{"x": 1},"stored_at":5}"#);
        assert!(serde_json::to_string(&RawRow::new("a".into(), "{".into(), 5)).is_err());
    }
}
