//! What the text of a cell means to an import, so that an export can write what is read back.

use annals::JsonText;

/// Whether an import reads a cell as the string that it shows. Other strings are written with the
/// quotes of JSON.
pub(crate) fn is_read_as_string(cell: &str, decimal_comma: bool) -> bool {
    let is_number = decimal_comma && from_decimal_comma(cell).is_some();
    !cell.is_empty() && cell.trim() == cell && !is_json(cell) && !is_number
}

/// Whether text that is not empty is a JSON value.
pub(crate) fn is_json(text: &str) -> bool {
    // Most cells are words or numbers: text that cannot begin a JSON value need not be parsed.
    match text.as_bytes()[0] {
        b'0'..=b'9' | b'-' | b'{' | b'[' | b'"' | b't' | b'f' | b'n' => {
            JsonText::from_text(text, usize::MAX).is_ok()
        }
        _ => false,
    }
}

/// A number with a decimal comma, and optional points, spaces or apostrophes between thousands.
pub(crate) fn from_decimal_comma(cell: &str) -> Option<String> {
    let (sign, digits) = match cell.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", cell),
    };
    let (digits, exponent) = match digits.find(['e', 'E']) {
        Some(at) => digits.split_at(at),
        None => (digits, ""),
    };
    let (whole, fraction) = match digits.split_once(',') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let power = exponent.trim_start_matches(['e', 'E']).trim_start_matches(['+', '-']);
    let is_power = !power.is_empty() && power.bytes().all(|b| b.is_ascii_digit());
    if !exponent.is_empty() && (fraction.is_none() || !is_power) {
        return None;
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let separator = whole.chars().find(|c| THOUSANDS.contains(c)).unwrap_or('.');
    let mut groups = whole.split(separator);
    let first = groups.next().filter(|first| is_number(first))?;
    let grouped = whole.contains(separator);
    if grouped
        && (first.len() > 3 || !groups.clone().all(|group| is_number(group) && group.len() == 3))
    {
        return None;
    }
    let whole: String = std::iter::once(first).chain(groups).collect();
    // As JSON has it, a number has no zeros before it.
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    match fraction {
        Some(fraction) if is_number(fraction) => {
            Some(format!("{sign}{whole}.{fraction}{exponent}"))
        }
        Some(_) => None,
        None => Some(format!("{sign}{whole}")),
    }
}

/// What stands between thousands where the comma is decimal.
pub(crate) const THOUSANDS: [char; 6] = ['.', ' ', '\u{a0}', '\u{202f}', '\'', '\u{2019}'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_quotes_comes_back_or_has_them() {
        for text in ["open", "21,5", "007", "TRUE", "a b"] {
            assert!(is_read_as_string(text, false), "{text}");
        }
        for text in ["", " a", "21.5", "true", "null", "{}", "\"x\"", "a\n"] {
            assert!(!is_read_as_string(text, false), "{text}");
        }
        assert!(!is_read_as_string("21,5", true));
    }
}
