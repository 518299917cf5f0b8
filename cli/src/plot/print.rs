//! Draws a chart in the form that was asked for.

use std::io::{self, Write};

use super::chart::Chart;
use super::output::Form;
use super::{svg, terminal};
use crate::failure::Failure;
use crate::output::{counted, terminal_width};
use crate::stderr::print_note;

impl Chart {
    /// Prints the chart to stdout.
    pub(crate) fn print(mut self, form: Form) -> Result<(), Failure> {
        for series in &mut self.series {
            // Rows come newest first. Equal times stay in their order.
            series.points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        let Some(ranges) = self.ranges() else {
            print_note("there is nothing to plot: no number was found");
            return Ok(());
        };
        let text = match form {
            Form::Terminal => terminal::draw(&self, ranges, terminal_width(), terminal::colors()),
            Form::Svg => svg::draw(&self, ranges)?,
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)?;
        if self.not_drawn > 0 {
            print_note(&format!("({} not drawn)", counted(self.not_drawn, "more line")));
        }
        Ok(())
    }
}
