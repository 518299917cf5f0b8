use crate::support::{FILES, Place};

/// Names, values and times that break quoting by hand and sorting.
const ROWS: &[(&str, &str, u64)] = &[
    ("b", "1.50e+02", 7),
    ("b", "{ \"a\" : \"x\\\"y\\n\" }", 7),
    ("b", "-0.0", 7),
    ("b", "\"late\"", 3),
    ("a\n\r\n\"b\", ;", "[1,2]", 9_223_372_036_854_775_807),
    ("é\u{1f980}\u{202e}", "\"\u{1f980}\\u0000\"", 0),
    ("=1+1", "null", 5),
    ("record", "\"value\"", 5),
    ("\u{feff}mark", "1", 5),
];

fn export(place: &Place, backend: &str, more: &[&str]) -> String {
    place.run(&[&["--backend", backend, "export"], more].concat()).ok().out
}

#[test]
fn an_import_of_an_export_is_the_same_history() {
    for form in ["ndjson", "csv"] {
        for [from, to] in [FILES, [FILES[1], FILES[0]]] {
            let place = Place::new();
            place.import(from, ROWS);
            let exported = export(&place, from, &["--output", form]);
            // The ending says which form it is.
            let file = format!("history.{form}");
            place.write(&file, &exported);
            let run = place.run(&["--backend", to, "import", &file]).noted();
            assert_eq!(run.out, format!("{} rows stored\n", ROWS.len()));
            assert_eq!(export(&place, to, &["--output", form]), exported);
            assert_eq!(place.rows(to), place.rows(from));
            let piped = ["--backend", "memory:", "import", "--input", form];
            let run = place.run_with_input(&piped, &exported).noted();
            assert_eq!(run.out, format!("{} rows stored\n", ROWS.len()));
        }
    }
}

#[test]
fn rows_of_one_time_are_in_their_order_of_arrival() {
    let place = Place::new();
    place.import(FILES[0], ROWS);
    let of_b = export(&place, FILES[0], &["b"]);
    let values: Vec<&str> =
        of_b.lines().map(|line| line.split_once("value\":").unwrap().1).collect();
    assert_eq!(
        values,
        [
            "\"late\",\"stored_at\":3}",
            "1.50e+02,\"stored_at\":7}",
            "{ \"a\" : \"x\\\"y\\n\" },\"stored_at\":7}",
            "-0.0,\"stored_at\":7}",
        ]
    );
}

#[test]
fn patterns_grammars_and_times_choose_rows() {
    let place = Place::new();
    place.import(FILES[0], &[("a.b", "1", 1), ("a.b", "2", 2), ("a.b.c", "3", 3)]);
    let count = |more: &[&str]| export(&place, FILES[0], more).lines().count();
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["a.*"]), 3);
    assert_eq!(count(&["a.*", "--grammar", "topic"]), 2);
    assert_eq!(count(&["--from", "2", "--to", "2"]), 1);
    assert_eq!(count(&["--from", "1h"]), 0);
    assert_eq!(export(&place, FILES[0], &["none", "--output", "csv"]), "record,value,stored_at\n");
    assert_eq!(export(&place, FILES[0], &["none"]), "");
}

#[test]
fn a_missing_store_or_another_format_is_refused() {
    let place = Place::new();
    place.run(&["--backend", FILES[0], "export"]).refused(1, "there is no history at");
    place.run(&["export", "--output", "table"]).refused(2, "invalid value 'table'");
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn csv_that_cannot_be_stored_says_where_and_why() {
    let place = Place::new();
    let import = |more: &[&str], input: &str| {
        let command = ["--backend", FILES[0], "import", "--input", "csv"];
        place.run_with_input(&[&command, more].concat(), input)
    };
    import(&[], "record,time\na,1\n").refused(1, "the header has the columns record, time");
    let input = "record,value,stored_at\n\"a\nb\",1,5\nb,nonsense,6\nc,3,7\n";
    import(&[], input).refused(1, ":4: the value nonsense is not JSON");
    assert_eq!(place.rows(FILES[0]).len(), 1);
    let run = import(&["--skip-invalid"], input);
    assert_eq!((run.code, &*run.out), (Some(0), "2 rows stored, 1 line skipped\n"), "{run:?}");
}
