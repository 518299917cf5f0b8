//! The results of a run, on stdout.

use std::borrow::Cow;
use std::io::{self, Write};

use annals_conformance::{CaseResult, Outcome};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Column, Format, Header, Line, Printer, counted};

/// Prints a line for each case; after a table, also each failure in full, each skip with its reason
/// and the totals.
pub(super) fn print(output: Format, results: &[CaseResult]) -> Result<(), Failure> {
    let columns = [
        Column::fixed("clause"),
        Column::name("case"),
        Column::fixed("result"),
        Column::number("time"),
    ];
    let header = Header::new(&["clause", "case", "result", "seconds", "message"], columns);
    let mut printer = Printer::new(Some(output), header).without_count();
    for result in results {
        printer.line(&CaseLine::new(result))?;
    }
    printer.finish()?;
    let failed = results.iter().filter(|result| matches!(result.outcome, Outcome::Failed(_)));
    let skipped = results.iter().filter(|result| matches!(result.outcome, Outcome::Skipped(_)));
    let (failed_count, skipped_count) = (failed.clone().count(), skipped.clone().count());
    let passed = results.len() - failed_count - skipped_count;
    // In the other forms every row has its message.
    if output == Format::Table {
        let mut out = io::stdout().lock();
        let print = || -> io::Result<()> {
            for CaseResult { name, outcome, .. } in failed {
                if let Outcome::Failed(message) = outcome {
                    writeln!(out, "\n{name}\n{message}")?;
                }
            }
            if skipped_count > 0 {
                writeln!(out)?;
            }
            for CaseResult { name, outcome, .. } in skipped {
                if let Outcome::Skipped(reason) = outcome {
                    writeln!(out, "{name} was skipped: {reason}")?;
                }
            }
            writeln!(out, "\n{passed} passed, {failed_count} failed, {skipped_count} skipped")?;
            out.flush()
        };
        print().map_err(Failure::Output)?;
    }
    match failed_count as u64 {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!("{} failed", counted(failed, "case")))),
    }
}

/// The result of a case.
#[derive(Debug, Serialize)]
struct CaseLine<'a> {
    clause: &'a str,
    case: &'a str,
    result: &'static str,
    seconds: f64,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> CaseLine<'a> {
    fn new(case: &'a CaseResult) -> Self {
        let (result, message) = match &case.outcome {
            Outcome::Passed => ("ok", None),
            Outcome::Failed(message) => ("FAILED", Some(message.as_str())),
            Outcome::Skipped(reason) => ("skipped", Some(reason.as_str())),
        };
        let seconds = case.duration.as_secs_f64();
        Self { clause: &case.clause_id, case: case.name, result, seconds, message }
    }
}

impl Line for CaseLine<'_> {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        let seconds = format!("{:.3}", self.seconds);
        let message = self.message.unwrap_or_default();
        vec![
            self.clause.into(),
            self.case.into(),
            self.result.into(),
            seconds.into(),
            message.into(),
        ]
    }

    fn cells(&self) -> Vec<String> {
        let time = format!("{:.2} s", self.seconds);
        // A case's name begins with its clause, which is in the column before.
        let clause = self.clause.to_ascii_lowercase().replace('-', "_");
        let rest = self.case.strip_prefix(&clause).and_then(|rest| rest.strip_prefix('_'));
        let case = rest.unwrap_or(self.case).to_owned();
        vec![self.clause.to_owned(), case, self.result.to_owned(), time]
    }
}
