//! Reads CSV: finds the delimiter and the columns, and yields entries record by record.

use std::borrow::Cow;
use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::entry::Entry;
use super::lines::{Line, Lines, MAX_LINE_BYTES};
use super::value::CellStyle;

/// The options for tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) delimiter: Option<u8>,
    pub(super) style: CellStyle,
    /// The record of all rows, instead of a column.
    pub(super) constant: Option<String>,
    pub(super) record: Option<String>,
    pub(super) value: Option<String>,
    pub(super) time: Option<String>,
    /// The prefix of record names, for a table with a time column and a record for each other column.
    pub(super) wide: Option<String>,
}

impl Layout {
    /// Whether no option names a column, so that the columns are annals' own.
    pub(super) fn is_own(&self) -> bool {
        self.constant.is_none()
            && self.record.is_none()
            && self.value.is_none()
            && self.time.is_none()
            && self.wide.is_none()
    }
}

/// The positions of the columns.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    time: Option<usize>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// One row per line. Without a column, the record is the layout's constant.
    Long { record: Option<usize>, value: usize },
    /// One row per cell: the columns and their records.
    Wide(Vec<(usize, String)>),
}

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
                    return Ok(Self { lines, layout, splitter, columns: None, record });
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
            // A line for spreadsheets, in front of the header.
            match line {
                [b's', b'e', b'p', b'=', separator] => {
                    delimiter = delimiter.or(Some(*separator));
                }
                _ => break,
            }
        }
        let delimiter = delimiter.unwrap_or_else(|| guess_delimiter(&record));
        let mut splitter = Splitter::new(delimiter);
        let header =
            splitter.split(&record).map_err(|why| invalid(format!("the header: {why}")))?;
        let columns = Columns::new(&header, &layout).map_err(invalid)?;
        Ok(Self { lines, layout, splitter, columns: Some(columns), record })
    }

    pub(super) fn lines(&self) -> &Lines<R> {
        &self.lines
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
        let rows = match self.columns.as_ref().map(|columns| &columns.rows) {
            Some(Rows::Wide(records)) => format!(", {} records", records.len()),
            _ => String::new(),
        };
        format!(", delimiter {delimiter}{rows}")
    }

    /// Reads the next record and passes its entries to `each`.
    pub(super) fn next(&mut self, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<Read> {
        match next_record(&mut self.lines, &mut self.record)? {
            Next::End => return Ok(Read::End),
            Next::TooLong => return Ok(Read::Bad("it is longer than any row can be".to_owned())),
            Next::Open => return Ok(Read::Bad("its quotes do not end".to_owned())),
            Next::Whole => {}
        }
        let Some(columns) = &self.columns else { return Ok(Read::End) };
        let cells = match self.splitter.split(&self.record) {
            Ok(cells) if cells.is_empty() => return Ok(Read::Record { empty: 0, torn: false }),
            Ok(cells) => cells,
            Err(why) => return Ok(Read::Bad(why)),
        };
        if cells.len() != columns.count {
            return Ok(Read::Bad(format!(
                "it has {} cells and the header {}",
                cells.len(),
                columns.count
            )));
        }
        let torn = !self.lines.ended() && ends_in_digit(cells[cells.len() - 1]);
        Ok(match columns.entries(&cells, &self.layout, each) {
            Ok(empty) => Read::Record { empty, torn },
            Err(why) => Read::Bad(why),
        })
    }
}

/// Whether digits may be missing at the end of a cell.
fn ends_in_digit(cell: &str) -> bool {
    cell.ends_with(|last: char| last.is_ascii_digit())
}

