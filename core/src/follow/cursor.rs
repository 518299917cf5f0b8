//! Where a follower is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::PersistenceError;
use crate::name::excerpt;

/// The place of a follower, as printable text: keep it anywhere and follow again from there.
///
/// It is opaque: only the backend that made it can read it. A cursor of another kind of store is
/// refused, but one of another store of the same kind cannot be told apart. The text has letters,
/// digits, `.` and `-`, some tens of bytes in the built-in engines.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(Arc<str>);

impl Cursor {
    /// A cursor of a backend's own making.
    ///
    /// # Errors
    /// [`InvalidCursor`](PersistenceError::InvalidCursor) for text with other characters than ASCII
    /// letters, digits, `.` and `-`, and for empty text.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, PersistenceError> {
        let text = text.into();
        if text.is_empty() {
            return Err(refused(&text, "it is empty"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)) {
            return Err(refused(&text, "it has characters that no cursor has"));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind of the store and the position, if the store numbers what arrives.
    pub fn position(&self) -> Option<(&str, Position)> {
        let (kind, _) = self.0.split_once('-')?;
        Some((kind, Position::parse(kind, self).ok()?))
    }

    /// The error that this cursor is of no use here.
    pub fn refuse(&self, reason: &'static str) -> PersistenceError {
        refused(&self.0, reason)
    }
}

fn refused(text: &str, reason: &'static str) -> PersistenceError {
    PersistenceError::InvalidCursor { cursor: excerpt(text), reason }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({})", self.0)
    }
}

impl FromStr for Cursor {
    type Err = PersistenceError;

    fn from_str(text: &str) -> Result<Self, PersistenceError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Cursor {
    type Error = PersistenceError;

    fn try_from(text: String) -> Result<Self, PersistenceError> {
        Self::new(text)
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0.as_ref().to_owned()
    }
}

/// What the cursor of a store says that numbers what arrives: the rows of one transaction have one
/// number, or each row has its own, and later rows have greater ones.
///
/// ```
/// # use annals_core::Position;
/// let position = Position { arrival: 7, ..Position::default() };
/// assert_eq!(Position::parse("mystore", &position.cursor("mystore")?)?, position);
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Everything that arrived under this number or a smaller one was delivered.
    pub arrival: u64,
    /// Rows with a smaller `stored_at` are not wanted.
    pub since: u64,
    /// Of what arrived under the next number, everything up to this row was delivered.
    pub within: Option<Within>,
}

/// A row among those that arrived under one number, which are ordered by record, then time, then
/// arrival. The order is that of ids, and `left` counts from the end, so that a cleanup, which
/// removes the oldest rows of a record, does not move the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within {
    /// The number under which it arrived.
    pub arrival: u64,
    /// The id of its record.
    pub record: u64,
    /// Its `stored_at`.
    pub stored_at: u64,
    /// How many rows with the same record and time follow it.
    pub left: u64,
}

impl Position {
    /// The cursor of this position, for a kind of store: `sqlite`, say.
    ///
    /// # Errors
    /// [`InvalidCursor`](PersistenceError::InvalidCursor) if the kind has other characters than ASCII
    /// letters and digits.
    pub fn cursor(&self, kind: &str) -> Result<Cursor, PersistenceError> {
        let mut text = format!("{kind}-{}-{}", self.arrival, self.since);
        if let Some(Within { arrival, record, stored_at, left }) = self.within {
            text += &format!("-{arrival}-{record}-{stored_at}-{left}");
        }
        Cursor::new(text)
    }

    /// Reads a cursor of that kind of store.
    ///
    /// # Errors
    /// [`InvalidCursor`](PersistenceError::InvalidCursor) if it is of another kind.
    pub fn parse(kind: &str, cursor: &Cursor) -> Result<Self, PersistenceError> {
        let of_another = || cursor.refuse("it was made by another kind of store");
        let numbers = cursor.as_str().strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        let numbers: Vec<u64> = numbers
            .ok_or_else(of_another)?
            .split('-')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| of_another())?;
        match numbers[..] {
            [arrival, since] => Ok(Self { arrival, since, within: None }),
            [arrival, since, number, record, stored_at, left] if number > arrival => {
                let within = Some(Within { arrival: number, record, stored_at, left });
                Ok(Self { arrival, since, within })
            }
            _ => Err(of_another()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_and_others_are_refused() {
        let within = Within { arrival: 8, record: 3, stored_at: 1_740_081_234_000, left: 2 };
        let whole = Position { arrival: 7, since: 5, within: None };
        for position in [Position::default(), whole, Position { within: Some(within), ..whole }] {
            let cursor = position.cursor("sqlite").unwrap();
            let read: Cursor = cursor.to_string().parse().unwrap();
            assert_eq!(Position::parse("sqlite", &read).unwrap(), position);
            assert!(Position::parse("sql", &read).is_err());
            assert!(Position::parse("redb", &read).is_err());
        }
        for text in ["sqlite", "sqlite-1", "sqlite-1-x", "sqlite-9-0-9-1-1-1", "sqlite-1-2-3"] {
            assert!(Position::parse("sqlite", &text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_cursor_is_refused_in_json_too() {
        for text in ["", "a b", "ü", "a\n", "a/b"] {
            let refused = text.parse::<Cursor>();
            assert!(matches!(refused, Err(PersistenceError::InvalidCursor { .. })), "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Cursor>(&json).is_err(), "{text:?}");
        }
        let cursor: Cursor = "sqlite-1-2".parse().unwrap();
        assert_eq!(serde_json::to_string(&cursor).unwrap(), "\"sqlite-1-2\"");
    }
}
