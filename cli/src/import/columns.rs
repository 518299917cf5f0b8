//! The columns of a table: which of them are the parts of a row.

use std::borrow::Cow;

use super::entry::Entry;
use super::text::shown;
use super::value::CellStyle;
use crate::output::counted;

/// The options for tables.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) delimiter: Option<u8>,
    pub(super) style: CellStyle,
    /// The record of all rows, instead of a column.
    pub(super) constant: Option<String>,
    /// The columns whose cells, joined by `::`, are the name of the record.
    pub(super) record: Vec<String>,
    pub(super) value: Option<String>,
    pub(super) time: Option<String>,
    /// The prefix of record names, for a table with a time column and a record for each other column.
    pub(super) wide: Option<String>,
}

impl Layout {
    /// Whether no option names a column, so that the columns are annals' own.
    pub(super) fn is_own(&self) -> bool {
        self.constant.is_none()
            && self.record.is_empty()
            && self.value.is_none()
            && self.time.is_none()
            && self.wide.is_none()
    }

    /// Which cells become which parts of rows: the same text for options with the same meaning.
    pub(super) fn fingerprint(&self) -> String {
        let lower = |name: &Option<String>, own: &str| {
            name.as_ref().map_or(own.to_owned(), |name| name.trim().to_lowercase())
        };
        let record: Vec<_> = match &self.record[..] {
            [] => vec!["record".to_owned()],
            names => names.iter().map(|name| name.trim().to_lowercase()).collect(),
        };
        let (value, time) = (lower(&self.value, "value"), lower(&self.time, "stored_at"));
        format!("{:?} {record:?} {value:?} {time:?} {:?}", self.constant, self.wide)
    }
}

/// The positions of the columns.
#[derive(Debug)]
pub(super) struct Columns {
    count: usize,
    time: Option<usize>,
    rows: Rows,
    /// Columns of a wide table that are left out because they have no name.
    unnamed: usize,
}

#[derive(Debug)]
enum Rows {
    /// One row per line. Without a column, the record is the layout's constant.
    Long { record: Vec<usize>, value: usize },
    /// One row per cell: the columns and their records.
    Wide(Vec<(usize, String)>),
}

impl Columns {
    /// How many cells a record has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The column with the times.
    #[cfg(feature = "parquet")]
    pub(super) fn time(&self) -> Option<usize> {
        self.time
    }

    /// The columns that rows are made of, in the order of the table.
    #[cfg(feature = "parquet")]
    pub(super) fn needed(&self) -> Vec<usize> {
        let mut needed: Vec<usize> = match &self.rows {
            Rows::Long { record, value } => record.iter().chain([value]).copied().collect(),
            Rows::Wide(records) => records.iter().map(|(column, _)| *column).collect(),
        };
        needed.extend(self.time);
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
        format!(", {}{unnamed}", counted(records.len() as u64, "record"))
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
                    "the header has no column {}; it has {}. Name another with {option}",
                    shown(name),
                    listed()
                )
            })?;
            match header.iter().filter(|other| other.trim() == header[column].trim()).count() {
                1 => Ok(column),
                _ => Err(format!("two columns are called {}; rename one", shown(name))),
            }
        };
        let count = header.len();
        if let Some(prefix) = &layout.wide {
            let time = match &layout.time {
                Some(name) => required("--time-column", name)?,
                // An index has no name in what pandas writes.
                None => TIME_NAMES.iter().chain(&[""]).find_map(|name| find(name)).ok_or_else(|| {
                    format!(
                        "none of the columns {} is called time, timestamp, date or the like; name \
                         it with --time-column",
                        listed()
                    )
                })?,
            };
            let (mut records, mut unnamed): (Vec<(usize, String)>, _) = (Vec::new(), 0);
            for (column, name) in header.iter().enumerate().filter(|(column, _)| *column != time) {
                let name = name.trim();
                // The number of a row, or what stands behind a delimiter at the end.
                if name.is_empty() {
                    unnamed += 1;
                    continue;
                }
                let record = format!("{prefix}{name}");
                annals::RecordName::new(record.as_str()).map_err(|error| error.to_string())?;
                if records.iter().any(|(_, other)| *other == record) {
                    return Err(format!("two columns are called {}; rename one", shown(name)));
                }
                records.push((column, record));
            }
            return Ok(Self { count, time: Some(time), rows: Rows::Wide(records), unnamed });
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
                    let rows = Rows::Long { record: vec![record], value };
                    Ok(Self { count, time, rows, unnamed: 0 })
                }
                _ => Err(format!(
                    "the header has the columns {}, where record, value and stored_at are needed. \
                     Say which is which with --record-column, --value-column and --time-column \
                     (--record NAME if there is one record only), or use --columns wide if each \
                     column is a record{}",
                    listed(),
                    if count == 1 { FURTHER_DOWN } else { "" }
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
        let value = required("--value-column", layout.value.as_deref().unwrap_or("value"))?;
        let time = match &layout.time {
            Some(name) => Some(required("--time-column", name)?),
            None => find("stored_at"),
        };
        Ok(Self { count, time, rows: Rows::Long { record, value }, unnamed: 0 })
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
                let cell = cells[*value];
                let blank = record.iter().position(|column| cells[*column].trim().is_empty());
                // A line without a value has no row, and needs no name.
                if let Some(blank) = blank.filter(|_| !layout.is_own())
                    && layout.style.value(cell)?.is_some()
                {
                    let name = layout.record.get(blank).map_or("record", String::as_str);
                    return Err(format!(
                        "it has nothing in the column {}, which names the record",
                        shown(name)
                    ));
                }
                match &record[..] {
                    [] => row(layout.constant.as_deref().unwrap_or_default(), cell)?,
                    [column] => row(cells[*column], cell)?,
                    columns => {
                        let parts: Vec<_> = columns.iter().map(|column| cells[*column]).collect();
                        row(&parts.join("::"), cell)?;
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

const FURTHER_DOWN: &str = ". If the table begins further down, pass over what stands before it: \
                            tail -n +LINE FILE | annals import";

/// The names, in any case, of the time column of a wide table.
const TIME_NAMES: [&str; 8] =
    ["stored_at", "time", "timestamp", "datetime", "date", "ts", "last_changed", "_time"];
