//! How the history is laid out on the server.

use std::time::Duration;

use annals_core::PersistenceError;

use crate::error;

/// One day, in milliseconds.
const DAY: i64 = 24 * 3_600_000;

/// The shortest interval of time that rows are kept together by.
const SHORTEST: i64 = 1;
/// The longest: a thousand years.
const LONGEST: i64 = 365_250 * DAY;

/// Whether a schema that is created uses TimescaleDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timescale {
    /// If the database has the extension.
    #[default]
    Auto,
    /// Yes: without the extension, or with a history that is no hypertable, connecting fails.
    Require,
    /// No.
    Off,
}

impl Timescale {
    pub(super) fn parse(value: &str) -> Result<Self, PersistenceError> {
        match value {
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            _ => Err(error::config("`timescale` is auto, require or off")),
        }
    }
}

/// How the history is laid out. All times are in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) timescale: Timescale,
    /// By Citus, over its nodes.
    pub(crate) distribute: bool,
    pub(crate) partition_interval: Option<i64>,
    pub(crate) chunk_interval: Option<i64>,
    /// `Some(None)`: never, although it could be.
    pub(crate) compress_after: Option<Option<i64>>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            timescale: Timescale::Auto,
            distribute: false,
            partition_interval: None,
            chunk_interval: None,
            compress_after: None,
        }
    }
}

impl Storage {
    /// What one chunk of a hypertable holds.
    pub(crate) fn chunk_interval(&self) -> i64 {
        self.chunk_interval.unwrap_or(DAY)
    }

    /// How old the rows of a chunk are when it is compressed.
    pub(crate) fn compress_after(&self) -> Option<i64> {
        self.compress_after.unwrap_or(Some(7 * DAY))
    }

    /// Refuses what cannot be had together, and intervals beyond reason.
    pub(crate) fn check(&self) -> Result<(), PersistenceError> {
        for (option, interval) in [
            ("partition_interval", self.partition_interval),
            ("chunk_interval", self.chunk_interval),
            ("compress_after", self.compress_after.flatten()),
        ] {
            if interval.is_some_and(|interval| !(SHORTEST..=LONGEST).contains(&interval)) {
                let message = format!("`{option}` is 1 ms to 365250 d");
                return Err(error::config(message));
            }
        }
        let asked = [
            ("distribute", self.distribute),
            ("partition_interval", self.partition_interval.is_some()),
            ("timescale=require", self.timescale == Timescale::Require),
        ];
        let mut asked = asked.iter().filter(|(_, asked)| *asked).map(|(option, _)| option);
        if let (Some(one), Some(other)) = (asked.next(), asked.next()) {
            let message = format!("`{one}` and `{other}` exclude each other: choose one of them");
            return Err(error::config(message));
        }
        let hypertable = self.timescale != Timescale::Off
            && !self.distribute
            && self.partition_interval.is_none();
        for (option, set) in [
            ("chunk_interval", self.chunk_interval.is_some()),
            ("compress_after", self.compress_after.is_some()),
        ] {
            if set && !hypertable {
                let message = format!("`{option}` is for TimescaleDB, which is not to be used");
                return Err(error::config(message));
            }
        }
        Ok(())
    }
}

/// In whole milliseconds, within the range that [`Storage::check`] looks at.
pub(crate) fn millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)
}

/// As [`interval`] reads it, in the largest unit that it is a whole number of.
pub(crate) fn shown_interval(millis: i64) -> String {
    let units = [(DAY, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| millis % unit == 0) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// An interval such as `1d`, `12h`, `30min`, `90s` or `500ms`; the unit is needed.
pub(super) fn interval(key: &str, value: &str) -> Result<i64, PersistenceError> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (count, unit) = value.split_at(digits);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(DAY),
        _ => None,
    };
    let interval =
        unit.zip(count.parse().ok()).and_then(|(unit, count): (i64, i64)| count.checked_mul(unit));
    interval
        .ok_or_else(|| error::config(format!("`{key}` is an interval such as 1d, 12h or 30min")))
}

/// `off`, or an interval.
pub(super) fn compress_after(value: &str) -> Result<Option<i64>, PersistenceError> {
    if value == "off" {
        return Ok(None);
    }
    interval("compress_after", value).map(Some)
}

/// `require` or `off`.
pub(super) fn distribute(value: &str) -> Result<bool, PersistenceError> {
    match value {
        "require" => Ok(true),
        "off" => Ok(false),
        _ => Err(error::config("`distribute` is require or off")),
    }
}
