use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{FILES, Place, Run};

const SQLITE: &str = FILES[0];

fn query(place: &Place, args: &[&str]) -> Run {
    place.run(&[&["query", "--backend", SQLITE], args].concat())
}

fn values(run: &Run) -> Vec<Value> {
    run.json_lines().into_iter().map(|mut row| row["value"].take()).collect()
}

fn ten_each() -> Place {
    let place = Place::new();
    let values: Vec<_> = (0..10).map(|i| i.to_string()).collect();
    let mut rows = Vec::new();
    for (value, stored_at) in values.iter().zip((0..10).map(|i| i * 100)) {
        rows.push(("b::two", value.as_str(), stored_at));
        rows.push(("a.one", value.as_str(), stored_at));
    }
    place.import(SQLITE, &rows);
    place
}

#[test]
fn rows_come_by_record_and_newest_first_unless_asked_otherwise() {
    let place = ten_each();
    let all = query(&place, &["*"]).ok().json_lines();
    assert_eq!(all.len(), 20);
    assert_eq!(all[0], json!({"record": "a.one", "value": 9, "stored_at": 900}));
    assert_eq!(all[10], json!({"record": "b::two", "value": 9, "stored_at": 900}));
    let run = query(&place, &["b*", "--oldest-first"]).ok();
    assert_eq!(values(&run), (0..10).map(Value::from).collect::<Vec<_>>());
    let run = query(&place, &["a.one", "--latest", "2"]).ok();
    assert_eq!(values(&run), [9, 8]);
    let run = query(&place, &["*", "--latest", "2", "--to", "500", "--oldest-first"]).ok();
    assert_eq!(values(&run), [4, 5, 4, 5]);
    assert_eq!(query(&place, &["*", "--latest", "0"]).ok().out, "");
    assert_eq!(query(&place, &["nothing*"]).ok().out, "");
}

#[test]
fn bounds_are_inclusive_and_take_any_u64() {
    let place = ten_each();
    let window = |from: &str, to: &str| {
        values(&query(&place, &["b*", "--from", from, "--to", to, "--oldest-first"]).ok())
    };
    assert_eq!(window("200", "400"), [2, 3, 4]);
    assert_eq!(window("1970-01-01T00:00:00.200Z", "1970-01-01T01:00:00.4+01:00"), [2, 3, 4]);
    assert_eq!(window("1970-01-01T00:00:00.1999Z", "1970-01-01T00:00:00.4009Z"), [2, 3, 4]);
    assert_eq!(window("0", "18446744073709551615").len(), 10);
    assert_eq!(window("18446744073709551615", "18446744073709551615").len(), 10);
    assert_eq!(window("400", "200"), [0; 0]);
    assert_eq!(window("1h", "0s"), [0; 0], "all of it was stored in 1970");
    assert_eq!(window("900000h", "0s").len(), 10);
}

#[test]
fn a_filter_selects_by_members_and_latest_counts_what_satisfies_it() {
    let place = ten_each();
    let run = query(&place, &["b*", "--where", "> 6 and != 8"]).ok();
    assert_eq!(values(&run), [9, 7]);
    let run = query(&place, &["b*", "--where", "<= 5", "--latest", "2", "--oldest-first"]).ok();
    assert_eq!(values(&run), [4, 5]);
    let run = query(&place, &["b*", "--where", "exists celsius"]).ok();
    assert_eq!(run.out, "");
    let wrong = query(&place, &["b*", "--where", "celsius >"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.err.contains("at character 10: the filter ends; expected a number"),
        "{}",
        wrong.err
    );
}

#[test]
fn an_age_counts_from_now() {
    let place = Place::new();
    place.run_with_input(&["--backend", SQLITE, "import"], r#"{"record":"a","value":1}"#).noted();
    assert_eq!(values(&query(&place, &["a", "--from", "1h30m"]).ok()), [1]);
    assert_eq!(values(&query(&place, &["a", "--to", "1h"]).ok()), [0; 0]);
}

#[test]
fn both_grammars_are_there() {
    let place = Place::new();
    place.import(SQLITE, &[("a.b.c", "1", 1), ("a.c", "2", 1), ("a", "3", 1)]);
    assert_eq!(values(&query(&place, &["a.*"]).ok()), [1, 2]);
    assert_eq!(values(&query(&place, &["a.*", "--grammar", "topic"]).ok()), [2]);
    assert_eq!(values(&query(&place, &["a.#", "--grammar", "topic"]).ok()), [3, 1, 2]);
}

#[test]
fn a_pattern_may_begin_with_a_dash() {
    let place = Place::new();
    place.import(SQLITE, &[("-x::1", "1", 1), ("--backend", "2", 1)]);
    assert_eq!(values(&query(&place, &["--latest", "1", "--", "-x*"]).ok()), [1]);
    assert_eq!(values(&query(&place, &["--", "--backend"]).ok()), [2]);
    query(&place, &["-x*"]).refused(2, "unexpected argument '-x'");
}

/// Names and values that break quoting by hand.
const HOSTILE: [(&str, &str); 6] = [
    ("a\nb", "\"line\\nbreak\""),
    ("comma, \"quote\"", "{\"k,\":\"\\\"\"}"),
    ("=1+1", "\"=cmd|' /C calc'!A0\""),
    ("\u{1b}[2J\u{202e}", "\"\u{202e}\u{9b}2J\""),
    ("é🦀", "[1, 2]"),
    ("r\r", "null"),
];

#[test]
fn json_and_csv_read_back_whatever_is_in_them() {
    let place = Place::new();
    let rows: Vec<_> = HOSTILE.iter().map(|(name, value)| (*name, *value, 5)).collect();
    place.import(SQLITE, &rows);
    let mut expected: Vec<_> = HOSTILE.to_vec();
    expected.sort();

    let json = query(&place, &["*", "--output", "json"]).ok().out;
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    let as_json = |(name, value): &(&str, &str)| {
        let value: Value = serde_json::from_str(value).unwrap();
        json!({"record": name, "value": value, "stored_at": 5})
    };
    assert_eq!(rows, expected.iter().map(as_json).collect::<Vec<_>>());

    let ndjson = query(&place, &["*", "--output", "ndjson"]).ok();
    assert_eq!(ndjson.json_lines(), rows);

    let text = query(&place, &["*", "--output", "csv"]).ok().out;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["record", "value", "stored_at"]);
    let rows: Vec<(String, String, u64)> = reader.deserialize().map(Result::unwrap).collect();
    let as_csv = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned(), 5);
    assert_eq!(rows, expected.iter().map(as_csv).collect::<Vec<_>>());
}

