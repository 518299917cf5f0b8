//! What an import says: bad lines, how to go on after a stop, and the summary.
//!
//! Following the advice stores each row once. Where batches are known by their content, that is
//! `--resume`; elsewhere `--start-at` names the first line that is not stored.

use std::io::{self, Write};

use annals::{Outcome, PersistenceError};

use super::read::BadLine;
use super::sink::Refusal;
use super::{Import, Target};
use crate::failure::Failure;
use crate::output::counted;
use crate::stderr::{print_error, print_lines, print_note};

/// The number of lines that are reported one by one.
const LINES_SAID: u64 = 10;

/// Rows on their way to the store, of which nobody knows yet whether they arrive.
pub(super) struct Unsure {
    /// The number of rows stored before them.
    pub(super) stored: u64,
    pub(super) rows: usize,
    /// Their lines. Without the first, a part of a line is stored.
    pub(super) first_line: Option<u64>,
    pub(super) last_line: u64,
    /// Whether `--resume` finds out.
    pub(super) resumable: bool,
}

impl Unsure {
    /// What is stored for certain, and how to go on.
    pub(super) fn describe(&self, what: &str) -> String {
        let (stored, rows) = (counted(self.stored, "row"), self.rows);
        let go_on = match (self.resumable, self.first_line) {
            (true, _) => "run the same command with --resume to go on".to_owned(),
            (false, Some(first)) => format!(
                "look with annals query whether they are stored, then run the same command on the \
                 same input with --start-at {} if they are, or --start-at {first} if not",
                self.last_line + 1
            ),
            (false, None) => "look with annals query which of them are stored".to_owned(),
        };
        format!("{what}\n{stored} stored for certain, the next {rows} perhaps\n{go_on}")
    }
}

impl Import {
    /// How to go on after a stop.
    fn go_on(&self) -> Option<String> {
        match &self.target {
            Target::Store(_) if self.atomic => None,
            Target::Store(sink) if sink.is_resumable() => Some("--resume".to_owned()),
            Target::Store(sink) if sink.stored == 0 => None,
            Target::Store(sink) => sink.next_line.map(|line| format!("--start-at {line}")),
            Target::Nothing | Target::Whole(..) | Target::Dry(_) => None,
        }
    }

    /// The command that goes on after a stop.
    fn same_command(&self) -> String {
        match self.go_on() {
            Some(option) if option.starts_with("--start-at") => {
                format!("run the same command on the same input with {option}")
            }
            Some(option) => format!("run the same command with {option}"),
            None => "run the same command again".to_owned(),
        }
    }

    /// Where a line is, as file:line.
    fn place(&self, line: u64) -> String {
        match self.unit {
            "line" => format!("{}:{line}", self.file),
            unit => format!("{}: {unit} {line}", self.file),
        }
    }

    /// A line stopped the import.
    pub(super) fn refused(&self, BadLine { line, why }: &BadLine) -> Failure {
        let (unit, place, so_far) = (self.unit, self.place(*line), self.so_far());
        if self.atomic {
            return Failure::Explained(format!("{place}: {why}\n{so_far}"));
        }
        let option = self.go_on().map_or(String::new(), |option| format!("{option} "));
        // With the first line, the options may be what is wrong.
        let what = if self.rows() == 0 { ", or the options," } else { "" };
        Failure::Explained(format!(
            "{place}: {why}\n{so_far}\ncorrect the {unit}{what} and {},\nor skip such {unit}s with \
             {option}--skip-invalid",
            self.same_command()
        ))
    }

    /// The rest of the input cannot be read.
    pub(super) fn broken(&self, error: &str) -> Failure {
        let go_on = match self.go_on() {
            Some(_) if self.rows() > 0 => format!("\nmend it and {}", self.same_command()),
            _ => String::new(),
        };
        Failure::Explained(format!(
            "{} cannot be read: {error}\n{}{go_on}",
            self.file,
            self.so_far()
        ))
    }

    /// The options do not fit the rows.
    pub(super) fn doubted(&self, why: &str) -> Failure {
        Failure::Explained(format!("{}: {why}\n{}", self.file, self.so_far()))
    }

    /// Rows of the file are stored already.
    pub(super) fn known(&self, refusal: &Refusal) -> Failure {
        let (file, so_far) = (&self.file, self.so_far());
        let own = "put lines that are new or corrected into a file of their own";
        let again = "--again stores all rows a second time";
        Failure::Explained(match refusal {
            Refusal::Known => format!(
                "{file} begins like a file that was imported before\n--resume stores what follows \
                 the rows that are known; {again}\n{own}\n{so_far}"
            ),
            Refusal::Changed { last_line } => {
                let what = match last_line {
                    Some(line) => format!("{} and the lines before it", self.place(*line)),
                    None => format!("the {}s of {file}", self.unit),
                };
                format!(
                    "{what} are not as they were when they were imported\nlines that were stored \
                     or skipped then have changed, or are gone\n{own}; {again}\nnothing is stored"
                )
            }
            Refusal::There { line } => format!(
                "{} is stored already, but the file is not known\nits beginning has changed, or \
                 its rows came from another file\n{own}; without --resume all rows are \
                 stored\n{so_far}",
                self.place(*line)
            ),
            Refusal::Line(bad) => return self.refused(bad),
            Refusal::Store(error) => error.to_string(),
        })
    }

