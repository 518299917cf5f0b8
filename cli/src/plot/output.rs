//! The options for the output of commands that can plot.

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::output::Format;

/// `--output` and `--plot`.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// The format of the output [default: table on a terminal, ndjson otherwise]
    ///
    /// A table is cut to the width of the terminal and escapes control and invisible characters.
    /// The other formats are complete and exact. A csv cell that a spreadsheet would read as a
    /// formula is not changed.
    #[arg(long, value_enum, value_name = "FORMAT")]
    output: Option<Output>,

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
        Ok(Destination::Rows(match self.output {
            None => None,
            Some(Output::Table) => Some(Format::Table),
            Some(Output::Ndjson) => Some(Format::Ndjson),
            Some(Output::Json) => Some(Format::Json),
            Some(Output::Csv) => Some(Format::Csv),
            Some(Output::Svg) => return svg(),
        }))
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
