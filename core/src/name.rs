//! Record names: which are allowed, and why one is refused.

use std::fmt;
use std::sync::Arc;

use crate::error::{PersistenceError, excerpt};

/// The longest record name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1024;

/// The name of a record: 1 to [`MAX_NAME_BYTES`] bytes of UTF-8 without NUL and without `*`.
///
/// Names compare byte by byte: case matters and nothing is folded or normalised, so two spellings
/// of the same accent are two names. Cloning is cheap (a reference count).
///
/// ```
/// # use annals_core::RecordName;
/// assert!(RecordName::new("accuracy::vienna").is_ok());
/// assert!(RecordName::new("accuracy::*").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName(Arc<str>);

impl RecordName {
    /// Checks `name` and keeps it.
    ///
    /// # Errors
    /// [`PersistenceError::InvalidRecordName`] says what is wrong with it.
    pub fn new(name: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, PersistenceError> {
        match refusal(name.as_ref()) {
            None => Ok(Self(name.into())),
            Some(reason) => {
                Err(PersistenceError::InvalidRecordName { name: excerpt(name.as_ref()), reason })
            }
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text, without copying it.
    pub fn into_shared(self) -> Arc<str> {
        self.0
    }
}

fn refusal(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > MAX_NAME_BYTES {
        Some("it is longer than 1024 bytes")
    } else if name.bytes().any(|b| b == 0) {
        Some("it contains a NUL character")
    } else if name.bytes().any(|b| b == b'*') {
        Some("it contains `*`, which is reserved for patterns")
    } else {
        None
    }
}

impl AsRef<str> for RecordName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for RecordName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_bytes_not_characters() {
        assert!(RecordName::new("é".repeat(512)).is_ok());
        assert!(RecordName::new("é".repeat(513)).is_err());
        assert!(RecordName::new("a".repeat(1024)).is_ok());
        assert!(RecordName::new("a".repeat(1025)).is_err());
    }

    #[test]
    fn everything_but_nul_star_and_nothing_is_literal() {
        for name in
            ["%", "_", "\\", "'; DROP TABLE records; --", " ", "\n", "🦀", "مرحبا", "\u{7f}"]
        {
            assert_eq!(RecordName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "\0", "a\0b", "*", "a*"] {
            let error = RecordName::new(name).unwrap_err();
            assert!(matches!(error, PersistenceError::InvalidRecordName { .. }), "{name:?}");
        }
    }

    #[test]
    fn a_refusal_shows_a_short_excerpt_on_one_line() {
        let error = RecordName::new(format!("{}\n*", "x".repeat(5000))).unwrap_err().to_string();
        assert!(error.len() < 400 && !error.contains('\n'), "{error}");
    }
}
