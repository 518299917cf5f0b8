//! The names of records as files have them.

use crate::support::{FILES, Place, Run};

fn import(place: &Place, more: &[&str], input: &str) -> Run {
    place.run_with_input(&[&["--backend", FILES[0], "import"], more].concat(), input)
}

/// The name of each row, by time.
fn names(place: &Place) -> Vec<String> {
    let mut rows = place.rows(FILES[0]);
    rows.sort_by_key(|row| row["stored_at"].as_u64());
    rows.iter().map(|row| row["record"].as_str().unwrap().to_owned()).collect()
}

const NAMED: [&str; 3] = ["--record-column=id", "--value-column=v", "--time-column=t"];

/// Nobody found a record by its name where blanks fill the column.
#[test]
fn blanks_around_a_name_are_left_out_unless_it_is_in_quotes() {
    let place = Place::new();
    let input =
        "id;v;t\n         44;1;1779006600\n\"  45\";2;1779006601\n46\t;\"a;\"\"b\";1779006602\n";
    import(&place, &NAMED, input).noted();
    assert_eq!(names(&place), ["44", "  45", "46"]);
    // The second of two columns, behind cells in quotes and a quote within a cell.
    let place = Place::new();
    let input = "v,id,kind,t\n\"1,\"\"5\", a ,\" b \",1779006600\n5 in, c , d ,1779006601\n";
    let args = [&NAMED[..], &["--record-column=kind"]].concat();
    import(&place, &args, input).noted();
    assert_eq!(names(&place), ["a:: b ", "c::d"]);
}

/// annals' own files have names of any text, and come back exactly.
#[test]
fn blanks_in_annals_own_files_belong_to_the_name() {
    let place = Place::new();
    place.import(FILES[0], &[(" a ", "1", 1_779_006_600_000), ("  ", "2", 1_779_006_600_001)]);
    let csv = place.run(&["--backend", FILES[0], "export", "--output", "csv"]).ok().out;
    let copy = Place::new();
    import(&copy, &[], &csv).noted();
    assert_eq!(copy.rows(FILES[0]), place.rows(FILES[0]));
}

/// They became the records "::", "::b" and "  ".
#[test]
fn a_name_with_nothing_in_it_is_refused_and_says_which_column() {
    let two = [&NAMED[..], &["--record-column=kind"]].concat();
    for (args, line, column) in [
        (&NAMED[..], "  ,b,1,1779006600", "id"),
        (&NAMED, "\"  \",b,1,1779006600", "id"),
        (&two, ",b,1,1779006600", "id"),
        (&two, "a,,1,1779006600", "kind"),
        (&two, " , ,1,1779006600", "id"),
    ] {
        let place = Place::new();
        let said =
            format!("stdin:3: it has nothing in the column {column}, which names the record");
        let input = format!("id,kind,v,t\na,b,1,1779006600\n{line}\n");
        import(&place, args, &input).refused(1, &said);
        // Without a value there is no row, and nothing to name.
        let place = Place::new();
        let empty = line.replace(",1,", ",,");
        let run =
            import(&place, args, &format!("id,kind,v,t\na,b,1,1779006600\n{empty}\n")).noted();
        assert_eq!(run.out, "1 row stored, 1 empty cell skipped\n");
    }
}

#[test]
fn a_number_in_json_is_a_name_as_it_is_in_a_table() {
    let place = Place::new();
    let args = ["--record-pointer=/itemid", "--time-pointer=/clock"];
    import(&place, &args, "{\"itemid\":23296,\"clock\":1779006600,\"value\":21.5}\n").noted();
    assert_eq!(names(&place), ["23296"]);
    let run = import(&place, &args, "{\"itemid\":null,\"clock\":1779006600,\"value\":1}\n");
    run.refused(1, "must be a string or a number, not null");
}
