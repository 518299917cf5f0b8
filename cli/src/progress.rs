//! The progress of an import or a copy, on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use crate::stderr::ViewGuard;

/// A progress bar: of bytes for a file, of rows for a pipe. Without a terminal, nothing.
pub(crate) struct Progress(Option<(ProgressBar, ViewGuard)>);

impl Progress {
    pub(crate) fn new(size: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let view = MultiProgress::new();
        let (bar, template) = match size {
            Some(size) => (
                ProgressBar::new(size),
                "{bar:20} {percent:>3} %  {bytes} of {total_bytes}  {msg}  {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
        };
        // The templates are constants that parse; the fallback is the default look.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = view.add(bar.with_style(style).with_message("0 rows"));
        Self(Some((bar, ViewGuard::new(view))))
    }

    pub(crate) fn at(&self, bytes: u64, rows: u64) {
        if let Some((bar, _)) = &self.0 {
            bar.set_position(bytes);
            bar.set_message(format!("{} rows", HumanCount(rows)));
        }
    }

    /// Removes the bar from the terminal.
    pub(crate) fn clear(&mut self) {
        if let Some((bar, _guard)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
