//! Parquet to entries: a row group at a time, each row as the cells of a table. Only the columns that
//! rows are made of are read.

mod cell;

use std::fs::File;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::Type;

use super::columns::{Columns, Layout};
use super::entry::Entry;
use super::numbers::Numbers;
use super::text::shown;
use cell::{Stamp, unread_type};

/// Reads the rows of a file and hands on the entries of each. `row` is told when a row ends, with
/// its text, how many cells were empty, and what is wrong with it; it answers whether to go on.
///
/// # Errors
/// What cannot be read, for a person.
pub(super) fn rows(
    file: File,
    layout: &Layout,
    row: &mut dyn FnMut(Event<'_>) -> bool,
) -> Result<(), String> {
    if layout.style.decimal_comma {
        return Err(
            "Parquet has numbers, which have no comma; leave --decimal-comma out".to_owned()
        );
    }
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let mut chunks = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    // The reader panics at a place or a size below 0.
    let is_damaged = chunks.any(|chunk| {
        let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        begin < 0 || chunk.compressed_size() < 0
    });
    if is_damaged {
        return Err(DAMAGED.to_owned());
    }
    let schema = reader.metadata().file_metadata().schema();
    let fields = schema.get_fields();
    let header: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let columns = Columns::new(&header, layout)?;
    let needed = columns.needed();
    for column in &needed {
        if let Some(unread) = unread_type(&fields[*column]) {
            return Err(format!(
                "the column {} has the type {unread}, which is not read; name another column, or \
                 write it as text or a number",
                shown(header[*column])
            ));
        }
    }
    let stamp = columns.time().and_then(|column| Some((column, Stamp::of(&fields[column])?)));
    if let Some((_, stamp)) = stamp {
        row(Event::Timestamps { utc: stamp.utc });
    }
    // A NULL is no text that somebody could correct.
    let mut layout = layout.clone();
    layout.style.nulls.push(String::new());
    // Perhaps one of the others holds the times.
    let others = columns.may_be_times().iter();
    let others: Vec<_> =
        others.filter(|(column, _)| unread_type(&fields[*column]).is_none()).collect();
    let mut all = needed.clone();
    all.extend(others.iter().map(|(column, _)| *column));
    all.sort_unstable();
    all.dedup();
    let projection = Type::group_type_builder(schema.name())
        .with_fields(all.iter().map(|column| fields[*column].clone()).collect())
        .build()
        .map_err(unreadable)?;
    for values in reader.get_row_iter(Some(projection)).map_err(unreadable)? {
        let values = values.map_err(unreadable)?;
        let mut cells = vec![String::new(); header.len()];
        for (column, (_, field)) in all.iter().zip(values.get_column_iter()) {
            cells[*column] = match stamp {
                Some((time, stamp)) if time == *column => stamp.time(field),
                _ => cell::text(field, &fields[*column]),
            };
        }
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let read = columns.entries(&cells, &layout, &mut Numbers::default(), &mut |entry| {
            row(Event::Entry(entry));
        });
        for (column, name) in &others {
            row(Event::Unused(name, cells[*column]));
        }
        let raw: Vec<&str> = needed.iter().map(|column| cells[*column]).collect();
        let (empty, bad) = match read {
            Ok(empty) => (empty, None),
            Err(why) => (0, Some(why)),
        };
        if !row(Event::End { raw: &raw.join("\u{1f}"), empty, bad }) {
            break;
        }
    }
    Ok(())
}

const NOT_READ: &str = "the Parquet file uses an encoding or compression that is not read; write it \
                        with zstd, snappy or gzip, or none";

const DAMAGED: &str = "the Parquet file is damaged or cut off";

/// Says in plain words why a file cannot be read.
fn unreadable(error: ParquetError) -> String {
    match error {
        ParquetError::External(error) if error.is::<std::io::Error>() => error.to_string(),
        ParquetError::NYI(_) => NOT_READ.to_owned(),
        ParquetError::General(why) if why.contains("Disabled feature") => NOT_READ.to_owned(),
        _ => DAMAGED.to_owned(),
    }
}

/// What is read of a row.
pub(super) enum Event<'a> {
    /// Times are timestamps by their type: Unix milliseconds, or dates and times without an offset.
    Timestamps {
        utc: bool,
    },
    Entry(Entry<'a>),
    /// The name and the cell of a column that may hold the times.
    Unused(&'a str, &'a str),
    End {
        raw: &'a str,
        empty: u64,
        bad: Option<String>,
    },
}
