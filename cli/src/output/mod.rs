//! Rows on stdout, in four formats.

mod bucket;
mod line;
mod printer;
mod screen;
mod table;

use clap::ValueEnum;

pub(crate) use bucket::BucketTable;
#[cfg(feature = "plot")]
pub(crate) use bucket::shown_number;
#[cfg(any(feature = "sql", feature = "conformance"))]
pub(crate) use line::Line;
pub(crate) use line::{Header, ValueLine};
pub(crate) use printer::Printer;
#[cfg(feature = "plot")]
pub(crate) use printer::terminal_width;
pub(crate) use screen::shown_name;
#[cfg(feature = "sql")]
pub(crate) use screen::shown_value;
#[cfg(feature = "conformance")]
pub(crate) use table::Column;

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for reading, cut to the width of the terminal
    Table,
    /// One JSON object per line
    Ndjson,
    /// One JSON array of objects
    Json,
    /// A header and one line per row, quoted as in RFC 4180
    Csv,
}

/// `1 row`, `1234 rows`, with plain digits for scripts.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
