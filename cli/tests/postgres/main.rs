//! The program on a PostgreSQL server.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../cli/kills.rs"]
mod kills;
#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "made for more tests than these")]
mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use annals_test_postgres::{Locale, Proxy, TestServer};

use support::Place;

/// A database of the test server, with a schema of this test's own.
fn server(schema: &str) -> String {
    let server = TestServer::get().unwrap_or_else(|reason| panic!("{reason}"));
    let url = server.database(Locale::Icu).unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}schema=cli_{schema}_{}", std::process::id())
}

fn the_main_job_works_on_a_server() {
    let url = server("main_job");
    let place = Place::new();
    let args = ["collect", "host", "--backend", &url, "--for", "300ms", "--every", "100ms"];
    let run = place.run(&args);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.contains("rejected 0, dropped 0"), "{run:?}");
    assert!(!run.err.contains("password"), "{run:?}");
    let rows = place.rows(&url);
    assert!(run.out.starts_with(&format!("recorded {0}, stored {0}", rows.len())), "{run:?}");
    let latest = place.run(&["query", "host::cpu*", "--latest", "1", "--backend", &url]).ok();
    assert!(latest.json_lines().len() >= 2, "{latest:?}");
    let run = place.run(&["cleanup", "--older-than", "0s", "--backend", &url]).ok();
    assert_eq!(run.out, format!("{}\n", rows.len()));
}

fn a_query_creates_no_history() {
    let url = server("slip");
    let place = Place::new();
    for args in [&["query", "*"][..], &["records"], &["cleanup", "--older-than", "1h"]] {
        place.run(&[args, &["--backend", &url]].concat()).refused(2, "there is no history");
    }
    place.import(&url, &[("a", "1", 1)]);
    assert_eq!(place.rows(&url).len(), 1);
}

fn an_import_keeps_the_text_and_names_the_bad_line() {
    let url = server("import");
    let place = Place::new();
    let input = "{\"record\":\"b\",\"value\":1.50e+02,\"stored_at\":7}\n\
                 {\"record\":\"B\",\"value\":{ \"a\" : \"\\u0000\" },\"stored_at\":7}\n\
                 {\"record\":\"\",\"value\":1}\n";
    let run = place.run_with_input(&["import", "--backend", &url], input);
    run.refused(1, ":3: ").err.contains("the 2 rows before it are stored");
    let run = place.run(&["query", "*", "--backend", &url]).ok();
    assert_eq!(
        run.out,
        "{\"record\":\"B\",\"value\":{ \"a\" : \"\\u0000\" },\"stored_at\":7}\n\
         {\"record\":\"b\",\"value\":1.50e+02,\"stored_at\":7}\n"
    );
}

fn sql_and_an_export_work_on_a_server() {
    let url = server("sql");
    let place = Place::new();
    let rows =
        [("b", "1.50e+02", 7), ("b", "-0.0", 7), ("B", "{\"n\":3}", 5), ("c", "\"x\\n\"", 9)];
    place.import(&url, &rows);
    // Both sides of the join are read at once.
    let text = "SELECT one.record_name AS r, count(*) AS n FROM record_history AS one JOIN \
                record_history AS other ON one.stored_at = other.stored_at WHERE one.record_name LIKE \
                'b%' OR one.stored_at = 9 GROUP BY 1 ORDER BY 1";
    let run = place.run(&["sql", text, "--backend", &url]).ok();
    assert_eq!(run.out, "{\"r\":\"b\",\"n\":4}\n{\"r\":\"c\",\"n\":1}\n");
    for form in ["ndjson", "csv"] {
        let export =
            |backend: &str| place.run(&["export", "--output", form, "--backend", backend]).ok().out;
        let exported = export(&url);
        let file = format!("redb:{form}.redb");
        let import = ["import", "--input", form, "--backend", &file];
        place.run_with_input(&import, &exported).noted();
        assert_eq!(export(&file), exported);
    }
}

/// The buckets are those of a SQLite file, which the reference is compared with.
fn aggregates_and_the_value_at_a_time_are_those_of_a_file() {
    const FILE: &str = "sqlite:history.db";
    let url = server("aggregate");
    let place = Place::new();
    // The days around the change of the clocks in Vienna on 29 March 2026.
    let (day, hour) = (1_774_738_800_000, 3_600_000);
    let values =
        ["1", "-2.5", "true", "\"open\"", "null", "9007199254740993", "1e300", "{\"n\":7}"];
    let rows: Vec<_> = (0..200_u64)
        .map(|n| (["a", "B"][n as usize % 2], values[n as usize % 8], day + n * hour / 4))
        .chain([("a", "\"\\u0000\"", day + 1), ("a", "1e-400", day + 2)])
        .collect();
    place.import(&url, &rows);
    place.import(FILE, &rows);
    let ask = |backend: &str, args: &[&str]| {
        place.run(&[args, &["--backend", backend]].concat()).ok().json_lines()
    };
    for args in [
        &["aggregate", "*", "--show", "count,skipped,min,max,min_at,first,last_at"][..],
        &["aggregate", "a", "--every", "1d", "--time-zone", "Europe/Vienna", "--show", "count,p50"],
        &["aggregate", "B", "--member", "n", "--every", "5h", "--show", "count,sum,increase"],
        &["aggregate", "*", "--every", "1h", "--show", "duration{\"open\"}", "--newest-first"],
        &["aggregate", "*", "--merge", "--every", "1w", "--show", "count,max"],
        &["query", "*", "--at", "2026-03-29T12:00:00+02:00"],
    ] {
        let found = ask(&url, args);
        assert!(!found.is_empty(), "{args:?}");
        assert_eq!(found, ask(FILE, args), "{args:?}");
    }
    let args = ["aggregate", "a", "--every", "soon", "--backend", &url];
    place.run(&args).refused(2, "15m, 1h or 24h");
}

