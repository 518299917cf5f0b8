//! Text of inputs: its encoding, and how messages show it.

/// Ends every error about bytes that are not UTF-8.
pub(super) const NOT_UTF8: &str =
    "\nif it comes from an older Windows program, --encoding windows-1252 reads it";

/// Ends it where lines before have letters of UTF-8: the other encoding would read them wrongly.
pub(super) const MIXED: &str = ", unlike lines before it: the file mixes encodings";

/// The text of a line.
///
/// # Errors
/// The first byte that is not UTF-8.
pub(super) fn utf8(line: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(line).map_err(|error| {
        format!("it is not UTF-8 from byte {} on{NOT_UTF8}", error.valid_up_to() + 1)
    })
}

/// The beginning of a text, escaped for one line.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(40) {
        match c {
            '"' | '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}
