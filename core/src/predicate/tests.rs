use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(text: &str) -> Predicate {
    Predicate::parse(text).unwrap()
}

fn holds(text: &str, value: &Value) -> bool {
    parse(text).test(&value.to_string()).unwrap()
}

#[test]
fn a_comparison_holds_by_value() {
    let value = json!({
        "c": 30.5, "n": 3, "ok": true, "s": "open", "none": null, "list": [1, 2], "o": { "x": 1 },
        "big": (1_u64 << 53) + 1, "and": 1, "odd name": 2,
    });
    for (text, expected) in [
        ("c > 30", true),
        ("c>30", true),
        ("c >= 30.5 and c <= 30.5 and c = 3.05e1", true),
        ("c < 30", false),
        ("c != 30", true),
        ("c <> 30.5", false),
        ("n == 3.0", true),
        ("n = '3'", false),
        ("n != '3'", true),
        ("n < 'a'", false),
        ("ok = true", true),
        ("ok = 1", false),
        ("OK = true", false),
        ("ok != false", true),
        ("s = \"open\"", true),
        ("s = 'open'", true),
        ("s > 'oa' and s < 'p'", true),
        ("s = 'o' or s = 'open'", true),
        ("none = null", true),
        ("none != null", false),
        ("n != null", true),
        ("absent = null", false),
        ("absent != null", false),
        ("absent != 1", false),
        ("not absent = 1", true),
        ("not (absent != 1)", true),
        ("exists none", true),
        ("exists absent", false),
        ("EXISTS(n) AND NOT exists ( absent )", true),
        ("/list/1 = 2", true),
        ("/list/2 = 2", false),
        ("/o/x = 1", true),
        ("list = 1", false),
        ("list != 1", true),
        ("list < 1", false),
        ("big > 9007199254740992", true),
        ("big = 9007199254740993", true),
        ("big = 9007199254740993.0", false),
        ("big < 9007199254740994.0", true),
        ("\"and\" = 1", true),
        ("'odd name' = 2", true),
        ("c > 40 or n = 3 and ok = false", false),
        ("c > 40 or n = 3 and ok = true", true),
        ("(c > 30 or n = 4) and ok = false", false),
        ("not not n = 3", true),
        ("exists \"\"", true),
    ] {
        assert_eq!(holds(text, &value), expected, "{text}");
    }
}

#[test]
fn without_a_member_it_is_about_the_value_itself() {
    for (text, value, expected) in [
        ("> 30", json!(31), true),
        ("> 30 and < 40", json!(41), false),
        ("= 'open'", json!("open"), true),
        ("\"\" = null", json!(null), true),
        ("> 30", json!({ "": 31 }), false),
        ("/ > 30", json!({ "": 31 }), true),
        ("(> 30)", json!(31), true),
    ] {
        assert_eq!(holds(text, &value), expected, "{text} of {value}");
    }
}

