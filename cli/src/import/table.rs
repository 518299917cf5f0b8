//! Turns CSV records into rows.

use std::io;

use annals::Row;
use csv_core::{ReadRecordResult, Reader};

use super::lines::{Line, Lines, MAX_LINE_BYTES};
use super::row;

/// The positions of the columns.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    record: usize,
    value: usize,
    stored_at: Option<usize>,
}

/// One record: a line, or several if a quoted cell has line breaks, each with its end.
pub(super) enum Record {
    Whole(Vec<u8>),
    TooLong,
    /// The input ends within quotes.
    Open,
}

/// Reads the next record.
pub(super) fn next_record<R: io::BufRead>(lines: &mut Lines<R>) -> io::Result<Option<Record>> {
    let mut record = Vec::new();
    let mut open = false;
    loop {
        match lines.next()? {
            None if open => return Ok(Some(Record::Open)),
            None => return Ok(None),
            Some(Line::Whole(line)) if record.len() + line.len() < MAX_LINE_BYTES => {
                // Quotes inside a quoted cell are doubled, so they cancel out.
                open ^= line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
                record.extend_from_slice(line);
                record.push(b'\n');
                if !open {
                    return Ok(Some(Record::Whole(record)));
                }
            }
            Some(_) => return Ok(Some(Record::TooLong)),
        }
    }
}

/// Splits records into cells. It keeps one reader, since making one takes longer than reading a row.
pub(super) struct Splitter {
    reader: Box<Reader>,
    text: Vec<u8>,
}

impl Splitter {
    pub(super) fn new() -> Self {
        let mut reader = Box::new(Reader::new());
        // Otherwise it would skip a byte order mark at the beginning of the first record.
        reader.read_record(b"\n", &mut [0], &mut [0]);
        Self { reader, text: Vec::new() }
    }

    /// The cells of a record; none for a blank one.
    fn split(&mut self, record: &[u8]) -> Result<Vec<&str>, String> {
        if record.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Ok(Vec::new());
        }
        self.text.resize(record.len(), 0);
        // One more than a header can name.
        let mut ends = [0; 4];
        let (result, read, _, count) = self.reader.read_record(record, &mut self.text, &mut ends);
        let refusal = match result {
            ReadRecordResult::Record if matches!(&record[read..], b"" | b"\n") => None,
            ReadRecordResult::OutputEndsFull => Some("it has too many cells"),
            _ => Some("a quote is misplaced"),
        };
        if let Some(refusal) = refusal {
            // It stopped in the middle of the record.
            *self = Self::new();
            return Err(refusal.to_owned());
        }
        let mut start = 0;
        let cell = |(column, end): (usize, &usize)| {
            let cell = std::str::from_utf8(&self.text[start..*end]);
            start = *end;
            cell.map_err(|_| format!("it is not UTF-8 in column {}", column + 1))
        };
        ends[..count].iter().enumerate().map(cell).collect()
    }
}

impl Columns {
    /// Parses the header: `record` and `value` are required, `stored_at` is optional, others are
    /// refused.
    pub(super) fn new(header: &[u8], splitter: &mut Splitter) -> Result<Self, String> {
        let names = splitter.split(header).map_err(|reason| format!("the header: {reason}"))?;
        let find = |wanted: &str| names.iter().position(|name| *name == wanted);
        let known = ["record", "value", "stored_at"];
        for (place, name) in names.iter().enumerate() {
            if !known.contains(name) || find(name) != Some(place) {
                return Err(format!(
                    "the header may name record, value and stored_at once each, not \"{}\"",
                    name.escape_debug()
                ));
            }
        }
        let missing = |name: &str| format!("the header has no column {name}");
        Ok(Self {
            count: names.len(),
            record: find("record").ok_or_else(|| missing("record"))?,
            value: find("value").ok_or_else(|| missing("value"))?,
            stored_at: find("stored_at"),
        })
    }

