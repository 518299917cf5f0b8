//! The fields of Parquet as cells of a table.

use std::fmt::Write;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::record::Field;
use parquet::schema::types::Type;

/// The name of the first type in a column that cannot be read: the reader would panic.
pub(super) fn unread_type(kind: &Type) -> Option<String> {
    if !kind.is_primitive() {
        return kind.get_fields().iter().find_map(|field| unread_type(field));
    }
    use ConvertedType as C;
    let converted = kind.get_basic_info().converted_type();
    let read = match kind.get_physical_type() {
        Physical::BOOLEAN | Physical::INT96 | Physical::FLOAT | Physical::DOUBLE => true,
        Physical::INT32 => matches!(
            converted,
            C::NONE
                | C::INT_8
                | C::INT_16
                | C::INT_32
                | C::UINT_8
                | C::UINT_16
                | C::UINT_32
                | C::DATE
                | C::TIME_MILLIS
                | C::DECIMAL
        ),
        Physical::INT64 => matches!(
            converted,
            C::NONE
                | C::INT_64
                | C::UINT_64
                | C::TIME_MICROS
                | C::TIMESTAMP_MILLIS
                | C::TIMESTAMP_MICROS
                | C::DECIMAL
        ),
        Physical::BYTE_ARRAY => {
            matches!(converted, C::NONE | C::UTF8 | C::ENUM | C::JSON | C::BSON | C::DECIMAL)
        }
        Physical::FIXED_LEN_BYTE_ARRAY => matches!(converted, C::NONE | C::DECIMAL),
    };
    let name = match converted {
        C::NONE => kind.get_physical_type().to_string(),
        converted => converted.to_string(),
    };
    (!read).then_some(name)
}

/// What a column of timestamps counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Whether it counts from 1970 in UTC. Otherwise it is what a clock shows in an unknown zone.
    pub(super) utc: bool,
    ns: i128,
}

impl Stamp {
    pub(super) fn of(kind: &Type) -> Option<Self> {
        if !kind.is_primitive() {
            return None;
        }
        let of = |utc, ns| Some(Self { utc, ns });
        let info = kind.get_basic_info();
        match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::Timestamp(timestamp)), _) => {
                let utc = timestamp.is_adjusted_to_u_t_c;
                match timestamp.unit {
                    TimeUnit::MILLIS => of(utc, 1_000_000),
                    TimeUnit::MICROS => of(utc, 1_000),
                    TimeUnit::NANOS => of(utc, 1),
                }
            }
            // As the older annotations are defined.
            (_, ConvertedType::TIMESTAMP_MILLIS) => of(true, 1_000_000),
            (_, ConvertedType::TIMESTAMP_MICROS) => of(true, 1_000),
            // Read as milliseconds. The programs that write it convert to UTC.
            _ if kind.get_physical_type() == Physical::INT96 => of(true, 1_000_000),
            _ => None,
        }
    }

    /// A time for the reader of times: Unix milliseconds in UTC, or a date and a time of day.
    pub(super) fn time(self, field: &Field) -> String {
        match count(field) {
            None => String::new(),
            // A time after the year 9999 has no other form.
            Some(count) if self.utc => {
                (i128::from(count) * self.ns).div_euclid(1_000_000).to_string()
            }
            Some(count) => self.text(count),
        }
    }

    /// A time of ISO 8601, without an offset if none is known.
    fn text(self, count: i64) -> String {
        match Timestamp::from_nanosecond(i128::from(count) * self.ns) {
            Ok(at) if self.utc => at.to_string(),
            Ok(at) => at.to_zoned(TimeZone::UTC).datetime().to_string(),
            Err(_) => count.to_string(),
        }
    }
}

fn count(field: &Field) -> Option<i64> {
    match field {
        Field::TimestampMillis(count) | Field::TimestampMicros(count) | Field::Long(count) => {
            Some(*count)
        }
        _ => None,
    }
}

/// A field as the cell of a table: nothing is empty, text is itself, and all else is JSON or a
/// time of ISO 8601.
pub(super) fn text(field: &Field, kind: &Type) -> String {
    match scalar(field, Some(kind)) {
        Some(Scalar::Text(text)) => text,
        Some(Scalar::Json(json)) => json,
        None if *field == Field::Null => String::new(),
        None => {
            let mut json = String::new();
            write_json(&mut json, field, Some(kind));
            json
        }
    }
}

enum Scalar {
    Text(String),
    Json(String),
}

