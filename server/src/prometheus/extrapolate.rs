//! `rate`, `increase` and `delta` as Prometheus computes them: the change between the first and the
//! last sample of a window, extended to the window's bounds.
//!
//! The formula is that of `extrapolatedRate` in Prometheus 2 (promql/functions.go).

/// What is known of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// The number of samples, at least two.
    pub(super) count: u64,
    /// The first sample and its time in Unix milliseconds.
    pub(super) first: (u64, f64),
    /// The time of the last sample.
    pub(super) last_at: u64,
    /// The last sample less the first, or the rises of a counter.
    pub(super) change: f64,
}

/// The change over `start..end` (Unix milliseconds), or `None` without two samples at different
/// times.
pub(super) fn extrapolate(of: Change, (start, end): (i64, i64), is_counter: bool) -> Option<f64> {
    if of.count < 2 || of.last_at <= of.first.0 {
        return None;
    }
    let seconds = |millis: f64| millis / 1000.0;
    let mut to_start = seconds(of.first.0 as f64 - start as f64);
    let to_end = seconds(end as f64 - of.last_at as f64);
    let sampled = seconds((of.last_at - of.first.0) as f64);
    let average = sampled / (of.count - 1) as f64;
    if is_counter && of.change > 0.0 && of.first.1 >= 0.0 {
        // A counter is not extended below zero.
        to_start = to_start.min(sampled * (of.first.1 / of.change));
    }
    let threshold = average * 1.1;
    let reach = |distance: f64| if distance < threshold { distance } else { average / 2.0 };
    let extended = sampled + reach(to_start) + reach(to_end);
    Some(of.change * (extended / sampled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_extended_to_the_bounds_but_not_below_zero() {
        let of = Change { count: 6, first: (10_000, 100.0), last_at: 60_000, change: 50.0 };
        // 50 s sampled, 10 s before and 0 s after.
        assert_eq!(extrapolate(of, (0, 60_000), true), Some(60.0));
        // Zero was 2 s before the first sample at this pace.
        let from_near_zero = Change { first: (10_000, 2.0), ..of };
        assert_eq!(extrapolate(from_near_zero, (0, 60_000), true), Some(52.0));
        assert_eq!(extrapolate(from_near_zero, (0, 60_000), false), Some(60.0));
    }

    #[test]
    fn one_sample_or_one_moment_has_no_change() {
        let of = Change { count: 1, first: (1, 1.0), last_at: 1, change: 0.0 };
        assert_eq!(extrapolate(of, (0, 10), true), None);
        assert_eq!(extrapolate(Change { count: 2, ..of }, (0, 10), true), None);
    }
}
