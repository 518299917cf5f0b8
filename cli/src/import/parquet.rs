//! Parquet to entries: a row group at a time, each row as the cells of a table.

use std::fs::File;

use jiff::Timestamp;
use parquet::basic::ConvertedType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::columns::{Columns, Layout};
use super::entry::Entry;

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
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema();
    let header: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let columns = Columns::new(&header, layout)?;
    let time = columns.time().filter(|column| {
        let kind = schema.get_fields()[*column].get_basic_info().converted_type();
        matches!(kind, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS)
    });
    if time.is_some() {
        row(Event::Milliseconds);
    }
    for values in reader.get_row_iter(None).map_err(unreadable)? {
        let values = values.map_err(unreadable)?;
        let cell = |(column, (_, field)): (usize, (&String, &Field))| match field {
            // A time after the year 9999 has no other form.
            Field::TimestampMillis(ms) if time == Some(column) => ms.to_string(),
            Field::TimestampMicros(us) if time == Some(column) => us.div_euclid(1000).to_string(),
            field => text(field),
        };
        let cells: Vec<String> = values.get_column_iter().enumerate().map(cell).collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let read = columns.entries(&cells, layout, &mut |entry| {
            row(Event::Entry(entry));
        });
        let raw = cells.join("\u{1f}");
        let (empty, bad) = match read {
            Ok(empty) => (empty, None),
            Err(why) => (0, Some(why)),
        };
        if !row(Event::End { raw: &raw, empty, bad }) {
            break;
        }
    }
    Ok(())
}

const NOT_READ: &str = "the Parquet file uses an encoding or compression that is not read; write it \
                        with zstd, snappy or gzip, or none";

/// Says in plain words why a file cannot be read.
fn unreadable(error: ParquetError) -> String {
    match error {
        ParquetError::External(error) if error.is::<std::io::Error>() => error.to_string(),
        ParquetError::NYI(_) => NOT_READ.to_owned(),
        ParquetError::General(why) if why.contains("Disabled feature") => NOT_READ.to_owned(),
        _ => "the Parquet file is damaged or cut off".to_owned(),
    }
}

/// What is read of a row.
pub(super) enum Event<'a> {
    /// Times are Unix milliseconds, whatever they look like.
    Milliseconds,
    Entry(Entry<'a>),
    End {
        raw: &'a str,
        empty: u64,
        bad: Option<String>,
    },
}

/// A field as the cell of a table: nothing is empty, text is itself, and all else is JSON or a
/// time of ISO 8601.
fn text(field: &Field) -> String {
    let time = |at: Result<Timestamp, jiff::Error>, number: i64| {
        at.map_or_else(|_| number.to_string(), |at| at.to_string())
    };
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::TimestampMillis(ms) => time(Timestamp::from_millisecond(*ms), *ms),
        Field::TimestampMicros(us) => time(Timestamp::from_microsecond(*us), *us),
        // The text of the type itself: JSON would round a f32 to the nearest f64 in 17 digits.
        Field::Float(number) if number.is_finite() => number.to_string(),
        Field::Double(number) if number.is_finite() => number.to_string(),
        Field::Float(_) | Field::Double(_) => "NaN".to_owned(),
        Field::Decimal(_) | Field::Date(_) | Field::TimeMillis(_) | Field::TimeMicros(_) => {
            field.to_string()
        }
        other => match other.to_json_value() {
            serde_json::Value::String(text) => text,
            value => value.to_string(),
        },
    }
}