/// `None` for what has parts, and for nothing.
fn scalar(field: &Field, kind: Option<&Type>) -> Option<Scalar> {
    if let (Some(stamp), Some(count)) = (kind.and_then(Stamp::of), count(field)) {
        return Some(Scalar::Text(stamp.text(count)));
    }
    Some(match field {
        Field::Null | Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            return None;
        }
        Field::Str(text) => Scalar::Text(text.clone()),
        // The text of the type itself: JSON would round a f32 to the nearest f64 in 17 digits.
        Field::Float16(number) => number_of(f32::from(*number).into(), f32::from(*number)),
        Field::Float(number) => number_of((*number).into(), number),
        Field::Double(number) => number_of(*number, number),
        Field::Date(days) => Scalar::Text(date(*days)),
        // A whole number ends with its point.
        Field::Decimal(_) => Scalar::Text(field.to_string().trim_end_matches('.').to_owned()),
        Field::Bytes(bytes) if kind.is_some_and(is_uuid) => Scalar::Text(uuid(bytes.data())),
        Field::Bytes(_) => match field.to_json_value() {
            serde_json::Value::String(base64) => Scalar::Text(base64),
            other => Scalar::Json(other.to_string()),
        },
        Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Scalar::Text(field.to_string()),
        whole_or_bool => Scalar::Json(whole_or_bool.to_string()),
    })
}

/// What JSON has no number for is text, with the names of IEEE 754 as other programs write them.
fn number_of(value: f64, text: impl ToString) -> Scalar {
    match value {
        value if value.is_finite() => Scalar::Json(text.to_string()),
        value if value.is_nan() => Scalar::Text("NaN".to_owned()),
        value if value > 0.0 => Scalar::Text("Infinity".to_owned()),
        _ => Scalar::Text("-Infinity".to_owned()),
    }
}

fn date(days: i32) -> String {
    let since_1970 = Span::new().try_days(days);
    let day = since_1970.and_then(|days| Date::constant(1970, 1, 1).checked_add(days));
    day.map_or_else(|_| days.to_string(), |day| day.to_string())
}

fn is_uuid(kind: &Type) -> bool {
    kind.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid)
}

/// The usual form: 8-4-4-4-12 hexadecimal digits.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn write_json(json: &mut String, field: &Field, kind: Option<&Type>) {
    match (field, scalar(field, kind)) {
        (_, Some(Scalar::Json(number))) => json.push_str(&number),
        (_, Some(Scalar::Text(text))) => push_string(json, &text),
        (Field::Group(members), None) => {
            let members = members.get_column_iter().enumerate().map(|(at, (name, member))| {
                (name.clone(), member, kind.and_then(|kind| child(kind, at)))
            });
            write_object(json, members);
        }
        (Field::ListInternal(list), None) => {
            let kind = kind.map(element);
            json.push('[');
            for (at, element) in list.elements().iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                write_json(json, element, kind);
            }
            json.push(']');
        }
        (Field::MapInternal(map), None) => {
            let entry = kind.and_then(|kind| child(kind, 0));
            let (keys, values) = (entry.and_then(|e| child(e, 0)), entry.and_then(|e| child(e, 1)));
            let entries = map.entries().iter().map(|(key, value)| {
                let name = match scalar(key, keys) {
                    Some(Scalar::Text(name) | Scalar::Json(name)) => name,
                    None => key.to_json_value().to_string(),
                };
                (name, value, values)
            });
            write_object(json, entries);
        }
        _ => json.push_str("null"),
    }
}

fn write_object<'a>(
    json: &mut String,
    members: impl Iterator<Item = (String, &'a Field, Option<&'a Type>)>,
) {
    json.push('{');
    for (at, (name, member, kind)) in members.enumerate() {
        if at > 0 {
            json.push(',');
        }
        push_string(json, &name);
        json.push(':');
        write_json(json, member, kind);
    }
    json.push('}');
}

fn push_string(json: &mut String, text: &str) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

fn child(kind: &Type, at: usize) -> Option<&Type> {
    match kind.is_primitive() {
        true => None,
        false => kind.get_fields().get(at).map(|field| &**field),
    }
}

/// The type of the elements of a list: within its repeated group, if that has one field. Older
/// programs write the elements without that group.
fn element(list: &Type) -> &Type {
    if list.get_basic_info().converted_type() != ConvertedType::LIST {
        return list;
    }
    match child(list, 0) {
        Some(repeated) if !repeated.is_primitive() && repeated.get_fields().len() == 1 => {
            &repeated.get_fields()[0]
        }
        Some(repeated) => repeated,
        None => list,
    }
}
