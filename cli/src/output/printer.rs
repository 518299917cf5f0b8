//! Rows to stdout.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use console::Term;

use super::line::{Header, Line};
use super::table::Table;
use super::{Format, counted};
use crate::failure::Failure;
use crate::say::say;

/// The width of a table that goes to no terminal.
const WIDTH_ELSEWHERE: usize = 80;

/// Prints rows to stdout as they come, in one of the four forms.
pub(crate) struct Printer {
    form: Form,
    header: Header,
    lines: u64,
    says_count: bool,
}

enum Form {
    Table(BufWriter<StdoutLock<'static>>, Table),
    Ndjson(BufWriter<StdoutLock<'static>>),
    Json(BufWriter<StdoutLock<'static>>),
    Csv(Box<csv::Writer<StdoutLock<'static>>>),
}

impl Printer {
    /// Without a wish it is a table on a terminal and ndjson elsewhere.
    pub(crate) fn new(format: Option<Format>, header: Header) -> Self {
        let out = io::stdout().lock();
        let on_terminal = out.is_terminal();
        let default = if on_terminal { Format::Table } else { Format::Ndjson };
        let form = match format.unwrap_or(default) {
            Format::Table => {
                Form::Table(BufWriter::new(out), Table::new(header.columns.clone(), width()))
            }
            Format::Ndjson => Form::Ndjson(BufWriter::new(out)),
            Format::Json => Form::Json(BufWriter::new(out)),
            Format::Csv => Form::Csv(Box::new(csv::Writer::from_writer(out))),
        };
        Self { form, header, lines: 0, says_count: on_terminal }
    }

    /// Does not say how many rows a table on a terminal had.
    pub(crate) fn without_count(mut self) -> Self {
        self.says_count = false;
        self
    }

    pub(crate) fn line(&mut self, line: &impl Line) -> Result<(), Failure> {
        self.write(line).map_err(Failure::Output)
    }

    fn write(&mut self, line: &impl Line) -> io::Result<()> {
        let first = self.lines == 0;
        self.lines += 1;
        match &mut self.form {
            Form::Table(out, table) => table.row(out, line.cells()),
            Form::Ndjson(out) => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            }
            Form::Json(out) => {
                out.write_all(if first { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(out, line).map_err(io::Error::from)
            }
            Form::Csv(out) => {
                if first {
                    write_header(out, &self.header)?;
                }
                let fields = line.fields();
                out.write_record(fields.iter().map(|field| field.as_bytes())).map_err(into_io)
            }
        }
    }

    /// Ends the output and sends what is still buffered.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.end().map_err(Failure::Output)?;
        if self.says_count && matches!(self.form, Form::Table(..)) {
            say(&format!("({})", counted(self.lines, "row")));
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Table(out, table) => {
                table.finish(out)?;
                out.flush()
            }
            Form::Ndjson(out) => out.flush(),
            Form::Json(out) => {
                out.write_all(if self.lines == 0 { b"[]\n" } else { b"\n]\n" })?;
                out.flush()
            }
            Form::Csv(out) => {
                if self.lines == 0 {
                    write_header(out, &self.header)?;
                }
                out.flush()
            }
        }
    }
}

fn write_header(out: &mut csv::Writer<StdoutLock<'static>>, header: &Header) -> io::Result<()> {
    out.write_record(header.members.iter().map(|name| name.as_bytes())).map_err(into_io)
}

/// The error below, with its kind; what `csv` itself makes of it has lost that.
fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

/// The terminal's width; elsewhere what `COLUMNS` says, or 80.
fn width() -> usize {
    let terminal = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(columns).filter(|width| *width > 0).unwrap_or(WIDTH_ELSEWHERE)
}
