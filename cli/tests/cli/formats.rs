//! Output for spreadsheets and other tools.

use crate::support::{FILES, Place};

const AT: u64 = 1_779_006_600_120;

fn place() -> Place {
    let place = Place::new();
    let rows = [
        ("a", "21.5", AT),
        ("a", "\"=1+1\"", AT + 1000),
        ("b", "\"open\"", AT),
        ("b", "\"shut\"", AT),
        ("b", "{\"n\":1}", AT + 2000),
    ];
    place.import(FILES[0], &rows);
    place
}

fn ask(place: &Place, args: &[&str]) -> String {
    place.run(&[args, &["--backend", FILES[0]]].concat()).ok().out
}

#[test]
fn times_and_texts_are_written_as_asked() {
    let place = place();
    let csv = |more: &[&str]| ask(&place, &[&["query", "a", "--output", "csv"], more].concat());
    let plain = "record,value,stored_at\na,\"\"\"=1+1\"\"\",1779006601120\na,21.5,1779006600120\n";
    assert_eq!(csv(&[]), plain);
    assert_eq!(csv(&["--times", "ms"]), plain);
    assert_eq!(
        csv(&["--times", "rfc3339", "--text"]),
        "record,value,stored_at\na,=1+1,2026-05-17T08:30:01.120Z\na,21.5,2026-05-17T08:30:00.120Z\n"
    );
    let local = csv(&["--times", "local", "--time-zone", "Europe/Vienna"]);
    assert!(local.ends_with("a,21.5,2026-05-17 10:30:00.120\n"), "{local}");
    let line = ask(&place, &["query", "a", "--latest", "1", "--times", "rfc3339"]);
    assert_eq!(
        line,
        "{\"record\":\"a\",\"value\":\"=1+1\",\"stored_at\":\"2026-05-17T08:30:01.120Z\"}\n"
    );
    let bucket = ask(&place, &["aggregate", "a", "--show", "max,max_at", "--times", "rfc3339"]);
    let start = "\"start\":\"2026-05-17T08:30:00.120Z\",\"end\":\"2026-05-17T08:30:01.121Z\"";
    assert_eq!(
        bucket,
        format!(
            "{{\"record\":\"a\",{start},\"count\":1,\"skipped\":1,\"max\":21.5,\"max_at\":\"2026-05-17T08:30:00.120Z\"}}\n"
        )
    );
}

/// A string such as "21.5" came back as a number, and an empty one not at all.
#[test]
fn text_without_quotes_comes_back_as_it_was() {
    let place = Place::new();
    let values = [
        "21.5",
        "-3",
        "true",
        "null",
        "{\"a\":1}",
        "\"21.5\"",
        "\"true\"",
        "\"null\"",
        "\"{}\"",
        "\"\"",
        "\" pad \"",
        "\"\\\"x\\\"\"",
        "\"open\"",
        "\"a;b,c\"",
        "\"21,5\"",
        "\"007\"",
        "\"a\\nb\"",
    ];
    let rows: Vec<_> = values.iter().zip(AT..).map(|(value, at)| ("a", *value, at)).collect();
    place.import(FILES[0], &rows);
    let stored = ask(&place, &["export"]);
    let vienna = ["--time-zone", "Europe/Vienna"];
    let excel = [&["--time-column", "stored_at", "--decimal-comma"], &vienna[..]].concat();
    for (out, back) in [
        (&["query", "*", "--oldest-first", "--output", "csv", "--text"][..], &["--text"][..]),
        (&["query", "*", "--oldest-first", "--excel=de", "--time-zone", "Europe/Vienna"], &excel),
        (
            &["query", "*", "--oldest-first", "--wide", "--output", "csv"],
            &["--columns", "wide", "--time-column", "stored_at"],
        ),
    ] {
        let text = ask(&place, out);
        place.write("rows.csv", &text);
        let to = format!("sqlite:{}.db", place.names().len());
        place.run(&[&["import", "rows.csv", "--backend", &to], back].concat()).noted();
        let again = place.run(&["export", "--backend", &to]).ok().out;
        // A spreadsheet has numbers in its own form.
        assert!(again == stored, "{out:?}: {text}{again}");
    }
}

