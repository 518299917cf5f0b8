//! Times as multiples of a unit above the smallest one.

use super::FormatError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// The smallest time.
    pub(super) base: u64,
    /// Above 0.
    pub(super) unit: u64,
}

impl Times {
    /// The largest unit for some times.
    pub(super) fn of(times: &[u64]) -> Self {
        let base = times.iter().min().copied().unwrap_or(0);
        let unit = times.iter().fold(0, |unit, time| greatest_common_divisor(unit, time - base));
        Self { base, unit: unit.max(1) }
    }

    /// The number of units of one of these times.
    pub(super) fn number(&self, time: u64) -> u64 {
        (time - self.base) / self.unit
    }

    /// The time of a number of units.
    pub(super) fn time(&self, number: u64) -> Result<u64, FormatError> {
        let time = number.checked_mul(self.unit).and_then(|time| time.checked_add(self.base));
        time.ok_or(FormatError::Damaged("a time is out of range"))
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