    /// Parses one record; a blank one is not a row. The value's text is kept byte for byte.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(super) fn parse(
        &self,
        record: &[u8],
        splitter: &mut Splitter,
        now_ms: u64,
    ) -> Result<Option<Row>, String> {
        let cells = splitter.split(record)?;
        if cells.is_empty() {
            return Ok(None);
        }
        if cells.len() != self.count {
            return Err(format!("it has {} cells and the header {}", cells.len(), self.count));
        }
        let stored_at = self.stored_at.map(|column| cells[column]);
        row::of_texts(cells[self.record], cells[self.value], stored_at, now_ms).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(String, String, u64), String>;

    fn rows(input: &str) -> Result<Vec<Read>, String> {
        let mut lines = Lines::new(input.as_bytes());
        let Some(Record::Whole(header)) = next_record(&mut lines).unwrap() else {
            return Err("no header".to_owned());
        };
        let mut splitter = Splitter::new();
        let columns = Columns::new(&header, &mut splitter)?;
        let mut rows = Vec::new();
        while let Some(record) = next_record(&mut lines).unwrap() {
            match record {
                Record::Whole(record) => {
                    let row = columns.parse(&record, &mut splitter, 77).transpose();
                    rows.extend(row.map(|row| {
                        row.map(|row| {
                            let Row { record, value, stored_at } = row;
                            (record.as_str().to_owned(), value.as_str().to_owned(), stored_at)
                        })
                    }));
                }
                _ => rows.push(Err("no record".to_owned())),
            }
        }
        Ok(rows)
    }

    fn sound(input: &str) -> Vec<(String, String, u64)> {
        rows(input).unwrap().into_iter().map(Result::unwrap).collect()
    }

    fn row(record: &str, value: &str, stored_at: u64) -> (String, String, u64) {
        (record.to_owned(), value.to_owned(), stored_at)
    }

    #[test]
    fn columns_come_in_any_order_and_without_a_time_it_is_now() {
        assert_eq!(sound("stored_at,record,value\n5,a,1\n"), [row("a", "1", 5)]);
        assert_eq!(sound("\u{feff}value,record\r\n1,a\r\n\r\n"), [row("a", "1", 77)]);
    }

    #[test]
    fn cells_hold_anything_when_they_are_quoted() {
        let input =
            "record,value,stored_at\n\"a\n\"\"b,\r\n\",\"{\"\"k\"\":\n[1, 2]}\",5\nc,null,6";
        assert_eq!(sound(input), [row("a\n\"b,\r\n", "{\"k\":\n[1, 2]}", 5), row("c", "null", 6)]);
    }

    /// Only the first line of a file may begin with a mark that is none of its text.
    #[test]
    fn a_name_may_begin_with_a_mark() {
        let input = "record,value\n\u{feff}a,1\nbad,line,of,four,cells\n\u{feff}b,2\n";
        let names: Vec<_> = rows(input).unwrap().into_iter().flatten().map(|row| row.0).collect();
        assert_eq!(names, ["\u{feff}a", "\u{feff}b"]);
    }

    #[test]
    fn a_record_that_is_no_row_says_why_and_the_next_is_read() {
        for (line, reason) in [
            ("a,1", "it has 2 cells and the header 3"),
            ("a,1,2,3", "it has 4 cells and the header 3"),
            ("a,1,2,3,4", "it has too many cells"),
            ("a\"b,\"1,5", "a quote is misplaced"),
            ("a\"\nb,2,6\"", "a quote is misplaced"),
            ("a,nonsense,5", "the value: "),
            (",1,5", "it is empty"),
            ("a,1,", "not a time in Unix milliseconds"),
            ("a,1,+5", "not a time in Unix milliseconds: \"+5\""),
            ("a,1,1e3", "not a time"),
            ("a,1,18446744073709551616", "not a time"),
        ] {
            let rows = rows(&format!("record,value,stored_at\n{line}\nb,2,6\n")).unwrap();
            let refusal = rows[0].as_ref().unwrap_err();
            assert!(refusal.contains(reason), "{line}: {refusal}");
            assert_eq!(rows[1], Ok(row("b", "2", 6)));
        }
        assert_eq!(rows("record,value\na,\"1\n").unwrap(), [Err("no record".to_owned())]);
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused() {
        for (header, reason) in [
            ("", "no header"),
            ("record", "the header has no column value"),
            ("value,stored_at", "the header has no column record"),
            ("record,value,storedAt", "not \"storedAt\""),
            ("record,value,value", "not \"value\""),
            ("record,value,stored_at,place", "not \"place\""),
            ("record,value,a,b,c", "the header: it has too many cells"),
            ("a,1,5", "not \"a\""),
        ] {
            let refusal = rows(header).unwrap_err();
            assert!(refusal.contains(reason), "{header}: {refusal}");
        }
    }
}
