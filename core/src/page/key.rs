//! The names of members as a serde `Deserializer`, and the only error there is.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

use super::shape::Name;

/// Names that begin like this mean something to `serde_json`, such as the text as it is.
pub(super) const PRIVATE: &str = "$serde_json::private";

/// Only the text tells.
#[derive(Debug)]
pub(super) struct NeedsText;

impl fmt::Display for NeedsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text has to be read")
    }
}

impl std::error::Error for NeedsText {}

impl Error for NeedsText {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Methods that do the same.
macro_rules! methods {
    ($($method:ident: $call:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
            self.$call(visitor)
        })*
    };
}
pub(super) use methods;

/// The name of a member. As a number or a boolean it is read from the text.
#[derive(Clone, Copy)]
pub(super) struct Key<'de>(pub(super) &'de Name);

impl<'de> Key<'de> {
    fn refused<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NeedsText> {
        Err(NeedsText)
    }
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = NeedsText;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.0 {
            Name { text, is_plain: true } => visitor.visit_borrowed_str(text),
            Name { text, is_plain: false } => visitor.visit_str(text),
        }
    }

    methods! {
        deserialize_bool: refused,
        deserialize_i8: refused, deserialize_i16: refused, deserialize_i32: refused,
        deserialize_i64: refused, deserialize_i128: refused,
        deserialize_u8: refused, deserialize_u16: refused, deserialize_u32: refused,
        deserialize_u64: refused, deserialize_u128: refused,
        deserialize_f32: refused, deserialize_f64: refused,
        deserialize_bytes: refused, deserialize_byte_buf: refused,
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        if name.starts_with(PRIVATE) {
            return Err(NeedsText);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        visitor.visit_enum(BorrowedStrDeserializer::new(&self.0.text))
    }
}
