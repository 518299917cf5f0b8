//! The options for the layout of the history.

use std::time::Duration;

use annals_core::{Result, duration};

use crate::error;

/// One day, in milliseconds.
const DAY: i64 = 24 * 3_600_000;

/// The longest interval: a thousand years.
const LONGEST: i64 = 365_250 * DAY;

/// Whether a schema that is created uses TimescaleDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timescale {
    /// If the database has the extension.
    #[default]
    Auto,
    /// Always. Connecting fails without the extension, or if the history is not a hypertable.
    Require,
    /// Never.
    Off,
}

impl Timescale {
    pub(super) fn parse(value: &str) -> Result<Self> {
        match value {
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            _ => Err(error::config("`timescale` is auto, require or off")),
        }
    }
}

/// The options for the layout. All times are in milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage {
    pub(crate) timescale: Timescale,
    /// Over the nodes of a Citus cluster.
    pub(crate) distribute: bool,
    pub(crate) partition_interval: Option<i64>,
    pub(crate) chunk_interval: Option<i64>,
    /// `Some(None)`: explicitly never.
    pub(crate) compress_after: Option<Option<i64>>,
}

impl Storage {
    /// The time that one chunk of a hypertable covers.
    pub(crate) fn chunk_interval(&self) -> i64 {
        self.chunk_interval.unwrap_or(DAY)
    }

    /// The age at which a chunk is compressed.
    pub(crate) fn compress_after(&self) -> Option<i64> {
        self.compress_after.unwrap_or(Some(7 * DAY))
    }

    /// Refuses options that exclude each other, and absurd intervals.
    pub(crate) fn check(&self) -> Result<()> {
        for (option, interval) in [
            ("partition_interval", self.partition_interval),
            ("chunk_interval", self.chunk_interval),
            ("compress_after", self.compress_after.flatten()),
        ] {
            if interval.is_some_and(|interval| !(1..=LONGEST).contains(&interval)) {
                let message = format!("`{option}` must be 1 ms to 365250 d");
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
            let message = format!("`{one}` and `{other}` exclude each other: choose one");
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
                let message =
                    format!("`{option}` applies to TimescaleDB only, which other options exclude");
                return Err(error::config(message));
            }
        }
        Ok(())
    }
}

/// In whole milliseconds; [`Storage::check`] checks the range.
pub(crate) fn millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX)
}

/// In the largest unit of which it is a whole number.
pub(crate) fn shown_interval(millis: i64) -> String {
    let units = [(DAY, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| millis % unit == 0) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// An interval with its unit, such as `1d`.
pub(super) fn interval(key: &str, value: &str) -> Result<i64> {
    let interval = duration::parse(value);
    interval.map(millis).map_err(|error| error::config(format!("`{key}`: {error}")))
}

/// `off`, or an interval.
pub(super) fn compress_after(value: &str) -> Result<Option<i64>> {
    if value == "off" {
        return Ok(None);
    }
    interval("compress_after", value).map(Some)
}

/// `require` or `off`.
pub(super) fn distribute(value: &str) -> Result<bool> {
    match value {
        "require" => Ok(true),
        "off" => Ok(false),
        _ => Err(error::config("`distribute` is require or off")),
    }
}
