//! What is different when a person sits in front of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{FILES, Place};

/// Runs the program on a terminal of 80 columns, types `input`, and returns the exit code and all
/// that appeared on it.
fn on_a_terminal(place: &Place, args: &[&str], input: &str) -> (Option<i32>, String) {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&ours, size).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = || Stdio::from(OpenOptions::new().read(true).write(true).open(&path).unwrap());
    let mut command = place.command(args);
    command.env("TERM", "xterm").stdin(theirs()).stdout(theirs()).stderr(theirs());
    let mut child = command.spawn().unwrap();
    // The program's ends have to be its own only, or ours never comes to an end.
    drop(command);
    let mut ours = File::from(ours);
    ours.write_all(input.as_bytes()).unwrap();
    let mut seen = Vec::new();
    // Linux reports the end of the other side as an error.
    let _end = ours.read_to_end(&mut seen);
    (child.wait().unwrap().code(), String::from_utf8(seen).unwrap())
}

#[test]
fn a_query_is_a_table_that_fits() {
    let place = Place::new();
    let long = format!("\"{}\"", "x".repeat(200));
    place.import(FILES[0], &[("a", &long, 1), ("b\u{1b}[2J", "2", 2)]);
    let (code, seen) = on_a_terminal(&place, &["query", "*", "--backend", FILES[0]], "");
    assert_eq!(code, Some(0));
    let lines: Vec<_> = seen.lines().collect();
    assert!(lines[0].starts_with("record"), "{seen}");
    assert_eq!(lines.len(), 4, "{seen}");
    assert_eq!(lines[3], "(2 rows)");
    for line in lines {
        assert!(line.chars().count() <= 80 && !line.contains('\u{1b}'), "{line:?}");
    }
}

/// A program gets the text as it is; a person gets nothing that acts, hides or calculates.
#[test]
fn what_goes_to_a_terminal_is_neutral_in_every_format() {
    let place = Place::new();
    let name = "=1+1\u{1b}]0;x\u{7}\u{202e}\u{e0041}";
    place.import(FILES[0], &[(name, "\"\u{9b}2J\u{2066}\u{e0042}\"", 1), ("@b", "-5", 2)]);
    for format in ["table", "ndjson", "json", "csv"] {
        let args = ["query", "*", "--output", format, "--backend", FILES[0]];
        let (code, seen) = on_a_terminal(&place, &args, "");
        assert_eq!(code, Some(0), "{seen}");
        let acts = |c: char| {
            (c.is_control() && !"\r\n".contains(c))
                || "\u{202e}\u{2066}\u{e0041}\u{e0042}".contains(c)
        };
        assert!(!seen.contains(acts), "{format}: {seen:?}");
        if format == "csv" {
            assert!(seen.contains("\r\n'=1+1\\u{1b}") && seen.contains("'@b,-5,2"), "{seen}");
        } else if format == "ndjson" {
            let first: serde_json::Value =
                serde_json::from_str(seen.lines().next().unwrap()).unwrap();
            assert_eq!(first["record"], name);
        }
        if format != "table" {
            let plain = place.run(&args).ok().out;
            assert!(plain.contains('\u{202e}') && plain.contains('\u{2066}'), "{plain:?}");
        }
    }
    // Messages name what an input has.
    let args = ["query", "a**\u{202e}", "--at", "\u{202e}", "--backend", FILES[0]];
    let run = place.run(&args);
    assert!(run.code == Some(2) && !run.err.contains('\u{202e}'), "{run:?}");
}

#[test]
fn a_window_that_is_probably_a_mistake_is_noted() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 1)]);
    for (args, remark) in [
        (["--from", "24", "--to", "1h"], "--from 24 is 1970-01-01T00:00:00.024Z"),
        (["--from", "1h", "--to", "2h"], "--from is after --to"),
    ] {
        for command in ["query", "export"] {
            let args = [&[command, "*", "--backend", FILES[0]], &args[..]].concat();
            let (code, seen) = on_a_terminal(&place, &args, "");
            assert_eq!(code, Some(0), "{seen}");
            assert!(seen.contains(remark), "{seen}");
            let run = place.run(&args).ok();
            assert_eq!(run.out, "");
        }
    }
}

