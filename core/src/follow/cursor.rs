//! Where a follower is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::PersistenceError;
use crate::error::excerpt;

/// The place of a follower, as printable text: keep it anywhere and follow again from there.
///
/// It is opaque: only the backend that made it can read it. A cursor of another kind of store is
/// refused, and so is one of another history, where the store claims
/// [`complete_follow`](crate::Guarantees::complete_follow). The text has letters, digits, `.` and `-`,
/// some tens of bytes in the built-in engines.
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

    /// The error that this cursor was taken in another history.
    pub fn of_another_history(&self) -> PersistenceError {
        PersistenceError::AnotherHistory { cursor: excerpt(&self.0) }
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
/// let (kind, history) = ("mystore", 0x5eed);
/// let position = Position { history, arrival: 7, ..Position::default() };
/// let cursor = position.cursor(kind)?;
/// assert_eq!(Position::resume(kind, history, &cursor)?, position);
/// assert!(Position::resume(kind, 0xbad, &cursor).is_err());
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The identity of the history: a random number that a store gets when it is created, and a new one
    /// when it is restored from a backup, because numbers are then given a second time.
    pub history: u64,
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
        let Self { history, arrival, since, .. } = self;
        let mut text = format!("{kind}-{history:016x}-{arrival}-{since}");
        if let Some(Within { arrival, record, stored_at, left }) = self.within {
            text += &format!("-{arrival}-{record}-{stored_at}-{left}");
        }
        Cursor::new(text)
    }

    /// Reads a cursor of that kind of store, which may be of another history.
    ///
    /// # Errors
    /// [`InvalidCursor`](PersistenceError::InvalidCursor) if it is of another kind.
    pub fn parse(kind: &str, cursor: &Cursor) -> Result<Self, PersistenceError> {
        let of_another = || cursor.refuse("it was made by another kind of store");
        let parts = cursor.as_str().strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        let parts: Vec<&str> = parts.ok_or_else(of_another)?.split('-').collect();
        let number = |text: &&str| text.parse().map_err(|_| of_another());
        let [history, numbers @ ..] = &parts[..] else { return Err(of_another()) };
        if matches!(parts.len(), 2 | 6) {
            parts.iter().try_for_each(|part| number(part).map(|_: u64| ()))?;
            return Err(
                cursor.refuse("an earlier release made it, without the identity of the history")
            );
        }
        if history.len() != IDENTITY_DIGITS {
            return Err(of_another());
        }
        let history = u64::from_str_radix(history, 16).map_err(|_| of_another())?;
        let numbers: Vec<u64> = numbers.iter().map(number).collect::<Result<_, _>>()?;
        match numbers[..] {
            [arrival, since] => Ok(Self { history, arrival, since, within: None }),
            [arrival, since, number, record, stored_at, left] if number > arrival => {
                let within = Some(Within { arrival: number, record, stored_at, left });
                Ok(Self { history, arrival, since, within })
            }
            _ => Err(of_another()),
        }
    }

    /// Reads a cursor of that kind of store and of the history with that identity.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); [`AnotherHistory`](PersistenceError::AnotherHistory).
    pub fn resume(kind: &str, history: u64, cursor: &Cursor) -> Result<Self, PersistenceError> {
        let position = Self::parse(kind, cursor)?;
        if position.history != history {
            return Err(cursor.of_another_history());
        }
        Ok(position)
    }
}

/// The hexadecimal digits of an identity in a cursor.
const IDENTITY_DIGITS: usize = 16;

/// Where a history that was restored from a backup comes from: the numbers up to `arrival` were given
/// there, and mean the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The identity of the history that was backed up.
    pub history: u64,
    /// The last number that the backup has.
    pub arrival: u64,
    /// How many restores lie behind it: 1 if the history that was backed up had not been restored.
    pub restores: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_and_others_are_refused() {
        let within = Within { arrival: 8, record: 3, stored_at: 1_740_081_234_000, left: 2 };
        let whole = Position { history: u64::MAX - 3, arrival: 7, since: 5, within: None };
        for position in [Position::default(), whole, Position { within: Some(within), ..whole }] {
            let cursor = position.cursor("sqlite").unwrap();
            let read: Cursor = cursor.to_string().parse().unwrap();
            assert_eq!(Position::parse("sqlite", &read).unwrap(), position);
            assert!(Position::parse("sql", &read).is_err());
            assert!(Position::parse("redb", &read).is_err());
        }
        for text in ["1", "1-x", "0-9-0-9-1-1-1", "1-2-3", "0000000000000001-9-0-9-1-1-1"] {
            let text = format!("sqlite-{text}");
            assert!(Position::parse("sqlite", &text.parse().unwrap()).is_err(), "{text}");
        }
    }

    /// After a restore, numbers are given a second time: such a cursor once passed over rows.
    #[test]
    fn a_cursor_of_another_history_says_what_to_do() {
        let cursor = Position { history: 1, arrival: 7, ..Position::default() }.cursor("sqlite");
        let error = Position::resume("sqlite", 2, &cursor.unwrap()).unwrap_err();
        assert!(matches!(error, PersistenceError::AnotherHistory { .. }), "{error}");
        assert!(error.to_string().contains("follow from a time instead"), "{error}");
        for of_an_earlier_release in ["sqlite-7-0", "sqlite-7-0-8-1-2-3"] {
            let cursor = of_an_earlier_release.parse().unwrap();
            let error = Position::resume("sqlite", 2, &cursor).unwrap_err();
            assert!(error.to_string().contains("an earlier release"), "{error}");
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
