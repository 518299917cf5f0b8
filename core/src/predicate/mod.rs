//! A filter on the members of a value: `celsius > 30 and ok = true`.
//!
//! Enters: a text, or parts put together in code, and then JSON text as it is stored. Leaves: whether
//! a row satisfies it. No tree is built of the value. The semantics are the clauses FILTER-1 to
//! FILTER-5 of `docs/contract.md`.

mod parse;
mod select;
mod text;

use std::cmp::Ordering;
use std::ops::Not;
use std::sync::Arc;

use crate::aggregate::{Found, Member};
use crate::error::PersistenceError;
use crate::scalar::Scalar;

pub(crate) use select::filtered;
pub use select::{Selector, by_rows};

/// Which rows are wanted, by the members of their values.
///
/// ```
/// # use annals_core::{Comparison, MemoryBackend, PersistenceBackend, Predicate, QueryParams};
/// # use serde_json::json;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let history = MemoryBackend::new();
/// history.store("attic", &json!({ "celsius": 31.5, "ok": true }), 1_000).await?;
/// history.store("attic", &json!({ "celsius": 12.0, "ok": true }), 2_000).await?;
///
/// let hot = Predicate::parse("celsius > 30 and ok = true")?;
/// let rows = history.query_where("attic", QueryParams::latest(5), &hot).await?;
/// assert_eq!(rows.into_values().await?[0].stored_at, 1_000);
///
/// let same = Predicate::compare("celsius", Comparison::Greater, 30)?
///     .and(Predicate::compare("ok", Comparison::Equal, true)?);
/// assert_eq!(hot, same);
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
///
/// # The text form
///
/// * A comparison is `member operator scalar`, with one of `=`, `!=`, `<`, `<=`, `>`, `>=` and a JSON
///   number, `true`, `false`, `null` or a string in single or double quotes.
/// * A member is a name or a JSON Pointer (`/outdoor/celsius`), and stands in quotes if it has
///   characters other than letters, digits and `_ . : / ~ -`. Without a member, as in `> 30`, the
///   comparison is about the value itself.
/// * `exists member` holds where there is such a member, even `null`.
/// * `not` binds before `and`, `and` before `or`; parentheses group.
///
/// In double quotes JSON's escapes hold; in single quotes every character stands for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate(Arc<Condition>);

/// The parts of a [`Predicate`], for a backend that evaluates it itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// The member at the place compares like this with a scalar.
    Compare(Member, Comparison, Scalar),
    /// There is something at the place.
    Exists(Member),
    /// The predicate does not hold.
    Not(Predicate),
    /// All of them hold.
    And(Vec<Predicate>),
    /// At least one of them holds.
    Or(Vec<Predicate>),
}

/// How a member compares with a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The operator: `=`, `!=`, `<`, `<=`, `>` or `>=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it asks which of two is greater.
    pub fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether what is at a place compares like this with `scalar`. Nothing compares like anything
    /// with what is absent; an array or an object is unequal to every scalar.
    pub fn holds(self, found: &Found, scalar: &Scalar) -> bool {
        let found = match found {
            Found::Absent => return false,
            Found::Other => return self == Self::NotEqual,
            Found::Scalar(found) => found,
        };
        match self {
            Self::Equal => found == scalar,
            Self::NotEqual => found != scalar,
            order => found.compare(scalar).is_some_and(|ordering| order.accepts(ordering)),
        }
    }

    /// Whether it holds between two scalars with an order, given how the first compares with the second.
    pub fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Predicate {
    /// Parses the text form.
    ///
    /// # Errors
    /// [`InvalidPredicate`](PersistenceError::InvalidPredicate), which says where and what is expected
    /// there.
    pub fn parse(text: &str) -> Result<Self, PersistenceError> {
        parse::predicate(text)
    }

    /// Holds where `member` compares like this with `scalar`. The member is a JSON Pointer if it
    /// starts with `/`, otherwise the name of a top-level member; empty, it is the value itself.
    ///
    /// # Errors
    /// [`InvalidPredicate`](PersistenceError::InvalidPredicate) for a pointer that is none, for a
    /// double that is no JSON number, and for an order of booleans or `null`.
    pub fn compare(
        member: &str,
        comparison: Comparison,
        scalar: impl Into<Scalar>,
    ) -> Result<Self, PersistenceError> {
        let scalar = scalar.into();
        if comparison.is_order() && !scalar.is_ordered() {
            let reason = format!("{scalar} has no order; compare it with = or !=");
            return Err(PersistenceError::invalid_predicate(member, reason));
        }
        if matches!(scalar, Scalar::Float(value) if !value.is_finite()) {
            let reason = "a JSON number is neither infinite nor NaN";
            return Err(PersistenceError::invalid_predicate(member, reason));
        }
        Ok(Self::of(Condition::Compare(place(member)?, comparison, scalar)))
    }

    /// Holds where there is such a member, even `null`.
    ///
    /// # Errors
    /// [`InvalidPredicate`](PersistenceError::InvalidPredicate) for a pointer that is none.
    pub fn exists(member: &str) -> Result<Self, PersistenceError> {
        Ok(Self::of(Condition::Exists(place(member)?)))
    }

    /// Holds where both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let parts = |one: Self| match &*one.0 {
            Condition::And(parts) => parts.clone(),
            _ => vec![one],
        };
        Self::of(Condition::And([parts(self), parts(other)].concat()))
    }

    /// Holds where one of them holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let parts = |one: Self| match &*one.0 {
            Condition::Or(parts) => parts.clone(),
            _ => vec![one],
        };
        Self::of(Condition::Or([parts(self), parts(other)].concat()))
    }

    fn of(condition: Condition) -> Self {
        Self(Arc::new(condition))
    }

    /// What it consists of.
    pub fn condition(&self) -> &Condition {
        &self.0
    }

    /// Whether a row with this text satisfies it.
    ///
    /// # Errors
    /// serde_json's, for text that is not JSON. Such a row satisfies no predicate.
    pub fn test(&self, json: &str) -> Result<bool, serde_json::Error> {
        match &*self.0 {
            Condition::Compare(member, comparison, scalar) => {
                let found = member.find(json, matches!(scalar, Scalar::Text(_)))?;
                Ok(comparison.holds(&found, scalar))
            }
            Condition::Exists(member) => member.is_present(json),
            Condition::Not(inner) => Ok(!inner.test(json)?),
            Condition::And(parts) => {
                for part in parts {
                    if !part.test(json)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Or(parts) => {
                for part in parts {
                    if part.test(json)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Holds where the predicate does not, among rows whose text is JSON.
impl Not for Predicate {
    type Output = Self;

    fn not(self) -> Self {
        Self::of(Condition::Not(self))
    }
}

impl std::str::FromStr for Predicate {
    type Err = PersistenceError;

    fn from_str(text: &str) -> Result<Self, PersistenceError> {
        Self::parse(text)
    }
}

fn place(member: &str) -> Result<Member, PersistenceError> {
    Member::parse(member).map_err(|error| match error {
        PersistenceError::InvalidAggregate { reason, .. } => {
            PersistenceError::invalid_predicate(member, reason)
        }
        error => error,
    })
}

#[cfg(test)]
mod tests;
