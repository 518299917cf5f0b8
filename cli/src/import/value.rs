//! Turns text into JSON values, and explains mistakes in JSON.

use std::borrow::Cow;

use annals::{JsonText, PersistenceError};
use serde_json::error::Category;

use super::numbers::Numbers;
use super::text::shown;
use crate::cell::{from_decimal_comma, is_json};

/// How the text of a cell is read.
#[derive(Debug, Clone, Default)]
pub(super) struct CellStyle {
    /// Whether text that is not JSON becomes a JSON string. Otherwise it is refused.
    pub(super) text: bool,
    /// `21,5` is 21.5, and `1.234,5` is 1234.5.
    pub(super) decimal_comma: bool,
    /// Texts that stand for an empty cell.
    pub(super) nulls: Vec<String>,
}

impl CellStyle {
    /// The value of a cell; `None` for an empty one. The numbers among the cells are counted.
    pub(super) fn value<'a>(
        &self,
        cell: &'a str,
        numbers: &mut Numbers,
    ) -> Result<Option<Cow<'a, str>>, String> {
        let bare = cell.trim();
        if self.nulls.iter().any(|null| null == bare) {
            return Ok(None);
        }
        if !self.text {
            return Ok(Some(Cow::Borrowed(cell)));
        }
        let cell = bare;
        if cell.is_empty() {
            return Ok(None);
        }
        if self.decimal_comma
            && let Some(number) = from_decimal_comma(cell)
        {
            numbers.see_grouped(cell);
            return Ok(Some(Cow::Owned(number)));
        }
        if is_json(cell) {
            numbers.see_json(cell);
            return Ok(Some(Cow::Borrowed(cell)));
        }
        numbers.see_text(cell);
        serde_json::to_string(cell).map(|text| Some(Cow::Owned(text))).map_err(|e| e.to_string())
    }
}

/// Checks the text of a value and keeps it letter for letter.
///
/// # Errors
/// What is wrong with it.
pub(super) fn checked(text: &str, help: &str) -> Result<JsonText, String> {
    // How large a value may be is up to the backend.
    JsonText::from_text(text, usize::MAX).map_err(|error| match error {
        PersistenceError::Serialization { .. } => mistake(text, help),
        error => error.to_string(),
    })
}

/// Explains what is wrong with text that should be JSON. `help` names the option that stores it as
/// it is.
pub(super) fn mistake(text: &str, help: &str) -> String {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return "the value is empty\na missing value is written as null".to_owned();
    }
    if !help.is_empty() && trimmed.contains(',') && from_decimal_comma(trimmed).is_some() {
        return format!(
            "the value {} is not JSON\n--decimal-comma reads it as a number{help}",
            shown(trimmed)
        );
    }
    let error = match serde_json::from_str::<serde_json::Value>(trimmed) {
        Ok(_) => return format!("the value {} cannot be read back", shown(trimmed)),
        Err(error) => error,
    };
    let text_of_error = error.to_string();
    let is_word = trimmed.chars().all(|c| c.is_alphanumeric() || "_-+. ".contains(c));
    if is_word {
        if text_of_error.starts_with("number out of range") {
            return format!("the number {} is too large to be read back", shown(trimmed));
        }
        let hint = hint(trimmed).map_or(String::new(), |hint| format!("\n{hint}"));
        return format!("the value {} is not JSON{hint}{help}", shown(trimmed));
    }
    // A word in the middle, as Python writes it.
    let rest = trimmed.get(error.column().saturating_sub(1)..).unwrap_or_default();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    if error.line() == 1
        && let Some(hint) = hint(&rest[..end])
    {
        let word = &rest[..end];
        return format!("the value {} is not JSON: it has {word}\n{hint}{help}", shown(trimmed));
    }
    let column = format!(" at byte {} of the value", error.column());
    let why = match error.classify() {
        Category::Eof if trimmed.starts_with('"') => "its string has no closing quote".to_owned(),
        Category::Eof => "it ends before it is complete".to_owned(),
        _ if text_of_error.starts_with("number out of range") => {
            format!("a number in it is too large to be read back{column}")
        }
        _ if trimmed.starts_with('\'') || trimmed.contains("':") => {
            "JSON has double quotes around strings and names".to_owned()
        }
        _ if text_of_error.starts_with("trailing comma") => format!("a comma too many{column}"),
        _ if text_of_error.starts_with("trailing characters") => {
            format!("something follows the value{column}")
        }
        _ if text_of_error.starts_with("control character") => {
            format!("a string holds a raw control character{column}; JSON writes \\n or \\u0007")
        }
        _ if text_of_error.contains("escape") || text_of_error.contains("surrogate") => {
            format!("a \\ sequence that JSON does not have{column}")
        }
        _ => format!("it goes wrong{column}"),
    };
    format!("the value {} is not JSON: {why}{help}", shown(trimmed))
}

