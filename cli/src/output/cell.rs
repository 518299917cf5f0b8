//! Cells of CSV for people: on a terminal and in a spreadsheet.

use std::borrow::Cow;

use super::locale::Locale;
use crate::screen::shown_message;

/// A cell for a spreadsheet. A number has the decimal sign of its language, and a text that would be
/// a formula begins with an apostrophe.
pub(super) fn for_spreadsheet<'a>(cell: &'a str, locale: Locale) -> Cow<'a, str> {
    if is_number(cell) {
        return match locale.decimal_point() {
            '.' => Cow::Borrowed(cell),
            point => Cow::Owned(cell.replace('.', &point.to_string())),
        };
    }
    match is_formula(cell) {
        true => Cow::Owned(format!("'{cell}")),
        false => Cow::Borrowed(cell),
    }
}

/// A cell for a terminal, from where it may be copied into a spreadsheet: no character moves the
/// cursor, hides or reorders text, and nothing is a formula.
pub(super) fn for_terminal(cell: &str) -> String {
    let mut shown = String::with_capacity(cell.len());
    if is_formula(cell) && !is_number(cell) {
        shown.push('\'');
    }
    shown.push_str(&shown_message(cell));
    shown
}

/// Whether a spreadsheet reads the text as a formula.
fn is_formula(text: &str) -> bool {
    // Blanks before it are passed over, also wide ones.
    text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n'])
}

/// Whether the text is a number of JSON.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_gets_numbers_and_no_formulas() {
        let german: Locale = "de".parse().unwrap();
        let english: Locale = "en".parse().unwrap();
        for (cell, de, en) in [
            ("-21.5", "-21,5", "-21.5"),
            ("1.5e-3", "1,5e-3", "1.5e-3"),
            ("=1+1", "'=1+1", "'=1+1"),
            ("+43 1", "'+43 1", "'+43 1"),
            ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)", "'@SUM(A1)"),
            (" =1", "' =1", "' =1"),
            ("\t=1", "'\t=1", "'\t=1"),
            ("1.2.3", "1.2.3", "1.2.3"),
            ("open", "open", "open"),
            ("", "", ""),
        ] {
            assert_eq!(for_spreadsheet(cell, german), de);
            assert_eq!(for_spreadsheet(cell, english), en);
        }
    }

    #[test]
    fn a_terminal_gets_nothing_that_acts() {
        assert_eq!(for_terminal("\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(for_terminal("a\u{202e}b\u{e0041}\r\n"), "a\\u{202e}b\\u{e0041}\\r\\n");
        assert_eq!(for_terminal("=1+1"), "'=1+1");
        assert_eq!(
            (for_terminal("-5"), for_terminal("grüße 👩‍👧")),
            ("-5".into(), "grüße 👩‍👧".into())
        );
    }
}
