use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{FILES, Place, Run};

fn import(place: &Place, backend: &str, more: &[&str], input: impl AsRef<[u8]>) -> Run {
    place.run_with_input(&[&["--backend", backend, "import"], more].concat(), input)
}

#[test]
fn rows_are_stored_in_order_and_letter_for_letter() {
    for backend in FILES {
        let place = Place::new();
        let input = concat!(
            "\u{feff}{\"record\":\"b\",\"value\":1.50e+02,\"stored_at\":7}\r\n",
            "\r\n",
            "  \n",
            "{\"stored_at\":7,\"value\":{ \"a\" : null },\"record\":\"b\"}\n",
            "{\"record\":\"a\\n\",\"value\":\"\\u00e9\",\"stored_at\":9223372036854775807}",
        );
        let run = import(&place, backend, &[], input).noted();
        assert_eq!(run.out, "3 rows stored\n");
        let listed = place.run(&["--backend", backend, "query", "*", "--oldest-first"]).ok();
        assert_eq!(
            listed.out,
            concat!(
                "{\"record\":\"a\\n\",\"value\":\"\\u00e9\",\"stored_at\":9223372036854775807}\n",
                "{\"record\":\"b\",\"value\":1.50e+02,\"stored_at\":7}\n",
                "{\"record\":\"b\",\"value\":{ \"a\" : null },\"stored_at\":7}\n",
            )
        );
    }
}

#[test]
fn the_output_of_query_can_be_imported_into_another_backend() {
    let place = Place::new();
    let rows: Vec<_> = (0..10_000).map(|i| ("r", "{\"x\":1}", i / 3)).collect();
    place.import(FILES[0], &rows);
    let dump = place.run(&["--backend", FILES[0], "query", "*", "--oldest-first"]).ok().out;
    place.write("dump.ndjson", &dump);
    let run = place.run(&["--backend", FILES[1], "import", "dump.ndjson"]).noted();
    assert_eq!(run.out, "10000 rows stored\n");
    let copy = place.run(&["--backend", FILES[1], "query", "*", "--oldest-first"]).ok().out;
    assert!(copy == dump, "the copy differs");
}

#[test]
fn without_a_time_it_is_now() {
    let place = Place::new();
    let before = std::time::SystemTime::now();
    import(&place, FILES[0], &["-"], r#"{"record":"a","value":1}"#).noted();
    let after = std::time::SystemTime::now();
    let ms = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    };
    let stored_at = place.rows(FILES[0])[0]["stored_at"].as_u64().unwrap();
    assert!((ms(before)..=ms(after)).contains(&stored_at), "{stored_at}");
}

/// The place of the line is far enough that whole batches come before it.
#[test]
fn a_bad_line_ends_it_with_its_number_and_all_rows_before_it_are_stored() {
    for backend in FILES {
        for (bad, why) in [
            ("{\"record\":\"a\"}", "no member value"),
            ("{\"record\":\"a\",\"value\":1,\"stored_at\":9223372036854775808}", "out of range"),
            ("{\"record\":\"a*\",\"value\":1}", "reserved for patterns"),
            ("\u{feff}{\"record\":\"a\",\"value\":1}", "not a JSON object"),
        ] {
            let place = Place::new();
            let good = |i: u64| format!("{{\"record\":\"r\",\"value\":{i},\"stored_at\":{i}}}\n");
            let before: String = (0..9_000).map(good).collect();
            let input = format!("{before}\n{bad}\n{}", good(9_000));
            let run = import(&place, backend, &[], &input);
            let run = run.refused(1, ":9002: ");
            assert!(run.err.contains(why), "{why}: {run:?}");
            assert!(run.err.contains("the 9000 rows before it are stored"), "{run:?}");
            let values: Vec<_> =
                place.rows(backend).iter().map(|row| row["value"].as_u64().unwrap()).collect();
            assert!(values == (0..9_000).collect::<Vec<_>>(), "{} rows", values.len());

            let place = Place::new();
            let run = import(&place, backend, &["--skip-invalid"], &input);
            assert_eq!((run.code, &*run.out), (Some(0), "9001 rows stored, 1 line skipped\n"));
            assert!(run.err.contains(":9002 is skipped: "), "{run:?}");
            assert_eq!(place.rows(backend).len(), 9_001);
        }
    }
}