#[test]
fn of_equal_names_the_last_counts_and_text_that_is_no_json_satisfies_nothing() {
    assert!(parse("a = 2").test(r#"{"a":1,"a":2}"#).unwrap());
    assert!(!parse("a = 1").test(r#"{"a":1,"a":2}"#).unwrap());
    for text in ["a = 1", "not a = 1", "exists a", "a = 1 or a != 1"] {
        assert!(parse(text).test(r#"{"a":1"#).is_err(), "{text}");
    }
}

#[test]
fn an_error_says_where_and_what_is_expected() {
    for (text, place, expected) in [
        ("", "at character 1: the filter ends", "a comparison"),
        ("celsius", "at character 8: the filter ends", "=, !="),
        ("celsius >", "at character 10: the filter ends", "a number"),
        ("celsius > hot", "at character 11: found hot", "a number"),
        ("celsius > 030", "at character 11: 030 is no JSON number", "a number"),
        ("celsius > -", "at character 11: - is no JSON number", "a number"),
        ("celsius > 1e999", "at character 11: 1e999 is no JSON number", "a number"),
        ("celsius ~ 3", "at character 9: found ~", "=, !="),
        ("a = 1 b = 2", "at character 7: found b", "and, or, or the end"),
        ("a = 1 and", "at character 10: the filter ends", "a comparison"),
        ("(a = 1", "at character 7: the filter ends", ")"),
        ("a = 1)", "at character 6: found )", "the end"),
        ("and = 1", "at character 1: found and", "in quotes"),
        ("exists", "at character 7: the filter ends", "a member"),
        ("exists > 3", "at character 8: found >", "a member"),
        ("ok > true", "at character 6: true has no order", "= or !="),
        ("n <= null", "at character 6: null has no order", "= or !="),
        ("s = 'open", "at character 5: a string that does not end", ""),
        ("s = \"a\\x\"", "at character 5: a string that does not end, or has an invalid", ""),
        ("\u{e9}\u{e9} = /", "at character 6: found /", "a number"),
        ("/a~2 = 1", "at character 1: in a JSON Pointer", "~0"),
        ("a = 1 and /a~ = 1", "at character 11: in a JSON Pointer", "~0"),
    ] {
        let error = Predicate::parse(text).unwrap_err();
        let PersistenceError::InvalidPredicate { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.starts_with(place), "{text:?}: {reason}");
        assert!(reason.contains(expected), "{text:?}: {reason}");
        assert!(error.is_invalid_input() && !error.is_retryable());
    }
}

#[test]
fn a_hostile_text_is_refused_before_the_stack_ends() {
    for text in ["(".repeat(100_000), "not ".repeat(100_000), "a=1 or ".repeat(100_000)] {
        let error = Predicate::parse(&text).unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
        assert!(error.len() < 500, "{error}");
    }
    let deep = format!("{}a=1{}", "(".repeat(63), ")".repeat(63));
    assert_eq!(parse(&deep), parse("a = 1"));
}

#[test]
fn what_is_put_together_in_code_is_checked_as_well() {
    for wrong in [
        Predicate::compare("/~", Comparison::Equal, 1),
        Predicate::exists("/~2"),
        Predicate::compare("a", Comparison::Less, true),
        Predicate::compare("a", Comparison::Equal, f64::NAN),
        Predicate::compare("a", Comparison::Less, f64::INFINITY),
    ] {
        let error = wrong.unwrap_err();
        assert!(matches!(error, PersistenceError::InvalidPredicate { .. }), "{error}");
    }
}

fn member() -> impl Strategy<Value = String> {
    const NAMES: &[&str] =
        &["a", "b", "and", "", "odd name", "/a/0", "/b~1c", "q\"'\\", "\u{0}", "\u{e9}"];
    proptest::sample::select(NAMES).prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::from),
        any::<u64>().prop_map(Scalar::from),
        any::<i64>().prop_map(Scalar::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Scalar::from),
        ".{0,6}".prop_map(Scalar::from),
    ]
}

fn any_predicate() -> impl Strategy<Value = Predicate> {
    use Comparison::*;
    let comparison =
        proptest::sample::select(vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual]);
    let leaf = prop_oneof![
        4 => (member(), comparison, scalar()).prop_map(|(member, comparison, scalar)| {
            let comparison = if scalar.is_ordered() { comparison } else { Equal };
            Predicate::compare(&member, comparison, scalar).unwrap()
        }),
        1 => member().prop_map(|member| Predicate::exists(&member).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| !one),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| one.and(other)),
            (inner.clone(), inner).prop_map(|(one, other)| one.or(other)),
        ]
    })
}

proptest! {
    #[test]
    fn the_text_of_a_predicate_parses_to_it(predicate in any_predicate()) {
        prop_assert_eq!(Predicate::parse(&predicate.to_string()).unwrap(), predicate);
    }

    #[test]
    fn no_text_panics(text in "[a-z()<>=!'\"/~\\\\ .0-9é-]{0,24}") {
        if let Ok(predicate) = Predicate::parse(&text) {
            prop_assert_eq!(Predicate::parse(&predicate.to_string()).unwrap(), predicate);
        }
    }
}
