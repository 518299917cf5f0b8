//! Words to the person, on stderr, that never break the program: stderr may be closed, and a live
//! view may be standing there.

use std::io::{self, Write};
use std::sync::RwLock;

use indicatif::MultiProgress;

/// The view that stands on the terminal now.
static VIEW: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// Prints a line above the live view, if there is one. Control characters are shown, not sent.
pub(crate) fn say(line: &str) {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect();
    write_above_view(format!("{line}\n").as_bytes());
}

/// Prints a line that begins with the program's name: what went wrong.
pub(crate) fn complain(message: &str) {
    say(&format!("annals: {message}"));
}

/// Writes lines above the live view, if there is one.
pub(crate) fn write_above_view(lines: &[u8]) {
    // There is nobody left to tell when stderr is closed.
    let write = || drop(io::stderr().lock().write_all(lines));
    match VIEW.read().as_deref() {
        Ok(Some(view)) => view.suspend(write),
        _ => write(),
    }
}

/// While this lives, lines go above `view` instead of through it.
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
