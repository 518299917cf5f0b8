//! What a type makes of columns is what it makes of the text.

#![expect(dead_code, reason = "values are compared as they are shown")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;

/// One row.
struct One {
    pieces: Vec<&'static str>,
    scalars: Vec<&'static str>,
    shape: Option<Shape>,
    /// How often the text was asked for.
    texts: AtomicUsize,
}

impl One {
    fn new(pieces: &[&'static str], scalars: &[&'static str]) -> Arc<Self> {
        Arc::new(Self {
            pieces: pieces.to_vec(),
            scalars: scalars.to_vec(),
            shape: Shape::new(pieces.iter().copied()),
            texts: AtomicUsize::new(0),
        })
    }
}

impl Values for One {
    fn shape(&self, _: usize) -> Option<&Shape> {
        self.shape.as_ref()
    }

    fn scalar(&self, _: usize, number: usize) -> Option<ScalarRef<'_>> {
        let text = self.scalars[number];
        Some(match serde_json::from_str(text).unwrap() {
            serde_json::Value::Null => ScalarRef::Null,
            serde_json::Value::Bool(value) => ScalarRef::Bool(value),
            serde_json::Value::String(_) if text.contains('\\') => return None,
            serde_json::Value::String(_) => ScalarRef::Text(&text[1..text.len() - 1]),
            serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => ScalarRef::Unsigned(value),
                (_, Some(value)) => ScalarRef::Signed(value),
                _ => ScalarRef::Float(number.as_f64().unwrap()),
            },
            other => panic!("{other}"),
        })
    }

    fn text(&self, _: usize) -> Arc<str> {
        self.texts.fetch_add(1, Ordering::Relaxed);
        let mut text = self.pieces[0].to_owned();
        for (scalar, piece) in self.scalars.iter().zip(&self.pieces[1..]) {
            text.push_str(scalar);
            text.push_str(piece);
        }
        text.into()
    }

    fn stored_at(&self, _: usize) -> u64 {
        7
    }
}

#[derive(Debug, Deserialize)]
struct Plain {
    a: f64,
    #[serde(default)]
    b: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: i64,
}

#[derive(Debug, Deserialize)]
struct Flat {
    a: serde_json::Value,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number { a: f32 },
    Text { a: String },
    Pair(i8, u128),
    Any(serde_json::Value),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "a")]
