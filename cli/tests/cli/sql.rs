use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{FILES, Place, Run};

const SQLITE: &str = FILES[0];

/// Two rooms with ten values each, one of another name, and one that differs in a capital letter.
fn rooms() -> Place {
    let place = Place::new();
    let mut rows = Vec::new();
    let values: Vec<String> = (0..10).map(|i| format!("{{\"celsius\":{}.5}}", 20 + i)).collect();
    for (at, value) in (0..).zip(&values) {
        rows.push(("room::attic", &**value, 1_000 + at));
        rows.push(("room::cellar", &**value, 2_000 + at));
    }
    rows.push(("Room::attic", "0", 1_000));
    rows.push(("door", "\"open\"", 1_005));
    FILES.iter().for_each(|backend| place.import(backend, &rows));
    place
}

fn sql(place: &Place, backend: &str, text: &str) -> Run {
    place.run(&["--backend", backend, "sql", text])
}

/// The rows with their cells as numbers or text, alike on every backend.
fn rows(place: &Place, text: &str) -> Vec<Value> {
    let mut answers = FILES.map(|backend| {
        let run = place.run(&["--backend", backend, "sql", text, "--output", "csv"]).ok();
        let cell = |cell: &str| match cell.parse::<f64>() {
            Ok(_) => serde_json::from_str(cell).unwrap(),
            Err(_) => json!(cell),
        };
        let rows = csv::Reader::from_reader(run.out.as_bytes()).into_records();
        rows.map(|row| row.unwrap().iter().map(cell).collect()).collect::<Vec<Value>>()
    });
    assert_eq!(answers[0], answers[1], "{text}");
    std::mem::take(&mut answers[0])
}

/// One number.
fn number(place: &Place, text: &str) -> i64 {
    rows(place, text)[0][0].as_i64().unwrap()
}

#[test]
fn all_rows_are_there_with_their_names_text_and_times() {
    let place = rooms();
    let all = rows(&place, "SELECT record_name, value_json, stored_at FROM record_history");
    assert_eq!(all.len(), 22);
    assert_eq!(all[0], json!(["Room::attic", 0, 1_000]));
    assert_eq!(all[1], json!(["door", "\"open\"", 1_005]));
    assert_eq!(all[2], json!(["room::attic", "{\"celsius\":29.5}", 1_009]));
}

#[test]
fn json_functions_and_aggregates_work() {
    let place = rooms();
    let text = "SELECT record_name, count(*), avg(value_json ->> '$.celsius'), max(stored_at) FROM \
                record_history WHERE record_name LIKE 'room::%' GROUP BY record_name";
    let expected =
        [json!(["room::attic", 10, 25.0, 1_009]), json!(["room::cellar", 10, 25.0, 2_009])];
    assert_eq!(rows(&place, text), expected);
}

