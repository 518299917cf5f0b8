//! Rows on their way to stdout, in four forms.

mod line;
mod printer;
mod screen;
mod table;

use clap::ValueEnum;

pub(crate) use line::{Header, Line, ValueLine};
pub(crate) use printer::Printer;
pub(crate) use screen::{shown_name, shown_value};
pub(crate) use table::Column;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For reading: columns, cut to the width of the terminal
    Table,
    /// One JSON object a line
    Ndjson,
    /// One JSON array of objects
    Json,
    /// A header and one line a row, quoted as RFC 4180 has it
    Csv,
}

/// `1 row`, `1234 rows`: plain digits, which scripts read as well.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
