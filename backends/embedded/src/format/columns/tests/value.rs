//! What typed reads make of columns is what they make of the text.

#![expect(dead_code, reason = "values are compared as they are shown")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use annals_core::Order;
use annals_core::page::{PageRows, Values};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::*;

#[derive(Debug, Deserialize)]
struct Row {
    a: Option<f64>,
    #[serde(default)]
    b: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Integer { a: i128 },
    Single { a: f32 },
    Text { a: String },
    Items(Vec<Untagged>),
    Any(serde_json::Value),
}

fn agree<T: DeserializeOwned + Debug>(block: &Arc<Block>) {
    let mut rows = PageRows::new("r".into(), block.clone(), 0..block.len(), Order::OldestFirst);
    for (_, time, json) in block.iter() {
        let (stored_at, read) = rows.read_next::<T>().unwrap();
        assert_eq!(stored_at, time);
        match (read, serde_json::from_str::<T>(json)) {
            (Ok(read), Ok(expected)) => {
                assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{json}");
            }
            (Err(read), Err(expected)) => assert_eq!(read.to_string(), expected.to_string()),
            (read, expected) => panic!("{read:?} instead of {expected:?} of {json}"),
        }
    }
}

fn all_agree(rows: &Block) {
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap();
    let Some(encoded) = encoded else { return };
    let block = Arc::new(Block::decode(&encoded).unwrap());
    agree::<Row>(&block);
    agree::<Untagged>(&block);
    agree::<serde_json::Value>(&block);
    agree::<f32>(&block);
    agree::<BTreeMap<String, serde_json::Value>>(&block);
    agree::<Box<serde_json::value::RawValue>>(&block);
    for (row, (_, _, json)) in rows.iter().enumerate() {
        assert_eq!(&*block.text(row), json);
    }
}

/// Whether all scalars of all rows are told without the text.
fn is_complete(rows: &Block, scalars: usize) -> bool {
    let block = Block::decode(&rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap()).unwrap();
    (0..rows.len()).all(|row| {
        block.shape(row).is_some()
            && (0..scalars).all(|scalar| block.scalar(row, scalar).is_some())
            && block.scalar(row, scalars).is_none()
    })
}

#[test]
fn numbers_of_every_form_are_told_without_the_text() {
    let forms: [&dyn Fn(usize) -> String; 8] = [
        &|at| at.to_string(),
        &|at| format!("-{}", at + 1),
        &|at| (9_007_199_254_740_990_u64 + at as u64 % 9).to_string(),
        &|at| format!("{}.50", at % 70),
        &|at| (at as f64 / 4.0).to_string(),
        &|at| format!("{:?}", (at % 50) as f64 / 4.0),
        &|at| format!("{:?}", dice(at) as f64 / 1e19),
        &|at| ["20", "20.0", "20.50", "-0", "1e5", "18446744073709551615", "null"][at % 7].into(),
    ];
    for form in forms {
        let rows = many(300, |at| format!(r#"{{"a":{},"b":"{at}"}}"#, form(at)));
        all_agree(&rows);
        assert!(is_complete(&rows, 2), "{}", rows.json(1));
    }
    let escapes = many(300, |at| format!(r#"{{"a":1,"b":"\n{at}"}}"#));
    all_agree(&escapes);
    assert!(!is_complete(&escapes, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_mixture_of_shapes_is_read_as_its_text(rows in any_block()) {
        all_agree(&rows);
    }
}
