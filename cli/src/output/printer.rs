//! Prints rows to stdout.

use std::borrow::Cow;
#[cfg(feature = "parquet")]
use std::io::Stdout;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use console::Term;

use super::cell::{for_spreadsheet, for_terminal};
use super::line::{Header, Line};
#[cfg(feature = "parquet")]
use super::parquet::ParquetRows;
use super::style::Style;
use super::table::Table;
use super::{Format, Locale, counted};
use crate::failure::Failure;
use crate::screen::shown_value;
use crate::stderr::print_note;

/// The width of a table that does not go to a terminal.
const WIDTH_ELSEWHERE: usize = 80;

/// Prints rows to stdout one by one, in one of the formats.
pub(crate) struct Printer {
    writer: Writer,
    header: Header,
    cells: Cells,
    lines: u64,
    prints_count: bool,
}

/// For whom cells of CSV and JSON are: a program gets them as they are.
struct Cells {
    on_terminal: bool,
    spreadsheet: Option<Locale>,
}

impl Cells {
    fn cell<'a>(&self, field: &'a str) -> Cow<'a, str> {
        let cell = match self.spreadsheet {
            Some(locale) => for_spreadsheet(field, locale),
            None => Cow::Borrowed(field),
        };
        if self.on_terminal { Cow::Owned(for_terminal(&cell)) } else { cell }
    }

    fn write_json(&self, out: &mut impl Write, line: &impl Line) -> io::Result<()> {
        if !self.on_terminal {
            return serde_json::to_writer(out, line).map_err(io::Error::from);
        }
        out.write_all(shown_value(&serde_json::to_string(line)?).as_bytes())
    }
}

enum Writer {
    Table(BufWriter<StdoutLock<'static>>, Table),
    Ndjson(BufWriter<StdoutLock<'static>>),
    Json(BufWriter<StdoutLock<'static>>),
    Csv(Box<csv::Writer<StdoutLock<'static>>>),
    /// It begins with the first row, so that it can fail where rows can.
    #[cfg(feature = "parquet")]
    Parquet(Option<Box<ParquetRows<Stdout>>>),
}

impl Printer {
    /// The default format is a table on a terminal and ndjson elsewhere.
    pub(crate) fn new(format: Option<Format>, header: Header) -> Self {
        Self::styled(format, header, &Style::default())
    }

    /// The same in a style.
    pub(crate) fn styled(format: Option<Format>, header: Header, style: &Style) -> Self {
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
            Format::Csv => Writer::Csv(Box::new(csv_writer(out, style.spreadsheet))),
            #[cfg(feature = "parquet")]
            Format::Parquet => Writer::Parquet(None),
        };
        let cells = Cells { on_terminal, spreadsheet: style.spreadsheet };
        Self { writer, header, cells, lines: 0, prints_count: on_terminal }
    }

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
                self.cells.write_json(out, line)?;
                out.write_all(b"\n")
            }
            Writer::Json(out) => {
                out.write_all(if first { b"[\n" } else { b",\n" })?;
                self.cells.write_json(out, line)
            }
            Writer::Csv(out) => {
                if first {
                    write_header(out, &self.header, &self.cells)?;
                }
                write_fields(out, &line.fields(), &self.cells)
            }
            #[cfg(feature = "parquet")]
            Writer::Parquet(rows) => begin(rows, &self.header)?.row(line.present()),
        }
    }

    /// Hands over the rows so far. Formats that are complete at their end only keep them.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.writer {
            Writer::Ndjson(out) => out.flush(),
            Writer::Csv(out) => out.flush(),
            _ => Ok(()),
        }
        .map_err(Failure::Output)
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
                    write_header(out, &self.header, &self.cells)?;
                }
                out.flush()
            }
            #[cfg(feature = "parquet")]
            Writer::Parquet(rows) => begin(rows, &self.header)?.finish(),
        }
    }
}

type CsvWriter = csv::Writer<StdoutLock<'static>>;

/// For a spreadsheet with a byte order mark, without which it would not read UTF-8.
fn csv_writer(mut out: StdoutLock<'static>, spreadsheet: Option<Locale>) -> CsvWriter {
    let mut builder = csv::WriterBuilder::new();
    if let Some(locale) = spreadsheet {
        builder.delimiter(locale.separator()).terminator(csv::Terminator::CRLF);
        // An error comes again with the first row.
        drop(out.write_all("\u{feff}".as_bytes()));
    }
    builder.from_writer(out)
}

fn write_header(out: &mut CsvWriter, header: &Header, cells: &Cells) -> io::Result<()> {
    write_fields(out, &header.members, cells)
}

fn write_fields(out: &mut CsvWriter, fields: &[Cow<'_, str>], cells: &Cells) -> io::Result<()> {
    for field in fields {
        out.write_field(cells.cell(field).as_bytes()).map_err(into_io)?;
    }
    out.write_record(None::<&[u8]>).map_err(into_io)
}

#[cfg(feature = "parquet")]
fn begin<'a>(
    rows: &'a mut Option<Box<ParquetRows<Stdout>>>,
    header: &Header,
) -> io::Result<&'a mut ParquetRows<Stdout>> {
    match rows {
        Some(rows) => Ok(rows),
        None => Ok(rows.insert(Box::new(ParquetRows::new(io::stdout(), header)?))),
    }
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
