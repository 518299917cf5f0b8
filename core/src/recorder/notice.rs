//! Warnings that do not flood the log.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

/// Counts events and says when to speak of them: at the first, then at most once a minute.
#[derive(Debug, Default)]
pub(super) struct Notice {
    spoken: Option<Instant>,
    since: u64,
}

impl Notice {
    /// Counts `events` more and returns how many there were since the last time, if it is time.
    pub(super) fn count(&mut self, events: u64, now: Instant) -> Option<u64> {
        self.since += events;
        let due = self.spoken.is_none_or(|spoken| now.saturating_duration_since(spoken) >= EVERY);
        if !due || self.since == 0 {
            return None;
        }
        self.spoken = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_minute() {
        let begun = Instant::now();
        let mut notice = Notice::default();
        assert_eq!(notice.count(0, begun), None);
        assert_eq!(notice.count(1, begun), Some(1));
        assert_eq!(notice.count(2, begun + Duration::from_secs(1)), None);
        assert_eq!(notice.count(3, begun + Duration::from_secs(59)), None);
        assert_eq!(notice.count(4, begun + Duration::from_secs(60)), Some(9));
        assert_eq!(notice.count(5, begun + Duration::from_secs(119)), None);
    }
}