/// Each condition selects what SQLite selects from a table with the same rows.
#[test]
fn every_condition_selects_what_it_does_on_a_table() {
    let place = rooms();
    for (condition, count) in [
        ("record_name = 'door'", 1),
        ("record_name = 'room::attic'", 10),
        ("record_name = 'ROOM::ATTIC'", 0),
        ("record_name = 'ROOM::ATTIC' COLLATE NOCASE", 11),
        ("record_name = ''", 0),
        ("record_name = 'room*'", 0),
        ("record_name = 5", 0),
        ("record_name = NULL", 0),
        ("record_name IS 'door'", 1),
        ("record_name IN ('door', 'room::attic', 'none')", 11),
        ("record_name IN (SELECT record_name FROM record_history WHERE stored_at > 2000)", 10),
        ("record_name <> 'door'", 21),
        ("record_name = 'door' OR record_name LIKE 'room::c%'", 11),
        ("record_name = 'door' AND record_name LIKE 'room::c%'", 0),
        ("record_name LIKE 'room::%' OR stored_at = 1005", 21),
        ("record_name LIKE 'room::%'", 20),
        ("record_name LIKE 'Room::%'", 1),
        ("record_name LIKE '_oom::attic'", 11),
        ("record_name LIKE '%::cellar'", 10),
        ("record_name LIKE 'room'", 0),
        ("record_name LIKE 'room::\\%' ESCAPE '\\'", 0),
        ("record_name NOT LIKE 'room::%'", 2),
        ("record_name GLOB 'room::*'", 20),
        ("record_name GLOB '[Rr]oom::a*'", 11),
        ("record_name GLOB 'do?r'", 1),
        ("record_name > 'room::a' AND record_name < 'room::b'", 10),
        ("stored_at = 1005", 2),
        ("stored_at = 1005.0", 2),
        ("stored_at = 1005.5", 0),
        ("stored_at = '1005'", 2),
        ("stored_at > 1005", 14),
        ("stored_at >= 1005", 16),
        ("stored_at < 1005", 6),
        ("stored_at <= 1005", 8),
        ("stored_at > 1004.5 AND stored_at < 1005.5", 2),
        ("stored_at BETWEEN 1003 AND 1005", 4),
        ("stored_at < -1", 0),
        ("stored_at > -1", 22),
        ("stored_at > 9223372036854775807", 0),
        ("stored_at < 1e300", 22),
        ("stored_at < NULL", 0),
        ("stored_at > 1005 AND record_name = 'room::attic'", 4),
        ("value_json = '\"open\"'", 1),
        ("value_json ->> '$.celsius' > 28", 4),
    ] {
        let text = format!("SELECT count(*) FROM record_history WHERE {condition}");
        assert_eq!(number(&place, &text), count, "{condition}");
        // No filter reaches a subquery behind a materialized one.
        let text = format!(
            "WITH plain AS MATERIALIZED (SELECT * FROM record_history) SELECT count(*) FROM plain \
             WHERE {}",
            condition.replace("FROM record_history", "FROM plain")
        );
        assert_eq!(number(&place, &text), count, "{condition}, by SQLite alone");
    }
}

/// SQLite reads once for each alternative and counts no row twice; rows of one record with the same
/// time are separate rows nevertheless.
#[test]
fn alternatives_find_each_row_once() {
    let place = Place::new();
    for backend in FILES {
        place.import(
            backend,
            &[("a", "1", 9), ("a", "1", 9), ("a", "1", 9), ("b", "1", 9), ("b", "1", 8)],
        );
    }
    let text = "SELECT count(*) FROM record_history WHERE record_name = 'a' OR stored_at = 9";
    assert_eq!(number(&place, text), 4);
    let text = "SELECT count(*) FROM record_history WHERE record_name = 'b' OR stored_at = 9 OR stored_at < 9";
    assert_eq!(number(&place, text), 5);
    let distinct = "SELECT DISTINCT record_name, stored_at FROM record_history";
    assert_eq!(rows(&place, distinct).len(), 3);
}

#[test]
fn every_order_is_right() {
    let place = rooms();
    for (order, first, last) in [
        ("stored_at DESC", json!(["room::cellar", 2_009]), json!(["Room::attic", 1_000])),
        ("record_name", json!(["Room::attic", 1_000]), json!(["room::cellar", 2_000])),
        ("record_name, stored_at", json!(["Room::attic", 1_000]), json!(["room::cellar", 2_009])),
        (
            "record_name, stored_at DESC",
            json!(["Room::attic", 1_000]),
            json!(["room::cellar", 2_000]),
        ),
        (
            "record_name DESC, stored_at",
            json!(["room::cellar", 2_000]),
            json!(["Room::attic", 1_000]),
        ),
        (
            "record_name COLLATE NOCASE DESC, stored_at DESC",
            json!(["room::cellar", 2_009]),
            json!(["door", 1_005]),
        ),
    ] {
        let text = format!("SELECT record_name, stored_at FROM record_history ORDER BY {order}");
        let rows = rows(&place, &text);
        assert_eq!(rows.len(), 22);
        // Of equals at the end either may come last.
        let ends = (&rows[0], rows[21][1].clone());
        assert_eq!(ends, (&first, last[1].clone()), "{order}");
    }
    for (order, expected) in [("", [1_000, 1_001]), ("DESC", [1_009, 1_008])] {
        let text = format!(
            "SELECT stored_at FROM record_history WHERE record_name = 'room::attic' ORDER BY \
             stored_at {order} LIMIT 2"
        );
        assert_eq!(rows(&place, &text), expected.map(|time| json!([time])));
        let plan = sql(&place, SQLITE, &format!("EXPLAIN QUERY PLAN {text}")).ok().out;
        assert!(plan.contains("VIRTUAL TABLE") && !plan.contains("B-TREE"), "{plan}");
    }
}

