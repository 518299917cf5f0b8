//! Prints rows to stdout.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use console::Term;

use super::line::{Header, Line};
use super::table::Table;
use super::{Format, counted};
use crate::failure::Failure;
use crate::stderr::print_note;

/// The width of a table that does not go to a terminal.
const WIDTH_ELSEWHERE: usize = 80;

/// Prints rows to stdout one by one, in one of the four formats.
pub(crate) struct Printer {
    writer: Writer,
    header: Header,
    lines: u64,
    prints_count: bool,
}

enum Writer {
    Table(BufWriter<StdoutLock<'static>>, Table),
    Ndjson(BufWriter<StdoutLock<'static>>),
    Json(BufWriter<StdoutLock<'static>>),
    Csv(Box<csv::Writer<StdoutLock<'static>>>),
}

impl Printer {
    /// The default format is a table on a terminal and ndjson elsewhere.
    pub(crate) fn new(format: Option<Format>, header: Header) -> Self {
        let out = io::stdout().lock();
        let on_terminal = out.is_terminal();
        let default = if on_terminal { Format::Table } else { Format::Ndjson };
        let writer = match format.unwrap_or(default) {
            Format::Table => Writer::Table(
                BufWriter::new(out),
                Table::new(header.columns.clone(), terminal_width()),
            ),
            Format::Ndjson => Writer::Ndjson(BufWriter::new(out)),
            Format::Json => Writer::Json(BufWriter::new(out)),
            Format::Csv => Writer::Csv(Box::new(csv::Writer::from_writer(out))),
        };
        Self { writer, header, lines: 0, prints_count: on_terminal }
    }

    #[cfg(feature = "conformance")]
    /// Does not print the number of rows after a table on a terminal.
    pub(crate) fn without_count(mut self) -> Self {
        self.prints_count = false;
        self
    }

    pub(crate) fn line(&mut self, line: &impl Line) -> Result<(), Failure> {
        self.write(line).map_err(Failure::Output)
    }

    fn write(&mut self, line: &impl Line) -> io::Result<()> {
        let first = self.lines == 0;
        self.lines += 1;
        match &mut self.writer {
            Writer::Table(out, table) => table.row(out, line.cells()),
            Writer::Ndjson(out) => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            }
            Writer::Json(out) => {
                out.write_all(if first { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(out, line).map_err(io::Error::from)
            }
            Writer::Csv(out) => {
                if first {
                    write_header(out, &self.header)?;
                }
                let fields = line.fields();
                out.write_record(fields.iter().map(|field| field.as_bytes())).map_err(into_io)
            }
        }
    }

    /// Ends and flushes the output.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.end().map_err(Failure::Output)?;
        if self.prints_count && matches!(self.writer, Writer::Table(..)) {
            print_note(&format!("({})", counted(self.lines, "row")));
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Table(out, table) => {
                table.finish(out)?;
                out.flush()
            }
            Writer::Ndjson(out) => out.flush(),
            Writer::Json(out) => {
                out.write_all(if self.lines == 0 { b"[]\n" } else { b"\n]\n" })?;
                out.flush()
            }
            Writer::Csv(out) => {
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

/// The I/O error inside, with its kind, which the conversion in `csv` loses.
fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}

/// The width of the terminal; without one `COLUMNS`, or 80.
pub(crate) fn terminal_width() -> usize {
    let terminal = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(columns).filter(|width| *width > 0).unwrap_or(WIDTH_ELSEWHERE)
}
