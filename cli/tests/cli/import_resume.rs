//! A file that has changed, or has grown, since it was imported: no row is stored twice, and none is
//! lost.

use crate::support::{FILES, Place, Run};

const AT: u64 = 1_779_006_600_000;

/// A file of people: record `r` has the numbers, in order.
fn csv(rows: impl IntoIterator<Item = u64>) -> String {
    let row = |n| format!("r,{n},{}\n", AT + n);
    format!("record,value,stored_at\n{}", rows.into_iter().map(row).collect::<String>())
}

fn import(place: &Place, backend: &str, more: &[&str]) -> Run {
    place.run(&[&["--backend", backend, "import", "rows.csv"], more].concat())
}

fn values(place: &Place, backend: &str) -> Vec<u64> {
    let rows = place.rows(backend);
    let mut values: Vec<_> = rows.iter().map(|row| row["value"].as_u64().unwrap()).collect();
    values.sort_unstable();
    values
}

/// The lines of the batch that held it were stored again, and all that followed.
#[test]
fn a_line_that_was_skipped_and_is_corrected_is_refused_with_what_to_do() {
    for backend in FILES {
        for (bad, rows) in [(0, 6_000), (1, 6_000), (4_097, 6_000), (5_999, 6_000), (3, 6)] {
            let place = Place::new();
            let good = csv(0..rows);
            let lines: Vec<_> = good.lines().collect();
            let mut broken = lines.clone();
            broken[bad + 1] = "r,nonsense,1";
            place.write("rows.csv", broken.join("\n") + "\n");
            let run = import(&place, backend, &["--skip-invalid"]);
            assert_eq!(run.code, Some(0), "{run:?}");
            assert!(run.err.contains("go into a file of their own"), "{run:?}");
            let stored = values(&place, backend);
            assert_eq!(stored.len() as u64, rows - 1);
            place.write("rows.csv", &good);
            let run = import(&place, backend, &["--resume"]).refused(1, "nothing is stored");
            assert!(run.err.contains("corrected into a file of their own"), "{run:?}");
            for more in [&["--resume", "--skip-invalid"][..], &["--resume", "--atomic"]] {
                import(&place, backend, more).refused(1, "nothing is stored");
            }
            assert!(values(&place, backend) == stored);
            // The advice is followed.
            place.write("rows.csv", format!("{}\n{}\n", lines[0], lines[bad + 1]));
            import(&place, backend, &[]).noted();
            assert!(values(&place, backend) == (0..rows).collect::<Vec<_>>());
        }
    }
}

#[test]
fn lines_that_have_changed_or_are_gone_are_refused() {
    let place = Place::new();
    place.write("rows.csv", csv(0..5_000));
    import(&place, FILES[0], &[]).noted();
    for changed in [
        csv((0..5_000).map(|n| if n == 4_200 { 9_999 } else { n })),
        csv((0..5_000).filter(|n| *n != 7)),
        csv(0..4_999),
        // Even its beginning.
        csv(1..5_000),
        csv((0..5_000).map(|n| if n == 0 { 9_999 } else { n })),
    ] {
        place.write("rows.csv", &changed);
        import(&place, FILES[0], &["--resume"]).refused(1, "nothing is stored");
        assert_eq!(values(&place, FILES[0]).len(), 5_000);
    }
}

#[test]
fn a_file_that_has_grown_goes_on_where_it_was() {
    for backend in FILES {
        for step in [1, 5, 5_000] {
            let place = Place::new();
            for end in 1..=4 {
                place.write("rows.csv", csv(0..end * step));
                let run = import(&place, backend, &["--resume"]).noted();
                let there = if end == 1 {
                    String::new()
                } else {
                    format!(", {} already there", (end - 1) * step)
                };
                let rows = if step == 1 { "row" } else { "rows" };
                assert_eq!(run.out, format!("{step} {rows} stored{there}\n"));
            }
            assert!(values(&place, backend) == (0..4 * step).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_file_with_other_line_ends_is_the_same_file() {
    let place = Place::new();
    let own = csv(0..5_000);
    place.write("rows.csv", &own);
    import(&place, FILES[0], &[]).noted();
    for other in [own.replace('\n', "\r\n"), own.replace('\n', "\r"), format!("\u{feff}{own}\n\n")]
    {
        place.write("rows.csv", other);
        let run = import(&place, FILES[0], &["--resume"]).noted();
        assert_eq!(run.out, "0 rows stored, 5000 already there\n");
        import(&place, FILES[0], &[]).refused(1, "imported before");
    }
    // NDJSON, too.
    let line = |n| format!("{{\"record\":\"n\",\"value\":{n},\"stored_at\":{}}}\n", AT + n);
    let lines: String = (0..10).map(line).collect();
    place.write("rows.csv", &lines);
    import(&place, FILES[0], &[]).noted();
    place.write("rows.csv", lines.replace('\n', "\r\n"));
    let run = import(&place, FILES[0], &["--resume"]).noted();
    assert_eq!(run.out, "0 rows stored, 10 already there\n");
}

/// The half of a line was a row, and the whole line another.
#[test]
fn a_line_that_is_being_written_is_left_for_the_next_time() {
    let whole = "time,s,v\n1779006611,a,open\n1779006612,a,1\n1779006613,b,shut\n";
    for cut in whole.find("open").unwrap()..=whole.len() {
        let place = Place::new();
        let args = ["--record-column=s", "--value-column=v", "--time-column=time", "--resume"];
        place.write("rows.csv", &whole[..cut]);
        let first = import(&place, FILES[0], &args);
        assert_eq!(first.code == Some(0), whole[..cut].ends_with('\n'), "{cut}: {first:?}");
        place.write("rows.csv", whole);
        let run = import(&place, FILES[0], &args).noted();
        let rows = place.run(&["--backend", FILES[0], "query", "*", "--oldest-first"]).ok().out;
        let values: Vec<_> =
            rows.lines().map(|row| row.split("\"value\":").nth(1).unwrap()).collect();
        let expected = [
            "\"open\",\"stored_at\":1779006611000}",
            "1,\"stored_at\":1779006612000}",
            "\"shut\",\"stored_at\":1779006613000}",
        ];
        assert_eq!(values, expected, "{cut}: {run:?}");
    }
}

/// Two files of one source may begin with the same values.
#[test]
fn the_records_of_a_wide_table_tell_files_apart() {
    let place = Place::new();
    for name in ["attic", "cellar"] {
        place.write("rows.csv", format!("time,{name}\n2026-05-17T08:30:00Z,0\n"));
        let run = import(&place, FILES[0], &["--columns", "wide"]).noted();
        assert_eq!(run.out, "1 row stored\n");
    }
}
