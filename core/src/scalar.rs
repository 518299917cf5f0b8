//! A JSON scalar: what a predicate or a duration compares a member with.

use std::cmp::Ordering;
use std::fmt;

/// A JSON string, number, boolean or null, as it reads back from a store.
///
/// Numbers are compared by value, exactly: `1`, `1.0` and `1e0` are equal, and 2^53 + 1 as an
/// integer is greater than 2^53 as a double.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 0 to `u64::MAX`.
    Unsigned(u64),
    /// An integer of `i64::MIN` to `i64::MAX`.
    Signed(i64),
    /// Any other number, as its nearest double.
    Float(f64),
    /// A string.
    Text(Box<str>),
}

/// A number as exactly what it is.
enum Number {
    Integer(i128),
    Float(f64),
}

impl Scalar {
    /// The number as its nearest `f64`, `true` as 1 and `false` as 0.
    pub fn sample(&self) -> Option<f64> {
        match *self {
            Self::Bool(value) => Some(u8::from(value).into()),
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// Whether it has an order among its like: numbers and strings do, booleans and `null` do not.
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(_))
    }

    /// How it compares with another scalar: two numbers by value, two strings byte by byte. `None`
    /// for everything else.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
            _ => match (self.number()?, other.number()?) {
                (Number::Integer(one), Number::Integer(other)) => Some(one.cmp(&other)),
                (Number::Float(one), Number::Float(other)) => one.partial_cmp(&other),
                (Number::Integer(one), Number::Float(other)) => compare(one, other),
                (Number::Float(one), Number::Integer(other)) => {
                    compare(other, one).map(Ordering::reverse)
                }
            },
        }
    }

    fn number(&self) -> Option<Number> {
        match *self {
            Self::Unsigned(value) => Some(Number::Integer(value.into())),
            Self::Signed(value) => Some(Number::Integer(value.into())),
            Self::Float(value) => Some(Number::Float(value)),
            Self::Null | Self::Bool(_) | Self::Text(_) => None,
        }
    }
}

/// Compares an integer of at most 64 bits with a double, exactly.
fn compare(integer: i128, float: f64) -> Option<Ordering> {
    /// Beyond all integers of 64 bits, and within `i128`.
    const BEYOND: f64 = (1_u128 << 100) as f64;
    let clamped = float.clamp(-BEYOND, BEYOND);
    let whole = clamped.trunc();
    let by_whole = integer.cmp(&(whole as i128));
    match by_whole {
        Ordering::Equal => 0.0.partial_cmp(&(clamped - whole)),
        unequal => (!float.is_nan()).then_some(unequal),
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }
}

/// As JSON.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            // Shortest, and with an exponent where that is shorter, as serde_json writes it.
            Self::Float(value) => serde_json::Value::from(*value).fmt(f),
            Self::Text(text) => serde_json::Value::from(&**text).fmt(f),
        }
    }
}

macro_rules! from {
    ($($variant:ident($type:ty) as $wide:ty),* $(,)?) => {
        $(impl From<$type> for Scalar {
            fn from(value: $type) -> Self {
                Self::$variant(<$wide>::from(value))
            }
        })*
    };
}
from! {
    Bool(bool) as bool,
    Unsigned(u8) as u64, Unsigned(u16) as u64, Unsigned(u32) as u64, Unsigned(u64) as u64,
    Signed(i8) as i64, Signed(i16) as i64, Signed(i32) as i64, Signed(i64) as i64,
    Float(f32) as f64, Float(f64) as f64,
    Text(&str) as Box<str>, Text(String) as Box<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value_exactly() {
        use Ordering::{Equal, Greater, Less};
        let two_53 = 1_u64 << 53;
        for (one, other, expected) in [
            (Scalar::from(1), Scalar::from(1.0), Equal),
            (Scalar::from(0_u8), Scalar::from(-0.0), Equal),
            (Scalar::from(two_53 + 1), Scalar::from(two_53 as f64), Greater),
            (Scalar::from(two_53 + 1), Scalar::from((two_53 + 2) as f64), Less),
            (Scalar::from(u64::MAX), Scalar::from(u64::MAX as f64), Less),
            (Scalar::from(i64::MIN), Scalar::from(i64::MIN as f64), Equal),
            (Scalar::from(i64::MIN), Scalar::from(-1e300), Greater),
            (Scalar::from(u64::MAX), Scalar::from(i64::MIN), Greater),
            (Scalar::from(-1), Scalar::from(-1.5), Greater),
            (Scalar::from(1), Scalar::from(1.5), Less),
            (Scalar::from(0), Scalar::from(5e-324), Less),
            (Scalar::from(0), Scalar::from(f64::INFINITY), Less),
            (Scalar::from(0.1), Scalar::from(0.2), Less),
        ] {
            assert_eq!(one.compare(&other), Some(expected), "{one} and {other}");
            assert_eq!(other.compare(&one), Some(expected.reverse()), "{other} and {one}");
            assert_eq!(one == other, expected == Equal);
        }
        assert_eq!(Scalar::from(0).compare(&Scalar::from(f64::NAN)), None);
    }

    #[test]
    fn only_numbers_and_strings_have_an_order_and_only_among_themselves() {
        let all = [Scalar::Null, true.into(), 1.into(), 1.0.into(), "1".into(), "a".into()];
        for (i, one) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                let alike = (i == j && one.is_ordered()) || (i, j) == (2, 3) || (i, j) == (3, 2);
                let texts = i >= 4 && j >= 4;
                assert_eq!(one.compare(other).is_some(), alike || texts, "{one} and {other}");
            }
        }
        assert_eq!(Scalar::Null, Scalar::Null);
        assert_ne!(Scalar::from(true), Scalar::from(1));
        assert_ne!(Scalar::from("1"), Scalar::from(1));
        assert_eq!(Scalar::from("\u{e9}").compare(&"e\u{301}".into()), Some(Ordering::Greater));
    }
}
