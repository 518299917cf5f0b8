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
    let everything = ["cleanup", "--newer-than", "2h", "--older-than", "1h"];
    place.run(&everything).refused(2, "together they delete everything");
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
    // Where it would remove nearly everything, it is refused.
    place.import(FILES[0], &[("a", "1", 200)]);
    for args in [
        &["cleanup", "--newer-than", "1740081234", "--yes"][..],
        &["erase", "a", "--from", "1740081234", "--yes"],
        &["erase", "a", "--to", "1740081234", "--dry-run"],
    ] {
        let run = place.run(&[args, &["--backend", FILES[0]]].concat());
        run.refused(2, "if these are seconds, write 1740081234000");
    }
    assert_eq!(place.rows(FILES[0]).len(), 1);
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

/// Old values once went whether they had been forwarded or not.
#[test]
fn what_is_to_be_forwarded_stays_unless_told_how_far_it_may_fall_behind() {
    for backend in FILES {
        let place = Place::new();
        let forward = |more: &[&str]| {
            let to = ["forward", "--from", backend];
            place.run(&[&to[..], more].concat())
        };
        let sent = ["--to", "sqlite:cloud.db", "--once", "--name", "cloud"];
        let cleanup = |more: &[&str], deleted: &str| {
            let args = ["cleanup", "--backend", backend, "--keep", "a=1h", "--older-than", "1h"];
            let run = place.run(&[&args[..], more].concat());
            assert_eq!((run.code, &*run.out), (Some(0), deleted), "{run:?}");
            run.err
        };
        place.import(backend, &[("a", "1", 100), ("a", "2", 200), ("b", "3", 199)]);
        assert_eq!(forward(&sent).code, Some(0));
        place.import(backend, &[("a", "4", 150), ("b", "5", 1_740_081_234_000)]);
        let said = cleanup(&[], "1\n");
        assert!(said.contains("values of 1970-01-01T00:00:00.150Z or later stay"), "{said}");
        assert!(said.contains("forwarder \"cloud\""), "{said}");
        // Less than what is to be forwarded is too old for this limit.
        cleanup(&["--forward-limit", "200000d"], "0\n");
        cleanup(&["--forward-limit", "2d"], "4\n");
        place.import(backend, &[("a", "6", 160)]);
        cleanup(&[], "0\n");
        let run = forward(&["--forget", "clod"]);
        run.refused(1, "there is no forwarder \"clod\"; there are: cloud");
        assert_eq!(forward(&["--forget", "cloud"]).code, Some(0));
        assert_eq!(cleanup(&[], "1\n"), "");
        forward(&["--forget", "cloud"]).refused(1, "nothing is forwarded from there");
        let alone =
            ["cleanup", "--backend", backend, "--newer-than", "0s", "--forward-limit", "1d"];
        place.run(&alone).refused(2, "--forward-limit is about");
        forward(&["--forget", "x", "--once"]).refused(2, "cannot be used with");
    }
}