/// What JSON writes instead of a word of other languages.
fn hint(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "true" => "JSON writes true",
        "false" => "JSON writes false",
        "nan" | "inf" | "-inf" | "infinity" | "-infinity" => {
            "JSON has no such number, null stands for a missing one"
        }
        "null" | "none" | "nil" | "undefined" => "JSON writes null",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cell: &str) -> Option<String> {
        CellStyle { text: true, ..CellStyle::default() }
            .value(cell, &mut Numbers::default())
            .unwrap()
            .map(Cow::into_owned)
    }

    #[test]
    fn cells_are_numbers_words_or_nothing() {
        for cell in ["21.5", "-3", "true", "null", "1e5", "{\"a\":1}", "\"x\""] {
            assert_eq!(text(cell).as_deref(), Some(cell));
        }
        for cell in ["unavailable", "on", "TRUE", "NaN", "007", "+5", ".5", "1,5", "10:30", "{a"] {
            assert_eq!(text(cell), Some(serde_json::to_string(cell).unwrap()));
        }
        assert_eq!(text("  "), None);
        assert_eq!(text(" 21.5 ").as_deref(), Some("21.5"));
    }

    #[test]
    fn a_decimal_comma_is_a_point_and_points_group_thousands() {
        let style = CellStyle { text: true, decimal_comma: true, nulls: vec!["NULL".to_owned()] };
        for (cell, value) in [
            ("21,5", "21.5"),
            ("-0,25", "-0.25"),
            ("1.234,5", "1234.5"),
            ("1.234.567", "1234567"),
            ("12", "12"),
            ("1.23", "1.23"),
            ("1 234,5", "1234.5"),
            ("-1\u{202f}234\u{202f}567,25", "-1234567.25"),
            ("1'234", "1234"),
            ("1,50E+03", "1.50E+03"),
            ("1,5e", "\"1,5e\""),
            ("5e3", "5e3"),
            ("1 2.345", "\"1 2.345\""),
            ("1,2,3", "\"1,2,3\""),
            ("12.34,5", "\"12.34,5\""),
            ("007,5", "\"007,5\""),
            ("an, aus", "\"an, aus\""),
        ] {
            assert_eq!(
                style.value(cell, &mut Numbers::default()).unwrap().unwrap(),
                value,
                "{cell}"
            );
        }
        assert_eq!(style.value(" NULL ", &mut Numbers::default()).unwrap(), None);
    }

    #[test]
    fn mistakes_are_said_in_plain_words() {
        for (text, words) in [
            ("unavailable", "the value unavailable is not JSON\n--text"),
            ("TRUE", "JSON writes true"),
            ("NaN", "JSON has no such number"),
            ("None", "JSON writes null"),
            ("", "the value is empty"),
            ("{\"a\":1", "it ends before it is complete"),
            ("\"abc", "no closing quote"),
            ("{'a':1}", "double quotes"),
            ("{\"a\":True}", "it has True\nJSON writes true"),
            ("[1,NaN]", "it has NaN\nJSON has no such number"),
            ("[1,]", "a comma too many"),
            ("{} {}", "something follows the value"),
            ("\"\\q\"", "a \\ sequence"),
            ("1e999", "too large"),
            ("21,5", "--decimal-comma reads it as a number\n--text"),
            ("1.234,5", "--decimal-comma"),
        ] {
            let mistake = mistake(text, "\n--text stores it as a string");
            assert!(mistake.contains(words), "{text}: {mistake}");
            for jargon in ["expected", "EOF", "line 1"] {
                assert!(!mistake.contains(jargon), "{mistake}");
            }
        }
    }
}
