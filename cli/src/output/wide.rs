//! A table with a line for each time and a column for each record.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use annals::{Bucket, Function};
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Format;
use super::bucket::result_text;
use super::line::{Header, Kind, Line};
use super::printer::Printer;
use super::style::{Style, bare};
use super::table::Column;
use crate::failure::Failure;
use crate::moment::to_the_ms;
use crate::screen::{shown_name, shown_value};

/// The most that is held: records come one after the other, and lines need all of them.
const MAX_BYTES: usize = 256 << 20;
/// About what a cell needs besides its text.
const CELL_BYTES: usize = 64;

/// The cells of a line: the place of the column, and JSON text.
type Cells = Vec<(u32, Box<str>)>;

/// The cells of an answer, by time.
struct Wide {
    /// The name of the first column.
    time: &'static str,
    columns: Vec<String>,
    places: HashMap<String, u32>,
    /// By time; a record that has several values at one time takes several lines.
    lines: BTreeMap<(i64, u32), Cells>,
    bytes: usize,
}

impl Wide {
    fn new(time: &'static str) -> Self {
        let (columns, places, lines) = (Vec::new(), HashMap::new(), BTreeMap::new());
        Self { time, columns, places, lines, bytes: 0 }
    }

    fn place(&mut self, column: &str) -> Result<u32, Failure> {
        if let Some(place) = self.places.get(column) {
            return Ok(*place);
        }
        if column == self.time {
            return Err(Failure::Failed(format!(
                "a record is called {column} as the column of the times is; leave --wide out"
            )));
        }
        let place = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        self.columns.push(column.to_owned());
        self.places.insert(column.to_owned(), place);
        Ok(place)
    }

    fn add(&mut self, line: (i64, u32), column: u32, json: &str) -> Result<(), Failure> {
        self.bytes += json.len() + CELL_BYTES;
        if self.bytes > MAX_BYTES {
            return Err(Failure::Failed(format!(
                "the answer is too large for --wide, which holds {} MiB; narrow it with --from and \
                 --to, or ask annals aggregate for buckets",
                MAX_BYTES >> 20
            )));
        }
        self.lines.entry(line).or_default().push((column, json.into()));
        Ok(())
    }

    fn print(self, format: Option<Format>, style: &Style, newest: bool) -> Result<(), Failure> {
        let mut printer = Printer::styled(format, self.header(), style);
        let Self { time, columns, lines, .. } = self;
        let mut print = |((at, _), cells): ((i64, u32), Cells)| {
            let mut texts = vec![None; columns.len()];
            for (column, json) in cells {
                texts[column as usize] = Some(json);
            }
            printer.line(&WideLine { time, at, columns: &columns, cells: texts, style })
        };
        match newest {
            true => lines.into_iter().rev().try_for_each(&mut print)?,
            false => lines.into_iter().try_for_each(&mut print)?,
        }
        printer.finish()
    }

    /// A column of numbers has the type of numbers where there are types.
    fn header(&self) -> Header {
        let mut kinds = vec![Kind::Number; self.columns.len()];
        for (column, json) in self.lines.values().flatten() {
            if !json.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
                kinds[*column as usize] = Kind::Text;
            }
        }
        let names = self.columns.iter().cloned().zip(kinds);
        let members = std::iter::once((self.time.to_owned(), Kind::Time)).chain(names);
        let titles = self.columns.iter().map(|name| Column::number(shown_name(name)));
        Header::with_members(
            members,
            std::iter::once(Column::fixed(self.time)).chain(titles).collect(),
        )
    }
}

/// The rows of a query.
pub(crate) struct WideRows {
    wide: Wide,
    /// The row before: its column, its time, and which of several at this time it is.
    last: Option<(u32, i64, u32)>,
}

impl WideRows {
    pub(crate) fn new() -> Self {
        Self { wide: Wide::new("stored_at"), last: None }
    }

    pub(crate) fn add(&mut self, record: &str, stored_at: u64, json: &str) -> Result<(), Failure> {
        let column = self.wide.place(record)?;
        let at = i64::try_from(stored_at).unwrap_or(i64::MAX);
        let same = self.last.filter(|(before, time, _)| (*before, *time) == (column, at));
        let nth = same.map_or(0, |(_, _, nth)| nth + 1);
        self.last = Some((column, at, nth));
        self.wide.add((at, nth), column, json)
    }

    /// Prints the lines by time.
    pub(crate) fn print(
        self,
        format: Option<Format>,
        style: &Style,
        newest_first: bool,
    ) -> Result<(), Failure> {
        self.wide.print(format, style, newest_first)
    }
}

/// The buckets of an aggregate.
pub(crate) struct WideBuckets<'a> {
    wide: Wide,
    functions: &'a [Function],
    style: &'a Style,
}

impl<'a> WideBuckets<'a> {
    pub(crate) fn new(functions: &'a [Function], style: &'a Style) -> Self {
        Self { wide: Wide::new("start"), functions, style }
    }

    /// With one function, a column has the name of its record.
    pub(crate) fn add(&mut self, bucket: &Bucket) -> Result<(), Failure> {
        for function in self.functions {
            let column = match self.functions.len() {
                1 => self.wide.place(&bucket.record)?,
                _ => self.wide.place(&format!("{} {}", bucket.record, function.name()))?,
            };
            let text = result_text(bucket, function, self.style);
            if text.is_empty() {
                self.wide.lines.entry((bucket.start, 0)).or_default();
                continue;
            }
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            let json =
                if is_json { text } else { serde_json::to_string(&text).unwrap_or_default() };
            self.wide.add((bucket.start, 0), column, &json)?;
        }
        Ok(())
    }

    /// Prints a line for each bucket.
    pub(crate) fn print(self, format: Option<Format>, newest_first: bool) -> Result<(), Failure> {
        self.wide.print(format, self.style, newest_first)
    }
}

/// One line.
struct WideLine<'a> {
    time: &'static str,
    at: i64,
    columns: &'a [String],
    cells: Vec<Option<Box<str>>>,
    style: &'a Style,
}

impl Serialize for WideLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.columns.len() + 1))?;
        members.serialize_entry(self.time, &self.style.time(self.at))?;
        for (column, cell) in self.columns.iter().zip(&self.cells) {
            let value: Option<&RawValue> =
                cell.as_deref().map(serde_json::from_str).transpose().map_err(S::Error::custom)?;
            members.serialize_entry(column, &value)?;
        }
        members.end()
    }
}

impl Line for WideLine<'_> {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        let time = self.style.time(self.at).text().into_owned();
        let text = |json: &str| self.style.text_of(json).into_owned();
        let cells = self.cells.iter().map(|cell| cell.as_deref().map_or(String::new(), text));
        std::iter::once(time).chain(cells).map(Cow::Owned).collect()
    }

    fn present(&self) -> Vec<Option<Cow<'_, str>>> {
        let time = self.style.time(self.at).text().into_owned();
        let cells = self.cells.iter().map(|cell| cell.as_deref().map(bare));
        std::iter::once(Some(Cow::Owned(time))).chain(cells).collect()
    }

    fn cells(&self) -> Vec<String> {
        let utc = || u64::try_from(self.at).map_or(self.at.to_string(), to_the_ms);
        let at = u64::try_from(self.at).ok().and_then(|at| self.style.in_table(at));
        let cells =
            self.cells.iter().map(|cell| cell.as_deref().map_or(String::new(), shown_value));
        std::iter::once(at.unwrap_or_else(utc)).chain(cells).collect()
    }
}
