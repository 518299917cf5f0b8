//! Which records a query means: the two wildcard grammars, in one place for all backends.
//!
//! A backend lists record names by [`Pattern::literal_prefix`] and asks [`Pattern::matches`] about
//! each.

mod glob;
mod topic;

use serde::Serialize;

use crate::error::PersistenceError;
use crate::error::excerpt;
use crate::name::MAX_NAME_BYTES;

/// How the wildcards of a pattern are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Grammar {
    /// `*` is any run of characters, the empty run too; everything else is literal.
    #[default]
    Glob,
    /// Segments between dots: a segment `*` is exactly one segment, `#` is zero or more, every
    /// other segment is literal. This is AimDB 2.x's grammar, and AMQP's with `*` and `#`.
    Topic,
}

/// A parsed pattern.
///
/// Matching is linear in the name for [`Grammar::Glob`] and at most the product of both numbers of
/// segments for [`Grammar::Topic`]: no pattern makes it exponential.
///
/// ```
/// # use annals_core::{Grammar, Pattern};
/// let all = Pattern::new("accuracy::*", Grammar::Glob)?;
/// assert!(all.matches("accuracy::vienna") && !all.matches("Accuracy::vienna"));
/// let rooms = Pattern::new("house.*.temperature", Grammar::Topic)?;
/// assert!(rooms.matches("house.attic.temperature") && !rooms.matches("house.temperature"));
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    grammar: Grammar,
    matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Matcher {
    /// Longer than any name, or with a character that no name has.
    Nothing,
    Exact,
    Glob(glob::Glob),
    Topic(topic::Topic),
}

impl Pattern {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`PersistenceError::InvalidPattern`] for the empty pattern, and in the topic grammar for a
    /// segment that mixes `*` with other characters: names have no `*`, so it could never match.
    pub fn new(text: &str, grammar: Grammar) -> Result<Self, PersistenceError> {
        let refuse =
            |reason| Err(PersistenceError::InvalidPattern { pattern: excerpt(text), reason });
        if text.is_empty() {
            return refuse(match grammar {
                Grammar::Glob => "it is empty; `*` matches every record",
                Grammar::Topic => "it is empty; `#` matches every record",
            });
        }
        let matcher = match grammar {
            Grammar::Glob if !text.contains('*') => Matcher::Exact,
            Grammar::Glob => Matcher::Glob(glob::Glob::new(text)),
            Grammar::Topic => match topic::Topic::new(text) {
                None => return refuse("in the topic grammar `*` stands for a whole segment"),
                Some(topic) if topic.is_literal() => Matcher::Exact,
                Some(topic) => Matcher::Topic(topic),
            },
        };
        let shortest_name = match &matcher {
            Matcher::Nothing => 0,
            Matcher::Exact => text.len(),
            Matcher::Glob(glob) => glob.literal_bytes(),
            Matcher::Topic(topic) => topic.shortest_name(),
        };
        let matchable = shortest_name <= MAX_NAME_BYTES && !text.contains('\0');
        let matcher = if matchable { matcher } else { Matcher::Nothing };
        Ok(Self { text: text.to_owned(), grammar, matcher })
    }

    /// Every record.
    pub fn all() -> Self {
        let text = "*".to_owned();
        let matcher = Matcher::Glob(glob::Glob::new(&text));
        Self { text, grammar: Grammar::Glob, matcher }
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Nothing => false,
            Matcher::Exact => name == self.text,
            Matcher::Glob(glob) => glob.matches(name),
            Matcher::Topic(topic) => topic.matches(name),
        }
    }

    /// What every matching name begins with; empty if the pattern begins with a wildcard.
    pub fn literal_prefix(&self) -> &str {
        match &self.matcher {
            Matcher::Nothing => "",
            Matcher::Exact => &self.text,
            Matcher::Glob(glob) => glob.prefix(),
            Matcher::Topic(topic) => topic.prefix(),
        }
    }

    /// The one name that is meant, if there is no wildcard.
    pub fn exact(&self) -> Option<&str> {
        matches!(self.matcher, Matcher::Exact).then_some(self.text.as_str())
    }

    /// Whether every record is meant, whatever its name.
    pub fn is_all(&self) -> bool {
        match &self.matcher {
            Matcher::Glob(glob) => glob.is_all(),
            Matcher::Topic(topic) => topic.is_all(),
            Matcher::Nothing | Matcher::Exact => false,
        }
    }

    /// Whether any allowed name at all can match. A backend need not be asked otherwise.
    pub fn can_match(&self) -> bool {
        self.matcher != Matcher::Nothing
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The grammar it is written in.
    pub fn grammar(&self) -> Grammar {
        self.grammar
    }
}

#[cfg(test)]
mod tests;