enum Tagged {
    #[serde(rename = "x")]
    X { b: Option<bool> },
    #[serde(rename = "y")]
    Y,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outer {
    A(i32),
    X,
    Y { b: u8 },
    Z(i32, i32),
}

#[derive(Debug, Deserialize)]
struct Wrapped(Inner);

#[derive(Debug, Deserialize)]
struct Inner {
    a: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct Wide {
    a: i128,
    b: Option<u128>,
}

#[derive(Debug, Deserialize)]
struct Halves {
    a: Option<f32>,
    b: Option<Outer>,
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
struct Id(String);

/// Reads as a type both ways, and says whether that went without the text.
fn agree<T: DeserializeOwned + Debug>(one: &Arc<One>) -> bool {
    let expected = serde_json::from_str::<T>(&one.text(0));
    let before = one.texts.load(Ordering::Relaxed);
    let mut rows = PageRows::new("r".into(), one.clone(), 0..1, Order::OldestFirst);
    let (stored_at, read) = rows.read_next::<T>().unwrap();
    assert_eq!((stored_at, rows.len()), (7, 0));
    match (&read, &expected) {
        (Ok(read), Ok(expected)) => assert_eq!(format!("{read:?}"), format!("{expected:?}")),
        (Err(read), Err(expected)) => assert_eq!(read.to_string(), expected.to_string()),
        _ => panic!("{read:?} instead of {expected:?} of {}", one.text(0)),
    }
    one.texts.load(Ordering::Relaxed) == before
}

macro_rules! all_agree {
    ($one:expr; $($type:ty),* $(,)?) => {
        [$(agree::<$type>($one)),*].into_iter().filter(|without_text| *without_text).count()
    };
}

fn all_types(one: &Arc<One>) -> usize {
    all_agree!(
        one;
        Plain, Strict, Flat, Untagged, Tagged, Outer, Wrapped, Inner, Wide, Halves, Id, f64, f32, bool, i8, u8,
        u16, i32, u64, i64, u128, i128, char, String, (), Cow<'static, str>, Box<str>, Vec<f64>, Vec<Plain>,
        Option<Plain>, Option<i64>, Vec<Option<f32>>, (f64, f64), [i32; 2], (f32, String, Vec<u8>),
        serde_json::Value, Box<RawValue>, serde_json::Map<String, serde_json::Value>, serde_json::Number,
        BTreeMap<Id, serde_json::Value>, BTreeMap<Id, f64>, BTreeMap<u32, f64>, BTreeMap<bool, f64>,
        BTreeMap<char, i64>, BTreeMap<String, String>, Vec<serde_json::Value>, serde::de::IgnoredAny,
    )
}

const SCALARS: [&str; 32] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "255",
    "20.5",
    "20.50",
    "-0",
    "-0.0",
    "0.0",
    "1e2",
    "2.5e-3",
    "16777217",
    "16777217.0",
    "0.1",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "170141183460469231731687303715884105727",
    "1e39",
    "1e-46",
    "1.0000000596046448",
    "1.00000005960464477540",
    "\"x\"",
    "\"y\"",
    "\"\"",
    "\"\u{e9}\"",
    "\"\\u00e9\\n\"",
    "\"20.5\"",
];

const SHAPES: [&[&str]; 22] = [
    &["", ""],
    &[" ", " "],
    &["[", "]"],
    &["[", ",", "]"],
    &["[[", "],[],", "]"],
    &["{\"a\":", "}"],
    &["{\"a\":", ",\"b\":", "}"],
    &["{\"b\":", ",\"a\":", "}"],
    &["{ \"a\" : ", " , \"c\" : ", " }"],
    &["{\"a\":", ",\"a\":", "}"],
    &["{\"a\":{\"a\":", "},\"b\":[", "]}"],
    &["{\"a\":{\"b\":", "}}"],
    &["{\"x\":", "}"],
    &["{\"y\":{\"b\":", "}}"],
    &["{\"z\":[", ",", "]}"],
    &["{\"\\u0061\":", ",\"\":", "}"],
    &["{\"1\":", ",\"2\":", "}"],
    &["{\"true\":", "}"],
    &["{\"$serde_json::private::RawValue\":", "}"],
    &["{\"$serde_json::private::Number\":", ",\"a\":", "}"],
    &["[{\"a\":", ",\"b\":null_is_no_piece", "}]"],
    &["[{\"a\":", "},{\"a\":", "}]"],
];

#[test]
fn every_type_reads_what_it_reads_of_the_text() {
    let mut without_text = 0;
    for pieces in SHAPES {
        for (at, first) in SCALARS.iter().enumerate() {
            let seconds: &[&str] = if pieces.len() > 2 { &SCALARS } else { &SCALARS[..1] };
            // Not all pairs: that takes long.
            for second in seconds.iter().skip(at % 3).step_by(3) {
                let scalars = [*first, *second];
                without_text += all_types(&One::new(pieces, &scalars[..pieces.len() - 1]));
            }
        }
    }
    assert!(without_text > 10_000, "{without_text}");
}

#[test]
fn what_fits_is_read_without_the_text() {
    let one = One::new(&["{\"a\":", ",\"b\":", "}"], &["20.5", "\"x\""]);
    assert!(agree::<Plain>(&one) && agree::<Flat>(&one) && agree::<Untagged>(&one));
    assert!(agree::<serde_json::Value>(&one) && agree::<Option<Plain>>(&one));
    assert!(!agree::<Inner>(&one) && !agree::<Strict>(&one) && !agree::<Box<RawValue>>(&one));
    let variant = One::new(&["{\"y\":{\"b\":", "}}"], &["7"]);
    assert!(agree::<Outer>(&variant));
    let mut rows = PageRows::new("r".into(), variant, 0..1, Order::OldestFirst);
    let row = rows.next().unwrap();
    assert_eq!((&*row.record, row.stored_at, &*row.json), ("r", 7, "{\"y\":{\"b\":7}}"));
    assert!(rows.next().is_none() && rows.read_next::<Outer>().is_none());
}

/// An f32 is the text rounded once: twice, this is 1.0.
#[test]
fn a_single_is_rounded_once() {
    let text = "1.00000005960464477540";
    let twice = text.parse::<f64>().unwrap() as f32;
    assert_ne!(text.parse::<f32>().unwrap(), twice);
    assert!(!agree::<f32>(&One::new(&["", ""], &[text])));
    assert!(agree::<f32>(&One::new(&["", ""], &["0.1"])));
}

/// Rows whose time is their number.
struct Numbered;

impl Values for Numbered {
    fn shape(&self, _: usize) -> Option<&Shape> {
        None
    }

    fn scalar(&self, _: usize, _: usize) -> Option<ScalarRef<'_>> {
        None
    }

    fn text(&self, row: usize) -> Arc<str> {
        row.to_string().into()
    }

    fn stored_at(&self, row: usize) -> u64 {
        row as u64
    }
}

#[test]
fn rows_are_taken_in_the_order_asked_for() {
    let rows = |order| PageRows::new("r".into(), Arc::new(Numbered), 3..6, order);
    let times = |order| rows(order).map(|row| row.stored_at).collect::<Vec<_>>();
    assert_eq!(times(Order::OldestFirst), [3, 4, 5]);
    assert_eq!(times(Order::NewestFirst), [5, 4, 3]);
    let mut newest = rows(Order::NewestFirst);
    assert!(matches!(newest.read_next::<u64>(), Some((5, Ok(5)))));
    assert!(matches!(newest.read_next::<bool>(), Some((4, Err(_)))));
    assert_eq!((newest.len(), newest.next().map(|row| row.stored_at)), (1, Some(3)));
    assert!(newest.is_empty() && newest.read_next::<u64>().is_none());
}
