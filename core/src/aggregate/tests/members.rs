//! Where samples are found in hostile values.

use super::*;

fn read(member: &str, json: &str) -> Option<f64> {
    Member::parse(member).unwrap().read(json).unwrap()
}

#[test]
fn a_member_is_a_name_a_pointer_or_the_value_itself() {
    let json = r#"{"a":1,"a.b":2,"":3,"a/b":4,"m~n":5,"ä":6,"a":7,"o":{"x":[10,{"y":11}],"0":12},"e\"s":8}"#;
    for (member, expected) in [
        ("a", Some(7.0)),
        ("/a", Some(7.0)),
        ("a.b", Some(2.0)),
        ("/", Some(3.0)),
        ("/a~1b", Some(4.0)),
        ("a/b", Some(4.0)),
        ("/m~0n", Some(5.0)),
        ("m~n", Some(5.0)),
        ("ä", Some(6.0)),
        ("e\"s", Some(8.0)),
        ("/o/x/0", Some(10.0)),
        ("/o/x/1/y", Some(11.0)),
        ("/o/0", Some(12.0)),
        ("/o/x/00", None),
        ("/o/x/-", None),
        ("/o/x/2", None),
        ("/o/x/+1", None),
        ("/a/x", None),
        ("o", None),
        ("", None),
        ("A", None),
        (" a", None),
    ] {
        assert_eq!(read(member, json), expected, "{member:?}");
    }
    assert_eq!(read("0", "[1]"), None);
    assert_eq!(read("/0", "[1]"), Some(1.0));
    // The last of equal names counts, and with it what it does not have.
    assert_eq!(read("/a/b", r#"{"a":{"b":1},"a":{"c":2}}"#), None);
    assert_eq!(read("v", r#"{"v":1,"v":"x"}"#), None);
    assert_eq!(read("x", r#"{"$serde_json::private::Number":"1","x":2}"#), Some(2.0));
    assert_eq!(read("\u{e9}", "{\"e\u{301}\":1}"), None);
    assert_eq!(read("\u{e9}", "{\"\\u00e9\":1}"), Some(1.0));
    assert_eq!(read("\0", "{\"\\u0000\":1}"), Some(1.0));
}

#[test]
fn numbers_are_their_nearest_double() {
    for (json, expected) in [
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("9007199254740995", 9_007_199_254_740_996.0),
        ("18446744073709551615", 18_446_744_073_709_551_616.0),
        ("-9223372036854775808", -9_223_372_036_854_775_808.0),
        ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ("0.1", 0.1),
        ("true", 1.0),
        ("false", 0.0),
        (" 1.5e0 ", 1.5),
    ] {
        assert_eq!(read("", json), Some(expected), "{json}");
    }
    assert_eq!(read("", "-0.0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
    for json in ["null", "\"1\"", "[1]", "{}", "\"true\""] {
        assert_eq!(read("", json), None, "{json}");
    }
}

#[test]
fn what_is_no_json_has_no_sample() {
    let member = Member::parse("v").unwrap();
    for json in ["", "{\"v\":1", "{\"v\":1}x", "{\"v\":1,\"w\":sh}", "{'v':1}", "{\"v\":01}"] {
        assert!(member.read(json).is_err(), "{json}");
    }
}

#[tokio::test]
async fn a_state_is_a_scalar_of_the_same_kind() {
    let values = ["1", "1.0", "true", "\"1\"", "null", "9007199254740993", "9007199254740992"];
    let asked = "duration{1},duration{true},duration{\"1\"},duration{null},\
                 duration{9007199254740993}";
    let plan = Aggregate::new().range(0, 69).functions(shown(asked)).now(1_000);
    let plan = std::sync::Arc::new(Plan::new("r", &plan).unwrap());
    let mut series = Series::new(plan, "r".into());
    for (at, json) in (0..).step_by(10).zip(values) {
        series.row(at, json).unwrap();
    }
    let buckets = series.finish().unwrap();
    let lasted: Vec<f64> = buckets[0].values().map(|(_, value)| value.as_f64()).collect();
    assert_eq!(lasted, [20.0, 10.0, 10.0, 10.0, 10.0]);
}
