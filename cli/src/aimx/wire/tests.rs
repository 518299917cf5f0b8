use super::*;

#[test]
fn one_line_is_a_hello_to_both_versions() {
    assert_eq!(
        hello_to_either(None).unwrap(),
        r#"{"version":"1.0","client":"annals","t":"req","id":1,"method":"hello","params":{"client":"annals","version":"3.0"}}"#
    );
    let with_token = hello_to_either(Some("s3cret")).unwrap();
    assert!(with_token.contains(r#""client":"annals","auth_token":"s3cret","t":"req""#));
    assert_eq!(
        hello().unwrap(),
        r#"{"t":"req","id":1,"method":"hello","params":{"client":"annals","version":"3.0"}}"#
    );
}

#[test]
fn a_query_is_written_as_each_version_has_it() {
    let ask = Ask { name: Some("accuracy::*"), limit: 1, start: None, end: None };
    assert_eq!(
        query(Version::One, 1, &ask).unwrap(),
        r#"{"id":1,"method":"record.query","params":{"name":"accuracy::*","limit":1}}"#
    );
    let ask = Ask { name: None, limit: 5, start: Some(1), end: Some(2) };
    assert_eq!(
        query(Version::Three, 7, &ask).unwrap(),
        r#"{"t":"req","id":7,"method":"record.query","params":{"limit":5,"start":1,"end":2}}"#
    );
}

#[test]
fn the_answer_to_the_hello_tells_the_version() {
    let of = |frame: &str| welcome(frame.as_bytes(), false);
    assert_eq!(of(r#"{"version":"1.0","server":"aimdb","permissions":[]}"#).unwrap(), Version::One);
    assert_eq!(of(r#"{"t":"reply","id":1,"ok":{"version":"3.1"}}"#).unwrap(), Version::Three);
    let other = of(r#"{"t":"reply","id":1,"ok":{"version":"2.0"}}"#).unwrap_err();
    assert!(matches!(&other, Fault::Version(Some(v)) if v == "2.0"), "{other:?}");
    let other = of(r#"{"t":"reply","id":1,"err":"version_mismatch"}"#).unwrap_err();
    assert!(matches!(other, Fault::Version(None)), "{other:?}");
    let other = of(r#"{"error":"authentication_required","message":"x"}"#).unwrap_err();
    assert!(matches!(other, Fault::Token { sent: false }), "{other:?}");
    for frame in ["", "HTTP/1.1 400", "[]", "{}", r#"{"t":"event"}"#, r#"{"t":"reply","ok":1}"#] {
        let fault = of(frame).unwrap_err();
        assert!(matches!(fault, Fault::Malformed(_)), "{frame}: {fault:?}");
    }
}

#[test]
fn rows_come_by_record_and_newest_first_whatever_the_version() {
    let one = br#"{"id":2,"result":{"count":2,"values":[
        {"record":"b","value":1.50,"stored_at":1},{"record":"a","value":null,"stored_at":7}]}}"#;
    let rows_of = |version, frame: &[u8]| -> Vec<_> {
        let rows = rows(version, 2, frame).unwrap().unwrap();
        rows.iter().map(|row| format!("{} {} {}", row.record, row.json, row.stored_at)).collect()
    };
    assert_eq!(rows_of(Version::One, one), ["a null 7", "b 1.50 1"]);
    let three = br#"{"t":"reply","id":2,"ok":{"records":[{"topic":"a","payload":1,"ts":5},
        {"topic":"a","payload":2,"ts":5},{"topic":"a","payload":3,"ts":6}],"total":3}}"#;
    assert_eq!(rows_of(Version::Three, three), ["a 3 6", "a 2 5", "a 1 5"]);
}

#[test]
fn a_server_of_3_may_say_why() {
    let frame = br#"{"t":"reply","id":2,"err":"internal","message":"the disk is full"}"#;
    let fault = rows(Version::Three, 2, frame).unwrap_err();
    let told = matches!(&fault, Fault::Refused { message, .. } if message == "the disk is full");
    assert!(told, "{fault:?}");
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let event = br#"{"t":"event","sub":"1","seq":1,"data":1}"#;
    assert!(rows(Version::Three, 2, event).unwrap().is_none());
    for (version, frame) in [
        (Version::One, r#"{"id":3,"result":{"count":0,"values":[]}}"#),
        (Version::Three, r#"{"t":"reply","id":3,"ok":{"records":[],"total":0}}"#),
        (Version::One, r#"{"id":2,"result":{"rows":[]}}"#),
        (Version::One, r#"{"id":2,"result":{"values":[{"record":"a","value":1,"stored_at":-1}]}}"#),
        (Version::Three, r#"{"t":"reply","id":2}"#),
        (Version::One, "{"),
    ] {
        let fault = rows(version, 2, frame.as_bytes()).unwrap_err();
        assert!(matches!(fault, Fault::Malformed(_)), "{frame}: {fault:?}");
    }
}
