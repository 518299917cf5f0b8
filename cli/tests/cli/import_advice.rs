//! Following a message of an import stores each row once: the advice is taken from the message.

use crate::support::{FILES, Place, Run};

const AT: u64 = 1_779_006_600_000;

fn import(place: &Place, backend: &str, more: &[&str], input: impl AsRef<[u8]>) -> Run {
    place.run_with_input(&[&["--backend", backend, "import"], more].concat(), input)
}

/// The options behind the last `words` of a message.
fn advised(run: &Run, words: &str) -> Vec<String> {
    let (_, rest) = run.err.rsplit_once(words).unwrap_or_else(|| panic!("{words}: {run:?}"));
    let end = rest.find([',', ';', '\n']).unwrap();
    let options: Vec<_> =
        rest[..end].trim_end_matches(" to go on").split(' ').map(str::to_owned).collect();
    let is_option = |word: &String| word.starts_with("--") || word.parse::<u64>().is_ok();
    assert!(options.iter().all(is_option), "{options:?}");
    options
}

fn values(place: &Place, backend: &str) -> Vec<String> {
    let out = place.run(&["--backend", backend, "export"]).ok().out;
    let value = |line: &str| {
        let (_, value) = line.split_once("\"value\":").unwrap();
        value.split_once(",\"stored_at\"").unwrap().0.to_owned()
    };
    let mut values: Vec<_> = out.lines().map(value).collect();
    values.sort_by_key(|value| value.parse::<u64>().unwrap_or(u64::MAX));
    values
}

/// The rows before, a row that may be bad, and the rows after, in some format.
struct Form {
    name: &'static str,
    header: &'static str,
    row: fn(u64) -> String,
    bad: &'static str,
    end: &'static str,
}

const FORMS: [Form; 4] = [
    Form {
        name: "ndjson",
        header: "",
        row: |n| format!("{{\"record\":\"r\",\"value\":{n},\"stored_at\":{}}}\n", AT + n),
        bad: "nonsense\n",
        end: "",
    },
    // Each record has two lines: the second name of the record is in a quoted cell.
    Form {
        name: "csv",
        header: "stored_at,record,value\n",
        row: |n| format!("{},\"r\nr\",{n}\n", AT + n),
        bad: "7,\"r\nr\",nonsense\n",
        end: "",
    },
    Form {
        name: "json",
        header: "[",
        row: |n| format!("{{\"record\":\"r\",\"value\":{n},\"stored_at\":{}}},\n", AT + n),
        bad: "{\"nonsense\":1},\n",
        end: "{\"record\":\"r\",\"value\":\"last\",\"stored_at\":1779009999999}]\n",
    },
    Form {
        name: "influx",
        header: "",
        row: |n| format!("r value={n}i {}000000\n", AT + n),
        bad: "r\n",
        end: "",
    },
];

