//! Rows on stdout, in several formats.

mod bucket;
mod cell;
mod line;
mod locale;
#[cfg(feature = "parquet")]
mod parquet;
mod printer;

mod style;
mod table;
mod wide;

use clap::ValueEnum;

pub(crate) use bucket::BucketTable;
#[cfg(feature = "plot")]
pub(crate) use bucket::shown_number;
pub(crate) use line::{Header, Line, ValueLine};
pub(crate) use locale::Locale;
pub(crate) use printer::Printer;
#[cfg(feature = "plot")]
pub(crate) use printer::terminal_width;
pub(crate) use style::{Style, Times};
pub(crate) use table::Column;
pub(crate) use wide::{WideBuckets, WideRows};

pub(crate) use crate::screen::shown_name;
#[cfg(feature = "sql")]
pub(crate) use crate::screen::shown_value;

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
    /// Parquet, for DuckDB, pandas and Polars
    #[cfg(feature = "parquet")]
    #[value(skip)]
    Parquet,
}

/// `1 row`, `1234 rows`, with plain digits for scripts.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