impl Columns {
    /// Finds the columns of a header.
    ///
    /// # Errors
    /// The column that is missing, and those that the header has.
    pub(super) fn new(header: &[&str], layout: &Layout) -> Result<Self, String> {
        let find = |wanted: &str| {
            let wanted = wanted.trim();
            let exact = header.iter().position(|name| name.trim() == wanted);
            exact.or_else(|| {
                header.iter().position(|name| name.trim().to_lowercase() == wanted.to_lowercase())
            })
        };
        let listed = || {
            let names: Vec<_> =
                header.iter().take(20).map(|name| super::time::shown(name)).collect();
            names.join(", ")
        };
        let required = |option: &str, name: &str| {
            find(name).ok_or_else(|| {
                format!(
                    "the header has no column {}; it has {}. Name another with {option}",
                    super::time::shown(name),
                    listed()
                )
            })
        };
        let count = header.len();
        if let Some(prefix) = &layout.wide {
            let time = match &layout.time {
                Some(name) => required("--time-column", name)?,
                None => TIME_NAMES.iter().find_map(|name| find(name)).ok_or_else(|| {
                    format!(
                        "none of the columns {} is called time, timestamp, date or the like; name \
                         it with --time-column",
                        listed()
                    )
                })?,
            };
            let mut records: Vec<(usize, String)> = Vec::new();
            for (column, name) in header.iter().enumerate().filter(|(column, _)| *column != time) {
                let name = name.trim();
                if name.is_empty() {
                    return Err(format!("the column {} has no name", column + 1));
                }
                let record = format!("{prefix}{name}");
                annals::RecordName::new(record.as_str()).map_err(|error| error.to_string())?;
                if records.iter().any(|(_, other)| *other == record) {
                    return Err(format!("two columns are called {}", super::time::shown(name)));
                }
                records.push((column, record));
            }
            return Ok(Self { count, time: Some(time), rows: Rows::Wide(records) });
        }
        if layout.is_own() {
            let own = |names: &[&str]| names.iter().find_map(|name| find(name));
            let (record, value) = (own(&["record", "record_name"]), own(&["value", "value_json"]));
            let time = own(&["stored_at"]);
            let known = [record, value, time];
            let others = (0..count).any(|column| !known.contains(&Some(column)));
            return match (record, value) {
                (Some(record), Some(value)) if !others => {
                    let rows = Rows::Long { record: Some(record), value };
                    Ok(Self { count, time, rows })
                }
                _ => Err(format!(
                    "the header has the columns {}, where record, value and stored_at are needed. \
                     Say which is which with --record-column, --value-column and --time-column \
                     (--record NAME if there is one record only), or use --columns wide if each \
                     column is a record",
                    listed()
                )),
            };
        }
        let record = match (&layout.constant, &layout.record) {
            (Some(_), _) => None,
            (None, name) => Some(required("--record-column", name.as_deref().unwrap_or("record"))?),
        };
        let value = required("--value-column", layout.value.as_deref().unwrap_or("value"))?;
        let time = match &layout.time {
            Some(name) => Some(required("--time-column", name)?),
            None => find("stored_at"),
        };
        Ok(Self { count, time, rows: Rows::Long { record, value } })
    }

