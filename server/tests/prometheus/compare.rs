//! Whether two answers are the same.

use std::collections::BTreeMap;

use serde_json::Value;

/// The largest relative difference of two values: both add floating-point numbers, each in its own
/// order.
const TOLERANCE: f64 = 1e-9;

/// Times in milliseconds and values.
type Points = BTreeMap<i64, f64>;
/// The series of an answer by their labels.
type Answer = BTreeMap<BTreeMap<String, String>, Points>;

/// Reads the `data` of an answer to a query.
pub(crate) fn read(body: &Value) -> Answer {
    let data = &body["data"];
    let kind = data["resultType"].as_str().unwrap_or_else(|| panic!("no result in {body}"));
    let point = |point: &Value| {
        let millis = (point[0].as_f64().unwrap() * 1_000.0).round() as i64;
        let value = point[1].as_str().unwrap();
        (millis, value.replace("Inf", "inf").parse::<f64>().unwrap())
    };
    if kind == "scalar" {
        return Answer::from([(BTreeMap::new(), Points::from([point(&data["result"])]))]);
    }
    let mut answer = Answer::new();
    for series in data["result"].as_array().unwrap() {
        let labels = series["metric"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let points = match kind {
            "vector" => Points::from([point(&series["value"])]),
            _ => series["values"].as_array().unwrap().iter().map(point).collect(),
        };
        let twice = answer.insert(labels.collect(), points);
        assert!(twice.is_none(), "a series is in the answer twice: {series}");
    }
    answer
}

/// What differs, or nothing.
pub(crate) fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    let names = |answer: &Answer| answer.keys().cloned().collect::<Vec<_>>();
    if names(ours) != names(theirs) {
        return Some(format!("series {:?} instead of {:?}", names(ours), names(theirs)));
    }
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        let times = |points: &Points| points.keys().copied().collect::<Vec<_>>();
        if times(ours) != times(theirs) {
            let both = (ours.len(), theirs.len());
            let only = times(ours).into_iter().find(|time| !theirs.contains_key(time));
            let missing = times(theirs).into_iter().find(|time| !ours.contains_key(time));
            return Some(format!(
                "{labels:?}: {both:?} points, only {only:?}, missing {missing:?}"
            ));
        }
        for ((time, ours), theirs) in ours.iter().zip(theirs.values()) {
            if !is_same(*ours, *theirs) {
                return Some(format!("{labels:?} at {time}: {ours} instead of {theirs}"));
            }
        }
    }
    None
}

fn is_same(one: f64, other: f64) -> bool {
    let scale = one.abs().max(other.abs());
    one == other || (one.is_nan() && other.is_nan()) || (one - other).abs() <= TOLERANCE * scale
}

#[test]
fn a_difference_is_found() {
    let answer = |value: &str, name: &str, time: u64| {
        let series = serde_json::json!({ "metric": { "record": name }, "value": [time, value] });
        read(&serde_json::json!({ "data": { "resultType": "vector", "result": [series] } }))
    };
    assert_eq!(difference(&answer("1", "a", 5), &answer("1.0000000000001", "a", 5)), None);
    assert_eq!(difference(&answer("NaN", "a", 5), &answer("NaN", "a", 5)), None);
    for other in [answer("1.0001", "a", 5), answer("1", "b", 5), answer("1", "a", 6)] {
        assert!(difference(&answer("1", "a", 5), &other).is_some());
    }
}
