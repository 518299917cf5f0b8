//! Reading of JSON text exactly as it was written, as a value or only to check it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A `Value` read member by member.
///
/// `Value`'s own reader takes an object whose first key is one that serde_json uses internally
/// (`$serde_json::private::RawValue`) for something else, so that such a value came back different
/// or not at all.
pub(crate) struct PlainValue(pub(crate) Value);

impl<'de> Deserialize<'de> for PlainValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = PlainValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<PlainValue, E> {
        Ok(PlainValue(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<PlainValue, E> {
        Ok(PlainValue(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<PlainValue, E> {
        Ok(PlainValue(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<PlainValue, E> {
        Ok(PlainValue(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<PlainValue, E> {
        Ok(PlainValue(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<PlainValue, E> {
        Ok(PlainValue(value.into()))
    }

    fn visit_unit<E>(self) -> Result<PlainValue, E> {
        Ok(PlainValue(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<PlainValue, A::Error> {
        let mut array = Vec::new();
        while let Some(PlainValue(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(PlainValue(array.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<PlainValue, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((key, PlainValue(value))) = members.next_entry::<String, PlainValue>()? {
            object.insert(key, value);
        }
        Ok(PlainValue(object.into()))
    }
}

/// Accepts exactly what [`PlainValue`] accepts, without building it.
///
/// `serde::de::IgnoredAny` would not do: it passes over numbers beyond `f64` and lone surrogates,
/// which then fail when the value is read.
pub(super) struct ReadsBack;

impl<'de> Deserialize<'de> for ReadsBack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for ReadsBack {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<ReadsBack>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<ReadsBack, ReadsBack>()?.is_some() {}
        Ok(self)
    }
}
