//! Rows as they arrive: `query --follow` and `export --since-cursor`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use crate::support::{FILES, Place, Stderr, signal};

/// The one that several processes may open.
const SHARED: &str = FILES[0];

fn follow(place: &Place, more: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command =
        place.command(&[&["query", "--backend", SHARED, "*", "--follow"], more].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn next(out: &mut BufReader<ChildStdout>, rows: usize) -> Vec<String> {
    let mut lines = vec![String::new(); rows];
    lines.iter_mut().for_each(|line| assert_ne!(out.read_line(line).unwrap(), 0, "it ended"));
    lines
}

/// The line of a row of `a`.
fn line(value: u64, at: u64) -> String {
    format!("{{\"record\":\"a\",\"value\":{value},\"stored_at\":{at}}}\n")
}

#[test]
fn rows_of_other_programs_come_as_they_arrive_and_ctrl_c_is_a_good_end() {
    let place = Place::new();
    place.import(SHARED, &[("a", "1", 1), ("a", "2", 2), ("a", "3", 3)]);
    let (mut child, mut out) = follow(&place, &["--latest", "2"]);
    assert_eq!(next(&mut out, 2), [line(2, 2), line(3, 3)]);
    // Late ones too.
    for (value, at) in [(4, 4), (0, 0), (5, 5)] {
        place.import(SHARED, &[("a", &value.to_string(), at)]);
        assert_eq!(next(&mut out, 1), [line(value, at)]);
    }
    signal(&child, "INT");
    let said = Stderr::of(&mut child).rest().join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.starts_with("cursor: sqlite-"), "{said}");
    // From there it goes on.
    place.import(SHARED, &[("a", "6", 2)]);
    let cursor = said.trim_end().strip_prefix("cursor: ").unwrap();
    let (mut child, mut out) = follow(&place, &["--cursor", cursor]);
    assert_eq!(next(&mut out, 1), [line(6, 2)]);
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_file_of_a_cursor_goes_on_where_the_last_run_ended() {
    let place = Place::new();
    place.import(SHARED, &[("a", "1", 1), ("b", "1", 1)]);
    let file = ["--cursor-file", "seen"];
    // Nothing comes, but there is a place from now on.
    let (mut child, out) = follow(&place, &file);
    place.wait_for("seen", &mut child);
    signal(&child, "INT");
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    drop(out);
    for value in 2..5 {
        place.import(SHARED, &[("a", &value.to_string(), 1)]);
        let (mut child, mut out) = follow(&place, &file);
        assert_eq!(next(&mut out, 1), [line(value, 1)]);
        signal(&child, "INT");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let refused = |args: &[&str], why: &str| {
        place.run(&[&["query", "--backend", SHARED], args].concat()).refused(2, why);
    };
    refused(&["b", "--follow", "--cursor-file", "seen"], "goes with the pattern \"*\" (glob)");
    refused(&["*", "--cursor-file", "seen"], "--follow");
    refused(&["*", "--follow", "--output", "json"], "--follow prints ndjson or csv");
    refused(&["*", "--follow", "--from", "1", "--latest", "1"], "leave one of them out");
    refused(&["*", "--follow", "--cursor", "a b"], "characters that no cursor has");
    refused(&["*", "--follow", "--to", "1"], "cannot be used with");
    place.write("seen", "nonsense");
    let run = place.run(&["query", "--backend", SHARED, "*", "--follow", file[0], file[1]]);
    run.refused(1, "seen is no file of a cursor");
}

#[test]
fn a_reader_that_goes_away_ends_it_although_nothing_arrives() {
    let place = Place::new();
    place.import(SHARED, &[("a", "1", 1), ("a", "2", 2)]);
    let (mut child, mut out) = follow(&place, &["--since", "0", "--output", "csv"]);
    assert_eq!(next(&mut out, 2), ["record,value,stored_at\n", "a,1,1\n"]);
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_filter_holds_for_what_arrives() {
    let place = Place::new();
    place.import(SHARED, &[("a", "1", 1), ("a", "30", 2)]);
    let (mut child, mut out) = follow(&place, &["--since", "0", "--where", "> 20"]);
    assert_eq!(next(&mut out, 1), [line(30, 2)]);
    place.import(SHARED, &[("a", "20", 3), ("a", "21", 4)]);
    assert_eq!(next(&mut out, 1), [line(21, 4)]);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn each_row_is_in_one_export() {
    for backend in FILES {
        let place = Place::new();
        let export =
            || place.run(&["export", "--backend", backend, "--since-cursor", "c"]).ok().out;
        place.import(backend, &[("a", "1", 1), ("a", "3", 3)]);
        assert_eq!(export(), line(1, 1) + &line(3, 3), "{backend}");
        assert_eq!(export(), "", "{backend}");
        place.import(backend, &[("a", "2", 2)]);
        place.import(backend, &[("a", "4", 4), ("a", "0", 0)]);
        // In their order of arrival; within a batch by time.
        assert_eq!(export(), line(2, 2) + &line(0, 0) + &line(4, 4), "{backend}");
        assert_eq!(export(), "", "{backend}");
        let other = ["export", "a", "--backend", backend, "--since-cursor", "c"];
        place.run(&other).refused(2, "goes with the pattern");
        // What cannot be printed does not move the cursor.
        place.import(backend, &[("a", "5", 5)]);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = place.command(&["export", "--backend", backend, "--since-cursor", "c"]);
        let failed = command.stdout(full).output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        assert_eq!(export(), line(5, 5), "{backend}");
    }
}

/// What is stored after a restore is numbered as what was lost: a cursor once passed over it.
#[test]
fn a_cursor_from_before_a_restore_is_refused() {
    for backend in FILES {
        let place = Place::new();
        let scheme = backend.split_once(':').unwrap().0;
        let restored = format!("{scheme}:restored");
        let export = |backend: &str, cursor: &str| {
            place.run(&["export", "--backend", backend, "--since-cursor", cursor])
        };
        place.import(backend, &[("a", "1", 1)]);
        assert_eq!(export(backend, "early").ok().out, line(1, 1), "{backend}");
        place.run(&["--backend", backend, "backup", "copy"]).ok();
        place.import(backend, &[("a", "2", 2)]);
        assert_eq!(export(backend, "late").ok().out, line(1, 1) + &line(2, 2));
        place.run(&["--backend", &restored, "restore", "copy"]).ok();
        // As many as were lost, under the same numbers.
        place.import(&restored, &[("a", "3", 3)]);
        // That of a place in the backup is refused, too: it cannot be told from the others.
        for cursor in ["early", "late"] {
            let before = std::fs::read(place.path(cursor)).unwrap();
            let run = export(&restored, cursor);
            let run = run.refused(1, "this one was restored from a backup or created anew");
            assert!(run.err.contains(&format!("remove {cursor} to do so")), "{run:?}");
            assert_eq!(std::fs::read(place.path(cursor)).unwrap(), before);
            let follow =
                ["query", "--backend", &restored, "*", "--follow", "--cursor-file", cursor];
            place.run(&follow).refused(1, "follow from a time instead");
        }
        // Its own, and those of the file that it was copied from, go on.
        assert_eq!(export(&restored, "new").ok().out, line(1, 1) + &line(3, 3));
        place.import(&restored, &[("a", "4", 4)]);
        assert_eq!(export(&restored, "new").ok().out, line(4, 4));
        place.import(backend, &[("a", "5", 5)]);
        assert_eq!(export(backend, "late").ok().out, line(5, 5));
        // Two copies of one backup are two histories.
        let second = format!("{scheme}:second");
        place.run(&["--backend", &second, "restore", "copy"]).ok();
        export(&second, "new").refused(1, "is of another history");
        // A backup is the same one.
        let copy = format!("{scheme}:copy");
        assert_eq!(export(&copy, "early").ok().out, "");
    }
}