/// The program knows nothing of the limit: it is the backend that refuses the row, in the middle
/// of a batch.
#[test]
fn a_value_that_the_backend_refuses_is_a_bad_line() {
    for backend in FILES {
        let backend = format!("{backend}?max_value_bytes=100");
        let row = |i: usize| format!("{{\"record\":\"r\",\"value\":{i},\"stored_at\":{i}}}\n");
        let large = format!("{{\"record\":\"r\",\"value\":\"{}\"}}\n", "x".repeat(99));
        let input = [row(1), row(2), large.clone(), row(3), large, row(4)].concat();

        let place = Place::new();
        let run = import(&place, &backend, &[], &input).refused(1, ":3: ");
        assert!(run.err.contains("101 bytes of JSON where 100 are allowed"), "{run:?}");
        assert!(run.err.contains("the 2 rows before it are stored"), "{run:?}");
        assert_eq!(place.rows(&backend).len(), 2);

        let run = import(&place, &backend, &["--skip-invalid"], &input);
        assert_eq!((run.code, &*run.out), (Some(0), "4 rows stored, 2 lines skipped\n"));
        assert!(run.err.contains(":3 is") && run.err.contains(":5 is"), "{run:?}");
        assert_eq!(place.rows(&backend).len(), 6);
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_refused_alone() {
    let place = Place::new();
    let mut input =
        b"{\"record\":\"a\",\"value\":1,\"stored_at\":1}\n{\"record\":\"a\",\"value\":\"".to_vec();
    input.resize(input.len() + 100_000_000, b'x');
    input.extend_from_slice(b"\"}\n{\"record\":\"a\",\"value\":2,\"stored_at\":2}\n");
    let run = import(&place, FILES[0], &["--skip-invalid"], &input);
    assert_eq!((run.code, &*run.out), (Some(0), "2 rows stored, 1 line skipped\n"));
    assert!(run.err.contains(":2 is skipped: the value is too large"), "{run:?}");
}

#[test]
fn text_that_is_not_utf_8_is_a_bad_line() {
    let place = Place::new();
    let run = import(&place, FILES[0], &[], b"{\"record\":\"a\xff\",\"value\":1}\n");
    let run = run.refused(1, ":1: it is not UTF-8 from byte 13 on ");
    let encoding = run.err.contains("--encoding windows-1252 reads it nothing is stored");
    assert!(encoding, "{run:?}");
}

#[test]
fn many_bad_lines_are_counted_and_a_few_are_said() {
    let place = Place::new();
    let input = format!("{}{}\n", "nonsense\n".repeat(500), r#"{"record":"a","value":1}"#);
    let run = import(&place, FILES[0], &["--skip-invalid"], input);
    assert_eq!((run.code, &*run.out), (Some(0), "1 row stored, 500 lines skipped\n"));
    // The format, ten lines, and that there are more.
    assert_eq!(run.err.lines().count(), 12, "{run:?}");
}

/// A wrong file would otherwise pass for an import.
#[test]
fn an_import_of_nothing_but_bad_lines_has_failed() {
    let place = Place::new();
    let run = import(&place, FILES[0], &["--skip-invalid"], "nonsense\n".repeat(2));
    assert_eq!((run.code, &*run.out), (Some(1), "0 rows stored, 2 lines skipped\n"));
    assert!(run.err.ends_with("no line was stored\n"), "{run:?}");
}

#[test]
fn nothing_is_nothing() {
    let place = Place::new();
    assert_eq!(import(&place, FILES[0], &[], "").ok().out, "0 rows stored\n");
}

#[test]
fn a_file_that_cannot_be_read_creates_no_store() {
    let place = Place::new();
    for file in ["missing.ndjson", "."] {
        let run = place.run(&["--backend", FILES[0], "import", file]);
        run.refused(1, &format!("{file} cannot be read: "));
    }
    assert_eq!(place.names(), [""; 0]);
}

/// What comes slowly is stored as it comes, not when a batch is full.
#[test]
fn a_row_is_stored_while_the_pipe_stays_open() {
    let place = Place::new();
    let mut command = place.command(&["--backend", FILES[0], "import"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"record\":\"a\",\"value\":1,\"stored_at\":1}\n").unwrap();
    let expected: Value = json!({"record": "a", "value": 1, "stored_at": 1});
    // Each query is its own process; the loop ends when the row is there.
    loop {
        let run = place.run(&["--backend", FILES[0], "query", "*"]);
        if run.code == Some(0) && !run.out.is_empty() {
            assert_eq!(run.json_lines(), [expected]);
            break;
        }
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_says_how_many_rows_are_stored() {
    let place = Place::new();
    let mut command = place.command(&["--backend", FILES[0], "import"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"record\":\"a\",\"value\":1,\"stored_at\":1}\n").unwrap();
    while place.run(&["--backend", FILES[0], "query", "*"]).out.is_empty() {}
    // The pipe stays open: the program would wait for more.
    crate::support::signal(&child, "INT");
    let run = Run::from(child.wait_with_output().unwrap());
    run.refused(130, "stopped; 1 row stored");
    assert_eq!(place.rows(FILES[0]).len(), 1);
}

/// Rows of a file, of which each is there once whatever happens.
fn numbered(rows: std::ops::Range<u64>) -> String {
    let row =
        |i| format!("{{\"record\":\"r{}\",\"value\":{i},\"stored_at\":{}}}\n", i % 7, NOW + i);
    rows.map(row).collect()
}

const NOW: u64 = 1_779_006_600_000;

fn sorted_values(place: &Place, backend: &str) -> Vec<u64> {
    let mut values: Vec<_> =
        place.rows(backend).iter().map(|row| row["value"].as_u64().unwrap()).collect();
    values.sort_unstable();
    values
}

#[test]
fn a_file_is_stored_once_unless_told_otherwise() {
    for backend in FILES {
        let place = Place::new();
        place.write("rows.ndjson", numbered(0..10_000));
        let import = |more: &[&str]| {
            place.run(&[&["--backend", backend, "import", "rows.ndjson"], more].concat())
        };
        assert_eq!(import(&[]).noted().out, "10000 rows stored\n");
        import(&[]).refused(1, "begins like a file that was imported before");
        assert_eq!(import(&["--resume"]).noted().out, "0 rows stored, 10000 already there\n");
        assert!(sorted_values(&place, backend) == (0..10_000).collect::<Vec<_>>());
        assert_eq!(import(&["--again"]).noted().out, "10000 rows stored\n");
        assert_eq!(sorted_values(&place, backend).len(), 20_000);
    }
}

/// The advice of the error is followed: once the line is corrected, once it is skipped.
#[test]
fn an_import_that_a_bad_line_stopped_goes_on_without_storing_a_row_twice() {
    for backend in FILES {
        for bad_line in [1, 2, 4_098, 10_001] {
            let lines = numbered(0..10_000);
            let mut lines: Vec<_> = lines.split_inclusive('\n').collect();
            lines.insert(bad_line - 1, "nonsense\n");
            let broken = lines.concat();
            lines[bad_line - 1] = "{\"record\":\"mended\",\"value\":10000}\n";
            let mended = lines.concat();
            for (second, more, last) in [
                (&broken, &["--resume", "--skip-invalid"][..], 10_000),
                (&mended, &["--resume"], 10_001),
            ] {
                let place = Place::new();
                place.write("rows.ndjson", &broken);
                let import = |more: &[&str]| {
                    place.run(&[&["--backend", backend, "import", "rows.ndjson"], more].concat())
                };
                let run = import(&[]).refused(1, &format!(":{bad_line}: "));
                assert!(run.err.contains("--resume"), "{run:?}");
                assert_eq!(place.rows(backend).len(), bad_line - 1, "{run:?}");
                if bad_line > 1 {
                    import(&["--skip-invalid"])
                        .refused(1, "begins like a file that was imported before");
                }
                place.write("rows.ndjson", second);
                let run = import(more);
                assert_eq!(run.code, Some(0), "{run:?}");
                let values = sorted_values(&place, backend);
                assert!(values == (0..last).collect::<Vec<_>>(), "{bad_line}: {}", values.len());
            }
        }
    }
}

#[test]
fn all_or_nothing_is_one_batch() {
    for backend in FILES {
        let place = Place::new();
        let input = format!("{}nonsense\n", numbered(0..9_000));
        let run = import(&place, backend, &["--atomic"], &input);
        let run = run.refused(1, ":9001: ");
        assert!(run.err.ends_with("nothing is stored\n"), "{run:?}");
        assert!(place.rows(backend).is_empty());
        let run = import(&place, backend, &["--atomic"], numbered(0..9_000)).noted();
        assert_eq!(run.out, "9000 rows stored\n");
        assert_eq!(place.rows(backend).len(), 9_000);
    }
}

/// Each run is killed a little later than the one before; the last one ends.
#[cfg(unix)]
#[test]
fn an_import_that_is_killed_again_and_again_stores_each_row_once() {
    for backend in FILES {
        let place = Place::new();
        place.write("rows.ndjson", numbered(0..60_000));
        let args = ["--backend", backend, "import", "rows.ndjson", "--resume"];
        let (mut kills, mut delay) = (0, std::time::Duration::from_millis(10));
        loop {
            let mut child = place.command(&args).stdout(Stdio::null()).spawn().unwrap();
            delay = delay * 5 / 4;
            let begin = std::time::Instant::now();
            let ended = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break Some(status),
                    None if begin.elapsed() > delay => break None,
                    None => std::thread::yield_now(),
                }
            };
            if let Some(status) = ended {
                assert!(status.success());
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert!(kills > 2, "{kills} kills");
        let values = sorted_values(&place, backend);
        assert!(values == (0..60_000).collect::<Vec<_>>(), "{} rows", values.len());
    }
}

#[test]
fn options_that_do_not_fit_the_input_are_wrong_usage() {
    let place = Place::new();
    for (input, args, words) in [
        ("{}\n", &["--record-column", "a"][..], "--record-column is for CSV"),
        ("a,b\n", &["--value-pointer", "/a"], "--value-pointer is for JSON"),
        ("a,b\n", &["--prefix", "x"], "--columns wide"),
        ("a,b\n", &["--columns", "wide", "--value-column", "a"], "each column is a record"),
        ("{}\n", &["--record-pointer", "a"], "begins with a slash"),
        ("{}\n", &["--time-zone", "Europe/Wien"], "Europe/Vienna"),
        ("{}\n", &["--time-format", "seconds"], "auto, ms, s"),
        ("{}\n", &["--delimiter", "::"], "one character"),
    ] {
        let run = import(&place, FILES[0], args, input);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains(words), "{words}: {run:?}");
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn files_that_are_no_text_say_what_they_are() {
    let place = Place::new();
    let unmarked: Vec<u8> = "record,value\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (input, words) in [
        (&unmarked[..], "--encoding utf-16le"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (b"record,value\nM\xfcnchen,1\n", "--encoding windows-1252"),
    ] {
        let run = import(&place, FILES[0], &[], input);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.err.contains(words), "{words}: {run:?}");
    }
}
