//! JSON text enters; the scalars in it leave, and what stands between them.

use std::ops::Range;

/// The longest number that is certain to be finite.
const FINITE_BYTES: usize = 300;

/// The length of the JSON scalar that the text starts with. `None` if there is none, or one that a parser
/// may refuse: a number beyond `f64`, or half of a surrogate pair.
pub(super) fn scalar(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => string(text),
        b't' => text.starts_with(b"true").then_some(4),
        b'f' => text.starts_with(b"false").then_some(5),
        b'n' => text.starts_with(b"null").then_some(4),
        _ => number(text),
    }
}

fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += escape(&text[at + 1..])?,
            0..0x20 => return None,
            _ => {}
        }
        at += 1;
    }
}

/// The length of what follows a backslash.
fn escape(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => {
            let digits = text.get(1..5)?;
            let is_surrogate =
                matches!(digits, [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
            (digits.iter().all(u8::is_ascii_hexdigit) && !is_surrogate).then_some(5)
        }
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let whole = digits(start);
    if whole == 0 || (whole > 1 && text[start] == b'0') {
        return None;
    }
    let mut end = start + whole;
    if text.get(end) == Some(&b'.') {
        let decimals = digits(end + 1);
        end += 1 + decimals;
        if decimals == 0 {
            return None;
        }
    }
    let mut has_exponent = false;
    if let Some(b'e' | b'E') = text.get(end) {
        has_exponent = true;
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        end += 1 + sign + exponent;
        if exponent == 0 {
            return None;
        }
    }
    if has_exponent || end > FINITE_BYTES {
        let value: f64 = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
        return value.is_finite().then_some(end);
    }
    Some(end)
}

/// Finds the scalars in a JSON text; names of members are not among them. Returns whether the text was
/// understood, which does not make it valid: brackets and commas are not looked at.
pub(super) fn split(text: &str, scalars: &mut Vec<Range<usize>>) -> bool {
    scalars.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => {
                let Some(length) = scalar(&bytes[at..]) else { return false };
                if !(*byte == b'"' && is_name(&bytes[at + length..])) {
                    // Two scalars side by side.
                    if scalars.last().is_some_and(|last| last.end == at) {
                        return false;
                    }
                    scalars.push(at..at + length);
                }
                at += length;
            }
        }
    }
    !scalars.is_empty()
}

/// Whether the string before this text is the name of a member.
fn is_name(rest: &[u8]) -> bool {
    let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    next == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Vec<&str>> {
        let mut scalars = Vec::new();
        split(text, &mut scalars)
            .then(|| scalars.iter().map(|range| &text[range.clone()]).collect())
    }

    #[test]
    fn scalars_are_found_and_names_are_not() {
        assert_eq!(found("21.5"), Some(vec!["21.5"]));
        assert_eq!(
            found(r#"{"a":[1,-0.5e3,"x\"\u00e9"], "b" : {"c":null},"d":true}"#),
            Some(vec!["1", "-0.5e3", r#""x\"\u00e9""#, "null", "true"])
        );
        assert_eq!(found(r#"{"":"", "é":"é"}"#), Some(vec![r#""""#, r#""é""#]));
    }

    #[test]
    fn what_a_parser_may_refuse_is_not_understood() {
        for text in [
            "",
            "{}",
            "[]",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "1e999",
            "tru",
            "nul",
            "\"open",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\u12\"",
            "\"\u{1}\"",
            "truefalse",
            "1\"a\"",
            "NaN",
            "1-2",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        assert_eq!(found(&"9".repeat(400)), None);
        assert!(found(&"9".repeat(299)).is_some());
    }
}