#[test]
fn rows_may_be_typed() {
    let place = Place::new();
    let typed = "{\"record\":\"a\",\"value\":1}\n\u{4}";
    let (code, seen) = on_a_terminal(&place, &["import", "--backend", FILES[0]], typed);
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("Ctrl-D ends"), "{seen}");
    assert_eq!(place.rows(FILES[0]).len(), 1);
}

#[test]
fn cleanup_asks_first() {
    for (answer, code, left) in
        [("n\n", 1, 1), ("\n", 1, 1), ("\u{4}", 1, 1), ("yes please\n", 1, 1), ("y\n", 0, 0)]
    {
        let place = Place::new();
        place.import(FILES[0], &[("a", "1", 1)]);
        let args = ["cleanup", "--older-than", "1h", "--backend", FILES[0]];
        let (ended, seen) = on_a_terminal(&place, &args, answer);
        assert_eq!(ended, Some(code), "{answer:?}: {seen}");
        assert!(seen.contains("stored before 20") && seen.contains("? [y/N]"), "{seen}");
        assert_eq!(seen.contains("1 value deleted"), left == 0, "{seen}");
        assert_eq!(place.rows(FILES[0]).len(), left, "{answer:?}");
    }
}

#[test]
fn erase_says_how_much_it_is_and_asks() {
    for (answer, code, left) in [("n\n", 1, 2), ("\n", 1, 2), ("y\n", 0, 1)] {
        let place = Place::new();
        place.import(FILES[0], &[("a", "1", 1), ("b", "2", 2)]);
        let args = ["erase", "a*", "--where", "> 0", "--backend", FILES[0]];
        let (ended, seen) = on_a_terminal(&place, &args, answer);
        assert_eq!(ended, Some(code), "{answer:?}: {seen}");
        assert!(
            seen.contains("Delete 1 value of 1 record in") && seen.contains("? [y/N]"),
            "{seen}"
        );
        assert_eq!(seen.contains("1 value deleted"), left == 1, "{seen}");
        assert_eq!(place.rows(FILES[0]).len(), left, "{answer:?}");
    }
}

#[test]
fn cleanup_with_yes_does_not_ask() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 1)]);
    let args = ["cleanup", "--yes", "--older-than", "1h", "--backend", FILES[0]];
    let (code, seen) = on_a_terminal(&place, &args, "");
    assert_eq!((code, &*seen), (Some(0), "1 value deleted\r\n"));
}

#[test]
fn collect_shows_the_newest_values_and_then_the_account() {
    let place = Place::new();
    let args = ["collect", "host", "--for", "300ms", "--every", "100ms", "--backend", FILES[0]];
    let (code, seen) = on_a_terminal(&place, &args, "");
    assert_eq!(code, Some(0), "{seen}");
    for text in ["cpu ", "memory ", "00:00:00", " recorded, ", "dropped 0\r\n"] {
        assert!(seen.contains(text), "{text:?} is not in {seen:?}");
    }
}

#[test]
fn the_suite_shows_how_many_of_the_cases_it_runs_are_done() {
    let place = Place::new();
    let args = ["conformance", "memory:", "--filter", "range_2"];
    let (code, seen) = on_a_terminal(&place, &args, "");
    assert_eq!(code, Some(0), "{seen}");
    let cases = seen.matches("RANGE-2").count();
    assert!(cases > 0 && seen.contains(&format!(" of {cases} ")), "{cases}: {seen:?}");
}

#[test]
fn an_import_shows_how_far_it_is_and_cleans_up() {
    let place = Place::new();
    place.write("rows", "{\"record\":\"a\",\"value\":1}\n".repeat(20_000));
    let (code, seen) =
        on_a_terminal(&place, &["import", "rows", "--time-now", "--backend", FILES[0]], "");
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains(" rows") && seen.contains('%'), "{seen}");
    assert!(seen.ends_with("20000 rows stored\r\n"), "{seen:?}");
}
