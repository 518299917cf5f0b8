//! Files as people have them: each is read, or refused with what is wrong and what helps.

use crate::support::{FILES, Place};

/// What a plain import says, and the number of rows that it stores.
const FILES_OF_PEOPLE: [(&str, &str, usize); 25] = [
    // Tables with other columns, a line above the header, doubled columns, no header.
    ("entity_id,state,last_changed\na,on,2026-05-17T08:30:00Z\n", "--record-column", 0),
    ("Logger v1.2\n\nrecord,value\na,1\n", "if the header is line 3, use --skip-lines 2", 0),
    ("record,value,value,stored_at\na,1,2,5\n", "--record-column", 0),
    ("2026-05-17T08:30:00Z,21.5\n", "(echo time,value; cat FILE) | annals import", 0),
    // A delimiter at the end, blanks around the time, a line of sums at the end.
    ("record,value,stored_at,\na,1,1779006600000,\n", "1 row stored", 1),
    ("record , value , stored_at \na, 1, 1779006600000 \n", "1 row stored", 1),
    ("record,value,stored_at\na,1,1779006600000\nTotal: 1 row\n", "a line of totals", 1),
    // Line ends of two kinds, quotes.
    ("record,value,stored_at\na,1,1779006600000\nb,2\rc,3\nd,4\n", "the file mixes line ends", 1),
    ("record,value,stored_at\na,1,5\nb,\"2\nc,3\n", ":3: its quotes do not end", 1),
    ("record,value,stored_at\na,\"1\"2,5\n", "its quotes are not where they belong", 0),
    // Times.
    ("record,value,stored_at\na,1,1601-01-01T00:00:00Z\n", "lies before 1970", 0),
    ("record,value,stored_at\na,1,9999-12-31T23:59:59Z\n", "is out of range", 0),
    ("record,value,stored_at\na,1,-5\n", "lies before 1970", 0),
    ("record,value,stored_at\na,1,1.7790066E+12\n", "1 row stored", 1),
    ("record,value,stored_at\na,1,05/06/2026 08:30\n", "'%m/%d/%Y %H:%M' or '%d/%m/%Y %H:%M'", 0),
    ("record,value\na,1\n", "--time-now", 0),
    ("{\"record\":\"a\",\"value\":1}\n", "no row has a time", 0),
    // JSON in other shapes.
    (
        "{\"record\":\"a\",\"value\":1,\"stored_at\":5}{\"record\":\"b\",\"value\":2,\"stored_at\":5}",
        "2 rows stored",
        2,
    ),
    ("{\"metrics\":[{\"name\":\"cpu\"}]}\n", "jq -c '.metrics[]'", 0),
    ("{'record': 'a', 'value': None}\n", "double quotes around strings", 0),
    (
        "[{\"record\":\"a\",\"value\":1,\"stored_at\":5},{\"record\":\"b\",\"val",
        "ends before it is complete",
        1,
    ),
    // Other files under the name of one.
    ("<!DOCTYPE html>\n<title>Sign in</title>\n", "a page to sign in", 0),
    ("# HELP up Up\n# TYPE up gauge\nup{job=\"a\"} 1\n", "what Prometheus scrapes", 0),
    // Nothing.
    ("record,value,stored_at\n", "0 rows stored", 0),
    ("\u{feff}", "0 rows stored", 0),
];

#[test]
fn each_is_read_or_explained() {
    for (input, words, rows) in FILES_OF_PEOPLE {
        let place = Place::new();
        place.write("file.csv", input);
        let run = place.run(&["--backend", FILES[0], "import", "file.csv"]);
        let said = format!("{}{}", run.err, run.out);
        assert!(said.contains(words), "{input:?}: {run:?}");
        for jargon in ["expected", "EOF", "panicked", "invalid type", "ParquetError"] {
            assert!(!said.contains(jargon), "{input:?}: {run:?}");
        }
        let stored = match place.names().iter().any(|name| name == "history.db") {
            true => place.rows(FILES[0]).len(),
            false => 0,
        };
        assert_eq!(stored, rows, "{input:?}: {run:?}");
    }
}

#[test]
fn two_columns_of_one_name_are_not_chosen_between() {
    let place = Place::new();
    let input = "name,value,value\na,1,2\n";
    let args = ["--backend", FILES[0], "import", "--record-column", "name"];
    place.run_with_input(&args, input).refused(1, "two columns are called value rename one");
}

/// What follows the last whole line of gzip data that is cut off is no row.
#[test]
fn compressed_data_in_parts_is_one_file_and_its_damage_is_named() {
    use std::io::Write;
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let (first, second) = (gzip("record,value\na,1\n"), gzip("a,2\n"));
    let whole = [first.clone(), second.clone()].concat();
    let cut = [first.clone(), second[..second.len() - 4].to_vec()].concat();
    let foreign = [first, b"and something else behind it".to_vec()].concat();
    for (input, words, code) in [
        (whole, "2 rows stored", 0),
        (cut, "its gzip data is cut off", 1),
        (foreign, "its gzip data is damaged", 1),
    ] {
        let place = Place::new();
        let run = place.run_with_input(&["--backend", FILES[0], "import"], input);
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(format!("{}{}", run.err, run.out).contains(words), "{run:?}");
    }
}