    /// Passes the entries of a record to `each` and returns the number of empty cells.
    pub(super) fn entries(
        &self,
        cells: &[&str],
        layout: &Layout,
        each: &mut dyn FnMut(Entry<'_>),
    ) -> Result<u64, String> {
        let time = self.time.map(|column| Cow::Borrowed(cells[column]));
        let mut empty = 0;
        let mut row = |record: &str, cell: &str| -> Result<(), String> {
            match layout.style.value(cell)? {
                Some(value) => {
                    each(Entry { record: Cow::Borrowed(record), value, time: time.clone() });
                }
                None => empty += 1,
            }
            Ok(())
        };
        match &self.rows {
            Rows::Long { record, value } => {
                let name = match record {
                    Some(column) => cells[*column],
                    None => layout.constant.as_deref().unwrap_or_default(),
                };
                row(name, cells[*value])?;
            }
            Rows::Wide(records) => {
                for (column, name) in records {
                    row(name, cells[*column])?;
                }
            }
        }
        Ok(empty)
    }
}

/// The names, in any case, of the time column of a wide table.
const TIME_NAMES: [&str; 8] =
    ["stored_at", "time", "timestamp", "datetime", "date", "ts", "last_changed", "_time"];

/// The most frequent candidate in the header, outside quotes.
fn guess_delimiter(header: &[u8]) -> u8 {
    let mut counts = [(0, b','), (0, b';'), (0, b'\t'), (0, b'|')];
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

enum Next {
    Whole,
    TooLong,
    /// The input ends within quotes.
    Open,
    End,
}

/// Reads one record: its lines, as long as a quote is open, each with its end.
fn next_record<R: BufRead>(lines: &mut Lines<R>, record: &mut Vec<u8>) -> io::Result<Next> {
    record.clear();
    let mut open = false;
    loop {
        match lines.next()? {
            None if open => return Ok(Next::Open),
            None => return Ok(Next::End),
            Some(Line::Whole(line)) if record.len() + line.len() < MAX_LINE_BYTES => {
                // Quotes within quotes are doubled, so that they do not count.
                open ^= memchr::memchr_iter(b'"', line).count() % 2 == 1;
                record.extend_from_slice(line);
                record.push(b'\n');
                if !open {
                    return Ok(Next::Whole);
                }
            }
            Some(_) => return Ok(Next::TooLong),
        }
    }
}

/// Splits records into cells. It keeps a reader, because creating one takes longer than reading a
/// row.
struct Splitter {
    reader: Box<Reader>,
    delimiter: u8,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// The most columns of a table.
const MAX_COLUMNS: usize = 65_536;

impl Splitter {
    fn new(delimiter: u8) -> Self {
        let mut reader = Box::new(ReaderBuilder::new().delimiter(delimiter).build());
        // Otherwise it would take a byte order mark at the beginning of its first record for that of a
        // file.
        reader.read_record(b"\n", &mut [0], &mut [0]);
        Self { reader, delimiter, text: Vec::new(), ends: vec![0; 64] }
    }

    /// The cells of a record; none if it is blank.
    fn split(&mut self, record: &[u8]) -> Result<Vec<&str>, String> {
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
            cell.map_err(|_| {
                format!("it is not UTF-8 in column {}{}", column + 1, super::read::NOT_UTF8)
            })
        };
        self.ends[..count].iter().enumerate().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<(String, String, Option<String>)>;

    fn table(input: &str, layout: Layout) -> io::Result<(Rows, Vec<String>, u64)> {
        let mut table = Table::new(Lines::new(input.as_bytes(), b'\n'), layout)?;
        let (mut rows, mut bad, mut empties) = (Vec::new(), Vec::new(), 0);
        loop {
            let read = table.next(&mut |entry| {
                let Entry { record, value, time } = entry;
                rows.push((record.into_owned(), value.into_owned(), time.map(Cow::into_owned)));
            })?;
            match read {
                Read::End => return Ok((rows, bad, empties)),
                Read::Record { empty, .. } => empties += empty,
                Read::Bad(why) => bad.push(why),
            }
        }
    }

    fn own(input: &str) -> (Rows, Vec<String>) {
        let (rows, bad, _) = table(input, Layout::default()).unwrap();
        (rows, bad)
    }

    fn row(record: &str, value: &str, time: Option<&str>) -> (String, String, Option<String>) {
        (record.to_owned(), value.to_owned(), time.map(str::to_owned))
    }

    fn mapped() -> Layout {
        let style = CellStyle { text: true, decimal_comma: false };
        Layout { style, ..Layout::default() }
    }

    #[test]
    fn annals_own_columns_come_in_any_order_and_case_with_any_delimiter() {
        assert_eq!(own("stored_at,record,value\n5,a,1\n").0, [row("a", "1", Some("5"))]);
        assert_eq!(own("\u{feff}Value;Record\r\n1;a\r\n\r\n").0, [row("a", "1", None)]);
        assert_eq!(own("sep=|\r\nvalue|record\n1|a\n").0, [row("a", "1", None)]);
        assert_eq!(own("value\trecord_name\n1\ta\n").0, [row("a", "1", None)]);
    }

    #[test]
    fn cells_hold_anything_when_they_are_quoted() {
        let input =
            "record,value,stored_at\n\"a\n\"\"b,\r\n\",\"{\"\"k\"\":\n[1, 2]}\",5\nc,null,6";
        let rows = [row("a\n\"b,\r\n", "{\"k\":\n[1, 2]}", Some("5")), row("c", "null", Some("6"))];
        assert_eq!(own(input).0, rows);
    }

    /// Only the first line of a file may begin with a mark that is none of its text.
    #[test]
    fn a_name_may_begin_with_a_mark() {
        let (rows, _) = own("record,value\n\u{feff}a,1\nbad,line,of,four,cells\n\u{feff}b,2\n");
        let names: Vec<_> = rows.into_iter().map(|row| row.0).collect();
        assert_eq!(names, ["\u{feff}a", "\u{feff}b"]);
    }

    #[test]
    fn a_record_that_is_no_row_says_why_and_the_next_is_read() {
        for (line, reason) in [
            ("a,1", "it has 2 cells and the header 3"),
            ("a,1,2,3", "it has 4 cells and the header 3"),
            ("a\"b,\"1,5", "its quotes are not where they belong"),
            ("a\"\nb,2,6\"", "its quotes are not where they belong"),
        ] {
            let (rows, bad) = own(&format!("record,value,stored_at\n{line}\nb,2,6\n"));
            assert!(bad[0].contains(reason), "{line}: {bad:?}");
            assert_eq!(rows, [row("b", "2", Some("6"))]);
        }
        assert_eq!(own("record,value\na,\"1\n").1, ["its quotes do not end"]);
    }

    #[test]
    fn columns_of_other_programs_are_named() {
        let layout = Layout {
            record: Some("entity_id".into()),
            value: Some("STATE".into()),
            time: Some("last_changed".into()),
            ..mapped()
        };
        let input = "entity_id,state,last_changed,more\ndoor,on,2026,x\nt,21.5,2027,\nt,,2028,\n";
        let (rows, bad, empty) = table(input, layout).unwrap();
        assert_eq!(rows, [row("door", "\"on\"", Some("2026")), row("t", "21.5", Some("2027"))]);
        assert_eq!((bad.len(), empty), (0, 1));
        let layout =
            Layout { constant: Some("plant".into()), value: Some("kW".into()), ..mapped() };
        assert_eq!(table("t,kw\n1,2\n", layout).unwrap().0, [row("plant", "2", None)]);
    }

    #[test]
    fn a_wide_table_has_a_record_for_each_column() {
        let layout = Layout { wide: Some("plant::".into()), ..mapped() };
        let (rows, _, empty) = table("Time;a;b\n1;2;\n3;x;4\n", layout.clone()).unwrap();
        assert_eq!(empty, 1);
        assert_eq!(
            rows,
            [
                row("plant::a", "2", Some("1")),
                row("plant::a", "\"x\"", Some("3")),
                row("plant::b", "4", Some("3")),
            ]
        );
        for (header, reason) in [
            ("x,y", "--time-column"),
            ("time,a,a", "two columns are called a"),
            ("time,,b", "the column 2 has no name"),
            ("time,a*", "reserved for patterns"),
        ] {
            let refusal = table(header, layout.clone()).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{header}: {refusal}");
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_with_what_it_has() {
        for header in ["record", "value,stored_at", "record,value,storedAt", "a;b;c", "a,1,5"] {
            let refusal = table(header, Layout::default()).unwrap_err().to_string();
            assert!(refusal.contains("--record-column"), "{header}: {refusal}");
        }
        let layout = Layout { record: Some("name".into()), ..mapped() };
        let refusal = table("a,b\n", layout).unwrap_err().to_string();
        assert!(refusal.contains("no column name; it has a, b"), "{refusal}");
    }
}