#[test]
fn the_history_joins_with_itself() {
    let place = rooms();
    let text = "SELECT a.stored_at, b.stored_at AS other FROM record_history AS a JOIN record_history AS b \
                ON b.value_json = a.value_json AND b.record_name = 'room::cellar' WHERE a.record_name \
                = 'room::attic' ORDER BY 1";
    let pairs: Vec<Value> = (0..10).map(|at| json!([1_000 + at, 2_000 + at])).collect();
    assert_eq!(rows(&place, text), pairs);
    let latest = "SELECT record_name, value_json FROM record_history AS newest WHERE stored_at = (SELECT \
                  max(stored_at) FROM record_history WHERE record_name = newest.record_name) ORDER BY 1";
    assert_eq!(rows(&place, latest).len(), 4);
}

#[test]
fn every_form_of_output_is_there() {
    let place = rooms();
    let text = "SELECT record_name, NULL AS n, 1.0 AS r, x'00ff' AS b, 'a,\"b\"' AS t FROM \
                record_history WHERE record_name = 'door'";
    let form =
        |form: &str| place.run(&["--backend", SQLITE, "sql", text, "--output", form]).ok().out;
    let row = json!({"record_name": "door", "n": null, "r": 1.0, "b": "00ff", "t": "a,\"b\""});
    assert_eq!(serde_json::from_str::<Value>(&form("json")).unwrap(), json!([row]));
    assert_eq!(serde_json::from_str::<Value>(&form("ndjson")).unwrap(), row);
    assert_eq!(form("csv"), "record_name,n,r,b,t\ndoor,,1.0,00ff,\"a,\"\"b\"\"\"\n");
    assert_eq!(form("table"), "record_name  n  r    b     t\ndoor            1.0  00ff  a,\"b\"\n");
    let none = "SELECT record_name FROM record_history WHERE 0";
    let empty =
        |form: &str| place.run(&["--backend", SQLITE, "sql", none, "--output", form]).ok().out;
    assert_eq!(
        ["json", "ndjson", "csv", "table"].map(empty),
        ["[]\n", "", "record_name\n", "record_name\n"]
    );
}

#[test]
fn wrong_sql_is_refused_with_its_reason() {
    let place = rooms();
    for (text, reason) in [
        ("", "only SELECT is possible"),
        ("nonsense", "the SQL is wrong: near \"nonsense\": syntax error (at character 1)"),
        ("SELECT 'é', x FROM record_history", "no such column: x (at character 13)"),
        ("SELECT value FROM record_history", "record_name, value_json and stored_at"),
        ("SELECT * FROM history", "no such table: history; the table is record_history"),
        ("SELECT \"door\" FROM record_history", "no such column: \"door\""),
        ("SELECT 1; SELECT 2", "one query at a time"),
        ("SELECT 1 AS a, 2 AS a", "two columns have the name a"),
        ("SELECT count(* FROM record_history", "the SQL is wrong: near \"FROM\""),
    ] {
        sql(&place, SQLITE, text).refused(2, reason);
    }
    place.run(&["--backend", SQLITE, "sql"]).refused(2, "required arguments were not provided");
    sql(&place, SQLITE, "SELECT json(value_json || '}') FROM record_history")
        .refused(1, "the query failed: malformed JSON");
}

