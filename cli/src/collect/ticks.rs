//! Ticks at even intervals.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Ticks at `start`, `start + every`, `start + 2 * every`, … A late tick does not delay the next ones.
/// Missed ticks are counted and skipped.
#[derive(Debug)]
pub(super) struct Ticks {
    interval: Interval,
    every: Duration,
    last: Option<Instant>,
    /// The number of ticks so far.
    pub(super) seen: u64,
    /// The number of ticks that were skipped because the program was late.
    pub(super) missed: u64,
}

impl Ticks {
    pub(super) fn new(start: Instant, every: Duration) -> Self {
        let mut interval = interval_at(start, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { interval, every, last: None, seen: 0, missed: 0 }
    }

    /// Waits for the next tick.
    ///
    /// # Cancel safety
    /// Dropping the future loses no tick.
    pub(super) async fn next(&mut self) {
        let due = self.interval.tick().await;
        if let Some(last) = self.last {
            let passed = (due - last).as_nanos() / self.every.as_nanos().max(1);
            self.missed += u64::try_from(passed.saturating_sub(1)).unwrap_or(0);
        }
        self.last = Some(due);
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn a_late_tick_moves_none_after_it_and_missed_ones_are_counted() {
        let start = Instant::now();
        let mut ticks = Ticks::new(start, EVERY);
        ticks.next().await;
        ticks.next().await;
        assert_eq!(start.elapsed(), EVERY);
        // The work of this tick takes until 30 ms after the one after the next.
        tokio::time::advance(EVERY * 2 + Duration::from_millis(30)).await;
        ticks.next().await;
        ticks.next().await;
        assert_eq!(start.elapsed(), EVERY * 4);
        assert_eq!((ticks.seen, ticks.missed), (4, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_do_not_drift() {
        let start = Instant::now();
        let mut ticks = Ticks::new(start, EVERY);
        for _ in 0..1000 {
            ticks.next().await;
            tokio::time::advance(Duration::from_millis(7)).await;
        }
        assert_eq!(start.elapsed(), EVERY * 999 + Duration::from_millis(7));
        assert_eq!(ticks.missed, 0);
    }
}
