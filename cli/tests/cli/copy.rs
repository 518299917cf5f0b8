use serde_json::Value;

use crate::support::{FILES, Place, Run};

const ROWS: &[(&str, &str, u64)] = &[
    ("b", "1.50e+02", 7),
    ("b", "{ \"a\" : \"x\\\"y\\n\" }", 7),
    ("b", "1", 7),
    ("b", "1", 7),
    ("b", "\"late\"", 3),
    ("a\n\"b\"", "[1,2]", 9_223_372_036_854_775_807),
    ("é\u{1f980}", "\"\\u0000\"", 0),
];

fn copy(place: &Place, from: &str, to: &str, more: &[&str]) -> Run {
    place.run(&[&["copy", from, to], more].concat())
}

/// It agrees, and copied so many rows of so many.
fn agreed(run: &Run, records: usize, rows: usize, copied: usize) {
    assert_eq!(run.code, Some(0), "{run:?}");
    let plural = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    let there = rows - copied;
    let counts = format!("{}, {}", plural(records, "record"), plural(rows, "row"));
    let proof = if records == 0 { "neither end has such rows" } else { "both ends agree" };
    assert_eq!(run.err, format!("{counts}, {copied} copied, {there} already there; {proof}\n"));
    let proof = run.json_lines();
    assert_eq!(proof.len(), records);
    assert!(proof.iter().all(|line| line["agrees"] == true), "{proof:?}");
}

#[test]
fn a_copy_is_the_same_history_and_a_second_one_copies_nothing() {
    for [from, to] in [FILES, [FILES[1], FILES[0]]] {
        let place = Place::new();
        place.import(from, ROWS);
        agreed(&copy(&place, from, to, &[]), 3, 7, 7);
        assert_eq!(place.rows(to), place.rows(from));
        agreed(&copy(&place, from, to, &[]), 3, 7, 0);
        assert_eq!(place.rows(to), place.rows(from));
    }
}

/// A copy that was stopped has left the first rows of some records; since then there are late ones.
#[test]
fn a_copy_goes_on_from_whatever_is_there() {
    for there in 0..=ROWS.len() {
        let place = Place::new();
        // As a copy leaves them: by record, then by time.
        let sorted = [4, 0, 1, 2, 3, 5, 6].map(|row: usize| ROWS[row]);
        place.import(FILES[0], ROWS);
        place.import(FILES[1], &sorted[..there]);
        agreed(&copy(&place, FILES[0], FILES[1], &[]), 3, 7, 7 - there);
        assert_eq!(place.rows(FILES[1]), place.rows(FILES[0]), "{there}");
        place.import(FILES[0], &[("b", "\"later\"", 5), ("b", "1", 7)]);
        agreed(&copy(&place, FILES[0], FILES[1], &[]), 3, 9, 2);
        assert_eq!(place.rows(FILES[1]), place.rows(FILES[0]), "{there}");
    }
}

#[test]
fn a_pattern_and_a_window_choose_rows() {
    let place = Place::new();
    place.import(FILES[0], ROWS);
    agreed(&copy(&place, FILES[0], FILES[1], &["b", "--from", "4", "--to", "7"]), 1, 4, 4);
    agreed(&copy(&place, FILES[0], FILES[1], &["b"]), 1, 5, 1);
    agreed(&copy(&place, FILES[0], FILES[1], &["none"]), 0, 0, 0);
}