#[test]
fn nothing_can_be_changed_or_opened() {
    let place = rooms();
    let before = (place.names(), place.rows(SQLITE));
    for text in [
        "DELETE FROM record_history",
        "UPDATE record_history SET stored_at = 0",
        "INSERT INTO record_history VALUES ('a', '1', 1)",
        "INSERT INTO record_history VALUES ('a', '1', 1) RETURNING *",
        "DROP TABLE record_history",
        "CREATE TABLE t (x)",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'other.db'",
        "BEGIN",
    ] {
        let run = sql(&place, SQLITE, text);
        assert_eq!((run.code, &*run.out), (Some(2), ""), "{text}: {run:?}");
        assert!(run.err.starts_with("annals: "), "{run:?}");
    }
    assert_eq!((place.names(), place.rows(SQLITE)), before);
    let nowhere = Place::new();
    sql(&nowhere, SQLITE, "SELECT 1").refused(1, "there is no history at history.db");
    assert_eq!(nowhere.names(), [""; 0]);
}

/// As in `annals sql … | head -1`, of more than any pipe holds.
#[test]
fn rows_come_while_they_are_read_and_a_closed_pipe_ends_it() {
    let place = Place::new();
    let value = format!("\"{}\"", "x".repeat(1_000));
    let rows: Vec<_> = (0..3_000).map(|at| ("r", value.as_str(), at)).collect();
    place.import(SQLITE, &rows);
    let mut command = place.command(&[
        "--backend",
        SQLITE,
        "sql",
        "SELECT * FROM record_history ORDER BY record_name",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut [0; 10]).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, &*run.err), (Some(0), ""));
}

#[test]
fn time_bucket_gives_the_starts_that_aggregate_gives() {
    // The day of 29 March 2026 in Vienna has 23 hours.
    let day: u64 = 1_774_738_800_000;
    let times = [day - 1, day, day + 22 * 3_600_000, day + 23 * 3_600_000];
    for backend in FILES {
        let place = Place::new();
        place.import(backend, &times.map(|at| ("r", "1", at)));
        for (every, zone) in
            [("1h", "UTC"), ("15m", "UTC"), ("1d", "Europe/Vienna"), ("1mo", "Europe/Vienna")]
        {
            let query = format!(
                "SELECT time_bucket('{every}', stored_at, '{zone}') AS start, count(*) AS count \
                 FROM record_history GROUP BY 1 ORDER BY 1"
            );
            let found = sql(&place, backend, &query).ok().json_lines();
            let args = ["r", "--every", every, "--time-zone", zone, "--show", "count"];
            let aggregated =
                place.run(&[&["--backend", backend, "aggregate"], &args[..]].concat()).ok();
            let pair = |row: &serde_json::Value| (row["start"].clone(), row["count"].clone());
            let pairs = |rows: &[serde_json::Value]| rows.iter().map(pair).collect::<Vec<_>>();
            assert_eq!(pairs(&found), pairs(&aggregated.json_lines()), "{every} {zone}");
        }
        let query = "SELECT time_bucket(3600000, 7200001) AS a, time_bucket('1d', NULL) AS b";
        let row = &sql(&place, backend, query).ok().json_lines()[0];
        assert_eq!(row, &serde_json::json!({"a": 7_200_000, "b": null}));
        for (call, reason) in [
            ("time_bucket('5', 1)", "15m, 1h or 24h"),
            ("time_bucket('1d', 1, 'Vienna')", "Europe/Vienna"),
            ("time_bucket('1d', 'x')", "Unix milliseconds"),
            ("time_bucket(x'00', 1)", "width"),
        ] {
            sql(&place, backend, &format!("SELECT {call}")).refused(1, reason);
        }
    }
}
