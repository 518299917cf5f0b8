//! Asks before something is deleted.

use std::io::{self, BufRead, Write};

use crate::failure::Failure;

/// Asks on stderr, since stdout carries the answer of the command.
pub(crate) fn confirmed(question: &str) -> Result<bool, Failure> {
    let unreadable = |error| Failure::Failed(format!("the answer cannot be read: {error}"));
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(unreadable)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
