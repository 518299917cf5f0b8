//! Text that is safe on a terminal: no character moves the cursor or hides or reorders other text.
//! Unsafe characters become JSON escapes.

use std::fmt::Write;

/// A record name: as it is if it is unambiguous, otherwise as a JSON string in quotes.
pub(crate) fn shown_name(name: &str) -> String {
    let plain = !name.starts_with(['"', ' ']) && !name.ends_with(' ');
    if plain && !name.chars().any(is_unsafe) {
        return name.to_owned();
    }
    // Strings always serialize.
    shown_value(&serde_json::to_string(name).unwrap_or_default())
}

/// A message on one line.
pub(crate) fn shown_message(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    for c in message.chars() {
        match is_unsafe(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// JSON text on one line. The value stays the same: unsafe characters are either line breaks and
/// tabs between tokens, or inside strings, where an escape means the same.
pub(crate) fn shown_value(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.push(' '),
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Control characters, line separators, and invisible and directional characters of Unicode. The
/// joiners U+200C and U+200D are safe: scripts and emoji need them.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_bare_and_odd_ones_quoted() {
        for name in ["host::cpu::0", "a b", "naïve", "مرحبا", "👩‍👧", "back\\slash", "it's"]
        {
            assert_eq!(shown_name(name), name);
        }
        assert_eq!(shown_name("a\nb"), r#""a\nb""#);
        assert_eq!(shown_name("\x1b[2J"), r#""\u001b[2J""#);
        assert_eq!(shown_name("\u{9b}2J"), r#""\u009b2J""#);
        assert_eq!(shown_name("\u{7f}"), r#""\u007f""#);
        assert_eq!(shown_name("abc\u{202e}txt"), r#""abc\u202etxt""#);
        assert_eq!(shown_name("\u{e0041}"), r#""\udb40\udc41""#);
        assert_eq!(shown_name(" lead"), r#"" lead""#);
        assert_eq!(shown_name("trail "), r#""trail ""#);
        assert_eq!(shown_name("\"quoted\""), r#""\"quoted\"""#);
    }

    #[test]
    fn a_value_is_shown_as_the_same_json_on_one_line() {
        let json = "{\n\t\"a\\n\":\"\u{202e}\u{e0041}\u{7f}é\"}";
        let shown = shown_value(json);
        assert_eq!(shown, "{  \"a\\n\":\"\\u202e\\udb40\\udc41\\u007fé\"}");
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
