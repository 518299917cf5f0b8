//! `annals erase` and `annals correct`.

use serde_json::json;

use crate::support::{FILES, Place, Run};

fn erase(place: &Place, backend: &str, args: &[&str]) -> Run {
    place.run(&[&["erase", "--backend", backend], args].concat())
}

#[test]
fn it_counts_exactly_what_goes() {
    for backend in FILES {
        let place = Place::new();
        place.import(
            backend,
            &[
                ("badge::1", r#"{"person":"ada"}"#, 100),
                ("badge::1", r#"{"person":"bob"}"#, 200),
                ("badge::2", r#"{"person":"ada"}"#, 300),
                ("other", r#"{"person":"ada"}"#, 400),
            ],
        );
        let ada = ["badge::*", "--where", "person = 'ada'"];
        assert_eq!(erase(&place, backend, &[&ada[..], &["--dry-run"]].concat()).ok().out, "2\n");
        assert_eq!(place.rows(backend).len(), 4);
        assert_eq!(erase(&place, backend, &[&ada[..], &["--yes"]].concat()).ok().out, "2\n");
        assert_eq!(erase(&place, backend, &[&ada[..], &["--yes"]].concat()).ok().out, "0\n");
        let window = ["*", "--from", "1970-01-01T00:00:00.2Z", "--to", "300"];
        assert_eq!(
            erase(&place, backend, &[&window[..], &["--dry-run"]].concat()).noted().out,
            "1\n"
        );
        assert_eq!(erase(&place, backend, &["*", "--dry-run"]).ok().out, "2\n");
        assert_eq!(erase(&place, backend, &["badge::*", "-y"]).ok().out, "1\n");
        let records = place.run(&["records", "--backend", backend]).ok().json_lines();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["record"], "other");
    }
}

#[test]
fn without_a_terminal_it_wants_to_be_told() {
    let place = Place::new();
    place.import(FILES[0], &[("a", "1", 100)]);
    erase(&place, FILES[0], &["*"]).refused(2, "--yes");
    erase(&place, FILES[0], &["", "--yes"]).refused(2, "empty");
    erase(&place, FILES[0], &["*", "--yes", "--where", "v >"]).refused(2, "at character 4");
    assert_eq!(place.rows(FILES[0]).len(), 1);
    erase(&place, "sqlite:none.db", &["*", "--yes"]).refused(1, "there is no history");
}

#[test]
fn a_value_is_corrected_in_its_place() {
    for backend in FILES {
        let place = Place::new();
        place.import(backend, &[("m", "1", 100), ("m", "2", 200), ("m", "3", 200)]);
        let correct =
            |args: &[&str]| place.run(&[&["correct", "--backend", backend], args].concat());
        assert_eq!(correct(&["m", "--at", "200", r#"{"v":-3}"#]).ok().out, "1\n");
        assert_eq!(correct(&["m", "--at", "1970-01-01T00:00:00.1Z", "-1"]).ok().out, "1\n");
        let rows = place.run(&["query", "m", "--backend", backend]).ok().json_lines();
        let values: Vec<_> = rows.iter().map(|row| row["value"].clone()).collect();
        assert_eq!(values, [json!({"v": -3}), json!(2), json!(-1)]);
        correct(&["m", "--at", "300", "1"])
            .refused(1, "m has no value at 1970-01-01T00:00:00.300Z");
        correct(&["n", "--at", "200", "1"]).refused(1, "n has no value");
        correct(&["m", "--at", "200", "on"]).refused(2, "double quotes");
        correct(&["m", "--at", "1h", "1"]).refused(2, "age");
        correct(&["m", "1"]).refused(2, "--at");
    }
}
