//! Warnings of the libraries, tersely on stderr.

use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::say::{complain, write_above_view};

/// Sends events of this level to stderr, or what `RUST_LOG` asks for (`info`,
/// `annals_sqlite=debug`, …).
pub(crate) fn install(level: LevelFilter) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let default = || Targets::new().with_default(level);
    let filter = wanted.map_or_else(default, |text| {
        text.parse().unwrap_or_else(|error| {
            complain(&format!("RUST_LOG is ignored: {error}"));
            default()
        })
    });
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(AboveView);
    // It fails only when there is a subscriber already; then that one has the warnings.
    drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
}

/// Writes each event as a whole above the live view.
struct AboveView;

impl io::Write for AboveView {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        write_above_view(event);
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
