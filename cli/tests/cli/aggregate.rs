use serde_json::{Value, json};

use crate::support::{FILES, Place, Run};

const HOUR: u64 = 3_600_000;

fn aggregate(place: &Place, backend: &str, args: &[&str]) -> Run {
    place.run(&[&["--backend", backend, "aggregate"], args].concat())
}

/// The buckets of an answer as JSON lines, on every embedded backend alike.
fn buckets(rows: &[(&str, &str, u64)], args: &[&str]) -> Vec<Value> {
    let [one, two] = FILES.map(|backend| {
        let place = Place::new();
        place.import(backend, rows);
        aggregate(&place, backend, args).ok().json_lines()
    });
    assert_eq!(one, two, "{args:?}");
    one
}

#[test]
fn without_a_width_there_is_one_line_per_record() {
    let rows = [
        ("accuracy::graz", r#"{"value":0.5}"#, 1_000),
        ("accuracy::vienna", r#"{"value":0.75}"#, 2_000),
        ("accuracy::vienna", r#"{"value":0.25}"#, 3_000),
        ("other", r#"{"value":9}"#, 3_000),
    ];
    assert_eq!(
        buckets(&rows, &["accuracy::*", "--member", "value"]),
        [
            json!({"record": "accuracy::graz", "start": 1_000, "end": 1_001, "count": 1,
                   "mean": 0.5, "min": 0.5, "max": 0.5}),
            json!({"record": "accuracy::vienna", "start": 2_000, "end": 3_001, "count": 2,
                   "mean": 0.5, "min": 0.25, "max": 0.75}),
        ]
    );
}

#[test]
fn buckets_are_whole_however_the_window_cuts_them_and_come_in_either_order() {
    let rows: Vec<(&str, &str, u64)> =
        ["1", "2", "3", "4"].into_iter().zip(1..).map(|(v, n)| ("a", v, n * HOUR / 2)).collect();
    let args = ["a", "--every", "1h", "--show", "count,first,last_at"];
    let bucket = |start: u64, count: u64, first: f64, last_at: u64| {
        json!({"record": "a", "start": start * HOUR, "end": (start + 1) * HOUR, "count": count,
               "first": first, "last_at": last_at})
    };
    let all =
        [bucket(0, 1, 1.0, HOUR / 2), bucket(1, 2, 2.0, HOUR * 3 / 2), bucket(2, 1, 4.0, HOUR * 2)];
    assert_eq!(buckets(&rows, &args), all);
    let newest: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(buckets(&rows, &[&args[..], &["--newest-first"]].concat()), newest);
    let window = ["--from", "3600001", "--to", "7199999"];
    let cut = [bucket(1, 1, 3.0, HOUR * 3 / 2)];
    assert_eq!(buckets(&rows, &[&args[..], &window].concat()), cut);
    let crossed = ["--from", "7200000", "--to", "3600000"];
    assert!(buckets(&rows, &[&args[..], &crossed].concat()).is_empty());
    let origin = ["--origin", "1970-01-01T00:30:00Z"];
    let starts: Vec<_> = buckets(&rows, &[&args[..], &origin].concat())
        .iter()
        .map(|bucket| bucket["start"].as_u64().unwrap())
        .collect();
    assert_eq!(starts, [HOUR / 2, HOUR * 3 / 2]);
}

#[test]
fn a_member_is_a_name_or_a_pointer_and_what_is_no_number_is_counted_as_skipped() {
    let value = r#"{"a.b":1,"a/b":2,"":3,"größe":4,"\"":5,"c":{"d":[6,7]},"/c":8,"c/d":9}"#;
    for (member, expected) in [
        ("a.b", Some(1.0)),
        ("/a~1b", Some(2.0)),
        ("a/b", Some(2.0)),
        ("/", Some(3.0)),
        ("größe", Some(4.0)),
        ("\"", Some(5.0)),
        ("/c/d/1", Some(7.0)),
        ("/~1c", Some(8.0)),
        ("c/d", Some(9.0)),
        ("c", None),
        ("", None),
        ("a", None),
        ("/c/d/2", None),
    ] {
        let show = "sum,skipped";
        let found = buckets(&[("r", value, 5)], &["r", "--member", member, "--show", show]);
        assert_eq!(found[0]["sum"].as_f64(), expected, "{member}");
        let count = u64::from(expected.is_some());
        assert_eq!(found[0]["count"], count, "{member}");
        assert_eq!(found[0]["skipped"], 1 - count, "{member}");
    }
    let mixed = ["1", "true", "false", "\"5\"", "null", "[1]", "{}", "9007199254740993"];
    let rows: Vec<_> = mixed.iter().zip(1..).map(|(value, at)| ("m", *value, at)).collect();
    let found = &buckets(&rows, &["m", "--show", "count,skipped,min,max"])[0];
    assert_eq!((&found["count"], &found["skipped"]), (&json!(4), &json!(4)));
    // The nearest float of 2^53 + 1.
    assert_eq!((&found["min"], &found["max"]), (&json!(0.0), &json!(9_007_199_254_740_992.0)));
}

/// Two values in each of three local days around a change of the clocks.
#[test]
fn local_days_have_the_hours_that_the_clocks_give_them() {
    for (zone, start, end) in [
        ("Europe/Vienna", 1_774_738_800_000_u64, 1_774_821_600_000),
        ("Europe/Vienna", 1_792_879_200_000, 1_792_969_200_000),
        ("America/New_York", 1_772_946_000_000, 1_773_028_800_000),
        ("America/New_York", 1_793_505_600_000, 1_793_595_600_000),
        ("Asia/Kathmandu", 1_778_955_300_000, 1_779_041_700_000),
    ] {
        let rows = [("r", "1", start - 1), ("r", "2", start), ("r", "3", end - 1), ("r", "4", end)];
        let args = ["r", "--every", "1d", "--time-zone", zone, "--show", "sum"];
        let found = buckets(&rows, &args);
        let sums: Vec<_> = found.iter().map(|bucket| bucket["sum"].as_f64().unwrap()).collect();
        assert_eq!(sums, [1.0, 5.0, 4.0], "{zone} {found:?}");
        assert_eq!((&found[1]["start"], &found[1]["end"]), (&json!(start), &json!(end)), "{zone}");
    }
}

#[test]
fn filled_buckets_say_so_and_a_state_has_a_duration() {
    let rows = [
        ("door", "\"open\"", 0),
        ("door", "\"closed\"", HOUR / 2),
        ("door", "\"open\"", HOUR * 5 / 2),
        ("n", "1", 0),
        ("n", "3", HOUR * 2),
    ];
    let window = ["--every", "1h", "--from", "0", "--to", "10799999"];
    let show = "duration{\"open\"}, duration{\"a,b\"}";
    let args = [&["door", "--show", show], &window[..]].concat();
    let open: Vec<_> =
        buckets(&rows, &args).iter().map(|bucket| bucket["duration{\"open\"}"].as_u64()).collect();
    assert_eq!(open, [Some(HOUR / 2), Some(0), Some(HOUR / 2)]);
    for (fill, mean) in [("null", Value::Null), ("previous", json!(1.0)), ("linear", json!(2.0))] {
        let args = [&["n", "--show", "mean", "--fill", fill], &window[..]].concat();
        let found = buckets(&rows, &args);
        assert_eq!(found.len(), 3, "{fill}: {found:?}");
        assert_eq!(found[1].get("mean").unwrap_or(&Value::Null), &mean, "{fill}");
        assert_eq!(found[1]["count"], 0);
        assert_eq!(found[1].get("filled").is_some(), fill != "null", "{fill}: {found:?}");
    }
    let merged = buckets(&rows, &["*", "--merge", "--show", "count,max"]);
    assert_eq!(merged.len(), 1, "{merged:?}");
    assert_eq!((&merged[0]["record"], &merged[0]["max"]), (&json!("*"), &json!(3.0)));
}

#[test]
fn wrong_questions_are_wrong_usage() {
    let place = Place::new();
    place.import(FILES[0], &[("r", "1", 1), ("r", "2", 40_000_000_000_000)]);
    let wide = ["--from", "0", "--to", "9000000000"];
    for (args, text) in [
        (&["r", "--every", "5"][..], "15m, 1h or 24h"),
        (&["r", "--every", "0s"], "at least a millisecond"),
        (&["r", "--every", "-1h"], "15m, 1h or 24h"),
        (&["r", "--every", "1h", "--origin", "30m"], "an age is no fixed time"),
        (&["r", "--every", "1d", "--time-zone", "Vienna"], "Europe/Vienna"),
        (&["r", "--every", "1d", "--origin", "5"], "local midnight"),
        (&["r", "--origin", "5"], "--every"),
        (&["r", "--show", "average"], "time_weighted_mean"),
        (&["r", "--show", "p101"], "p99.9"),
        (&["r", "--show", "count,,mean"], "function"),
        (&["r", "--show", "duration{open}"], "duration{open}"),
        (&["r", "--member", "/a~2"], "~1"),
        (&["r", "--merge", "--show", "increase"], "of merged records"),
        (&["r", "--max-gap", "0s"], "longer than zero"),
        (&["r", "--fill", "zero"], "none, null, previous, linear"),
        (&["r", "--interpolation", "cubic"], "step, linear"),
        (&["", "--show", "sum"], "it is empty"),
        (&["r", "--plot", "--output", "csv"], "cannot be used with"),
        (&[&["r", "--every", "1ms", "--fill", "null"], &wide[..]].concat(), "1000000 buckets"),
    ] {
        let run = aggregate(&place, FILES[0], args);
        assert!(run.err.contains(text), "{args:?}: {run:?}");
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{args:?}: {run:?}");
    }
    let query = ["query", "r", "--backend", FILES[0], "--at", "5", "--latest", "1"];
    place.run(&query).refused(2, "cannot be used with");
}

/// A misspelt member is no error: a record may have values without a number.
#[test]
fn values_without_any_number_are_noted() {
    let place = Place::new();
    place.import(FILES[0], &[("r", r#"{"v":1}"#, 1), ("r", r#"{"v":2}"#, 2)]);
    let run = aggregate(&place, FILES[0], &["r", "--member", "w"]).noted();
    assert_eq!(run.err, "note: no value of 2 has a number at \"w\"\n");
    let run = aggregate(&place, FILES[0], &["r"]).noted();
    assert_eq!(run.err, "note: no value of 2 is a number; --member names the member that has it\n");
    aggregate(&place, FILES[0], &["r", "--member", "v"]).ok();
    aggregate(&place, FILES[0], &["none"]).ok();
    aggregate(&place, FILES[0], &["r", "--member", "w", "--show", "duration{1}"]).ok();
}

#[test]
fn a_table_has_local_times_and_fits_80_columns() {
    let place = Place::new();
    let start = 1_774_738_800_000;
    place.import(FILES[0], &[("temperature::attic", "21.123456789", start + HOUR), ("b", "1", 5)]);
    let args = ["temperature::*", "--output", "table", "--time-zone", "Europe/Vienna"];
    let hourly = aggregate(&place, FILES[0], &[&args[..], &["--every", "1h"]].concat()).ok().out;
    assert_eq!(
        hourly,
        "record              start                   count     mean      min      max\n\
         temperature::attic  2026-03-29T01:00+01:00      1  21.1235  21.1235  21.1235\n"
    );
    let daily = aggregate(&place, FILES[0], &[&args[..], &["--every", "1d"]].concat()).ok().out;
    assert!(daily.contains("  2026-03-29      1  21.1235"), "{daily}");
    assert!(hourly.lines().chain(daily.lines()).all(|line| line.chars().count() <= 80));
    let whole = aggregate(&place, FILES[0], &args).ok().out;
    assert!(whole.lines().all(|line| line.chars().count() <= 80 && !line.contains('…')), "{whole}");
    let csv =
        aggregate(&place, FILES[0], &["b", "--output", "csv", "--show", "sum,count"]).ok().out;
    assert_eq!(csv, "record,start,end,count,skipped,sum,filled\nb,5,6,1,0,1.0,\n");
    let json = aggregate(&place, FILES[0], &["b", "--output", "json", "--show", "p50"]).ok().out;
    assert_eq!(json, "[\n{\"record\":\"b\",\"start\":5,\"end\":6,\"count\":1,\"p50\":1.0}\n]\n");
}

#[test]
fn a_chart_shows_every_series_on_the_terminal_and_as_an_image() {
    for backend in FILES {
        let place = Place::new();
        let values: Vec<_> = (0..200).map(|n| format!("{{\"n\":{}}}", n % 17)).collect();
        let rows = |record| (0..).zip(&values).map(move |(n, v)| (record, v.as_str(), n * 60_000));
        place.import(backend, &rows("a").chain(rows("b\x1b")).collect::<Vec<_>>());
        for command in [
            &["query", "*", "--member", "n"][..],
            &["aggregate", "*", "--member", "n", "--every", "10m"],
        ] {
            let args = [&["--backend", backend], command].concat();
            let chart = place.run(&[&args[..], &["--plot"]].concat()).ok().out;
            assert!(chart.lines().all(|line| line.chars().count() <= 80), "{chart}");
            assert!(chart.contains("\na a") && chart.contains("\nb \"b\\u001b"), "{chart}");
            let image = place.run(&[&args[..], &["--output", "svg"]].concat()).ok().out;
            assert!(image.starts_with("<svg ") && image.matches("<polyline").count() >= 2);
        }
        let one = ["--backend", backend, "aggregate", "a", "--member", "n", "--every", "10m"];
        let chart = place.run(&[&one[..], &["--plot"]].concat()).ok().out;
        assert!(chart.ends_with("\na a mean\nb a min\nc a max\n"), "{chart}");
        let empty = ["--backend", backend, "query", "a", "--member", "none", "--plot"];
        let run = place.run(&empty);
        assert_eq!((run.code, &*run.out), (Some(0), ""));
        assert!(run.err.contains("nothing to plot"), "{run:?}");
    }
}

#[test]
fn the_value_at_a_time_is_the_newest_row_up_to_it() {
    let rows = [("a", "1", 10), ("a", "2", 20), ("a", "3", 20), ("a", "4", 30), ("b", "5", 25)];
    for backend in FILES {
        let place = Place::new();
        place.import(backend, &rows);
        for (at, expected) in [
            ("9", vec![]),
            ("10", vec![("a", 1, 10)]),
            ("20", vec![("a", 3, 20)]),
            ("1970-01-01T00:00:00.029Z", vec![("a", 3, 20), ("b", 5, 25)]),
            ("18446744073709551615", vec![("a", 4, 30), ("b", 5, 25)]),
        ] {
            let run = place.run(&["--backend", backend, "query", "*", "--at", at]).ok();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(r, v, t)| json!({"record": r, "value": v, "stored_at": t}))
                .collect();
            assert_eq!(run.json_lines(), expected, "{at}");
        }
    }
}

#[test]
fn a_filter_leaves_other_rows_out_of_account() {
    let rows = [
        ("r", r#"{"c":10,"ok":true}"#, 1),
        ("r", r#"{"c":99,"ok":false}"#, 2),
        ("r", r#"{"c":"x","ok":true}"#, 3),
        ("s", r#"{"c":1}"#, 4),
    ];
    let args = ["*", "--member", "c", "--show", "count,skipped,max", "--where", "ok = true"];
    let found = buckets(&rows, &args);
    let expected =
        json!({"record": "r", "start": 1, "end": 4, "count": 1, "skipped": 1, "max": 10.0});
    assert_eq!(found, [expected]);
}

/// Buckets for a spreadsheet, in rows and as a table.
#[test]
fn a_spreadsheet_gets_buckets_that_it_reads() {
    const AT: u64 = 1_779_006_600_000;
    let place = Place::new();
    let rows = [
        ("a", "1.5", AT),
        ("a", "2.5", AT + HOUR / 2),
        ("b", "1234567.25", AT + HOUR),
        ("=c", "\"x\"", AT + HOUR),
    ];
    place.import(FILES[0], &rows);
    let sheet = |more: &[&str]| {
        let args = ["*", "--every", "1h", "--show", "count,mean,max_at"];
        let zone = ["--time-zone", "Europe/Vienna"];
        aggregate(&place, FILES[0], &[&args[..], &zone, more].concat()).ok().out
    };
    let at = |hour: u64, minute: u64| format!("2026-05-17 {hour}:{minute:02}:00,000");
    let (ten, eleven, noon) = (at(10, 0), at(11, 0), at(12, 0));
    let expected = format!(
        "\u{feff}record;start;end;count;skipped;mean;max_at;filled\r\n\
         '=c;{eleven};{noon};0;1;;;\r\n\
         a;{ten};{eleven};1;0;1,5;{};\r\n\
         a;{eleven};{noon};1;0;2,5;{eleven};\r\n\
         b;{eleven};{noon};1;0;1234567,25;{};\r\n",
        at(10, 30),
        at(11, 30)
    );
    assert_eq!(sheet(&["--excel=de_AT"]), expected);
    let wide = format!(
        "\u{feff}start;'=c count;'=c mean;'=c max_at;a count;a mean;a max_at;b count;b mean;b max_at\r\n\
         {ten};;;;1;1,5;{};;;\r\n\
         {eleven};0;;;1;2,5;{eleven};1;1234567,25;{}\r\n",
        at(10, 30),
        at(11, 30)
    );
    assert_eq!(sheet(&["--excel=de", "--wide"]), wide);
    assert!(sheet(&["--excel=en_US"]).contains("\r\nb,2026-05-17 11:00:00.000,"));
}
