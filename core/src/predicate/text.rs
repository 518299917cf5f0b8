//! A predicate as text, which parses to the same predicate.

use std::fmt::{self, Display, Formatter};

use super::parse::{binding, is_keyword, is_word};
use super::{Condition, Predicate};

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.condition() {
            Condition::Compare(member, comparison, scalar) => {
                if !member.as_str().is_empty() {
                    write!(f, "{} ", Name(member.as_str()))?;
                }
                write!(f, "{} {scalar}", comparison.as_str())
            }
            Condition::Exists(member) => write!(f, "exists {}", Name(member.as_str())),
            Condition::Not(inner) => write!(f, "not {}", Within(inner, 2)),
            Condition::And(parts) => joined(f, parts, " and ", 2),
            Condition::Or(parts) => joined(f, parts, " or ", 1),
        }
    }
}

fn joined(f: &mut Formatter<'_>, parts: &[Predicate], word: &str, least: u8) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            f.write_str(word)?;
        }
        Within(part, least).fmt(f)?;
    }
    Ok(())
}

/// A part, in parentheses if it binds looser than its surroundings.
struct Within<'a>(&'a Predicate, u8);

impl Display for Within<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(part, least) = self;
        match binding(part.condition()) < *least {
            true => write!(f, "({part})"),
            false => part.fmt(f),
        }
    }
}

/// A member, in quotes if it needs them.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        let is_plain = !name.is_empty() && name.chars().all(is_word) && !is_keyword(name);
        match is_plain {
            true => f.write_str(name),
            false => serde_json::Value::from(*name).fmt(f),
        }
    }
}
