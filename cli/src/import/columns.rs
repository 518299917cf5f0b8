//! The columns of a table: which of them are the parts of a row.

use std::borrow::Cow;

use super::entry::Entry;
use super::numbers::Numbers;
use super::text::shown;
use super::unused::NAMES_OF_TIMES;
use super::value::CellStyle;
use crate::output::counted;

/// The options for tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) delimiter: Option<u8>,
    pub(super) style: CellStyle,
    /// Whether `--text` was given.
    pub(super) as_text: bool,
    /// The record of all rows, instead of a column.
    pub(super) constant: Option<String>,
    /// The columns whose cells, joined by `::`, are the name of the record.
    pub(super) record: Vec<String>,
    /// The columns with the values. Several columns make several records: NAME::COLUMN.
    pub(super) value: Vec<String>,
    /// The columns whose cells, joined by a blank, are the time: a date and a time of day.
    pub(super) time: Vec<String>,
    /// How many lines to pass over before the header.
    pub(super) skip_lines: u64,
    /// The prefix of record names, for a table with a time column and a record for each other column.
    pub(super) wide: Option<String>,
}

impl Layout {
    /// Whether no option names a column, so that the columns are annals' own.
    pub(super) fn is_own(&self) -> bool {
        self.constant.is_none()
            && self.record.is_empty()
            && self.value.is_empty()
            && self.time.is_empty()
            && self.wide.is_none()
    }

    /// Which cells become which parts of rows: the same text for options with the same meaning.
    pub(super) fn fingerprint(&self) -> String {
        let lower = |names: &[String], own: &str| -> Vec<String> {
            match names {
                [] => vec![own.to_owned()],
                names => names.iter().map(|name| name.trim().to_lowercase()).collect(),
            }
        };
        let record = lower(&self.record, "record");
        let value = lower(&self.value, "value");
        let time = lower(&self.time, "stored_at");
        format!("{:?} {record:?} {value:?} {time:?} {:?}", self.constant, self.wide)
    }
}

/// The positions of the columns.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    /// What the header calls the column of the time.
    time_name: String,
    /// The columns of the time; none if rows get the time of the import.
    time: Vec<usize>,
    rows: Rows,
    /// The columns that are no part of a row, and their names.
    others: Vec<(usize, String)>,
    /// Columns of a wide table that are left out because they have no name.
    unnamed: usize,
}

#[derive(Debug)]
enum Rows {
    /// One row per line. Without a column, the record is the layout's constant.
    /// Several columns of values make one row each: the texts follow the name of the record.
    Long { record: Vec<usize>, values: Vec<(usize, String)> },
    /// One row per cell: the columns and their records.
    Wide(Vec<(usize, String)>),
}

impl Columns {
    /// How many cells a record has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The column with the times, if there is one.
    #[cfg(feature = "parquet")]
    pub(super) fn time(&self) -> Option<usize> {
        match self.time[..] {
            [column] => Some(column),
            _ => None,
        }
    }

    /// Whether a record is the header, which some programs write before each table of a file.
    pub(super) fn is_header_again(&self, cells: &[&str]) -> bool {
        let cell = self.time.first().and_then(|column| cells.get(*column));
        cell.is_some_and(|cell| !cell.is_empty() && *cell == self.time_name)
    }

    /// The columns that may hold the times: nothing says which does.
    pub(super) fn may_be_times(&self) -> &[(usize, String)] {
        if self.time.is_empty() { &self.others } else { &[] }
    }

    /// What rows take from the header.
    pub(super) fn fingerprint(&self) -> String {
        match &self.rows {
            Rows::Long { .. } => String::new(),
            Rows::Wide(records) => format!("{records:?}"),
        }
    }