/// From a pipe, rows before the bad line were stored twice by who followed "skip such lines with
/// --skip-invalid".
#[test]
fn a_pipe_that_a_bad_line_stopped_goes_on_as_the_message_says() {
    for (index, form) in FORMS.iter().enumerate() {
        let backend = FILES[index % 2];
        for rows_before in [0, 1, 4_500] {
            let input = |middle: &str| {
                let row = form.row;
                let before: String = (0..rows_before).map(row).collect();
                let after: String = (rows_before + 1..rows_before + 4).map(row).collect();
                format!("{}{before}{middle}{after}{}", form.header, form.end)
            };
            let (broken, mended) = (input(form.bad), input(&(form.row)(rows_before)));
            let args: &[&str] = match form.name {
                "influx" => &["--input", form.name, "--value-pointer", "/value"],
                _ => &["--input", form.name],
            };
            for skip in [true, false] {
                let place = Place::new();
                let run = import(&place, backend, args, &broken).refused(1, "stored correct the ");
                assert_eq!(place.rows(backend).len() as u64, rows_before, "{run:?}");
                let (options, second) = match (skip, rows_before) {
                    (true, _) => (advised(&run, "s with "), &broken),
                    (false, 0) => (Vec::new(), &mended),
                    (false, _) => (advised(&run, "on the same input with "), &mended),
                };
                let options: Vec<_> = options.iter().map(String::as_str).collect();
                let run = import(&place, backend, &[args, &options].concat(), second);
                assert_eq!(run.code, Some(0), "{}: {run:?}", form.name);
                let mut expected: Vec<_> = (0..rows_before + 4)
                    .filter(|n| !skip || *n != rows_before)
                    .map(|n| n.to_string())
                    .collect();
                expected.extend((form.name == "json").then(|| "\"last\"".to_owned()));
                assert!(values(&place, backend) == expected, "{}: {run:?}", form.name);
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_that_was_interrupted_goes_on_as_the_message_says() {
    use std::io::Write;
    use std::process::Stdio;
    let place = Place::new();
    let mut command = place.command(&["--backend", FILES[0], "import"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: String = (0..9).map(FORMS[0].row).collect();
    let (arrived, _) = input.split_at(input.match_indices('\n').nth(3).unwrap().0 + 1);
    stdin.write_all(arrived.as_bytes()).unwrap();
    while place.run(&["--backend", FILES[0], "query", "*"]).out.lines().count() < 4 {}
    crate::support::signal(&child, "INT");
    let run = Run::from(child.wait_with_output().unwrap()).refused(130, "stopped; 4 rows stored");
    let options = advised(&run, "on the same input with ");
    assert_eq!(options, ["--start-at", "5"]);
    import(&place, FILES[0], &["--start-at", "5"], &input).noted();
    assert_eq!(values(&place, FILES[0]), (0..9).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// `annals import < FILE` had batches at random, and an import of the file itself knew nothing of
/// them.
#[test]
fn a_file_as_stdin_is_that_file() {
    for backend in FILES {
        let place = Place::new();
        let broken = format!("{}nonsense\n{}", (FORMS[0].row)(0), (FORMS[0].row)(1));
        place.write("rows.ndjson", &broken);
        let from_stdin = |more: &[&str]| {
            let mut command = place.command(&[&["--backend", backend, "import"], more].concat());
            command.stdin(std::fs::File::open(place.path("rows.ndjson")).unwrap());
            Run::from(command.output().unwrap())
        };
        let run = from_stdin(&[]).refused(1, ":2: ");
        assert_eq!(advised(&run, "skip such lines with "), ["--resume", "--skip-invalid"]);
        from_stdin(&[]).refused(1, "begins like a file that was imported before");
        let run = place.run(&["--backend", backend, "import", "rows.ndjson", "--resume"]);
        run.refused(1, ":2: ");
        assert_eq!(from_stdin(&["--resume", "--skip-invalid"]).code, Some(0));
        assert_eq!(values(&place, backend), ["0", "1"]);
    }
}

/// The digests depended on such options, so that the rows before the line were stored twice.
#[test]
fn an_option_that_a_message_names_goes_with_resume() {
    let ms = |n: u64| (AT + n).to_string();
    let csv = format!("record,value,stored_at\nr,0,{}\nr,unavailable,{}\n", ms(0), ms(1));
    let times = format!("record,value,stored_at\nr,0,{}\nr,1,2026-05-17T08:30:00Z\n", ms(0));
    let members = "{\"record\":\"r\",\"value\":0,\"stored_at\":1779006600000}\n\
                   {\"record\":\"r\",\"value\":1,\"stored_at\":1779006600001,\"unit\":\"C\"}\n";
    let cut = format!("record,value,stored_at\nr,0,{}\nr,1,{}", ms(0), ms(1));
    let pattern = "record,value,at\nr,0,17.05.2026 10:30\nr,1,17.05.2026 10:30:15\n";
    let latin = b"record,value,stored_at\nr,0,1779006600000\nr,\"\"\"\xfc\"\"\",1779006600001\n";
    let pointers = "--record-pointer /record --value-pointer /value --time-pointer /stored_at";
    let seconds = "--time-column at --time-format '%d.%m.%Y %H:%M:%S'";
    for (input, first, words, more, expected) in [
        (csv.as_bytes(), "", "--text stores it", "--text", &["0", "\"unavailable\""][..]),
        (cut.as_bytes(), "", "--accept-last-line", "--accept-last-line", &["0", "1"]),
        (members.as_bytes(), "", "--record-pointer, --value-pointer", pointers, &["0", "1"]),
        (latin, "", "--encoding windows-1252", "--encoding windows-1252", &["0", "\"ü\""]),
        // Of times in two forms there is no import, but there are no rows twice either.
        (times.as_bytes(), "", "--time-format rfc3339", "--time-format rfc3339", &["0"]),
        (
            pattern.as_bytes(),
            "--time-column at --time-format '%d.%m.%Y %H:%M'",
            "--time-format '%d.%m.%Y %H:%M:%S'",
            seconds,
            &["0"],
        ),
    ] {
        let place = Place::new();
        place.write("rows", input);
        let words_of = |options: &str| -> Vec<String> {
            let mut words: Vec<String> = Vec::new();
            for (index, part) in options.split('\'').enumerate() {
                match index % 2 {
                    0 => words.extend(part.split_whitespace().map(str::to_owned)),
                    _ => words.push(part.to_owned()),
                }
            }
            words
        };
        let import = |options: Vec<String>| {
            let mut args = vec!["--backend", FILES[0], "import", "rows"];
            args.extend(options.iter().map(String::as_str));
            place.run(&args)
        };
        let run = import(words_of(first)).refused(1, words);
        let mut options = words_of(more);
        options.extend(advised(&run, "run the same command with "));
        let run = import(options);
        assert_eq!(run.code == Some(0), expected.len() > 1, "{run:?}");
        assert_eq!(values(&place, FILES[0]), expected, "{run:?}");
    }
}

/// Rows were lost, and reported as stored, when the whole file was imported afterwards.
#[test]
fn a_file_goes_on_with_resume_only() {
    let place = Place::new();
    let rows: String = (0..8).map(FORMS[0].row).collect();
    place.write("rows", &rows);
    for backend in FILES {
        let import =
            |more: &[&str]| place.run(&[&["--backend", backend, "import", "rows"], more].concat());
        for more in [&["--start-at", "4"][..], &["--start-at", "4", "--resume"]] {
            import(more).refused(2, "--start-at is for pipes");
        }
        let piped = ["--backend", backend, "import", "--resume", "--start-at", "4"];
        place.run_with_input(&piped, rows.clone()).refused(2, "--start-at is for pipes");
        assert_eq!(import(&[]).noted().out, "8 rows stored\n");
        assert_eq!(values(&place, backend).len(), 8);
    }
}

/// Its batches have ids at random: --resume would find those of the first import.
#[test]
fn a_second_import_of_a_file_that_stops_goes_on_as_the_message_says() {
    let place = Place::new();
    let rows: String = (0..3).map(FORMS[0].row).collect();
    place.write("rows", &rows);
    let import = |more: &[&str]| {
        place.run(&[&["--backend", FILES[1], "import", "rows", "--again"], more].concat())
    };
    import(&[]).noted();
    place.write("rows", format!("{rows}nonsense\n{}", (FORMS[0].row)(3)));
    let run = import(&[]).refused(1, ":4: ");
    let options = advised(&run, "skip such lines with ");
    assert_eq!(options, ["--start-at", "4", "--skip-invalid"]);
    assert_eq!(
        import(&["--start-at", "4", "--skip-invalid"]).out,
        "1 row stored, 1 line skipped\n"
    );
    assert_eq!(values(&place, FILES[1]), ["0", "0", "1", "1", "2", "2", "3"]);
}

/// A row that the backend refused had all rows before it stored.
#[test]
fn all_or_nothing_holds_for_a_row_that_the_backend_refuses() {
    for backend in FILES {
        let backend = format!("{backend}?max_value_bytes=100");
        let place = Place::new();
        let rows: String = (0..5_000).map(FORMS[0].row).collect();
        let large = format!("{{\"record\":\"r\",\"value\":\"{}\"}}\n", "x".repeat(99));
        place.write("rows", format!("{rows}{large}"));
        let import = |more: &[&str]| {
            place.run(&[&["--backend", &backend, "import", "rows", "--atomic"], more].concat())
        };
        let run = import(&[]).refused(1, ":5001: ");
        assert!(run.err.ends_with("nothing is stored\n"), "{run:?}");
        assert_eq!(place.rows(&backend).len(), 0);
        let run = import(&["--skip-invalid"]);
        assert_eq!((run.code, &*run.out), (Some(0), "5000 rows stored, 1 line skipped\n"));
    }
}

/// The id of the whole was that of its last part only, or none at all.
#[test]
fn an_import_of_all_or_nothing_and_a_plain_one_know_each_other() {
    for backend in FILES {
        let place = Place::new();
        let rows = |from: u64, to: u64| (from..to).map(FORMS[0].row).collect::<String>();
        let import =
            |more: &[&str]| place.run(&[&["--backend", backend, "import", "rows"], more].concat());
        // Two files of which one has the other's end.
        place.write("rows", rows(0, 9_000));
        assert_eq!(import(&["--atomic"]).noted().out, "9000 rows stored\n");
        for more in [&["--atomic"][..], &[]] {
            import(more).refused(1, "imported before");
        }
        assert_eq!(import(&["--resume"]).noted().out, "0 rows stored, 9000 already there\n");
        // It has grown.
        place.write("rows", rows(0, 9_010));
        import(&["--atomic"]).refused(1, "imported before");
        let run = import(&["--atomic", "--resume"]).noted();
        assert_eq!(run.out, "10 rows stored, 9000 already there\n");
        place.write("rows", rows(0, 9_020));
        assert_eq!(import(&["--resume"]).noted().out, "10 rows stored, 9010 already there\n");
        // A plain import that stopped.
        place.write("rows", format!("{}nonsense\n{}", rows(10_000, 16_000), rows(16_000, 16_003)));
        import(&[]).refused(1, ":6001: ");
        import(&["--atomic", "--skip-invalid"]).refused(1, "imported before");
        let run = import(&["--atomic", "--skip-invalid", "--resume"]);
        assert_eq!(run.out, "3 rows stored, 6000 already there, 1 line skipped\n", "{run:?}");
        let expected: Vec<_> = (0..9_020).chain(10_000..16_003).map(|n| n.to_string()).collect();
        assert!(values(&place, backend) == expected);
    }
}
