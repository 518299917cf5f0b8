//! Rows on stdout, in four formats.

mod line;
mod printer;
mod screen;
mod table;

use clap::ValueEnum;

pub(crate) use line::{Header, Line, ValueLine};
pub(crate) use printer::Printer;
pub(crate) use screen::{shown_name, shown_value};
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
