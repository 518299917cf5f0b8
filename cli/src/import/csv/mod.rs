//! Reads CSV: finds the delimiter and the columns, and yields entries record by record.

mod record;
#[cfg(test)]
mod tests;
mod top;

use std::io::{self, BufRead};

use super::columns::{Columns, Layout};
use super::entry::Entry;
use super::lines::Lines;
use super::numbers::Numbers;
use super::unused::Unused;
use crate::output::counted;
use record::{Next, Splitter, is_quoted, next_record};
use top::{Top, is_data};

/// The result of a read.
pub(super) enum Read {
    End,
    /// A record, the number of its empty cells, whether its line has an end, and whether something may
    /// be missing at its end.
    Record {
        empty: u64,
        ended: bool,
        cut: bool,
    },
    Bad(String),
}

const MISPLACED: &str =
    "its quotes are not where they belong\na quote within quotes is written twice";

/// A record that has no row.
const NO_ROW: Read = Read::Record { empty: 0, ended: true, cut: false };

/// Reads records.
pub(super) struct Table<R> {
    lines: Lines<R>,
    layout: Layout,
    splitter: Splitter,
    columns: Option<Columns>,
    record: Vec<u8>,
    /// The line on which the last record read begins.
    first_line: u64,
    /// Whether `record` is read and not yet yielded.
    pending: bool,
    /// Whether the next record is the header of another table.
    at_header: bool,
    /// Whether the last record was a blank line: the next may be a header, too.
    after_blank: bool,
    /// How many remarks stand before the header.
    remarks: u64,
}

