//! A file that says how far a follower came.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use annals::{Cursor, PersistenceError};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::grammar::Grammar;

/// The file, and what is followed: a cursor goes with its pattern.
#[derive(Debug)]
pub(crate) struct CursorFile {
    path: PathBuf,
    pattern: String,
    grammar: Grammar,
}

/// What the file has in it.
#[derive(Serialize, Deserialize)]
struct Content {
    cursor: Cursor,
    pattern: String,
    grammar: Grammar,
}

impl CursorFile {
    pub(crate) fn new(path: &Path, pattern: &str, grammar: Grammar) -> Self {
        Self { path: path.to_owned(), pattern: pattern.to_owned(), grammar }
    }

    /// The cursor, if there is a file.
    pub(crate) fn read(&self) -> Result<Option<Cursor>, Failure> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("cannot be read", &error)),
        };
        let content: Content = serde_json::from_str(&text).map_err(|_| {
            Failure::Failed(format!(
                "{} is no file of a cursor; name another, or remove it to begin anew",
                self.path.display()
            ))
        })?;
        if (content.pattern.as_str(), content.grammar) != (&self.pattern, self.grammar) {
            return Err(Failure::Usage(format!(
                "{} goes with the pattern {:?} ({}); name another file for another pattern",
                self.path.display(),
                content.pattern,
                content.grammar.name(),
            )));
        }
        Ok(Some(content.cursor))
    }

    /// Replaces the file at once: whenever the machine stops, it has the old cursor or this one.
    pub(crate) fn replace(&self, cursor: &Cursor) -> Result<(), Failure> {
        let replaced = || {
            let (pattern, grammar) = (self.pattern.clone(), self.grammar);
            let content = Content { cursor: cursor.clone(), pattern, grammar };
            let mut new = self.path.as_os_str().to_owned();
            new.push(".new");
            let new = PathBuf::from(new);
            let mut file = File::create(&new)?;
            serde_json::to_writer(&mut file, &content)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        replaced().map_err(|error| self.failed("cannot be written", &error))
    }

    /// Says what to do with the file if its cursor is of no use.
    pub(crate) fn explain(&self, error: PersistenceError) -> Failure {
        match error {
            PersistenceError::AnotherHistory { .. } | PersistenceError::InvalidCursor { .. } => {
                Failure::Failed(format!("{error}; remove {} to do so", self.path.display()))
            }
            error => error.into(),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        Failure::Failed(format!("{} {what}: {error}", self.path.display()))
    }
}
