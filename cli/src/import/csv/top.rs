//! What stands at the top of a table: remarks, `sep=`, and the header.

use std::io::{self, BufRead};

use super::is_annotation;
use super::record::{DELIMITERS, Next, Splitter, guess_delimiter, next_record};
use crate::import::columns::{Columns, Layout};
use crate::import::lines::Lines;
use crate::import::time::looks_like_a_time;
use crate::output::counted;

/// The header, and what was read to find it.
pub(super) struct Top {
    pub(super) header: Vec<u8>,
    /// The first row, if it had to be read.
    pub(super) first: Option<Vec<u8>>,
    pub(super) delimiter: u8,
    /// The line of the header.
    pub(super) line: u64,
    /// How many remarks stand before it.
    pub(super) remarks: u64,
    /// Whether an option names the delimiter.
    fixed: bool,
}

/// The number of records that are read to find where a table begins.
const RECORDS: usize = 100;

impl Top {
    /// Reads up to the header; `None` if there is nothing.
    pub(super) fn read<R: BufRead>(
        lines: &mut Lines<R>,
        named: Option<u8>,
    ) -> io::Result<Option<Self>> {
        let mut record = Vec::new();
        let mut delimiter = named;
        // The last line that begins with #.
        let mut remark: Option<(u64, Vec<u8>)> = None;
        let mut remarks = 0;
        loop {
            let line = lines.number() + 1;
            let delimiters = delimiter.map_or(DELIMITERS.to_vec(), |delimiter| vec![delimiter]);
            match next_record(lines, &mut record, &delimiters)? {
                Next::End => return Ok(None),
                Next::Whole | Next::Misplaced => {}
                Next::TooLong | Next::Open => {
                    let why = "the header: its quotes do not end";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            }
            match record.trim_ascii() {
                [] => {}
                // A line for spreadsheets, in front of the header.
                [b's', b'e', b'p', b'=', separator] => {
                    delimiter = delimiter.or(Some(*separator));
                }
                annotation if is_annotation(annotation) => {}
                [b'#', rest @ ..] => {
                    remarks += 1;
                    remark = Some((line, [rest.trim_ascii_start(), b"\n"].concat()));
                }
                _ => {
                    let fixed = delimiter.is_some();
                    if let Some((line, header)) = remark {
                        let delimiter = delimiter.unwrap_or_else(|| guess_delimiter(&header));
                        if is_header_of(&header, &record, delimiter) {
                            let (first, remarks) = (Some(record), remarks - 1);
                            return Ok(Some(Self {
                                header,
                                first,
                                delimiter,
                                line,
                                remarks,
                                fixed,
                            }));
                        }
                    }
                    let delimiter = delimiter.unwrap_or_else(|| guess_delimiter(&record));
                    let (header, first) = (record, None);
                    return Ok(Some(Self { header, first, delimiter, line, remarks, fixed }));
                }
            }
        }
    }

    /// The columns with another delimiter than the most frequent one: names may hold commas.
    pub(super) fn with_another_delimiter(&self, layout: &Layout) -> Option<(Columns, Splitter)> {
        let others = DELIMITERS.into_iter().filter(|other| !self.fixed && *other != self.delimiter);
        others.into_iter().find_map(|other| {
            let mut splitter = Splitter::new(other);
            let columns = Columns::new(&splitter.split(&self.header).ok()?, layout).ok()?;
            Some((columns, splitter))
        })
    }

    /// Why the header cannot be used: the table may begin further down, or have no header.
    pub(super) fn why<R: BufRead>(
        &self,
        lines: &mut Lines<R>,
        cells: usize,
        is_row: bool,
        why: String,
    ) -> String {
        let mut record = Vec::new();
        for _ in 0..RECORDS {
            let line = lines.number() + 1;
            let Ok(Next::Whole) = next_record(lines, &mut record, &DELIMITERS) else { break };
            let delimiter = match self.fixed {
                true => self.delimiter,
                false => guess_delimiter(&record),
            };
            let found = Splitter::new(delimiter).split(&record).map_or(0, |cells| cells.len());
            if found > cells {
                return format!(
                    "line {} has {} and line {line} has {found}\nif the header is line {line}, use \
                     --skip-lines {}",
                    self.line,
                    counted(cells as u64, "cell"),
                    line - 1
                );
            }
        }
        match is_row {
            true => format!(
                "line {} looks like a row, where the header is needed\nput a line with the names \
                 of the columns before it: (echo time,value; cat FILE) | annals import",
                self.line
            ),
            false => why,
        }
    }
}

/// Whether a line behind # is the header of a row: as many cells, and only the row has numbers or
/// times.
fn is_header_of(header: &[u8], row: &[u8], delimiter: u8) -> bool {
    let mut splitter = Splitter::new(delimiter);
    let (names, has_data) = match splitter.split(header) {
        Ok(names) => (names.len(), names.iter().any(|name| is_data(name))),
        Err(_) => return false,
    };
    let row = splitter.split(row);
    names > 1
        && !has_data
        && row.is_ok_and(|row| row.len() == names && row.iter().any(|cell| is_data(cell)))
}

/// Whether a cell is a number or a time: no name of a column.
pub(super) fn is_data(cell: &str) -> bool {
    let cell = cell.trim();
    let number = cell.bytes().any(|byte| byte.is_ascii_digit())
        && cell.bytes().all(|byte| byte.is_ascii_digit() || b".,-+eE".contains(&byte));
    number || looks_like_a_time(cell, true)
}
