use serde_json::{Value, json};

use crate::support::{FILES, Place};

#[test]
fn records_are_listed_in_byte_order_of_their_names() {
    for backend in FILES {
        let place = Place::new();
        place.import(
            backend,
            &[("b", "1", 5), ("a::2", "1", 9), ("B", "1", 7), ("a::2", "2", 3), ("é", "1", 1)],
        );
        let run = place.run(&["records", "--backend", backend]).ok();
        let expected = [
            json!({"record": "B", "count": 1, "first": 7, "last": 7}),
            json!({"record": "a::2", "count": 2, "first": 3, "last": 9}),
            json!({"record": "b", "count": 1, "first": 5, "last": 5}),
            json!({"record": "é", "count": 1, "first": 1, "last": 1}),
        ];
        assert_eq!(run.json_lines(), expected);
        let json = place.run(&["records", "--backend", backend, "--output", "json"]).ok().out;
        assert_eq!(serde_json::from_str::<Vec<Value>>(&json).unwrap(), expected);
        let csv = place.run(&["records", "--backend", backend, "a*", "--output", "csv"]).ok().out;
        assert_eq!(csv, "record,count,first,last\na::2,2,3,9\n");
        let table = place.run(&["records", "--backend", backend, "a*", "--output", "table"]).ok();
        assert_eq!(
            table.out,
            "record  count  first                 last\n\
             a::2        2  1970-01-01T00:00:00Z  1970-01-01T00:00:00Z\n"
        );
    }
}

#[test]
fn without_a_pattern_all_are_meant_in_either_grammar() {
    let place = Place::new();
    place.import(FILES[0], &[("a.b", "1", 1), ("c", "1", 1)]);
    let count = |args: &[&str]| {
        place.run(&[&["--backend", FILES[0], "records"], args].concat()).ok().json_lines().len()
    };
    assert_eq!(count(&[]), 2);
    assert_eq!(count(&["--grammar", "topic"]), 2);
    assert_eq!(count(&["--grammar", "topic", "*"]), 1);
    assert_eq!(count(&["--grammar", "topic", "#"]), 2);
    assert_eq!(count(&["a*"]), 1);
}

#[test]
fn an_empty_list_is_well_formed() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 1)]);
    let empty =
        |form: &str| place.run(&["--backend", FILES[0], "records", "x", "--output", form]).ok().out;
    assert_eq!(empty("json"), "[]\n");
    assert_eq!(empty("csv"), "record,count,first,last\n");
    assert_eq!(empty("ndjson"), "");
}
