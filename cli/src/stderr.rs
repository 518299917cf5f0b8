//! Messages on stderr. A closed stderr is ignored, and messages go above a live view.

use std::io::{self, Write};
use std::sync::RwLock;

use indicatif::MultiProgress;

use crate::screen::shown_message;

/// The live view that is on the terminal now.
static VIEW: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// Prints a line. What would act on a terminal, or hide or reorder text, is escaped.
pub(crate) fn print_note(line: &str) {
    let line = shown_message(line);
    write_above_view(format!("{line}\n").as_bytes());
}

/// The width that lines of a message are broken to.
const COLUMNS: usize = 80;

/// Prints a message of several lines: the first says what happened, the others what it means and
/// what to do. They are indented, and broken where they are longer than 80 columns.
pub(crate) fn print_lines(message: &str) {
    let mut text = String::new();
    for (index, line) in message.split('\n').enumerate() {
        let indent = if index == 0 { "" } else { "  " };
        text.push_str(indent);
        let mut width = indent.len();
        for (word_index, word) in shown_message(line).split(' ').enumerate() {
            let length = word.chars().count();
            if word_index > 0 && width + 1 + length > COLUMNS {
                text.push_str("\n  ");
                width = 2;
            } else if word_index > 0 {
                text.push(' ');
                width += 1;
            }
            text.push_str(word);
            width += length;
        }
        text.push('\n');
    }
    write_above_view(text.as_bytes());
}

/// Prints a line that begins with the program's name.
pub(crate) fn print_error(message: &str) {
    print_note(&format!("annals: {message}"));
}

/// Writes lines above the live view, if there is one.
pub(crate) fn write_above_view(lines: &[u8]) {
    // A closed stderr leaves nowhere to report to.
    let write = || drop(io::stderr().lock().write_all(lines));
    match VIEW.read().as_deref() {
        Ok(Some(view)) => view.suspend(write),
        _ => write(),
    }
}

/// While it lives, messages are printed above `view`.
#[derive(Debug)]
pub(crate) struct ViewGuard(());

impl ViewGuard {
    pub(crate) fn new(view: MultiProgress) -> Self {
        set(Some(view));
        Self(())
    }
}

impl Drop for ViewGuard {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(view: Option<MultiProgress>) {
    if let Ok(mut current) = VIEW.write() {
        *current = view;
    }
}
