//! The table: ratios first.

use clap::ValueEnum;
use serde_json::json;

use crate::Failure;

/// How the table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Markdown,
    Json,
}

/// Repeated measurements of one thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// From the smallest to the greatest.
    fn spread(&self) -> (f64, f64) {
        let smallest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (smallest, greatest)
    }
}

/// A small share as a fraction: digits after the point would not tell a hundredth from a thousandth.
fn shown(times: f64) -> String {
    if times < 0.1 { format!("1/{:.0}", 1.0 / times) } else { format!("{times:.2}") }
}

struct Line {
    what: String,
    ratio: Option<(f64, String)>,
    samples: Samples,
    unit: &'static str,
}

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report(Vec<Line>);

impl Report {
    /// Adds a measurement by itself.
    pub(crate) fn add(&mut self, what: impl Into<String>, samples: Samples, unit: &'static str) {
        self.push(Line { what: what.into(), ratio: None, samples, unit });
    }

    /// Adds a measurement and what it is a multiple of.
    pub(crate) fn compare(
        &mut self,
        what: impl Into<String>,
        samples: Samples,
        unit: &'static str,
        with: &str,
        base: &Samples,
    ) {
        let ratio = Some((samples.median() / base.median(), with.to_owned()));
        self.push(Line { what: what.into(), ratio, samples, unit });
    }

    fn push(&mut self, line: Line) {
        eprintln!("{}: {:.1} {}", line.what, line.samples.median(), line.unit);
        self.0.push(line);
    }

    #[expect(clippy::print_stdout, reason = "the program's output")]
    pub(crate) fn print(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Markdown => {
                println!("| what | ratio | median | spread | unit |");
                println!("|---|---|---|---|---|");
                for Line { what, ratio, samples, unit } in &self.0 {
                    let ratio = ratio.as_ref().map_or(String::new(), |(times, with)| {
                        format!("{} x {with}", shown(*times))
                    });
                    let (from, to) = samples.spread();
                    let median = samples.median();
                    println!("| {what} | {ratio} | {median:.1} | {from:.1} to {to:.1} | {unit} |");
                }
            }
            Output::Json => {
                for Line { what, ratio, samples, unit } in &self.0 {
                    let line = json!({
                        "what": what,
                        "ratio": ratio.as_ref().map(|(times, _)| times),
                        "compared_with": ratio.as_ref().map(|(_, with)| with),
                        "median": samples.median(),
                        "samples": samples.0,
                        "unit": unit,
                    });
                    println!("{line}");
                }
            }
        }
        Ok(())
    }
}
