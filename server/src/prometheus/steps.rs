//! The times at which a query is evaluated.

/// `count` times from `start` on, `step` milliseconds apart, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) count: usize,
}

impl Steps {
    /// A single time.
    pub(super) fn at(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    /// The `number`-th time, from 0.
    pub(super) fn time(&self, number: usize) -> i64 {
        self.start + self.step * number as i64
    }

    /// The last time.
    pub(super) fn end(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }
}

/// The greatest common divisor of two positive numbers.
pub(super) fn common_divisor(mut one: i64, mut other: i64) -> i64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
