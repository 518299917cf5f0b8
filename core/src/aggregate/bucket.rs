//! The answer: one bucket of one record.

use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use smallvec::SmallVec;

use super::function::Function;

/// The result of a function.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BucketValue {
    /// A number. It is infinite where the exact result is beyond `f64`, which JSON shows as null.
    Number(f64),
    /// A time in Unix milliseconds (`min_at`, `first_at`, …), a number of milliseconds
    /// (`covered_ms`, `duration{…}`) or a count.
    Integer(u64),
}

impl BucketValue {
    /// The value as a number; an integer beyond 2^53 is rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Integer(integer) => integer as f64,
        }
    }
}

impl fmt::Display for BucketValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Integer(integer) => integer.fmt(f),
        }
    }
}

impl Serialize for BucketValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Integer(integer) => serializer.serialize_u64(*integer),
        }
    }
}

/// What an aggregate says of one interval of one record.
///
/// As JSON it has `record`, `start`, `end`, `count` and the functions that were asked for, each
/// under its name. Functions without a result are left out.
#[derive(Clone, PartialEq)]
pub struct Bucket {
    /// The record's name, or the pattern where records are merged.
    pub record: Arc<str>,
    /// The first millisecond, in Unix time. It can be before 1970: local midnight is.
    pub start: i64,
    /// The first millisecond after it. The last bucket of all time ends with `i64::MAX`.
    pub end: i64,
    /// How many samples it has.
    pub count: u64,
    /// How many rows of it have no sample.
    pub skipped: u64,
    /// Whether it has no sample and its values were filled in.
    pub filled: bool,
    pub(super) functions: Arc<[Function]>,
    /// One for each function.
    pub(super) values: SmallVec<[Option<BucketValue>; 4]>,
}

impl Bucket {
    /// The result of a function; `None` if it has none here or was not asked for.
    pub fn value(&self, function: &Function) -> Option<BucketValue> {
        match function {
            Function::Count => Some(BucketValue::Integer(self.count)),
            Function::Skipped => Some(BucketValue::Integer(self.skipped)),
            _ => self.values[self.functions.iter().position(|asked| asked == function)?],
        }
    }

    /// The result of the function with this name, as a number.
    pub fn get(&self, name: &str) -> Option<f64> {
        let at = self.functions.iter().position(|function| function.name() == name)?;
        self.value(&self.functions[at]).map(BucketValue::as_f64)
    }

    /// The mean, if it was asked for and there are samples.
    pub fn mean(&self) -> Option<f64> {
        self.get("mean")
    }

    /// The smallest sample, if it was asked for and there are samples.
    pub fn min(&self) -> Option<f64> {
        self.get("min")
    }

    /// The greatest sample, if it was asked for and there are samples.
    pub fn max(&self) -> Option<f64> {
        self.get("max")
    }

    /// The results there are, in the order they were asked for, without count and skipped.
    pub fn values(&self) -> impl Iterator<Item = (&str, BucketValue)> {
        let results = self.functions.iter().zip(&self.values);
        results.filter_map(|(function, value)| Some((function.name(), (*value)?)))
    }
}

impl Serialize for Bucket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("record", &*self.record)?;
        members.serialize_entry("start", &self.start)?;
        members.serialize_entry("end", &self.end)?;
        members.serialize_entry("count", &self.count)?;
        if self.skipped > 0 || self.functions.contains(&Function::Skipped) {
            members.serialize_entry("skipped", &self.skipped)?;
        }
        for (name, value) in self.values() {
            members.serialize_entry(name, &value)?;
        }
        if self.filled {
            members.serialize_entry("filled", &true)?;
        }
        members.end()
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut members = f.debug_struct("Bucket");
        members.field("record", &self.record).field("start", &self.start).field("end", &self.end);
        members.field("count", &self.count).field("skipped", &self.skipped);
        for (name, value) in self.values() {
            members.field(name, &value);
        }
        members.field("filled", &self.filled).finish()
    }
}
