use crate::support::{Place, Run};

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_write() {
    let place = Place::new();
    for (args, text) in [
        (&[][..], "a command is missing; the commands are"),
        (&["history"], "unrecognized subcommand 'history'"),
        (&["query"], "<PATTERN>"),
        (&["query", "a.txt", "b.txt"], "quote it"),
        (&["query", "a", "--latest", "-1"], "a whole number, 0 or more"),
        (&["query", "a", "--latest", "many"], "a whole number, 0 or more"),
        (&["query", "a", "--from", "yesterday"], "an age (24h"),
        (&["query", "a", "--from", "-5"], "an age (24h"),
        (&["query", "a", "--to", "2026-01-01T00:00:00"], "2026-01-01T00:00:00Z"),
        (&["query", "a", "--to", "18446744073709551616"], "18446744073709551615"),
        (&["query", "a", "--output", "xml"], "table, ndjson, json, csv"),
        (&["query", "a", "--grammar", "regex"], "glob, topic"),
        (&["collect"], "  host "),
        (&["collect", "host", "--every", "250"], "it has no unit"),
        (&["collect", "host", "--every", "0s"], "longer than zero"),
        (&["collect", "host", "--every", "9ms"], "10ms"),
        (&["collect", "host", "--for", "ever"], "write for example 500ms"),
        (&["collect", "host", "--keep", "1mo"], "days"),
        (&["cleanup", "--older-than", "-1"], "an age (24h"),
        (&["conformance"], "<URL>"),
        (&["conformance", "memory:", "--filter", "no such case"], "no case has"),
        (&["conformance", "memory:", "--backend", "sqlite:a.db"], "annals conformance URL"),
        (&["query", "a", "--backend", "memory:", "--aimx", "unix:a.sock"], "two places"),
        (&["--backend", "memory:", "records", "--aimx", "unix:a.sock"], "two places"),
        (&["mcp", "--backend", "memory:", "--aimx", "unix:a.sock"], "two places"),
        (&["records", "--backend", ""], "--backend"),
        (&["records", "--backend", "history.db"], "write sqlite:history.db"),
        (&["records", "--backend", "mysql://u:pw@h/d"], "known are sqlite:"),
        (&["records", "--backend", "sqlite:"], "names no file"),
        (&["collect", "host", "--backend", "sqlite:h.db?nonsense=1"], "nonsense"),
        (&["collect", "host", "--backend", "postgres://u:pw@h/d?nonsense=1"], "nonsense"),
        (&["records", "--backend", "memory:", ""], "it is empty"),
        (&["query", "--backend", "memory:", "a*", "--grammar", "topic"], "whole segment"),
    ] {
        let run = place.run(args).refused(2, text);
        assert!(!run.err.contains("pw"), "{run:?}");
    }
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn help_and_version_go_to_stdout() {
    let place = Place::new();
    assert_eq!(place.run(&["--version"]).ok().out, "annals 0.1.0\n");
    for subcommand in
        ["collect", "import", "query", "records", "cleanup", "migrate", "conformance", "serve"]
    {
        assert!(place.run(&["--help"]).ok().out.contains(&format!("\n  {subcommand}")));
        let host: &[&str] = if subcommand == "collect" { &["host"] } else { &[] };
        let help = place.run(&[&[subcommand], host, &["--help"]].concat()).ok().out;
        assert!(help.contains("Examples:\n"), "{help}");
    }
}

#[test]
fn no_help_text_shows_a_password() {
    let place = Place::new();
    for args in [&["--help"][..], &["query", "--help"], &["query"]] {
        let mut command = place.command(args);
        let output =
            command.env("ANNALS_BACKEND", "postgres://me:sesame@host/db").output().unwrap();
        for text in [output.stdout, output.stderr] {
            assert!(!String::from_utf8(text).unwrap().contains("sesame"), "{args:?}");
        }
    }
}

#[test]
fn the_backend_comes_from_the_option_then_the_environment_then_the_default() {
    let place = Place::new();
    let row = r#"{"record":"a","value":1,"stored_at":1779006600000}"#;
    place.run_with_input(&["import"], row).noted();
    assert_eq!(place.names(), ["annals.db"]);
    place.write("row", row);
    for (option, expected) in [(None, "one.db"), (Some("sqlite:two.db"), "two.db")] {
        let mut command = place.command(&["import", "row"]);
        command.env("ANNALS_BACKEND", "sqlite:one.db");
        command.args(option.map(|url| format!("--backend={url}")));
        assert!(command.output().unwrap().status.success());
        assert!(place.names().contains(&expected.to_owned()), "{:?}", place.names());
    }
    assert!(!place.names().iter().any(|name| name.contains("two") && name.contains("one")));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let place = Place::new();
    place.write("row", r#"{"record":"a","value":1,"stored_at":1779006600000}"#);
    let run = place.command(&["import", "row"]).env("ANNALS_BACKEND", "").output();
    Run::from(run.unwrap()).noted();
    assert_eq!(place.names(), ["annals.db", "row"]);
    place.run(&["records", "--backend", ""]).refused(2, "--backend");
}

#[test]
fn a_backend_of_the_environment_and_a_server_are_two_places_as_well() {
    let place = Place::new();
    for subcommand in [&["query", "a"][..], &["records"], &["mcp"]] {
        let mut command = place.command(&[subcommand, &["--aimx", "unix:a.sock"]].concat());
        let output = command.env("ANNALS_BACKEND", "postgres://me:sesame@host/db").output();
        let run = Run::from(output.unwrap()).refused(2, "ANNALS_BACKEND names a backend");
        assert!(!run.err.contains("sesame"), "{run:?}");
    }
}

#[test]
fn a_file_that_is_no_history_is_an_error_and_stays_as_it_is() {
    for backend in ["sqlite:text.txt", "redb:text.txt"] {
        let place = Place::new();
        let text = "this is not a database\n".repeat(1000);
        place.write("text.txt", &text);
        let run = place.run(&["records", "--backend", backend]).refused(1, "not a");
        assert!(run.err.contains("text.txt"), "{run:?}");
        assert_eq!(std::fs::read_to_string(place.path("text.txt")).unwrap(), text);
    }
}
