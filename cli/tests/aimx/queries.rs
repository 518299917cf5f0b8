//! What a server keeps comes out as from a backend.

use serde_json::json;

use super::query;
use crate::fake::{Action, Server, WIRES, Wire};
use crate::support::{Place, Run};

const BACKEND: &str = "sqlite:history.db";

type Rows<'a> = Vec<(&'a str, &'a str, u64)>;

/// Runs the same query on a backend and over AimX and expects the same, byte for byte.
fn compare(wires: &[Wire], rows: &Rows<'_>, queries: &[&[&str]]) {
    let place = Place::new();
    place.import(BACKEND, rows);
    for &wire in wires {
        let server = Server::with_history(wire, rows);
        for args in queries {
            let expected = place.run(&[&["query", "--backend", BACKEND], *args].concat()).ok();
            let run = query(&server, args).ok();
            assert_eq!(run.out, expected.out, "{wire:?} {args:?}");
        }
    }
}

#[test]
fn every_flag_and_form_does_what_it_does_on_a_backend() {
    let values: Vec<String> = (0..20).map(|i| format!("{{\"n\":{i}.5}}")).collect();
    let mut rows = Vec::new();
    for (i, value) in values.iter().enumerate() {
        rows.push(("b", value.as_str(), 100 * (i as u64 / 2)));
        rows.push(("a", value.as_str(), 100 * (i as u64 / 3)));
    }
    rows.push(("é\n", "\"\\u0000 🦀\"", 5));
    // `*` means every record here on both lines: no name has a dot.
    compare(
        &WIRES,
        &rows,
        &[
            &["*"],
            &["b"],
            &["none"],
            &["*", "--latest", "1"],
            &["*", "--latest", "3"],
            &["*", "--latest", "0"],
            &["*", "--latest", "4", "--oldest-first"],
            &["*", "--from", "200", "--to", "500"],
            &["*", "--from", "200", "--to", "500", "--latest", "3", "--oldest-first"],
            &["*", "--from", "500", "--to", "200"],
            &["*", "--from", "0", "--to", "18446744073709551615"],
            &["*", "--output", "json"],
            &["*", "--output", "csv"],
            &["*", "--output", "table"],
            &["none", "--output", "json"],
        ],
    );
}

