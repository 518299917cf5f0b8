//! Turns one line into a row.

use std::borrow::Cow;

use annals::{JsonText, PersistenceError, RecordName, Row};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of a line: `record` and `value` are required, `stored_at` is optional, others are
/// refused (a misspelt `storedAt` would silently become the time of the import).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    record: Cow<'a, str>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default, deserialize_with = "present")]
    stored_at: Option<u64>,
}

/// For a member that may be missing but not `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(deserializer).map(Some)
}

/// Parses one line of NDJSON; a blank one is not a row. The value's text is kept byte for byte.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn parse(line: &[u8], now_ms: u64) -> Result<Option<Row>, String> {
    let line = std::str::from_utf8(line)
        .map_err(|error| format!("it is not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() {
        return Ok(None);
    }
    // serde would read the members from an array as well.
    if !line.starts_with('{') {
        return Err("it is not a JSON object".to_owned());
    }
    let members: Members<'_> = serde_json::from_str(line).map_err(|error| explain(&error))?;
    row(&members.record, members.value.get(), members.stored_at.unwrap_or(now_ms)).map(Some)
}

/// Makes a row from three texts. Without a time it is stored as of now.
///
/// # Errors
/// What is wrong with them.
pub(super) fn of_texts(
    record: &str,
    value: &str,
    stored_at: Option<&str>,
    now_ms: u64,
) -> Result<Row, String> {
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let stored_at = match stored_at {
        None => now_ms,
        Some(text) => {
            Some(text).filter(digits).and_then(|text| text.parse().ok()).ok_or_else(|| {
                format!("stored_at is not a time in Unix milliseconds: \"{}\"", shown(text))
            })?
        }
    };
    row(record, value, stored_at)
}

fn row(record: &str, value: &str, stored_at: u64) -> Result<Row, String> {
    let row = || -> Result<Row, PersistenceError> {
        Ok(Row {
            record: RecordName::new(record)?,
            // The backend has the limit.
            value: JsonText::from_text(value, usize::MAX)?,
            stored_at,
        })
    };
    row().map_err(|error| match error {
        // The column in the message would count from the beginning of the value.
        PersistenceError::Serialization { source } => format!("the value: {}", bare(&source)),
        error => error.to_string(),
    })
}

/// The beginning of a text, safe to show.
fn shown(text: &str) -> String {
    text.chars().take(30).flat_map(char::escape_debug).collect()
}

fn explain(error: &serde_json::Error) -> String {
    format!("{} (column {})", bare(error), error.column())
}

/// The message without its position: serde_json counts lines too, and sees only this one.
fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str) -> Row {
        parse(line.as_bytes(), 77).unwrap().unwrap()
    }

    fn refusal(line: impl AsRef<[u8]>) -> String {
        parse(line.as_ref(), 77).unwrap_err()
    }

    #[test]
    fn the_text_of_a_value_is_kept_letter_for_letter() {
        for value in ["1.50e+02", "{ \"a\" : [ 1,2 ] }", "\"\\u00e9\\/\"", "null", "-0.0", "1E5"] {
            let row = row(&format!(r#"{{"record":"a","value": {value} ,"stored_at":5}}"#));
            assert_eq!(row.value.as_str(), value);
            assert_eq!((row.record.as_str(), row.stored_at), ("a", 5));
        }
    }

    #[test]
    fn members_come_in_any_order_and_without_a_time_it_is_now() {
        let row = row(" \t{\"value\":1,\"record\":\"a\\u0062\\n\"} \r");
        assert_eq!((row.record.as_str(), row.stored_at), ("ab\n", 77));
    }

    #[test]
    fn blank_lines_are_no_rows() {
        for line in ["", " ", "\r", "\t \r"] {
            assert_eq!(parse(line.as_bytes(), 77).unwrap(), None);
        }
    }

    #[test]
    fn every_other_line_is_refused_with_its_reason() {
        for (line, reason) in [
            (r#"["a",1,5]"#, "not a JSON object"),
            ("nonsense", "not a JSON object"),
            (r#"{"value":1}"#, "missing field `record`"),
            (r#"{"record":"a"}"#, "missing field `value`"),
            (r#"{"record":"a","value":1,"storedAt":5}"#, "unknown field `storedAt`"),
            (r#"{"record":"a","record":"b","value":1}"#, "duplicate field `record`"),
            (r#"{"record":"a","value":1,"value":1}"#, "duplicate field `value`"),
            (r#"{"record":7,"value":1}"#, "invalid type: integer `7`, expected a string"),
            (r#"{"record":null,"value":1}"#, "invalid type: null"),
            (r#"{"record":"a","value":1,"stored_at":null}"#, "invalid type: null, expected u64"),
            (r#"{"record":"a","value":1,"stored_at":"5"}"#, "invalid type: string"),
            (r#"{"record":"a","value":1,"stored_at":5.0}"#, "invalid type: floating point"),
            (r#"{"record":"a","value":1,"stored_at":-5}"#, "invalid value: integer `-5`"),
            (r#"{"record":"","value":1}"#, "it is empty"),
            (r#"{"record":"a*","value":1}"#, "reserved for patterns"),
            (r#"{"record":"a","value":1e999}"#, "number out of range"),
            (r#"{"record":"a","value":nul}"#, "expected"),
            (r#"{"record":"a","value":1"#, "EOF"),
            (r#"{"record":"a","value":1} {"record":"a","value":1}"#, "trailing characters"),
        ] {
            let refusal = refusal(line);
            assert!(refusal.contains(reason), "{line}: {refusal}");
            assert!(!refusal.contains("at line 1"), "{refusal}");
        }
        let deep = format!(r#"{{"record":"a","value":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(refusal(deep).contains("nested too deeply"));
        assert!(refusal(b"{\"record\":\"\xff\",\"value\":1}").contains("UTF-8 from byte 12"));
    }
}
