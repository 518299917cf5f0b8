//! Warnings of the libraries, as lines on stderr.

use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::screen::shown_message;
use crate::stderr::{print_error, write_above_view};

/// Prints events of this level, or those that `RUST_LOG` selects (`info`, `annals_sqlite=debug`).
pub(crate) fn install(level: LevelFilter) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let default = || Targets::new().with_default(level);
    let filter = wanted.map_or_else(default, |text| {
        text.parse().unwrap_or_else(|error| {
            print_error(&format!("RUST_LOG is ignored: {error}"));
            default()
        })
    });
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(AboveView);
    // Fails only if there is a subscriber already, which then gets the warnings.
    drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
}

/// Prints each event as one piece, above a live view.
struct AboveView;

impl io::Write for AboveView {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // Names and values of other programs may be in it.
        let text = String::from_utf8_lossy(event);
        let lines: String =
            text.lines().flat_map(|line| [shown_message(line), "\n".to_owned()]).collect();
        write_above_view(lines.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AboveView {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
