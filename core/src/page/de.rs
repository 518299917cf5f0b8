//! A serde `Deserializer` over a row of [`Values`].
//!
//! It answers exactly as `serde_json` does for the text, or with the error that the text is needed. That is
//! also its answer to whatever does not fit, so that errors are those of the text.

use std::sync::OnceLock;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::key::{Key, NeedsText, PRIVATE, methods};
use super::shape::{Name, Node, Shape};
use super::{ScalarRef, Values};

/// The value of a row; `None` if the text has to be read.
pub(super) fn read<T: DeserializeOwned>(values: &dyn Values, row: usize) -> Option<T> {
    let Shape(node) = values.shape(row).filter(|_| !keeps_digits())?;
    T::deserialize(Part { values, row, node }).ok()
}

/// Whether `serde_json` keeps the digits of numbers, as it does in programs that ask it to
/// (`arbitrary_precision`). Columns have numbers.
fn keeps_digits() -> bool {
    static KEEPS: OnceLock<bool> = OnceLock::new();
    *KEEPS.get_or_init(|| {
        let shown = serde_json::from_str::<serde_json::Value>("1.50").map(|one| one.to_string());
        shown.is_ok_and(|shown| shown == "1.50")
    })
}

/// A part of the value of a row.
#[derive(Clone, Copy)]
struct Part<'de> {
    values: &'de dyn Values,
    row: usize,
    node: &'de Node,
}

impl<'de> Part<'de> {
    fn at(self, node: &'de Node) -> Self {
        Self { node, ..self }
    }

    fn scalar(self) -> Result<ScalarRef<'de>, NeedsText> {
        match self.node {
            Node::Scalar(number) => self.values.scalar(self.row, *number).ok_or(NeedsText),
            Node::Array(_) | Node::Object(_) => Err(NeedsText),
        }
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Unsigned(value) => visitor.visit_u64(value),
            ScalarRef::Signed(value) => visitor.visit_i64(value),
            ScalarRef::Float(value) => visitor.visit_f64(value),
            _ => Err(NeedsText),
        }
    }

    fn array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        let Node::Array(items) = self.node else { return Err(NeedsText) };
        let mut items = Items { part: self, left: items };
        let value = visitor.visit_seq(&mut items)?;
        if items.left.is_empty() { Ok(value) } else { Err(NeedsText) }
    }

    fn object<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        let Node::Object(members) = self.node else { return Err(NeedsText) };
        let mut members = Members { part: self, left: members, value: None };
        let value = visitor.visit_map(&mut members)?;
        // What is left makes the text unreadable.
        let is_read = members.left.is_empty() && members.value.is_none();
        if is_read { Ok(value) } else { Err(NeedsText) }
    }
}

impl<'de> Part<'de> {
    fn refused<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NeedsText> {
        Err(NeedsText)
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Text(text) => visitor.visit_borrowed_str(text),
            _ => Err(NeedsText),
        }
    }

    fn unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Null => visitor.visit_unit(),
            _ => Err(NeedsText),
        }
    }
}

impl<'de> Deserializer<'de> for Part<'de> {
    type Error = NeedsText;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.node {
            Node::Array(_) => self.array(visitor),
            Node::Object(_) => self.object(visitor),
            Node::Scalar(_) => match self.scalar()? {
                ScalarRef::Null => visitor.visit_unit(),
                ScalarRef::Bool(value) => visitor.visit_bool(value),
                ScalarRef::Unsigned(value) => visitor.visit_u64(value),
                ScalarRef::Signed(value) => visitor.visit_i64(value),
                ScalarRef::Float(value) => visitor.visit_f64(value),
                ScalarRef::Text(text) => visitor.visit_borrowed_str(text),
            },
        }
    }

    methods! {
        deserialize_i8: number, deserialize_i16: number, deserialize_i32: number, deserialize_i64: number,
        deserialize_u8: number, deserialize_u16: number, deserialize_u32: number, deserialize_u64: number,
        deserialize_f64: number,
        deserialize_char: text, deserialize_str: text, deserialize_string: text,
        deserialize_identifier: text,
        deserialize_bytes: refused, deserialize_byte_buf: refused,
        deserialize_unit: unit,
        deserialize_seq: array, deserialize_map: object,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Bool(value) => visitor.visit_bool(value),
            _ => Err(NeedsText),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Unsigned(value) => visitor.visit_i128(value.into()),
            ScalarRef::Signed(value) => visitor.visit_i128(value.into()),
            _ => Err(NeedsText),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Unsigned(value) => visitor.visit_u128(value.into()),
            _ => Err(NeedsText),
        }
    }

    /// The text is rounded once, to the nearest `f32`.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.scalar()? {
            ScalarRef::Float(value) => visitor.visit_f64(single(value).ok_or(NeedsText)?.into()),
            _ => self.number(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        match self.node {
            Node::Scalar(_) if self.scalar()? == ScalarRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        self.unit(visitor)
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

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        self.array(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        match self.node {
            _ if name.starts_with(PRIVATE) => Err(NeedsText),
            Node::Array(_) => self.array(visitor),
            _ => self.object(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        match self.node {
            Node::Scalar(_) => match self.scalar()? {
                ScalarRef::Text(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
                _ => Err(NeedsText),
            },
            Node::Object(members) => match members.as_slice() {
                [(name, node)] => visitor.visit_enum(Variant { name, content: self.at(node) }),
                _ => Err(NeedsText),
            },
            Node::Array(_) => Err(NeedsText),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NeedsText> {
        visitor.visit_unit()
    }
}

/// The nearest `f32` of the number whose nearest `f64` this is, unless rounding twice may give another.
fn single(value: f64) -> Option<f32> {
    /// The bits of an `f64` that an `f32` lacks, and those of a number halfway between two of them.
    const LOST: u64 = (1 << 29) - 1;
    const HALFWAY: u64 = 1 << 28;
    let single = value as f32;
    let is_certain = value.to_bits() & LOST != HALFWAY && single.is_normal();
    (value == 0.0 || is_certain).then_some(single)
}

struct Items<'de> {
    part: Part<'de>,
    left: &'de [Node],
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = NeedsText;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NeedsText> {
        let Some((next, left)) = self.left.split_first() else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.part.at(next)).map(Some)
    }
}

struct Members<'de> {
    part: Part<'de>,
    left: &'de [(Name, Node)],
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = NeedsText;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, NeedsText> {
        if self.value.is_some() {
            return Err(NeedsText);
        }
        let Some(((name, value), left)) = self.left.split_first() else { return Ok(None) };
        self.left = left;
        self.value = Some(value);
        seed.deserialize(Key(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NeedsText> {
        let value = self.value.take().ok_or(NeedsText)?;
        seed.deserialize(self.part.at(value))
    }
}

/// A variant and its content.
struct Variant<'de> {
    name: &'de Name,
    content: Part<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = NeedsText;
    type Variant = Part<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Part<'de>), NeedsText> {
        Ok((seed.deserialize(Key(self.name))?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Part<'de> {
    type Error = NeedsText;

    fn unit_variant(self) -> Result<(), NeedsText> {
        serde::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, NeedsText> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, NeedsText> {
        self.array(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NeedsText> {
        self.deserialize_struct("", fields, visitor)
    }
}
