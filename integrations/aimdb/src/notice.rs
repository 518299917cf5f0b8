//! The rate-limited log.

use std::fmt;
use std::time::{Duration, Instant};

use tracing::dispatcher::get_default;
use tracing::subscriber::NoSubscriber;

const EVERY: Duration = Duration::from_secs(60);

/// Counts values and says when to speak of them: at the first, then at most once a minute.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    spoken: Option<Instant>,
    since: u64,
}

impl Notice {
    /// Counts `values` more and returns how many there were since the last time, if it is time.
    pub(crate) fn count(&mut self, values: u64, now: Instant) -> Option<u64> {
        self.since += values;
        let due = self.spoken.is_none_or(|spoken| now.saturating_duration_since(spoken) >= EVERY);
        if !due {
            return None;
        }
        self.spoken = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Whether nobody listens to `tracing`: then what matters goes to stderr.
pub(crate) fn unheard() -> bool {
    get_default(|dispatch| dispatch.is::<NoSubscriber>())
}

/// Says that something is wrong, where it will be seen.
pub(crate) fn error(message: fmt::Arguments<'_>) {
    if unheard() {
        eprintln!("annals-aimdb: {message}");
    } else {
        tracing::error!("{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_minute() {
        let begun = Instant::now();
        let mut notice = Notice::default();
        assert_eq!(notice.count(1, begun), Some(1));
        assert_eq!(notice.count(2, begun + Duration::from_secs(59)), None);
        assert_eq!(notice.count(3, begun + Duration::from_secs(60)), Some(5));
        assert_eq!(notice.count(4, begun + Duration::from_secs(119)), None);
    }
}
