//! How many rows came in the last minute.

use std::sync::OnceLock;
use std::time::Instant;

use parking_lot::Mutex;

const SECONDS: u64 = 60;

/// One count for each of the last seconds.
#[derive(Debug)]
pub(crate) struct Rate {
    counts: Mutex<[(u64, u64); SECONDS as usize]>,
    start: OnceLock<Instant>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { counts: Mutex::new([(u64::MAX, 0); SECONDS as usize]), start: OnceLock::new() }
    }
}

impl Rate {
    pub(crate) fn add(&self, rows: u64) {
        self.add_at(self.second(), rows);
    }

    /// Rows per second, over the last minute or since the first row.
    pub(crate) fn per_second(&self) -> f64 {
        self.per_second_at(self.second())
    }

    fn second(&self) -> u64 {
        self.start.get_or_init(Instant::now).elapsed().as_secs()
    }

    fn add_at(&self, second: u64, rows: u64) {
        let mut counts = self.counts.lock();
        let slot = &mut counts[(second % SECONDS) as usize];
        match slot.0 == second {
            true => slot.1 += rows,
            false => *slot = (second, rows),
        }
    }

    fn per_second_at(&self, second: u64) -> f64 {
        let counts = self.counts.lock();
        let recent = counts.iter().filter(|(at, _)| *at <= second && second - at < SECONDS);
        let rows: u64 = recent.map(|(_, rows)| rows).sum();
        rows as f64 / (second + 1).min(SECONDS) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_does_not_count() {
        let rate = Rate::default();
        rate.add_at(0, 30);
        assert_eq!(rate.per_second_at(0), 30.0);
        rate.add_at(29, 30);
        assert_eq!(rate.per_second_at(29), 2.0);
        assert_eq!(rate.per_second_at(59), 1.0);
        assert_eq!(rate.per_second_at(60), 0.5);
        rate.add_at(60, 60);
        assert_eq!(rate.per_second_at(60), 1.5);
        assert_eq!(rate.per_second_at(200), 0.0);
    }
}