    /// The columns that rows are made of, in the order of the table.
    #[cfg(feature = "parquet")]
    pub(super) fn needed(&self) -> Vec<usize> {
        let mut needed: Vec<usize> = match &self.rows {
            Rows::Long { record, values } => {
                record.iter().chain(values.iter().map(|(column, _)| column)).copied().collect()
            }
            Rows::Wide(records) => records.iter().map(|(column, _)| *column).collect(),
        };
        needed.extend(&self.time);
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The columns with the names of records.
    pub(super) fn names(&self) -> &[usize] {
        match &self.rows {
            Rows::Long { record, .. } => record,
            Rows::Wide(_) => &[],
        }
    }

    /// What a wide table has, for messages.
    pub(super) fn describe(&self) -> String {
        let Rows::Wide(records) = &self.rows else { return String::new() };
        let unnamed = match self.unnamed {
            0 => "",
            1 => ", a column without a name is left out",
            _ => ", columns without a name are left out",
        };
        format!(
            ", {} (times in {}){unnamed}",
            counted(records.len() as u64, "record"),
            match self.time_name.trim() {
                "" => "the column without a name".to_owned(),
                name => shown(name),
            }
        )
    }

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
            let names: Vec<_> = header.iter().take(20).map(|name| shown(name)).collect();
            names.join(", ")
        };
        let required = |option: &str, name: &str| {
            let column = find(name).ok_or_else(|| {
                format!(
                    "the header has no column {}\nit has {}; name another with {option}",
                    shown(name),
                    listed()
                )
            })?;
            match header.iter().filter(|other| other.trim() == header[column].trim()).count() {
                1 => Ok(column),
                _ => Err(format!("two columns are called {}\nrename one", shown(name))),
            }
        };
        let times = || {
            let columns = layout.time.iter().map(|name| required("--time-column", name));
            columns.collect::<Result<Vec<_>, _>>()
        };
        let name_of = |time: &[usize]| {
            time.first().map_or(String::new(), |column| header[*column].to_owned())
        };
        let count = header.len();
        if let Some(prefix) = &layout.wide {
            let time = match times()? {
                named if !named.is_empty() => named,
                // An index has no name in what pandas writes.
                _ => {
                    let found = NAMES_OF_TIMES.iter().chain(&[""]).find_map(|name| find(name));
                    vec![found.ok_or_else(|| {
                        format!(
                            "none of the columns {} is called time, timestamp, date or the \
                             like\nname it with --time-column",
                            listed()
                        )
                    })?]
                }
            };
            let (mut records, mut unnamed): (Vec<(usize, String)>, _) = (Vec::new(), 0);
            for (column, name) in header.iter().enumerate() {
                if time.contains(&column) {
                    continue;
                }
                let name = name.trim();
                // The number of a row, or what stands behind a delimiter at the end.
                if name.is_empty() {
                    unnamed += 1;
                    continue;
                }
                let record = format!("{prefix}{name}");
                annals::RecordName::new(record.as_str()).map_err(|error| error.to_string())?;
                if records.iter().any(|(_, other)| *other == record) {
                    return Err(format!("two columns are called {}\nrename one", shown(name)));
                }
                records.push((column, record));
            }
            let rows = Rows::Wide(records);
            let time_name = name_of(&time);
            return Ok(Self { count, time_name, time, rows, others: Vec::new(), unnamed });
        }
        if layout.is_own() {
            let own = |names: &[&str]| names.iter().find_map(|name| find(name));
            let (record, value) = (own(&["record", "record_name"]), own(&["value", "value_json"]));
            let time = own(&["stored_at"]);
            let known = [record, value, time];
            // Some programs end a line with a delimiter.
            let others = (0..count)
                .any(|column| !known.contains(&Some(column)) && !header[column].trim().is_empty());
            return match (record, value) {
                (Some(record), Some(value)) if !others => {
                    let rows =
                        Rows::Long { record: vec![record], values: vec![(value, String::new())] };
                    let time: Vec<_> = time.into_iter().collect();
                    let (time_name, others) = (name_of(&time), Vec::new());
                    Ok(Self { count, time_name, time, rows, others, unnamed: 0 })
                }
                _ => Err(format!(
                    "the header has the columns {}, where record, value and stored_at are \
                     needed\nsay which is which with --record-column, --value-column and \
                     --time-column (--record NAME if there is one record only), or use --columns \
                     wide if each column is a record",
                    listed(),
                )),
            };
        }
        let record = match (&layout.constant, &layout.record[..]) {
            (Some(_), _) => Vec::new(),
            (None, []) => vec![required("--record-column", "record")?],
            (None, names) => {
                let columns = names.iter().map(|name| required("--record-column", name));
                columns.collect::<Result<_, _>>()?
            }
        };
        let values = match &layout.value[..] {
            [] => vec![(required("--value-column", "value")?, String::new())],
            [name] => vec![(required("--value-column", name)?, String::new())],
            names => {
                let value = |name: &String| {
                    let column = required("--value-column", name)?;
                    Ok((column, format!("::{}", header[column].trim())))
                };
                names.iter().map(value).collect::<Result<_, String>>()?
            }
        };
        let time = match times()? {
            named if !named.is_empty() => named,
            _ => find("stored_at").into_iter().collect(),
        };
        let others = header.iter().enumerate().filter(|(column, name)| {
            !values.iter().any(|(value, _)| value == column)
                && !record.contains(column)
                && !name.trim().is_empty()
        });
        let others = others.map(|(column, name)| (column, name.trim().to_owned())).collect();
        let (time_name, rows) = (name_of(&time), Rows::Long { record, values });
        Ok(Self { count, time_name, time, rows, others, unnamed: 0 })
    }

    /// Passes the entries of a record to `each` and returns the number of empty cells.
    pub(super) fn entries(
        &self,
        cells: &[&str],
        layout: &Layout,
        numbers: &mut Numbers,
        each: &mut dyn FnMut(Entry<'_>),
    ) -> Result<u64, String> {
        let time = match &self.time[..] {
            [] => None,
            [column] => Some(Cow::Borrowed(cells[*column])),
            columns => {
                let parts: Vec<_> = columns.iter().map(|column| cells[*column].trim()).collect();
                Some(Cow::Owned(parts.join(" ")))
            }
        };
        let mut empty = 0;
        let mut row = |record: &str, cell: &str| -> Result<(), String> {
            match layout.style.value(cell, numbers)? {
                Some(value) => {
                    each(Entry { record: Cow::Borrowed(record), value, time: time.clone() });
                }
                None => empty += 1,
            }
            Ok(())
        };
        match &self.rows {
            Rows::Long { record, values } => {
                let blank = record.iter().position(|column| cells[*column].trim().is_empty());
                if let Some(blank) = blank.filter(|_| !layout.is_own()) {
                    // A line without a value has no row, and needs no name.
                    for (column, _) in values {
                        if layout.style.value(cells[*column], numbers)?.is_some() {
                            let name = layout.record.get(blank).map_or("record", String::as_str);
                            return Err(format!(
                                "it has nothing in the column {}, which names the record",
                                shown(name)
                            ));
                        }
                    }
                    return Ok(values.len() as u64);
                }
                let name = match &record[..] {
                    [] => Cow::Borrowed(layout.constant.as_deref().unwrap_or_default()),
                    [column] => Cow::Borrowed(cells[*column]),
                    columns => {
                        let parts: Vec<_> = columns.iter().map(|column| cells[*column]).collect();
                        Cow::Owned(parts.join("::"))
                    }
                };
                match &values[..] {
                    [(column, _)] => row(&name, cells[*column])?,
                    values => {
                        for (column, of) in values {
                            row(&format!("{name}{of}"), cells[*column])?;
                        }
                    }
                }
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
