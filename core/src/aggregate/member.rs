//! Where the sample of a row is, and how it is found: JSON text enters, a number or a scalar leaves,
//! and no tree is built.
//!
//! The whole text is read, for two reasons: of members with the same name the last one counts, as
//! everywhere else, and text that is no longer JSON must not pass for a sample.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::PersistenceError;
use crate::scalar::Scalar;

/// One step of a path: the name of a member, and the index that it is in an array.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

/// The place of a number in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    text: String,
    path: Vec<Token>,
}

impl Member {
    /// Parses a JSON Pointer (RFC 6901) if `text` starts with `/`; otherwise `text` is the name of
    /// a top-level member, letter for letter. The empty text is the value itself.
    ///
    /// # Errors
    /// [`InvalidAggregate`](PersistenceError::InvalidAggregate) for a `~` in a pointer that is
    /// neither `~0` nor `~1`.
    pub fn parse(text: &str) -> Result<Self, PersistenceError> {
        let names = match text.strip_prefix('/') {
            Some(pointer) => {
                let names: Option<Vec<String>> = pointer.split('/').map(unescape).collect();
                names.ok_or_else(|| {
                    let reason = "in a JSON Pointer, ~ is written ~0 and / within a name ~1";
                    PersistenceError::invalid_aggregate("member", text, reason)
                })?
            }
            None if text.is_empty() => Vec::new(),
            None => vec![text.to_owned()],
        };
        // Only a pointer reaches into arrays.
        let is_pointer = text.starts_with('/');
        let token = |name: String| Token { index: index(&name).filter(|_| is_pointer), name };
        Ok(Self { text: text.to_owned(), path: names.into_iter().map(token).collect() })
    }

    /// The value itself.
    pub fn value() -> Self {
        Self { text: String::new(), path: Vec::new() }
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the members on the way, outermost first; empty for the value itself. A name
    /// that is a number written without leading zeros is an index where it meets an array, unless
    /// [`is_pointer`](Self::is_pointer) is false.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.path.iter().map(|token| token.name.as_str())
    }

    /// Whether it was written as a JSON Pointer.
    pub fn is_pointer(&self) -> bool {
        self.text.starts_with('/')
    }

    /// The sample in a row's text: a number as its nearest `f64`, `true` as 1 and `false` as 0.
    ///
    /// # Errors
    /// serde_json's, for text that is not JSON.
    pub fn read(&self, json: &str) -> Result<Option<f64>, serde_json::Error> {
        Ok(self.find(json, false)?.sample())
    }

    /// Whether there is anything at the place, even `null`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn is_present(&self, json: &str) -> Result<bool, serde_json::Error> {
        Ok(self.find(json, false)? != Found::Absent)
    }

    /// The part of a value that is at the place.
    pub(crate) fn find_in<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.path.iter().try_fold(value, |value, token| match value {
            Value::Object(members) => members.get(&token.name),
            Value::Array(items) => items.get(token.index?),
            _ => None,
        })
    }

    /// What is at the place. The text of a string is kept only if `with_text` is set.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn find(&self, json: &str, with_text: bool) -> Result<Found, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let found = Seek { path: &self.path, with_text }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(found)
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        name.push(letter);
        name.push_str(rest);
    }
    Some(name)
}

/// An index has no leading zeros.
fn index(name: &str) -> Option<usize> {
    let is_index = name == "0" || (!name.starts_with('0') && !name.starts_with('+'));
    name.parse().ok().filter(|_| is_index)
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A scalar.
    Scalar(Scalar),
    /// An array or an object, or a string whose text was not asked for.
    Other,
}

impl Found {
    /// The number, or the boolean as one.
    pub fn sample(&self) -> Option<f64> {
        match self {
            Self::Scalar(scalar) => scalar.sample(),
            Self::Absent | Self::Other => None,
        }
    }
}

/// The JSON scalar of `duration{…}`.
#[derive(Debug, Clone)]
pub struct State {
    name: Box<str>,
    scalar: Scalar,
}

impl State {
    pub(super) fn parse(name: &str, scalar: &str) -> Result<Self, PersistenceError> {
        let found = Member::value().find(scalar, true);
        match found {
            Ok(Found::Scalar(scalar)) => Ok(Self { name: name.into(), scalar }),
            Ok(_) | Err(_) => Err(PersistenceError::invalid_aggregate(
                "function",
                name,
                "within the braces stands a JSON scalar, for instance duration{\"open\"}",
            )),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is(&self, found: &Found) -> bool {
        matches!(found, Found::Scalar(scalar) if *scalar == self.scalar)
    }
}

/// The scalar follows from the name.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for State {}

impl std::hash::Hash for State {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Reads one value and finds what is at the path within it.
#[derive(Clone, Copy)]
struct Seek<'a> {
    path: &'a [Token],
    with_text: bool,
}

impl Seek<'_> {
    fn scalar<E>(self, scalar: Scalar) -> Result<Found, E> {
        Ok(if self.path.is_empty() { Found::Scalar(scalar) } else { Found::Absent })
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Found, E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Found, E> {
        self.scalar(Scalar::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Found, E> {
        self.scalar(Scalar::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Found, E> {
        self.scalar(Scalar::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Found, E> {
        match self.path {
            [] if self.with_text => Ok(Found::Scalar(Scalar::Text(value.into()))),
            [] => Ok(Found::Other),
            _ => Ok(Found::Absent),
        }
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        self.scalar(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        let Some((token, path)) = self.path.split_first() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Found::Other);
        };
        let mut found = Found::Absent;
        for at in 0.. {
            if token.index == Some(at) {
                match items.next_element_seed(Seek { path, ..self })? {
                    Some(item) => found = item,
                    None => break,
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found, A::Error> {
        let Some((token, path)) = self.path.split_first() else {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Found::Other);
        };
        let mut found = Found::Absent;
        while let Some(is_meant) = members.next_key_seed(Named(&token.name))? {
            if is_meant {
                found = members.next_value_seed(Seek { path, ..self })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this name.
struct Named<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