#[test]
fn ends_that_differ_are_found_and_nothing_is_copied_by_verify() {
    let place = Place::new();
    place.import(FILES[0], ROWS);
    place.import(FILES[1], &[("b", "150.0", 7), ("c", "1", 1)]);
    let run = copy(&place, FILES[0], FILES[1], &["--verify"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("the ends differ in 4 records, the first "), "{run:?}");
    assert!(run.err.contains("(1 row, 0 at the destination)"), "{run:?}");
    assert!(run.err.ends_with("the same command copies what is missing\n"), "{run:?}");
    assert_eq!(place.rows(FILES[1]).len(), 2);
    let run = copy(&place, FILES[0], FILES[1], &[]);
    assert_eq!(run.code, Some(1), "a record of others is a difference: {run:?}");
    let line = run.json_lines().into_iter().find(|line| line["record"] == "c").unwrap();
    assert_eq!((&line["count"], &line["at_destination"]), (&Value::from(0), &Value::from(1)));
    assert_eq!(line["agrees"], false);
    let run = copy(&place, FILES[0], FILES[1], &["b", "--verify"]);
    assert_eq!((run.code, &*run.err), (Some(0), "1 record, 5 rows; both ends agree\n"));
}

/// After forwarding, the source once had a record more than the destination.
#[test]
fn what_a_history_knows_of_its_forwarders_is_neither_copied_nor_compared() {
    let place = Place::new();
    place.import(FILES[0], ROWS);
    let forward = ["forward", "--from", FILES[0], "--to", FILES[1], "--once"];
    assert_eq!(place.run(&forward).code, Some(0));
    for (from, to) in [(FILES[0], FILES[1]), (FILES[1], FILES[0])] {
        let run = copy(&place, from, to, &["--verify"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.err.ends_with("both ends agree\n"), "{run:?}");
    }
    let run = copy(&place, FILES[0], "sqlite:copy.db", &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(place.rows("sqlite:copy.db").len(), ROWS.len());
}

/// The corrected value came to lie beside the old one, and the ends never agreed again.
#[test]
fn a_corrected_value_does_not_come_beside_the_old_one() {
    let place = Place::new();
    let rows = [("kiln", "1", 1_000), ("kiln", "2", 2_000), ("kiln", "3", 3_000)];
    place.import(FILES[0], &rows);
    assert_eq!(copy(&place, FILES[0], FILES[1], &[]).code, Some(0));
    let correct = |backend| {
        place.run(&["--backend", backend, "correct", "kiln", "--at", "2000", "20"]).ok();
    };
    correct(FILES[0]);
    place.import(FILES[0], &[("kiln", "4", 4_000)]);
    let before = place.rows(FILES[1]);
    let run = copy(&place, FILES[0], FILES[1], &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("1 row not copied, the first of kiln at 2000"), "{run:?}");
    let after = place.rows(FILES[1]);
    assert_eq!((after.len(), &after[..3]), (4, &before[..]));
    correct(FILES[1]);
    let run = copy(&place, FILES[0], FILES[1], &[]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(place.rows(FILES[1]), place.rows(FILES[0]));
}

/// Of several values at one time, the first came behind the others, where it stayed.
#[test]
fn values_of_one_time_keep_their_order() {
    const SEVEN: &str = "1970-01-01T00:00:00.007Z";
    let place = Place::new();
    place.import(
        FILES[0],
        &[("kiln", "1", 7), ("kiln", "2", 7), ("kiln", "3", 7), ("kiln", "4", 8)],
    );
    place.import(FILES[1], &[("kiln", "2", 7)]);
    let run = copy(&place, FILES[0], FILES[1], &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("2 rows not copied, the first of kiln at 7"), "{run:?}");
    assert_eq!(place.rows(FILES[1]).len(), 2);
    let erase = ["--backend", FILES[1], "erase", "kiln", "--from", SEVEN, "--to", SEVEN, "--yes"];
    place.run(&erase).ok();
    assert_eq!(copy(&place, FILES[0], FILES[1], &[]).code, Some(0));
    assert_eq!(place.rows(FILES[1]), place.rows(FILES[0]));
}

#[test]
fn a_row_that_is_not_json_is_said() {
    let place = Place::new();
    place.import(FILES[0], ROWS);
    place.damage(3);
    let run = copy(&place, FILES[0], FILES[1], &[]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("1 row of the source not copied"), "{run:?}");
    assert_eq!(place.rows(FILES[1]).len(), ROWS.len() - 1);
}

#[test]
fn wrong_places_are_refused() {
    let place = Place::new();
    copy(&place, FILES[0], FILES[1], &[]).refused(1, "there is no history at history.db");
    assert_eq!(place.names(), [""; 0]);
    copy(&place, FILES[0], FILES[0], &[]).refused(2, "are the same");
    copy(&place, FILES[0], FILES[1], &["--backend", "memory:"]).refused(2, "leave --backend out");
    place.import(FILES[0], ROWS);
    copy(&place, FILES[0], FILES[1], &["--verify"])
        .refused(1, "there is no history at history.redb");
}
