//! The options for the output of commands that can plot.

use clap::{Args, ValueEnum};

#[cfg(feature = "parquet")]
use std::io::{self, IsTerminal};

use jiff::tz::TimeZone;

use crate::failure::Failure;
use crate::output::{Format, Locale, Style, Times};

/// `--output` and `--plot`.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// The format of the output [default: table on a terminal, ndjson otherwise]
    ///
    /// A table is cut to the width of the terminal. The other formats are complete and exact. What
    /// goes to a terminal has control and invisible characters escaped; a CSV cell that a
    /// spreadsheet would read as a formula gets an apostrophe there, and with --excel.
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Output>,

    /// How times are written in rows [default: ms; with --excel local]
    #[arg(long, value_enum, value_name = "FORM", conflicts_with = "plot")]
    times: Option<Times>,

    /// CSV: write a string without its JSON quotes, as `annals import --text` reads it
    ///
    /// A string that would be read as something else, such as "21.5" or "", keeps them.
    #[arg(long, conflicts_with = "plot")]
    text: bool,

    /// One line for each time, and one column for each record
    ///
    /// The answer is held in memory, up to 256 MiB. An aggregate needs --every; with one function
    /// in --show a column has the name of its record.
    #[arg(long, conflicts_with = "plot")]
    wide: bool,

    /// CSV for Excel and other spreadsheets in a language: de, en_US [default: of the environment]
    ///
    /// With a byte order mark, semicolons where the language has a decimal comma, local times,
    /// strings without quotes, and an apostrophe before what would be a formula.
    #[arg(long, value_name = "LANGUAGE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "", value_parser = language, conflicts_with = "plot")]
    excel: Option<Locale>,

    /// Draw a chart on the terminal instead
    #[arg(long, conflicts_with = "output")]
    plot: bool,
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Columns for reading, cut to the width of the terminal
    Table,
    /// One JSON object per line
    Ndjson,
    /// One JSON array of objects
    Json,
    /// A header and one line per row, quoted as in RFC 4180
    Csv,
    /// Parquet with typed columns, for DuckDB, pandas and Polars
    Parquet,
    /// A chart as an SVG image
    Svg,
}

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination {
    /// Rows on stdout.
    Rows(Option<Format>),
    /// A chart on stdout.
    #[cfg(feature = "plot")]
    Plot(Form),
}

/// The form of a chart.
#[cfg(feature = "plot")]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Characters, as wide as the terminal.
    Terminal,
    Svg,
}

impl OutputArgs {
    pub(crate) fn destination(&self) -> Result<Destination, Failure> {
        if self.plot {
            return terminal();
        }
        if self.excel.is_some() {
            return match self.output {
                None | Some(Output::Csv) => Ok(Destination::Rows(Some(Format::Csv))),
                Some(_) => Err(Failure::Usage("--excel writes CSV; leave --output out".to_owned())),
            };
        }
        if self.text && self.output != Some(Output::Csv) {
            return Err(Failure::Usage("--text goes with --output csv".to_owned()));
        }
        Ok(Destination::Rows(match self.output {
            None => None,
            Some(Output::Table) => Some(Format::Table),
            Some(Output::Ndjson) => Some(Format::Ndjson),
            Some(Output::Json) => Some(Format::Json),
            Some(Output::Csv) => Some(Format::Csv),
            Some(Output::Parquet) if self.times.is_some() => {
                let why = "times in Parquet have a type of their own; leave --times out";
                return Err(Failure::Usage(why.to_owned()));
            }
            Some(Output::Parquet) => Some(parquet()?),
            Some(Output::Svg) if self.wide || self.times.is_some() => {
                let why = "--wide and --times are for rows, and svg is a chart";
                return Err(Failure::Usage(why.to_owned()));
            }
            Some(Output::Svg) => return svg(),
        }))
    }

    /// How rows are written. Local times are those of `zone`, or of this machine.
    pub(crate) fn style(&self, zone: Option<TimeZone>) -> Style {
        let zone = zone.unwrap_or_else(TimeZone::system);
        Style::new(self.times, zone, self.text, self.excel)
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }
}

fn language(name: &str) -> Result<Locale, String> {
    if name.is_empty() { Ok(Locale::of_environment()) } else { name.parse() }
}

#[cfg(not(feature = "parquet"))]
pub(crate) fn parquet() -> Result<Format, Failure> {
    Err(crate::not_built_in::failure("--output parquet", "parquet"))
}

/// The format of Parquet, which is not text.
#[cfg(feature = "parquet")]
pub(crate) fn parquet() -> Result<Format, Failure> {
    match io::stdout().is_terminal() {
        true => Err(Failure::Usage("Parquet is no text; send it to a file: > FILE".to_owned())),
        false => Ok(Format::Parquet),
    }
}

#[cfg(feature = "plot")]
fn terminal() -> Result<Destination, Failure> {
    Ok(Destination::Plot(Form::Terminal))
}

#[cfg(feature = "plot")]
fn svg() -> Result<Destination, Failure> {
    Ok(Destination::Plot(Form::Svg))
}

#[cfg(not(feature = "plot"))]
fn terminal() -> Result<Destination, Failure> {
    Err(crate::not_built_in::failure("--plot", "plot"))
}

#[cfg(not(feature = "plot"))]
fn svg() -> Result<Destination, Failure> {
    Err(crate::not_built_in::failure("--output svg", "plot"))
}
