//! The functions of an aggregate, and their names.

use std::fmt;
use std::str::FromStr;

use super::member::State;
use super::percentile::Percentile;
use crate::error::PersistenceError;

/// What is computed of the rows of a bucket. The name of each is its key in JSON and its column in
/// the program.
///
/// ```
/// # use annals_core::Function;
/// assert_eq!(Function::parse("p99.9")?.name(), "p99.9");
/// assert_eq!(Function::parse_list("count,time_weighted_mean")?.len(), 2);
/// assert_eq!(Function::parse("duration{\"open\"}")?.to_string(), "duration{\"open\"}");
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Function {
    /// The number of samples. Every bucket has it, asked for or not.
    Count,
    /// The number of rows without a sample. A bucket shows it if it is not 0 or was asked for.
    Skipped,
    /// The sum, exact to the last bits of an `f64`.
    Sum,
    /// The sum divided by the count.
    Mean,
    /// The smallest sample.
    Min,
    /// The earliest time of the smallest sample, in Unix milliseconds.
    MinAt,
    /// The greatest sample.
    Max,
    /// The earliest time of the greatest sample, in Unix milliseconds.
    MaxAt,
    /// The earliest sample; among equal times the first to arrive.
    First,
    /// The time of the earliest sample, in Unix milliseconds.
    FirstAt,
    /// The latest sample; among equal times the last to arrive.
    Last,
    /// The time of the latest sample, in Unix milliseconds.
    LastAt,
    /// The sample standard deviation (n - 1); absent for fewer than two samples.
    Stddev,
    /// The 50th percentile.
    Median,
    /// Any percentile from `p0` to `p100`, with linear interpolation between closest ranks.
    Percentile(Percentile),
    /// The last sample less the first.
    Delta,
    /// The rises of a counter, a fall being a reset to zero. It begins at the last sample before
    /// the bucket, if there is one.
    Increase,
    /// The increase per second of the time covered.
    Rate,
    /// The mean, each sample weighted with the time it held.
    TimeWeightedMean,
    /// The integral over time: value × seconds.
    Integral,
    /// How many milliseconds of the bucket had a value.
    CoveredMs,
    /// How many milliseconds the value equalled a JSON scalar.
    Duration(State),
}

const PLAIN: [Function; 20] = [
    Function::Count,
    Function::Skipped,
    Function::Sum,
    Function::Mean,
    Function::Min,
    Function::MinAt,
    Function::Max,
    Function::MaxAt,
    Function::First,
    Function::FirstAt,
    Function::Last,
    Function::LastAt,
    Function::Stddev,
    Function::Median,
    Function::Delta,
    Function::Increase,
    Function::Rate,
    Function::TimeWeightedMean,
    Function::Integral,
    Function::CoveredMs,
];

impl Function {
    /// The functions of an aggregate that asks for none: count, mean, min and max.
    pub const DEFAULT: [Function; 4] =
        [Function::Count, Function::Mean, Function::Min, Function::Max];

    /// Parses a name: `mean`, `p99.9`, `duration{"open"}`.
    ///
    /// # Errors
    /// [`InvalidAggregate`](PersistenceError::InvalidAggregate), which lists the names there are.
    pub fn parse(name: &str) -> Result<Self, PersistenceError> {
        let name = name.trim();
        if let Some(plain) = PLAIN.iter().find(|function| function.name() == name) {
            return Ok(plain.clone());
        }
        if let Some(percentile) = Percentile::parse(name) {
            return Ok(Self::Percentile(percentile));
        }
        let scalar = name.strip_prefix("duration{").and_then(|rest| rest.strip_suffix('}'));
        if let Some(scalar) = scalar {
            return State::parse(name, scalar).map(Self::Duration);
        }
        let names: Vec<&str> = PLAIN.iter().map(Self::name).collect();
        let reason = format!(
            "there are {}, p0 to p100 such as p99.9, and duration{{\"a JSON scalar\"}}",
            names.join(", ")
        );
        Err(PersistenceError::invalid_aggregate("function", name, reason))
    }

    /// Parses names between commas. Commas within the braces of `duration{…}` separate nothing.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_list(names: &str) -> Result<Vec<Self>, PersistenceError> {
        let (mut functions, mut start) = (Vec::new(), 0);
        let (mut in_braces, mut in_text, mut escaped) = (false, false, false);
        for (at, letter) in names.char_indices() {
            match letter {
                _ if escaped => escaped = false,
                '\\' if in_text => escaped = true,
                '"' if in_braces => in_text = !in_text,
                _ if in_text => {}
                '{' => in_braces = true,
                '}' => in_braces = false,
                ',' if !in_braces => {
                    functions.push(Self::parse(&names[start..at])?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        functions.push(Self::parse(&names[start..])?);
        Ok(functions)
    }

    /// The name, as it was written where it was parsed.
    pub fn name(&self) -> &str {
        match self {
            Self::Count => "count",
            Self::Skipped => "skipped",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::MinAt => "min_at",
            Self::Max => "max",
            Self::MaxAt => "max_at",
            Self::First => "first",
            Self::FirstAt => "first_at",
            Self::Last => "last",
            Self::LastAt => "last_at",
            Self::Stddev => "stddev",
            Self::Median => "median",
            Self::Percentile(percentile) => percentile.name(),
            Self::Delta => "delta",
            Self::Increase => "increase",
            Self::Rate => "rate",
            Self::TimeWeightedMean => "time_weighted_mean",
            Self::Integral => "integral",
            Self::CoveredMs => "covered_ms",
            Self::Duration(state) => state.name(),
        }
    }

    /// Whether the result depends on the order of the samples in time, so that it means nothing
    /// for several records together.
    pub fn needs_order(&self) -> bool {
        self.holds_values() || matches!(self, Self::Delta | Self::Increase | Self::Rate)
    }

    /// Whether a value holds until the next one, so that a bucket without rows may have a result.
    pub(super) fn holds_values(&self) -> bool {
        matches!(
            self,
            Self::TimeWeightedMean | Self::Integral | Self::CoveredMs | Self::Duration(_)
        )
    }

    /// Whether the result is of the kind of the samples, so that filling may give one.
    pub(super) fn is_value(&self) -> bool {
        matches!(
            self,
            Self::Mean
                | Self::Min
                | Self::Max
                | Self::First
                | Self::Last
                | Self::Median
                | Self::Percentile(_)
                | Self::TimeWeightedMean
        )
    }
}

impl FromStr for Function {
    type Err = PersistenceError;

    fn from_str(name: &str) -> Result<Self, PersistenceError> {
        Self::parse(name)
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
