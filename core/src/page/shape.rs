//! Text around scalars enters, a tree of members and items leaves.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The members and items of values that differ in their scalars only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(pub(super) Node);

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// The scalar with this number.
    Scalar(usize),
    Array(Vec<Node>),
    /// In the order of the text, also those of equal names.
    Object(Vec<(Name, Node)>),
}

/// The name of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    /// Whether the text has it letter for letter, so that it can be borrowed.
    pub(super) is_plain: bool,
}

impl Shape {
    /// The shape of JSON texts, given what stands before, between and after their scalars. `None` if that
    /// makes no JSON.
    ///
    /// ```
    /// # use annals_core::page::Shape;
    /// assert!(Shape::new(["{\"a\":", ",\"b\":[", "]}"]).is_some());
    /// assert!(Shape::new(["{\"a\":", ",\"b\":[", "}"]).is_none());
    /// ```
    pub fn new<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        // Each scalar is its own number, so it is found as in any text.
        let (mut json, mut scalars) = (String::new(), 0);
        for (number, piece) in pieces.into_iter().enumerate() {
            if number > 0 {
                json.push_str(&(number - 1).to_string());
                scalars = number;
            }
            json.push_str(piece);
        }
        let node: Node = serde_json::from_str(&json).ok()?;
        node.is_below(scalars).then_some(Self(node))
    }
}

impl Node {
    /// Whether there are this many scalars.
    fn is_below(&self, scalars: usize) -> bool {
        match self {
            Self::Scalar(number) => *number < scalars,
            Self::Array(items) => items.iter().all(|item| item.is_below(scalars)),
            Self::Object(members) => members.iter().all(|(_, member)| member.is_below(scalars)),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a scalar, an array or an object")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        usize::try_from(number).map(Node::Scalar).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(item) = items.next_element()? {
            nodes.push(item);
        }
        Ok(Node::Array(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(member) = members.next_entry()? {
            nodes.push(member);
        }
        Ok(Node::Object(nodes))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
        Ok(Name { text: text.into(), is_plain: false })
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Name, E> {
        Ok(Name { text: text.into(), is_plain: true })
    }
}