#[test]
fn a_spreadsheet_gets_what_it_reads() {
    let place = place();
    let args = ["query", "*", "--oldest-first", "--excel=de_AT", "--time-zone", "Europe/Vienna"];
    assert_eq!(
        ask(&place, &args),
        "\u{feff}record;value;stored_at\r\na;21,5;2026-05-17 10:30:00,120\r\n\
         a;'=1+1;2026-05-17 10:30:01,120\r\nb;open;2026-05-17 10:30:00,120\r\n\
         b;shut;2026-05-17 10:30:00,120\r\nb;\"{\"\"n\"\":1}\";2026-05-17 10:30:02,120\r\n"
    );
    let english = ask(&place, &["query", "a", "--excel=en_US", "--times", "ms"]);
    assert!(english.ends_with("a,21.5,1779006600120\r\n"), "{english}");
    // What it writes comes in again.
    place.write("sheet.csv", ask(&place, &args));
    let import = [
        "import",
        "sheet.csv",
        "--decimal-comma",
        "--text",
        "--time-column",
        "stored_at",
        "--time-zone",
        "Europe/Vienna",
        "--backend",
        FILES[1],
    ];
    place.run(&import).noted();
    assert_eq!(place.rows(FILES[1])[0], place.rows(FILES[0])[0]);
    place.run(&["query", "*", "--excel", "--output", "json"]).refused(2, "--excel writes CSV");
    place.run(&["query", "*", "--text"]).refused(2, "--output csv");
    place.run(&["query", "*", "--excel=german"]).refused(2, "de_AT");
}

#[test]
fn a_wide_table_has_a_column_for_each_record() {
    let place = place();
    let wide = |args: &[&str]| ask(&place, &[&["query", "*", "--wide"], args].concat());
    // Two values at one time take two lines.
    assert_eq!(
        wide(&["--output", "csv", "--oldest-first"]),
        "stored_at,a,b\n1779006600120,21.5,open\n1779006600120,,shut\n1779006601120,=1+1,\n\
         1779006602120,,\"{\"\"n\"\":1}\"\n"
    );
    let newest = wide(&["--latest", "1"]);
    assert_eq!(
        newest,
        "{\"stored_at\":1779006602120,\"a\":null,\"b\":{\"n\":1}}\n\
         {\"stored_at\":1779006601120,\"a\":\"=1+1\",\"b\":null}\n"
    );
    place.import(FILES[0], &[("c", "1", AT), ("c", "3", AT + 1), ("d", "5", AT + 60_000)]);
    let buckets = |show: &str| {
        let args = ["aggregate", "*", "--every", "1m", "--show", show, "--wide", "--output", "csv"];
        ask(&place, &args)
    };
    assert_eq!(buckets("mean"), "start,a,b,c,d\n1779006600000,21.5,,2.0,\n1779006660000,,,,5.0\n");
    assert!(buckets("count,max").starts_with("start,a count,a max,b count,b max,c count,"));
    place.run(&["aggregate", "*", "--wide"]).refused(2, "--every");
    place.import(FILES[0], &[("stored_at", "1", AT)]);
    let args = ["query", "*", "--wide", "--backend", FILES[0]];
    place.run(&args).refused(1, "a record is called stored_at");
}

#[test]
fn parquet_comes_back_as_it_was() {
    let place = Place::new();
    let many: Vec<_> = (0..3_000).map(|n| ("r", "{\"n\": 1.50}", AT + n)).collect();
    place.import(FILES[0], &many);
    let odd =
        [("=1", "\"\\u0000\"", 0), ("é", "null", 9_223_372_036_854_775_807), ("é", "\"\"", 5)];
    place.import(FILES[0], &odd);
    let exported = ask(&place, &["export"]);
    for command in [&["export"][..], &["query", "*", "--oldest-first"]] {
        let mut command = place.command(command);
        let file = std::fs::File::create(place.path("rows.parquet")).unwrap();
        command.args(["--output", "parquet", "--backend", FILES[0]]).stdout(file);
        assert!(command.status().unwrap().success());
        let to = format!("sqlite:{}.db", place.names().len());
        let run = place.run(&["import", "rows.parquet", "--backend", &to]).noted();
        assert_eq!(run.out, "3003 rows stored\n");
        assert_eq!(place.run(&["export", "--backend", &to]).ok().out, exported);
    }
    place
        .run(&["query", "*", "--output", "parquet", "--times", "ms"])
        .refused(2, "leave --times out");
}

#[test]
fn wide_parquet_has_numbers_where_all_values_are_numbers() {
    let place = place();
    place.import(FILES[0], &[("c", "-2.5", AT), ("c", "7", AT + 1000)]);
    let mut command = place.command(&["query", "*", "--wide", "--output", "parquet"]);
    let file = std::fs::File::create(place.path("wide.parquet")).unwrap();
    assert!(command.args(["--backend", FILES[0]]).stdout(file).status().unwrap().success());
    let import = ["import", "wide.parquet", "--columns", "wide", "--backend", FILES[1]];
    let run = place.run(&import).noted();
    assert_eq!(run.out, "7 rows stored, 5 empty cells skipped\n");
    let rows = place.rows(FILES[1]);
    let of_c: Vec<_> = rows.iter().filter(|row| row["record"] == "c").collect();
    assert_eq!((&of_c[0]["value"], &of_c[1]["value"]), (&(-2.5).into(), &7.into()));
}