fn a_plain_history_is_converted_with_all_its_rows() {
    let url = server("migrate \"x; é").replace(' ', "%20").replace('"', "%22");
    let place = Place::new();
    let input: String = (0..3_000)
        .map(|i| format!("{{\"record\":\"r{}\",\"value\":{i},\"stored_at\":{i}}}\n", i % 7))
        .collect();
    place.run_with_input(&["import", "--backend", &url], &input).noted();
    let rows = place.rows(&url);
    let partitioned = format!("{url}&partition_interval=1s");
    place.run(&["records", "--backend", &partitioned]).refused(2, "annals migrate");
    let run = place.run(&["migrate", "--backend", &partitioned]).ok();
    assert_eq!(run.out, "the plain table is a partitioned table now, with 3000 rows\n");
    let run = place.run(&["migrate", "--backend", &partitioned]).ok();
    assert_eq!(run.out, "the history is a partitioned table already\n");
    assert_eq!(place.rows(&partitioned), rows);
    let run = place
        .run(&["cleanup", "--older-than", "1970-01-01T00:00:01.5Z", "--backend", &partitioned])
        .ok();
    assert_eq!(run.out, "1500\n");
    place.run(&["migrate", "--backend", "sqlite:x.db"]).refused(2, "PostgreSQL");
    place
        .run(&["migrate", "--backend", &url.replace("schema=cli", "schema=none")])
        .refused(2, "no history");
}

fn an_import_that_is_killed_anywhere_stores_each_row_once() {
    let url = server("kills");
    kills::each_row_is_stored_once(&Place::new(), &url, kills::kills(3));
}

fn a_copy_goes_up_to_a_server_and_back() {
    let url = server("copy");
    let place = Place::new();
    let rows =
        [("b", "1.50e+02", 7), ("b", "-0.0", 7), ("b", "\"\\u0000\"", 7), ("a", "{\"n\":3}", 5)];
    place.import("sqlite:a.db", &rows);
    for (from, to) in [("sqlite:a.db", &*url), (&*url, "redb:b.redb")] {
        for copied in [4, 0] {
            let run = place.run(&["copy", from, to]);
            assert_eq!(run.code, Some(0), "{run:?}");
            let summary = format!(
                "2 records, 4 rows, {copied} copied, {} already there; both ends agree\n",
                4 - copied
            );
            assert_eq!(run.err, summary);
        }
    }
    assert_eq!(place.rows("redb:b.redb"), place.rows("sqlite:a.db"));
}

fn the_suite_runs_in_schemas_of_its_own() {
    let url = server("conformance");
    let place = Place::new();
    let run = place.run(&["conformance", &url, "--filter", "range_"]).ok();
    assert!(run.out.contains(" passed, 0 failed, 0 skipped\n"), "{run:?}");
    // The suite's own connection must ignore the options of the backend.
    let url = format!("{url}&partition_interval=1d&close_timeout=1min&timescale=off");
    let run = place.run(&["conformance", &url, "--filter", "cleanup_3"]).ok();
    assert!(run.out.contains("1 passed, 0 failed, 0 skipped\n"), "{run:?}");
}

/// A connection that ended, ended the follower.
fn a_follower_survives_its_connections() {
    let url = server("follow");
    let proxy = Proxy::start(TestServer::get().unwrap().url()).unwrap();
    let place = Place::new();
    place.import(&url, &[("a", "1", 1)]);
    let through = proxy.url(&url).unwrap();
    let mut follower = place
        .command(&["query", "--backend", &through, "a", "--follow", "--latest", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(follower.stdout.take().unwrap()).lines();
    for value in 1..5 {
        let row = rows.next().unwrap().unwrap();
        assert!(row.contains(&format!("\"value\":{value}")), "{row}");
        proxy.cut();
        place.import(&url, &[("a", &(value + 1).to_string(), value + 1)]);
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
}

fn a_server_that_is_not_there_is_said_without_the_password() {
    let place = Place::new();
    let url = "postgres://me:sesame@127.0.0.1:1/db?connect_timeout=2s";
    for args in [&["records"][..], &["query", "*"], &["collect", "host"]] {
        let run = place.run(&[args, &["--backend", url]].concat()).refused(1, "postgres");
        assert!(!run.err.contains("sesame"), "{run:?}");
    }
    let run = place.run(&["conformance", url]).refused(1, "cannot be reached");
    assert!(!run.err.contains("sesame"), "{run:?}");
}

annals_test_postgres::server_tests! {
    sync the_main_job_works_on_a_server,
    sync a_query_creates_no_history,
    sync an_import_keeps_the_text_and_names_the_bad_line,
    sync sql_and_an_export_work_on_a_server,
    sync aggregates_and_the_value_at_a_time_are_those_of_a_file,
    sync a_plain_history_is_converted_with_all_its_rows,
    sync the_suite_runs_in_schemas_of_its_own,
    sync an_import_that_is_killed_anywhere_stores_each_row_once,
    sync a_copy_goes_up_to_a_server_and_back,
    sync a_follower_survives_its_connections,
    sync a_server_that_is_not_there_is_said_without_the_password,
}
