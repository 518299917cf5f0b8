//! Work whose end is not known, on a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::stderr::ViewGuard;

/// A line on stderr with the time that has passed. Without a terminal, nothing.
pub(crate) struct Spinner(Option<(ProgressBar, ViewGuard)>);

impl Spinner {
    pub(crate) fn new(work: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let view = MultiProgress::new();
        // The template is a constant that parses; the fallback is the default look.
        let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = view.add(ProgressBar::new_spinner().with_style(style).with_message(work));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some((bar, ViewGuard::new(view))))
    }

    /// Removes the line from the terminal.
    pub(crate) fn clear(&mut self) {
        if let Some((bar, _guard)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
