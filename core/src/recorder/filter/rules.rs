//! A filter ready for use: JSON text enters, the facts about one value leave. No state, no lock.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Band, Filter, Range};
use crate::aggregate::Member;
use crate::clock::millis;
use crate::error::PersistenceError;
use crate::json::PlainValue;

/// The compiled form of a [`Filter`].
#[derive(Debug)]
pub(crate) struct Rules {
    ranges: Vec<(Member, Range)>,
    change: Option<Vec<Member>>,
    bands: Vec<(Member, Band)>,
    /// In milliseconds.
    pub(super) min_interval: Option<u64>,
    /// In milliseconds.
    pub(super) heartbeat: Option<u64>,
}

/// What the rules need to know of a value.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) rules: Arc<Rules>,
    pub(super) refused: bool,
    implausible: bool,
    /// A hash of what is compared for change.
    fingerprint: u128,
    /// The number of each dead band.
    numbers: Vec<Option<f64>>,
}

impl Rules {
    pub(crate) fn new(filter: &Filter) -> Result<Self, PersistenceError> {
        let member = |text: &str| {
            Member::parse(text).map_err(|error| refuse(text, format!("its member: {error}")))
        };
        let ranges = filter.ranges.iter().map(|range| {
            let Range { least, greatest, .. } = range;
            if least.is_nan() || greatest.is_nan() || least > greatest {
                let given = format!("{least}..{greatest}");
                return Err(refuse(&given, "a range goes from the least to the greatest number"));
            }
            Ok((member(&range.member)?, range.clone()))
        });
        let bands = filter.bands.iter().map(|band| {
            if band.width.is_nan() || band.width < 0.0 {
                let reason = "the width of a dead band is a number from 0 on";
                return Err(refuse(&band.width.to_string(), reason));
            }
            Ok((member(&band.member)?, band.clone()))
        });
        let change = filter.change.as_ref();
        let change = change.map(|members| members.iter().map(|text| member(text)).collect());
        Ok(Self {
            ranges: ranges.collect::<Result<_, _>>()?,
            bands: bands.collect::<Result<_, _>>()?,
            change: change.transpose()?,
            min_interval: filter.min_interval.map(millis).filter(|interval| *interval > 0),
            heartbeat: filter.heartbeat.map(millis),
        })
    }

    /// Whether two values with these facts are the same to the rules.
    pub(super) fn change(&self, before: &Facts, now: &Facts) -> bool {
        self.change.is_none() || before.fingerprint != now.fingerprint
    }

    /// Whether some number left its dead band.
    pub(super) fn leaves_bands(&self, before: &Facts, now: &Facts) -> bool {
        let numbers = before.numbers.iter().zip(&now.numbers);
        let mut bands = self.bands.iter().zip(numbers);
        self.bands.is_empty()
            || bands.any(|((_, band), numbers)| match numbers {
                (Some(before), Some(now)) => {
                    let width = if band.relative { band.width * before.abs() } else { band.width };
                    (now - before).abs() > width
                }
                _ => true,
            })
    }
}

impl Facts {
    pub(crate) fn implausible(&self) -> bool {
        self.implausible
    }

    pub(crate) fn of(rules: &Arc<Rules>, json: &str) -> Self {
        // The text is JSON, so that reading it cannot fail.
        let number = |member: &Member| member.read(json).ok().flatten();
        let (mut refused, mut implausible) = (false, false);
        for (member, range) in &rules.ranges {
            let outside =
                number(member).is_some_and(|it| !(range.least..=range.greatest).contains(&it));
            refused |= outside && !range.keep;
            implausible |= outside && range.keep;
        }
        Self {
            refused,
            implausible: implausible && !refused,
            fingerprint: rules.change.as_deref().map_or(0, |members| fingerprint(members, json)),
            numbers: rules.bands.iter().map(|(member, _)| number(member)).collect(),
            rules: Arc::clone(rules),
        }
    }
}