impl<R: BufRead> Table<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub(super) fn new(mut lines: Lines<R>, layout: Layout) -> io::Result<Self> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        for _ in 0..layout.skip_lines {
            if lines.next()?.is_none() {
                break;
            }
        }
        let Some(top) = Top::read(&mut lines, layout.delimiter)? else {
            let (splitter, record) = (Splitter::new(b','), Vec::new());
            return Ok(Self {
                lines,
                layout,
                splitter,
                columns: None,
                record,
                first_line: 0,
                pending: false,
                at_header: false,
                after_blank: false,
                remarks: 0,
            });
        };
        let mut splitter = Splitter::new(top.delimiter);
        let header =
            splitter.split(&top.header).map_err(|why| invalid(format!("the header: {why}")))?;
        let columns = match Columns::new(&header, &layout) {
            Ok(columns) => columns,
            Err(why) => {
                let (cells, is_row) = (header.len(), header.iter().any(|cell| is_data(cell)));
                match top.with_another_delimiter(&layout) {
                    Some((columns, other)) => {
                        splitter = other;
                        columns
                    }
                    None => return Err(invalid(top.why(&mut lines, cells, is_row, why))),
                }
            }
        };
        Ok(Self {
            lines,
            layout,
            splitter,
            columns: Some(columns),
            pending: top.first.is_some(),
            record: top.first.unwrap_or_default(),
            first_line: top.line + 1,
            at_header: false,
            after_blank: false,
            remarks: top.remarks,
        })
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
        let before = self.layout.skip_lines + self.remarks;
        let skipped = match before {
            0 => String::new(),
            before => format!(", {} before the header skipped", counted(before, "line")),
        };
        format!(", delimiter {delimiter}{skipped}{rows}")
    }

    /// What rows take from the header.
    pub(super) fn fingerprint(&self) -> String {
        self.columns.as_ref().map_or(String::new(), Columns::fingerprint)
    }

    /// Whether a number with a comma is probably one with a decimal comma: comma and semicolon go
    /// together in spreadsheets of most of Europe.
    pub(super) fn has_decimal_commas(&self) -> bool {
        let style = &self.layout.style;
        matches!(self.splitter.delimiter, b';' | b'\t')
            && style.text
            && !style.decimal_comma
            && !self.layout.as_text
    }

    /// Shows the cells of the last record to `unused` that are no part of a row.
    pub(super) fn look_for_times(&mut self, unused: &mut Unused) {
        let Some(columns) = &self.columns else { return };
        if columns.may_be_times().is_empty() {
            return;
        }
        if let Ok(cells) = self.splitter.split(&self.record) {
            for (column, name) in columns.may_be_times() {
                cells.get(*column).into_iter().for_each(|cell| unused.see(name, cell));
            }
        }
    }

    /// Reads the next record and passes its entries to `each`.
    pub(super) fn next(
        &mut self,
        numbers: &mut Numbers,
        each: &mut dyn FnMut(Entry<'_>),
    ) -> io::Result<Read> {
        if !std::mem::take(&mut self.pending) {
            self.first_line = self.lines.number() + 1;
            match next_record(&mut self.lines, &mut self.record, &[self.splitter.delimiter])? {
                Next::End => return Ok(Read::End),
                Next::TooLong => {
                    return Ok(Read::Bad("it is longer than any row can be".to_owned()));
                }
                Next::Open => return Ok(Read::Bad("its quotes do not end".to_owned())),
                Next::Misplaced => return Ok(Read::Bad(MISPLACED.to_owned())),
                Next::Whole => {}
            }
        }
        let Some(columns) = &mut self.columns else { return Ok(Read::End) };
        if is_annotation(&self.record) {
            self.at_header = true;
            return Ok(NO_ROW);
        }
        let delimiter = self.splitter.delimiter;
        let mut cells = match self.splitter.split(&self.record) {
            Ok(cells) if cells.is_empty() => {
                self.after_blank = true;
                return Ok(NO_ROW);
            }
            Ok(cells) => cells,
            Err(why) => return Ok(Read::Bad(why)),
        };
        let after_blank = std::mem::take(&mut self.after_blank);
        let again = after_blank || columns.is_header_again(&cells);
        if again && let Ok(found) = Columns::new(&cells, &self.layout) {
            *columns = found;
            self.at_header = false;
            return Ok(NO_ROW);
        }
        if std::mem::take(&mut self.at_header) || columns.is_header_again(&cells) {
            return Ok(match Columns::new(&cells, &self.layout) {
                Ok(found) => {
                    *columns = found;
                    NO_ROW
                }
                Err(why) => {
                    // The rows below it have other columns than those before.
                    self.at_header = true;
                    Read::Bad(why)
                }
            });
        }
        let ended = self.lines.ended();
        // Nothing is missing behind a quote.
        let closed = self.record.trim_ascii_end().ends_with(b"\"");
        let cut = !ended && !closed && cells.last().is_some_and(|cell| may_be_cut(cell));
        // Some programs end a line with a delimiter.
        while cells.len() > columns.count() && cells.last().is_some_and(|cell| cell.is_empty()) {
            cells.pop();
        }
        if cells.len() != columns.count() {
            let hint = match cells.len() < columns.count() {
                true => "\na line of totals, or a remark, is no row: leave it out",
                false => "",
            };
            return Ok(Read::Bad(format!(
                "it has {} and the header {}{hint}",
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
        Ok(match columns.entries(&cells, &self.layout, numbers, each) {
            Ok(empty) => Read::Record { empty, ended, cut },
            Err(why) => Read::Bad(why),
        })
    }
}

/// Whether something may be missing at the end of a cell: it is empty, ends in a digit, or in the
/// middle of a number or a time.
fn may_be_cut(cell: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    cell.is_empty()
        || cell.ends_with(digit)
        || (cell.starts_with(|c| digit(c) || matches!(c, '-' | '+' | '.'))
            && cell.ends_with(['.', ',', ':', '-', '+', 'e', 'E', 'T']))
}

/// Whether a record is an annotation in CSV of InfluxDB: the next header comes after them.
fn is_annotation(record: &[u8]) -> bool {
    [&b"#group"[..], b"#datatype", b"#default", b"#constant"].iter().any(|name| {
        record.strip_prefix(*name).is_some_and(|rest| rest.first().is_none_or(|b| *b == b','))
    })
}
