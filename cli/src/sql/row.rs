//! A row of a result, for each format of output.

use std::borrow::Cow;

use annals::bytes::hexadecimal;
use rusqlite::types::Value;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::output::{Line, shown_value};

/// A row with the selected columns.
pub(super) struct SqlRow<'a> {
    pub(super) names: &'a [String],
    pub(super) values: Vec<Value>,
}

impl Serialize for SqlRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(&self.values) {
            match value {
                Value::Null => map.serialize_entry(name, &())?,
                Value::Integer(number) => map.serialize_entry(name, number)?,
                // JSON has no infinity; it becomes null.
                Value::Real(number) => map.serialize_entry(name, number)?,
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Blob(_) => map.serialize_entry(name, &field(value))?,
            }
        }
        map.end()
    }
}

impl Line for SqlRow<'_> {
    fn fields(&self) -> Vec<Cow<'_, str>> {
        self.values.iter().map(field).collect()
    }

    fn cells(&self) -> Vec<String> {
        self.values.iter().map(|value| shown_value(&field(value))).collect()
    }
}

/// A value as text: empty for NULL, hexadecimal digits for a blob.
fn field(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "".into(),
        Value::Integer(number) => number.to_string().into(),
        // With its decimal point: 5.0 is not an integer.
        Value::Real(number) => format!("{number:?}").into(),
        Value::Text(text) => text.into(),
        Value::Blob(bytes) => hexadecimal(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_has_a_form() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(5.0),
            Value::Real(f64::INFINITY),
            Value::Text("a\n\"\u{202e}".to_owned()),
            Value::Blob(vec![0, 0xff]),
        ];
        let names: Vec<String> = (0..values.len()).map(|column| format!("c{column}")).collect();
        let row = SqlRow { names: &names, values: values.to_vec() };
        let json: serde_json::Value = serde_json::to_value(&row).unwrap();
        let expected = serde_json::json!({
            "c0": null, "c1": i64::MIN, "c2": 5.0, "c3": null, "c4": "a\n\"\u{202e}", "c5": "00ff"
        });
        assert_eq!(json, expected);
        let fields = ["", "-9223372036854775808", "5.0", "inf", "a\n\"\u{202e}", "00ff"];
        assert_eq!(row.fields(), fields);
        assert_eq!(row.cells()[4], "a \"\\u202e");
    }
}
