//! Log messages that an operator must see: at most once a minute for each kind, and on stderr if no
//! `tracing` subscriber is installed.

use std::fmt;
use std::time::{Duration, Instant};

use tracing::dispatcher::get_default;
use tracing::subscriber::NoSubscriber;

const INTERVAL: Duration = Duration::from_secs(60);

/// Limits the messages about one kind of event: the first event is logged at once, later ones are
/// counted and logged together, at most once a minute.
#[derive(Debug, Default)]
pub struct RateLimitedLog {
    last: Option<Instant>,
    count: u64,
}

impl RateLimitedLog {
    /// Counts `events` at the time `now`. If a message is due, returns the number of events since
    /// the last one.
    pub fn count(&mut self, events: u64, now: Instant) -> Option<u64> {
        self.count += events;
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
        if !due || self.count == 0 {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

/// Logs an error.
pub fn error(message: fmt::Arguments<'_>) {
    if is_unheard() {
        eprintln!("annals: {message}");
    } else {
        tracing::error!("{message}");
    }
}

/// Logs a warning.
pub fn warn(message: fmt::Arguments<'_>) {
    if is_unheard() {
        eprintln!("annals: {message}");
    } else {
        tracing::warn!("{message}");
    }
}

fn is_unheard() -> bool {
    get_default(|dispatch| dispatch.is::<NoSubscriber>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_at_once_and_the_rest_once_a_minute() {
        let begun = Instant::now();
        let mut log = RateLimitedLog::default();
        assert_eq!(log.count(0, begun), None);
        assert_eq!(log.count(1, begun), Some(1));
        assert_eq!(log.count(2, begun + Duration::from_secs(1)), None);
        assert_eq!(log.count(3, begun + Duration::from_secs(59)), None);
        assert_eq!(log.count(4, begun + Duration::from_secs(60)), Some(9));
        assert_eq!(log.count(5, begun + Duration::from_secs(119)), None);
    }
}
