//! Series of numbers as a chart: on the terminal, or as SVG.

#[cfg(feature = "plot")]
mod chart;
mod output;
#[cfg(feature = "plot")]
mod print;
#[cfg(feature = "plot")]
mod svg;
#[cfg(feature = "plot")]
mod terminal;

#[cfg(feature = "plot")]
pub(crate) use chart::Chart;
pub(crate) use output::{Destination, OutputArgs, parquet};
