//! Reads CSV: finds the delimiter and the columns, and yields entries record by record.

mod record;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead};

use super::columns::{Columns, Layout};
use super::entry::Entry;
use super::lines::Lines;
use crate::output::counted;
use record::{DELIMITERS, Next, Splitter, guess_delimiter, is_quoted, next_record};

/// The result of a read.
pub(super) enum Read {
    End,
    /// A record, the number of its empty cells, and whether it may be cut off.
    Record {
        empty: u64,
        torn: bool,
    },
    Bad(String),
}

/// Reads records.
pub(super) struct Table<R> {
    lines: Lines<R>,
    layout: Layout,
    splitter: Splitter,
    columns: Option<Columns>,
    record: Vec<u8>,
    /// The line on which the last record read begins.
    first_line: u64,
    /// Whether the next record is the header of another table.
    at_header: bool,
}

impl<R: BufRead> Table<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub(super) fn new(mut lines: Lines<R>, layout: Layout) -> io::Result<Self> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let mut record = Vec::new();
        let mut delimiter = layout.delimiter;
        loop {
            match next_record(&mut lines, &mut record)? {
                Next::End => {
                    let splitter = Splitter::new(b',');
                    let (columns, at_header, first_line) = (None, false, 0);
                    return Ok(Self {
                        lines,
                        layout,
                        splitter,
                        columns,
                        record,
                        first_line,
                        at_header,
                    });
                }
                Next::Whole => {}
                Next::TooLong | Next::Open => {
                    return Err(invalid("the header: its quotes do not end".to_owned()));
                }
            }
            let line = record.trim_ascii();
            if line.is_empty() {
                continue;
            }
            match line {
                // A line for spreadsheets, in front of the header.
                [b's', b'e', b'p', b'=', separator] => {
                    delimiter = delimiter.or(Some(*separator));
                }
                // A remark of the program that wrote the file.
                [b'#', ..] if !line.iter().any(|byte| DELIMITERS.contains(byte)) => {}
                line if is_annotation(line) => {}
                _ => break,
            }
        }
        let delimiter = delimiter.unwrap_or_else(|| guess_delimiter(&record));
        let mut splitter = Splitter::new(delimiter);
        let header =
            splitter.split(&record).map_err(|why| invalid(format!("the header: {why}")))?;
        let columns = Columns::new(&header, &layout).map_err(invalid)?;
        let (columns, at_header, first_line) = (Some(columns), false, 0);
        Ok(Self { lines, layout, splitter, columns, record, first_line, at_header })
    }

    pub(super) fn lines(&self) -> &Lines<R> {
        &self.lines
    }

    /// The line on which the last record read begins: where a quote was opened.
    pub(super) fn first_line(&self) -> u64 {
        self.first_line
    }

    /// The bytes of the last record read.
    pub(super) fn raw(&self) -> &[u8] {
        &self.record
    }

    /// The delimiter and the shape, for messages.
    pub(super) fn describe(&self) -> String {
        let delimiter = match self.splitter.delimiter {
            b'\t' => "tabs".to_owned(),
            other => format!("\"{}\"", char::from(other)),
        };
        let rows = self.columns.as_ref().map_or(String::new(), Columns::describe);
        format!(", delimiter {delimiter}{rows}")
    }

    /// Reads the next record and passes its entries to `each`.
    pub(super) fn next(&mut self, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<Read> {
        self.first_line = self.lines.number() + 1;
        match next_record(&mut self.lines, &mut self.record)? {
            Next::End => return Ok(Read::End),
            Next::TooLong => return Ok(Read::Bad("it is longer than any row can be".to_owned())),
            Next::Open => return Ok(Read::Bad("its quotes do not end".to_owned())),
            Next::Whole => {}
        }
        let Some(columns) = &mut self.columns else { return Ok(Read::End) };
        if is_annotation(&self.record) {
            self.at_header = true;
            return Ok(Read::Record { empty: 0, torn: false });
        }
        let delimiter = self.splitter.delimiter;
        let mut cells = match self.splitter.split(&self.record) {
            Ok(cells) if cells.is_empty() => return Ok(Read::Record { empty: 0, torn: false }),
            Ok(cells) => cells,
            Err(why) => return Ok(Read::Bad(why)),
        };
        if std::mem::take(&mut self.at_header) {
            return Ok(match Columns::new(&cells, &self.layout) {
                Ok(found) => {
                    *columns = found;
                    Read::Record { empty: 0, torn: false }
                }
                Err(why) => Read::Bad(why),
            });
        }
        let torn = !self.lines.ended() && cells.last().is_some_and(|cell| may_be_cut(cell));
        // Some programs end a line with a delimiter.
        while cells.len() > columns.count() && cells.last().is_some_and(|cell| cell.is_empty()) {
            cells.pop();
        }
        if cells.len() != columns.count() {
            return Ok(Read::Bad(format!(
                "it has {} and the header {}",
                counted(cells.len() as u64, "cell"),
                columns.count()
            )));
        }
        // Blanks fill a column up to its width. A name in quotes keeps them, and annals' own names are
        // exact.
        if !self.layout.is_own() {
            for column in columns.names() {
                if !is_quoted(&self.record, delimiter, *column) {
                    cells[*column] = cells[*column].trim();
                }
            }
        }
        Ok(match columns.entries(&cells, &self.layout, each) {
            Ok(empty) => Read::Record { empty, torn },
            Err(why) => Read::Bad(why),
        })
    }
}

/// Whether something may be missing at the end of a cell: it ends in a digit, or in the middle of
/// a number or a time.
fn may_be_cut(cell: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    cell.ends_with(digit)
        || (cell.starts_with(|c| digit(c) || matches!(c, '-' | '+' | '.'))
            && cell.ends_with(['.', ',', ':', '-', '+', 'e', 'E', 'T']))
}

/// Whether a record is an annotation in CSV of InfluxDB: the next header comes after them.
fn is_annotation(record: &[u8]) -> bool {
    [&b"#group"[..], b"#datatype", b"#default", b"#constant"].iter().any(|name| {
        record.strip_prefix(*name).is_some_and(|rest| rest.first().is_none_or(|b| *b == b','))
    })
}