#[test]
fn an_empty_result_is_well_formed_in_every_form() {
    let place = ten_each();
    let empty = |form: &str| query(&place, &["nothing", "--output", form]).ok().out;
    assert_eq!(empty("json"), "[]\n");
    assert_eq!(empty("ndjson"), "");
    assert_eq!(empty("csv"), "record,value,stored_at\n");
    assert_eq!(empty("table"), "record  stored_at  value\n");
}

#[test]
fn a_table_is_safe_on_a_terminal_and_fits() {
    let place = Place::new();
    let long = format!("\"{}\"", "x".repeat(500));
    let mut rows: Vec<_> = HOSTILE.iter().map(|(name, value)| (*name, *value, 5)).collect();
    rows.push(("long", &long, 5));
    place.import(SQLITE, &rows);
    let table = query(&place, &["*", "--output", "table"]).ok().out;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 1 + rows.len(), "one line a row: {table}");
    for line in lines {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\r']), "{line:?}");
    }
    assert!(table.contains(r#""a\nb""#), "{table}");
    assert!(table.contains("1970-01-01T00:00:00.005Z"), "{table}");
}

#[test]
fn a_row_that_is_no_json_any_more_is_left_out_and_said() {
    let place = Place::new();
    place.import(SQLITE, &[("a", "1", 1), ("a", "2", 2), ("a", "3", 3)]);
    place.damage(2);
    for form in ["ndjson", "json", "csv", "table"] {
        let run = query(&place, &["a", "--output", form]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(
            run.err.ends_with("annals: 1 row skipped: the stored text is not JSON\n"),
            "{run:?}"
        );
        assert!(!run.out.contains("broken"), "{run:?}");
        if form == "json" {
            assert_eq!(serde_json::from_str::<Vec<Value>>(&run.out).unwrap().len(), 2);
        }
    }
}

#[test]
fn a_query_creates_no_store() {
    for backend in FILES {
        let place = Place::new();
        for args in [&["query", "*"][..], &["records"], &["cleanup", "--older-than", "1h"]] {
            let run = place.run(&[&["--backend", backend], args].concat());
            run.refused(1, "there is no history at history.");
        }
        assert_eq!(place.names(), [""; 0]);
    }
}

/// As in `annals query '*' | head -1`: the reader goes, and that is no error.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let place = Place::new();
    // More than any pipe or buffer holds.
    let value = format!("\"{}\"", "x".repeat(1000));
    let rows: Vec<_> = (0..3_000).map(|i| ("r", value.as_str(), i)).collect();
    place.import(SQLITE, &rows);
    for form in ["ndjson", "json", "csv", "table"] {
        let args = ["query", "--backend", SQLITE, "*", "--output", form];
        let mut command = place.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!((run.code, &*run.err), (Some(0), ""), "{form}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let place = ten_each();
    for args in [&["query", "*"][..], &["query", "*", "--output", "csv"], &["records"], &["--help"]]
    {
        let mut command = place.command(&[&["--backend", SQLITE], args].concat());
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
        Run::from(output).refused(1, "the output cannot be written: No space left");
    }
}
