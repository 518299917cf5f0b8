//! Reads InfluxDB line protocol: the record of a line is the measurement with its tags, and the
//! value is an object of the fields.

use influxdb_line_protocol::{FieldValue, ParsedLine, parse_lines};
use serde_json::{Map, Number, Value};

use super::entry::Entry;

/// Whether a line looks like line protocol.
pub(super) fn is_line(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| matches!(one(line), Ok(Some(_))))
}

fn one(line: &str) -> Result<Option<ParsedLine<'_>>, String> {
    let mut lines = parse_lines(line);
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(Ok(line)), None) => Ok(Some(line)),
        (Some(Ok(_)), Some(_)) => Err("it holds more than one line".to_owned()),
        (Some(Err(_)), _) => Err("it is not measurement,tag=… field=… time".to_owned()),
    }
}

/// Reads a line; a comment or a blank line has no row. `cpu,host=a,core=1 usage=2.5 17…` is the
/// record `cpu::core=1::host=a` with the value `{"usage":2.5}`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(line: &str) -> Result<Option<Entry<'static>>, String> {
    let Some(line) = one(line)? else { return Ok(None) };
    let mut record = line.series.measurement.to_string();
    let mut tags: Vec<(String, String)> = line
        .series
        .tag_set
        .iter()
        .flatten()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    // The tags of one series may come in any order.
    tags.sort();
    for (key, value) in tags {
        record.push_str("::");
        record.push_str(&key);
        record.push('=');
        record.push_str(&value);
    }
    let mut fields = Map::new();
    for (key, value) in &line.field_set {
        let value = match value {
            FieldValue::I64(value) => Value::from(*value),
            FieldValue::U64(value) => Value::from(*value),
            FieldValue::F64(value) => Value::Number(
                Number::from_f64(*value).ok_or_else(|| format!("the field {key} is no number"))?,
            ),
            FieldValue::String(value) => Value::from(value.as_str()),
            FieldValue::Boolean(value) => Value::from(*value),
        };
        fields.insert(key.to_string(), value);
    }
    let mut value = Value::Object(fields);
    // One order, whichever a line has.
    value.sort_all_objects();
    Ok(Some(Entry {
        record: record.into(),
        value: value.to_string().into(),
        time: line.timestamp.map(|time| time.to_string().into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_row_of_its_series() {
        let entry =
            parse("cpu,host=a\\ b,core=1 usage=2.5,n=3i,ok=t,s=\"x y\" 1740081234567000000")
                .unwrap()
                .unwrap();
        assert_eq!(entry.record, "cpu::core=1::host=a b");
        let value: Value = serde_json::from_str(&entry.value).unwrap();
        assert_eq!(value, serde_json::json!({"usage": 2.5, "n": 3, "ok": true, "s": "x y"}));
        assert_eq!(entry.time.unwrap(), "1740081234567000000");
        assert!(parse("# a comment").unwrap().is_none());
        assert_eq!(parse("m v=1").unwrap().unwrap().time, None);
        assert!(parse("cpu").unwrap_err().contains("measurement,tag="));
    }
}