#[test]
fn aggregates_and_the_value_at_a_time_are_those_of_a_backend() {
    let rows =
        vec![("a", r#"{"n":1}"#, 100), ("a", r#"{"n":5}"#, 3_700_000), ("b", r#"{"n":"x"}"#, 100)];
    let place = Place::new();
    place.import(BACKEND, &rows);
    for wire in WIRES {
        let server = Server::with_history(wire, &rows);
        for args in [
            &["aggregate", "*", "--member", "n", "--every", "1h", "--show", "mean,increase"][..],
            &["aggregate", "a", "--member", "n", "--show", "p50,time_weighted_mean"],
            &["query", "*", "--at", "100"],
        ] {
            let expected = place.run(&[args, &["--backend", BACKEND]].concat()).ok();
            let run = place.run(&[args, &["--aimx", server.address()]].concat()).ok();
            assert_eq!(run.out, expected.out, "{wire:?} {args:?}");
        }
    }
}

/// Values at one time, in runs shorter and longer than a page, and across the ends of pages.
#[test]
fn a_history_of_many_pages_comes_whole_and_in_order() {
    let values: Vec<String> = (0..3_400).map(|i| i.to_string()).collect();
    let history = |longest_run: u64| -> Rows<'_> {
        let times = (0..3_400_u64).map(|i| match i {
            0..1_300 => i / 7,
            1_300..2_600 => i / longest_run,
            _ => i,
        });
        let r = values.iter().zip(times).map(|(v, t)| ("r", v.as_str(), t));
        let s = values[..700].iter().zip(0..).map(|(v, t)| ("s", v.as_str(), t));
        r.chain(s).collect()
    };
    let queries: [&[&str]; 6] = [
        &["*"],
        &["r"],
        &["*", "--oldest-first"],
        &["*", "--latest", "1501"],
        &["*", "--latest", "1501", "--oldest-first"],
        &["*", "--from", "100", "--to", "2700", "--oldest-first"],
    ];
    compare(&[Wire::One, Wire::Three], &history(1_300), &queries);
    // That many do not fit in a frame over TCP.
    compare(&[Wire::ThreeOverTcp], &history(550), &queries);
}

#[test]
fn no_more_than_a_page_is_asked_for_at_once() {
    let values: Vec<String> = (0..1_200).map(|i| i.to_string()).collect();
    let rows: Rows<'_> = values.iter().zip(0..).map(|(v, t)| ("r", v.as_str(), t)).collect();
    let server = Server::with_history(Wire::One, &rows);
    assert_eq!(query(&server, &["*"]).ok().json_lines().len(), 1_200);
    assert_eq!(
        server.heard()[1..],
        [
            r#"{"id":2,"method":"record.query","params":{"name":"*","limit":1}}"#,
            r#"{"id":3,"method":"record.query","params":{"name":"r","limit":500,"end":1199}}"#,
            r#"{"id":4,"method":"record.query","params":{"name":"r","limit":500,"end":700}}"#,
            r#"{"id":5,"method":"record.query","params":{"name":"r","limit":500,"end":201}}"#,
        ]
    );
}

#[test]
fn the_hello_and_the_question_are_what_each_version_takes() {
    let rows = [("a", "1", 1)];
    let args = ["a", "--from", "1", "--to", "2", "--latest", "1"];
    let hello =
        r#""t":"req","id":1,"method":"hello","params":{"client":"annals","version":"3.0"}}"#;
    let params =
        r#""id":2,"method":"record.query","params":{"name":"a","limit":1,"start":1,"end":2}}"#;
    for (wire, before_hello, before_question) in [
        (Wire::One, r#"{"version":"1.0","client":"annals","#, "{"),
        (Wire::Three, r#"{"version":"1.0","client":"annals","#, r#"{"t":"req","#),
        (Wire::ThreeOverTcp, "{", r#"{"t":"req","#),
    ] {
        let server = Server::with_history(wire, &rows);
        query(&server, &args).ok();
        let expected = [format!("{before_hello}{hello}"), format!("{before_question}{params}")];
        assert_eq!(server.heard(), expected, "{wire:?}");
    }
}

#[test]
fn the_pattern_is_read_by_the_server() {
    let rows = [("a.b.c", "1", 1), ("a.c", "2", 1)];
    let found = |wire, pattern| {
        query(&Server::with_history(wire, &rows), &[pattern]).ok().json_lines().len()
    };
    assert_eq!(found(Wire::One, "a.*"), 2);
    assert_eq!(found(Wire::Three, "a.*"), 1);
    assert_eq!(found(Wire::Three, "a.#"), 2);
}

/// Over TCP AimDB closes the connection when an answer is larger than 64 KiB.
#[test]
fn a_page_that_is_too_large_for_the_server_is_asked_for_in_parts() {
    let values: Vec<String> = (0..300).map(|i| format!("\"{i}{}\"", "x".repeat(2_000))).collect();
    let rows: Rows<'_> = values.iter().zip(0..).map(|(v, t)| ("r", v.as_str(), t)).collect();
    let server = Server::with_history(Wire::ThreeOverTcp, &rows);
    let lines = query(&server, &["r", "--oldest-first"]).ok().json_lines();
    let got: Vec<_> = lines.iter().map(|line| line["value"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = values.iter().map(|value| value.trim_matches('"').to_owned()).collect();
    assert_eq!(got, expected);
    let connections = server.heard().iter().filter(|line| line.contains("hello")).count();
    assert!(connections > 1, "nothing was too large: the test tests nothing");
}

#[test]
fn records_are_counted_and_without_a_pattern_they_are_all() {
    let values: Vec<String> = (0..900).map(|i| i.to_string()).collect();
    let mut rows: Rows<'_> =
        values.iter().zip(100..).map(|(v, t)| ("a.b", v.as_str(), t)).collect();
    rows.push(("c", "1", 7));
    for wire in WIRES {
        let server = Server::with_history(wire, &rows);
        let run = Place::new().run(&["records", "--aimx", server.address()]).ok();
        assert_eq!(
            run.json_lines(),
            [
                json!({"record": "a.b", "count": 900, "first": 100, "last": 999}),
                json!({"record": "c", "count": 1, "first": 7, "last": 7}),
            ],
            "{wire:?}"
        );
    }
}

/// AimDB's own persistence on 1.x matches with LIKE, to which A is a.
#[test]
fn a_server_that_takes_capitals_for_small_letters_does_no_harm() {
    let rows = r#"[{"record":"A","value":1,"stored_at":9},{"record":"a","value":2,"stored_at":8}]"#;
    let server = Server::start(Wire::One, move |message| {
        Action::Frame(if message.contains("hello") {
            r#"{"version":"1.0","server":"aimdb","permissions":[],"writable_records":[]}"#.into()
        } else {
            format!(r#"{{"id":2,"result":{{"count":2,"values":{rows}}}}}"#)
        })
    });
    let lines = query(&server, &["a"]).ok().json_lines();
    assert_eq!(lines, [json!({"record": "a", "value": 2, "stored_at": 8})]);
}

#[test]
fn a_token_goes_to_the_server_that_asks_for_it_and_nowhere_else() {
    let asking = || {
        Server::start(Wire::One, |message| {
            Action::Frame(if message.contains("record.query") {
                r#"{"id":2,"result":{"count":0,"values":[]}}"#.into()
            } else if message.contains(r#""auth_token":"s3cret""#) {
                r#"{"version":"1.0","server":"aimdb","permissions":[],"writable_records":[]}"#
                    .into()
            } else if message.contains("auth_token") {
                r#"{"error":"authentication_failed","message":"Invalid auth token"}"#.into()
            } else {
                r#"{"error":"authentication_required","message":"Auth token required"}"#.into()
            })
        })
    };
    let run = |server: &Server, token: &str| {
        let place = Place::new();
        let mut command = place.command(&["query", "--aimx", server.address(), "*"]);
        Run::from(command.env("ANNALS_AIMX_TOKEN", token).output().unwrap())
    };
    run(&asking(), "").refused(1, "asks for a token; put it in ANNALS_AIMX_TOKEN");
    run(&asking(), "s3cret").ok();
    let refused = run(&asking(), "wr0ng").refused(1, "does not accept the token");
    assert!(!refused.err.contains("wr0ng"), "{refused:?}");
    let over_network = Server::with_history(Wire::ThreeOverTcp, &[]);
    run(&over_network, "s3cret").ok();
    assert!(!over_network.heard().concat().contains("s3cret"));
}
