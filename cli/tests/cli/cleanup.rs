use crate::support::{FILES, Place};

#[test]
fn off_a_terminal_it_deletes_and_prints_the_bare_number() {
    for backend in FILES {
        let place = Place::new();
        place.import(backend, &[("a", "1", 100), ("a", "2", 200), ("b", "3", 199)]);
        let cleanup = |args: &[&str]| {
            place.run(&[&["cleanup", "--backend", backend], args].concat()).ok().out
        };
        assert_eq!(cleanup(&["--older-than", "1970-01-01T00:00:00.2Z"]), "2\n");
        assert_eq!(cleanup(&["--older-than", "1970-01-01T00:00:00.200Z", "--yes"]), "0\n");
        assert_eq!(place.rows(backend).len(), 1, "what was stored at the time itself stays");
        assert_eq!(cleanup(&["--older-than", "1h"]), "1\n");
        assert_eq!(place.rows(backend).len(), 0);
    }
}

#[test]
fn parts_of_a_millisecond_round_up() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 200)]);
    let args = ["cleanup", "--backend", FILES[0], "--older-than", "1970-01-01T00:00:00.2001Z"];
    assert_eq!(place.run(&args).ok().out, "1\n");
}

#[test]
fn a_time_is_required() {
    let place = Place::new();
    place.run(&["cleanup"]).refused(2, "--older-than");
    place.run(&["cleanup", "--older-than", "1mo"]).refused(2, "months");
}

/// Whoever meant days would never see a value go.
#[test]
fn a_number_that_is_probably_not_milliseconds_is_noted() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 200)]);
    let cleanup = |time| place.run(&["cleanup", "--backend", FILES[0], "--older-than", time]);
    for (number, at) in [("30", "00:00:00.030Z"), ("1740081234", "1970-01-21")] {
        let run = cleanup(number);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.err.contains(at) && run.err.contains("30d"), "{run:?}");
        place.import(FILES[0], &[("a", "1", 200)]);
    }
    cleanup("0").ok();
    cleanup("1740081234000").ok();
}

#[test]
fn rules_keep_by_pattern_and_the_newest_stay() {
    for backend in FILES {
        let place = Place::new();
        let rows: Vec<(&str, &str, u64)> = ["debug::a", "audit::a", "other"]
            .into_iter()
            .flat_map(|record| [(record, "1", 100), (record, "2", 200), (record, "3", 300)])
            .collect();
        place.import(backend, &rows);
        let cleanup =
            |args: &[&str]| place.run(&[&["cleanup", "--backend", backend], args].concat());
        let rules = ["--keep", "audit::*=forever", "--keep", "debug::*=1d", "--keep-newest", "1"];
        assert_eq!(cleanup(&rules).ok().out, "2\n");
        assert_eq!(place.rows(backend).len(), 7);
        let rest = ["--keep", "audit::*=forever", "--older-than", "1970-01-01T00:00:00.25Z"];
        assert_eq!(cleanup(&rest).ok().out, "2\n");
        assert_eq!(place.rows(backend).len(), 5);
    }
}

#[test]
fn rows_from_the_future_go_before_the_newest_are_kept() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 100), ("a", "2", 200), ("a", "3", 4_000_000_000_000)]);
    let args = ["cleanup", "--backend", FILES[0], "--newer-than", "0s", "--older-than", "1h"];
    let run = place.run(&[&args[..], &["--keep-newest", "1"]].concat()).ok();
    assert_eq!(run.out, "2\n");
    assert_eq!(place.rows(FILES[0]).len(), 1);
}

#[test]
fn a_rule_that_makes_no_sense_is_refused() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 100)]);
    let cleanup = |args: &[&str]| place.run(&[&["cleanup", "--backend", FILES[0]], args].concat());
    cleanup(&["--keep", "debug"]).refused(2, "PATTERN=AGE");
    cleanup(&["--keep", "=1d"]).refused(2, "empty");
    cleanup(&["--keep", "a=soon"]).refused(2, "forever");
    cleanup(&["--keep-newest", "1"]).refused(2, "");
    cleanup(&["--newer-than", "0s", "--keep-newest", "1"]).refused(2, "--keep-newest");
    assert_eq!(place.rows(FILES[0]).len(), 1);
}
