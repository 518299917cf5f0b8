//! The records of CSV: their lines, their delimiter and their cells.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::import::lines::{Line, Lines, MAX_LINE_BYTES};
use crate::import::text::NOT_UTF8;

/// The delimiters that are found without an option.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The most frequent candidate in the header, outside quotes.
pub(super) fn guess_delimiter(header: &[u8]) -> u8 {
    let mut counts = DELIMITERS.map(|delimiter| (0, delimiter));
    let mut quoted = false;
    for byte in header {
        quoted ^= *byte == b'"';
        for (count, candidate) in &mut counts {
            *count += i32::from(!quoted && byte == candidate);
        }
    }
    // Of equals the first.
    counts.into_iter().rev().max_by_key(|(count, _)| *count).map_or(b',', |(_, byte)| byte)
}

/// Whether a cell of a record stands in quotes.
pub(super) fn is_quoted(record: &[u8], delimiter: u8, column: usize) -> bool {
    if memchr::memchr(b'"', record).is_none() {
        return false;
    }
    let (mut at, mut rest) = (0, record);
    loop {
        // A quote elsewhere than at the beginning is part of an unquoted cell.
        let quoted = rest.first() == Some(&b'"');
        if at == column {
            return quoted;
        }
        let mut within = false;
        let end = rest.iter().position(|byte| {
            within ^= quoted && *byte == b'"';
            !within && *byte == delimiter
        });
        let Some(end) = end else { return false };
        (at, rest) = (at + 1, &rest[end + 1..]);
    }
}

/// What was read.
pub(super) enum Next {
    Whole,
    TooLong,
    /// A quote ends in the middle of a cell.
    Misplaced,
    /// The input ends within quotes.
    Open,
    End,
}

/// Reads one record: its lines, as long as a quote is open, each with its end. Only at the beginning
/// of a cell does a quote open one: in `5" pipe` it is an inch.
pub(super) fn next_record<R: BufRead>(
    lines: &mut Lines<R>,
    record: &mut Vec<u8>,
    delimiters: &[u8],
) -> io::Result<Next> {
    record.clear();
    let mut open = false;
    loop {
        match lines.next()? {
            None if open => return Ok(Next::Open),
            None => return Ok(Next::End),
            Some(Line::Whole(line)) if record.len() + line.len() < MAX_LINE_BYTES => {
                let quotes = quotes_at_end(line, open, delimiters);
                record.extend_from_slice(line);
                record.push(b'\n');
                match quotes {
                    Some(still) => open = still,
                    None => return Ok(Next::Misplaced),
                }
                if !open {
                    return Ok(Next::Whole);
                }
            }
            Some(_) => return Ok(Next::TooLong),
        }
    }
}

/// Whether quotes are open at the end of a line; `None` if one ends in the middle of a cell.
fn quotes_at_end(line: &[u8], mut open: bool, delimiters: &[u8]) -> Option<bool> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'"', &line[from..]).map(|at| from + at) {
        from = at + 1;
        if !open {
            open = at == 0 || delimiters.contains(&line[at - 1]);
            continue;
        }
        match line.get(from) {
            // Quotes within quotes are doubled.
            Some(b'"') => from += 1,
            None | Some(b'\r') => open = false,
            Some(next) if delimiters.contains(next) => open = false,
            Some(_) => return None,
        }
    }
    Some(open)
}

/// Splits records into cells. It keeps a reader, because creating one takes longer than reading a
/// row.
pub(super) struct Splitter {
    reader: Box<Reader>,
    pub(super) delimiter: u8,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// The most columns of a table.
const MAX_COLUMNS: usize = 65_536;

impl Splitter {
    pub(super) fn new(delimiter: u8) -> Self {
        let mut reader = Box::new(ReaderBuilder::new().delimiter(delimiter).build());
        // Otherwise it would take a byte order mark at the beginning of its first record for that of a
        // file.
        reader.read_record(b"\n", &mut [0], &mut [0]);
        Self { reader, delimiter, text: Vec::new(), ends: vec![0; 64] }
    }

    /// The cells of a record; none if it is blank.
    pub(super) fn split(&mut self, record: &[u8]) -> Result<Vec<&str>, String> {
        if record.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Ok(Vec::new());
        }
        self.text.resize(record.len(), 0);
        let count = loop {
            let (result, read, _, count) =
                self.reader.read_record(record, &mut self.text, &mut self.ends);
            let refusal = match result {
                ReadRecordResult::Record if matches!(&record[read..], b"" | b"\n") => break count,
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_COLUMNS => None,
                ReadRecordResult::OutputEndsFull => Some("it has too many cells"),
                ReadRecordResult::Record if record[..read].ends_with(b"\r") => Some(
                    "it has a carriage return in the middle: the file mixes line ends; write all \
                     of them in one way, or put the cell in quotes",
                ),
                _ => Some("its quotes are not where they belong"),
            };
            // The reader stopped part-way.
            let ends = self.ends.len() * 4;
            *self = Self::new(self.delimiter);
            self.text.resize(record.len(), 0);
            match refusal {
                Some(refusal) => return Err(refusal.to_owned()),
                None => self.ends = vec![0; ends],
            }
        };
        let mut start = 0;
        let cell = |(column, end): (usize, &usize)| {
            let cell = std::str::from_utf8(&self.text[start..*end]);
            start = *end;
            cell.map_err(|_| format!("it is not UTF-8 in column {}{}", column + 1, NOT_UTF8))
        };
        self.ends[..count].iter().enumerate().map(cell).collect()
    }
}