    /// The store failed.
    pub(super) fn failed(&self, error: &PersistenceError, unsure: &Unsure) -> Failure {
        Failure::Explained(match error.outcome() {
            Outcome::NotApplied => format!(
                "{error}\n{} stored before it failed; {} to go on",
                counted(self.rows(), "row"),
                self.same_command()
            ),
            _ => unsure.describe(&error.to_string()),
        })
    }

    /// Ctrl-C.
    pub(super) fn stopped(&self) -> Failure {
        let stored = match &self.target {
            Target::Store(_) => self.rows(),
            _ => 0,
        };
        let go_on = match self.go_on() {
            Some(_) => format!("; {} to go on", self.same_command()),
            None => String::new(),
        };
        Failure::Interrupted(format!("stopped; {} stored{go_on}", counted(stored, "row")))
    }

    /// A line is skipped, or a dry run found that it cannot be stored.
    pub(super) fn leave_out(&mut self, BadLine { line, why }: &BadLine) {
        self.left_out += 1;
        let unit = self.unit;
        let (fate, further) = match self.skip_invalid {
            true => (" is skipped", "skipped"),
            false => ("", "such"),
        };
        if self.left_out <= LINES_SAID {
            print_lines(&format!("annals: {}{fate}: {why}", self.place(*line)));
        }
        if self.left_out == LINES_SAID + 1 {
            print_error(&format!("further {further} {unit}s are counted, not listed"));
        }
    }

    /// The number of rows stored, or seen by a dry run.
    pub(super) fn rows(&self) -> u64 {
        match &self.target {
            Target::Nothing => 0,
            Target::Store(sink) => sink.stored + sink.there,
            Target::Whole(_, whole) => whole.rows as u64,
            Target::Dry(dry) => dry.rows,
        }
    }

    fn so_far(&self) -> String {
        match (&self.target, self.rows()) {
            (Target::Dry(_) | Target::Whole(..) | Target::Nothing, _) | (_, 0) => {
                "nothing is stored".to_owned()
            }
            (_, 1) => "the 1 row before it is stored".to_owned(),
            (_, rows) => format!("the {rows} rows before it are stored"),
        }
    }

    /// Notes on the input, and what to do about rows that are stored by now.
    pub(super) fn print_remarks(&self) {
        self.remarks.iter().for_each(|remark| print_lines(remark));
        if !self.remarks.is_empty()
            && matches!(&self.target, Target::Store(sink) if sink.stored > 0)
        {
            print_note(
                "note: if that is wrong, erase these rows before you import them with --again",
            );
        }
    }

    /// The last words of an import that got to the end of its input.
    pub(super) fn sum_up(&self) -> Result<(), Failure> {
        self.print_remarks();
        if self.left_out > 0
            && matches!(&self.target, Target::Store(sink) if sink.is_resumable() && self.rows() > 0)
        {
            print_note(&format!(
                "note: {}s that were skipped and are corrected go into a file of their own",
                self.unit
            ));
        }
        let mut parts = Vec::new();
        match &self.target {
            Target::Store(sink) => {
                parts.push(format!("{} stored", counted(sink.stored, "row")));
                if sink.there > 0 {
                    parts.push(format!("{} already there", sink.there));
                }
            }
            Target::Dry(dry) => parts.push(dry.describe()),
            Target::Nothing | Target::Whole(..) => {}
        }
        let bad = counted(self.left_out, self.unit);
        if self.left_out > 0 && self.skip_invalid {
            parts.push(format!("{bad} skipped"));
        }
        if self.empty > 0 {
            parts.push(format!("{} skipped", counted(self.empty, "empty cell")));
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{}", parts.join(", "))
            .and_then(|()| out.flush())
            .map_err(Failure::Output)?;
        match (self.rows(), self.left_out) {
            (_, 1..) if !self.skip_invalid => Err(Failure::Explained(format!(
                "{bad} cannot be stored\nan import would stop at the first, or skip them with \
                 --skip-invalid"
            ))),
            (0, 1..) if matches!(self.target, Target::Dry(_)) => {
                Err(Failure::Failed(format!("no {} can be stored", self.unit)))
            }
            (0, 1..) => Err(Failure::Failed(format!("no {} was stored", self.unit))),
            _ => Ok(()),
        }
    }
}
