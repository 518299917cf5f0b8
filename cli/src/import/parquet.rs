//! Parquet to entries: a row group at a time, each row as the cells of a table.

use std::fs::File;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::columns::{Columns, Layout};
use super::entry::Entry;
use super::numbers::Numbers;

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
    // The crate's reader of rows panics on intervals.
    let fields: Vec<_> =
        schema.get_fields().iter().filter(|field| !has_intervals(field)).cloned().collect();
    let left_out = fields.len() < schema.get_fields().len();
    let header: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let columns = Columns::new(&header, layout).map_err(|why| match left_out {
        true => format!("{why}\ncolumns of intervals are not read"),
        false => why,
    })?;
    let projection = match left_out {
        true => {
            let group = Type::group_type_builder(schema.name()).with_fields(fields.clone());
            Some(group.build().map_err(unreadable)?)
        }
        false => None,
    };
    let time = columns.time().filter(|column| {
        let kind = fields[*column].get_basic_info().converted_type();
        matches!(kind, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS)
    });
    let has_zone = |column: usize| {
        let kind = fields[column].get_basic_info().logical_type_ref();
        !matches!(kind, Some(LogicalType::Timestamp(kind)) if !kind.is_adjusted_to_u_t_c)
    };
    if time.is_some_and(has_zone) {
        row(Event::Milliseconds);
    }
    for values in reader.get_row_iter(projection).map_err(unreadable)? {
        let values = values.map_err(unreadable)?;
        let cell = |(column, (_, field)): (usize, (&String, &Field))| match field {
            // What a clock shows, without an offset.
            Field::TimestampMillis(ms) if !has_zone(column) => local(*ms),
            Field::TimestampMicros(us) if !has_zone(column) => local(us.div_euclid(1000)),
            // A time after the year 9999 has no other form.
            Field::TimestampMillis(ms) if time == Some(column) => ms.to_string(),
            Field::TimestampMicros(us) if time == Some(column) => us.div_euclid(1000).to_string(),
            field => text(field),
        };
        let cells: Vec<String> = values.get_column_iter().enumerate().map(cell).collect();
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let read = columns.entries(&cells, layout, &mut Numbers::default(), &mut |entry| {
            row(Event::Entry(entry));
        });
        for (column, name) in columns.may_be_times() {
            row(Event::Unused(name, cells[*column]));
        }
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

/// A time without an offset.
fn local(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).map(|at| TimeZone::UTC.to_datetime(at).to_string());
    at.unwrap_or_else(|_| ms.to_string())
}

/// Whether a field, or one within it, holds intervals.
fn has_intervals(field: &Type) -> bool {
    field.get_basic_info().converted_type() == ConvertedType::INTERVAL
        || (field.is_group() && field.get_fields().iter().any(|field| has_intervals(field)))
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
    /// The name and the cell of a column that may hold the times.
    Unused(&'a str, &'a str),
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
        Field::Float(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        Field::Decimal(_) | Field::Date(_) | Field::TimeMillis(_) | Field::TimeMicros(_) => {
            field.to_string()
        }
        other => match other.to_json_value() {
            serde_json::Value::String(text) => text,
            value => value.to_string(),
        },
    }
}