/// A hash of the members, or of the whole value without any. Equal JSON has equal hashes; that
/// different JSON does too is as likely as guessing a key of 128 bits.
fn fingerprint(members: &[Member], json: &str) -> u128 {
    if members.is_empty() {
        return Fingerprint.deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap_or(0);
    }
    let Ok(PlainValue(value)) = serde_json::from_str(json) else { return 0 };
    let hash = |member: &Member| member.find_in(&value)?.deserialize_any(Fingerprint).ok();
    digest(members.iter().map(hash).collect::<Vec<_>>())
}

/// Hashes JSON while it is read.
struct Fingerprint;

impl<'de> DeserializeSeed<'de> for Fingerprint {
    type Value = u128;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u128, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fingerprint {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<u128, E> {
        Ok(digest(1_u8))
    }

    fn visit_bool<E>(self, value: bool) -> Result<u128, E> {
        Ok(digest((2_u8, value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<u128, E> {
        Ok(digest((3_u8, i128::from(value))))
    }

    fn visit_u64<E>(self, value: u64) -> Result<u128, E> {
        Ok(digest((3_u8, i128::from(value))))
    }

    /// A whole number has the hash of the integer: `1` and `1.0` are equal.
    fn visit_f64<E>(self, value: f64) -> Result<u128, E> {
        let whole = value.trunc() == value && value.abs() < 2.0_f64.powi(100);
        Ok(if whole { digest((3_u8, value as i128)) } else { digest((4_u8, value.to_bits())) })
    }

    fn visit_str<E>(self, text: &str) -> Result<u128, E> {
        Ok(digest((5_u8, text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u128, A::Error> {
        let mut hash = digest(6_u8);
        while let Some(item) = items.next_element_seed(Self)? {
            hash = digest((hash, item));
        }
        Ok(hash)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<u128, A::Error> {
        // A sum, since members have no order.
        let mut sum = 0_u128;
        while let Some(name) = members.next_key_seed(Self)? {
            sum = sum.wrapping_add(digest((name, members.next_value_seed(Self)?)));
        }
        Ok(digest((7_u8, sum)))
    }
}

/// A hash under two keys of this process.
fn digest(what: impl Hash) -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    KEYS.iter().fold(0, |digest, key| (digest << 64) | u128::from(key.hash_one(&what)))
}

pub(super) fn refuse(given: &str, reason: impl Into<String>) -> PersistenceError {
    PersistenceError::invalid_filter(given, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str, members: &[&str]) -> bool {
        let members: Vec<_> = members.iter().map(|text| Member::parse(text).unwrap()).collect();
        fingerprint(&members, a) == fingerprint(&members, b)
    }

    #[test]
    fn equal_json_has_one_fingerprint_and_different_json_another() {
        for (a, b) in [
            (r#"{"a":1,"b":[2,null]}"#, r#"{ "b": [2.0, null], "a": 1e0 }"#),
            ("0", "-0.0"),
            (r#""A""#, r#""\u0041""#),
        ] {
            assert!(same(a, b, &[]), "{a} {b}");
        }
        for (a, b) in [
            (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
            ("[1,2]", "[2,1]"),
            ("[[1],2]", "[[1,2]]"),
            ("18446744073709551615", "18446744073709551614"),
            ("null", "[]"),
            ("[]", "{}"),
            ("1", r#""1""#),
            (r#"["ab","c"]"#, r#"["a","bc"]"#),
            ("1e300", "1.0000001e300"),
        ] {
            assert!(!same(a, b, &[]), "{a} {b}");
        }
    }

    #[test]
    fn only_the_chosen_members_count() {
        let (a, b) = (r#"{"a":1,"b":{"c":[1,2]}}"#, r#"{"a":1,"b":{"c":[9,2]},"n":3}"#);
        assert!(same(a, b, &["a"]));
        assert!(same(a, b, &["a", "/b/c/1"]));
        assert!(!same(a, b, &["/b/c/0"]));
        assert!(!same(a, b, &["n"]), "an absent member is no null");
        assert!(!same(r#"{"n":null}"#, "{}", &["n"]));
    }
}
