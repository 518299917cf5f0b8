//! Tests of reading CSV.

use std::borrow::Cow;

use super::*;
use crate::import::numbers::Numbers;
use crate::import::value::CellStyle;

type Rows = Vec<(String, String, Option<String>)>;

fn table(input: &str, layout: Layout) -> io::Result<(Rows, Vec<String>, u64)> {
    let mut table = Table::new(Lines::new(input.as_bytes(), b'\n'), layout)?;
    let (mut rows, mut bad, mut empties) = (Vec::new(), Vec::new(), 0);
    loop {
        let read = table.next(&mut Numbers::default(), &mut |entry| {
            let Entry { record, value, time } = entry;
            rows.push((record.into_owned(), value.into_owned(), time.map(Cow::into_owned)));
        })?;
        match read {
            Read::End => return Ok((rows, bad, empties)),
            Read::Record { empty, .. } => empties += empty,
            Read::Bad(why) => bad.push(why),
        }
    }
}

fn own(input: &str) -> (Rows, Vec<String>) {
    let (rows, bad, _) = table(input, Layout::default()).unwrap();
    (rows, bad)
}

fn row(record: &str, value: &str, time: Option<&str>) -> (String, String, Option<String>) {
    (record.to_owned(), value.to_owned(), time.map(str::to_owned))
}

fn mapped() -> Layout {
    let style = CellStyle { text: true, ..CellStyle::default() };
    Layout { style, ..Layout::default() }
}

#[test]
fn annals_own_columns_come_in_any_order_and_case_with_any_delimiter() {
    assert_eq!(own("stored_at,record,value\n5,a,1\n").0, [row("a", "1", Some("5"))]);
    assert_eq!(own("\u{feff}Value;Record\r\n1;a\r\n\r\n").0, [row("a", "1", None)]);
    assert_eq!(own("sep=|\r\nvalue|record\n1|a\n").0, [row("a", "1", None)]);
    assert_eq!(own("value\trecord_name\n1\ta\n").0, [row("a", "1", None)]);
}

#[test]
fn cells_hold_anything_when_they_are_quoted() {
    let input = "record,value,stored_at\n\"a\n\"\"b,\r\n\",\"{\"\"k\"\":\n[1, 2]}\",5\nc,null,6";
    let rows = [row("a\n\"b,\r\n", "{\"k\":\n[1, 2]}", Some("5")), row("c", "null", Some("6"))];
    assert_eq!(own(input).0, rows);
}

/// Only the first line of a file may begin with a mark that is none of its text.
#[test]
fn a_name_may_begin_with_a_mark() {
    let (rows, _) = own("record,value\n\u{feff}a,1\nbad,line,of,four,cells\n\u{feff}b,2\n");
    let names: Vec<_> = rows.into_iter().map(|row| row.0).collect();
    assert_eq!(names, ["\u{feff}a", "\u{feff}b"]);
}

#[test]
fn a_record_that_is_no_row_says_why_and_the_next_is_read() {
    for (line, reason) in [
        ("a,1", "it has 2 cells and the header 3"),
        ("a,1,2,3", "it has 4 cells and the header 3"),
        ("a,1,2,,3", "it has 5 cells and the header 3"),
        ("a,\"1\" x,5", "its quotes are not where they belong"),
        ("\"a \\\"b\\\"\",1,5", "its quotes are not where they belong"),
    ] {
        let (rows, bad) = own(&format!("record,value,stored_at\n{line}\nb,2,6\n"));
        assert!(bad[0].contains(reason), "{line}: {bad:?}");
        assert_eq!(rows, [row("b", "2", Some("6"))]);
    }
    assert_eq!(own("record,value\na,\"1\n").1, ["its quotes do not end"]);
}

/// All lines up to the next such quote were left out as one.
#[test]
fn a_quote_within_a_cell_is_text() {
    let layout = Layout { record: vec!["r".into()], value: vec!["v".into()], ..mapped() };
    let (rows, bad, _) = table("r,v\na,5\" pipe\nb,1\nc,6\" pipe\n", layout).unwrap();
    let values: Vec<_> = rows.iter().map(|row| row.1.as_str()).collect();
    assert_eq!((values, bad.len()), (vec!["\"5\\\" pipe\"", "1", "\"6\\\" pipe\""], 0));
}

/// InfluxDB without annotations writes a header before each table.
#[test]
fn a_header_comes_again_and_may_have_another_order() {
    let layout = Layout {
        record: vec!["host".into()],
        value: vec!["_value".into()],
        time: vec!["_time".into()],
        ..mapped()
    };
    for blank in ["", "\r\n"] {
        let input =
            format!("_time,_value,host\r\n2026,1,a\r\n{blank}_time,host,_value\r\n2027,b,2\r\n");
        let (rows, bad, _) = table(&input, layout.clone()).unwrap();
        assert_eq!(bad, [""; 0]);
        assert_eq!(rows, [row("a", "1", Some("2026")), row("b", "2", Some("2027"))]);
    }
    let (rows, ..) =
        table("_time,_value,host\n2026,1,a\n\nhost,_time,_value\nb,2027,2\n", layout).unwrap();
    assert_eq!(rows[1], row("b", "2", Some("2027")));
}

/// Its rows were mapped by the header before it.
#[test]
fn rows_below_a_header_without_the_named_columns_are_none() {
    let layout = Layout {
        record: vec!["name".into()],
        value: vec!["usage".into()],
        time: vec!["time".into()],
        ..mapped()
    };
    let input = "name,time,host,usage\ncpu,1,a,1\n\nname,time,used,host\nmem,2,5,a\n\
                 name,time,host,usage\ncpu,3,a,2\n";
    let (rows, bad, _) = table(input, layout).unwrap();
    assert_eq!(rows, [row("cpu", "1", Some("1")), row("cpu", "2", Some("3"))]);
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[0].contains("usage"), "{bad:?}");
}

/// Nothing is missing behind a quote.
#[test]
fn a_last_cell_in_quotes_is_whole() {
    let layout = Layout { constant: Some("r".into()), value: vec!["v".into()], ..mapped() };
    let layout = Layout { time: vec!["t".into()], ..layout };
    let (rows, bad, _) = table("\"t\",\"v\"\n\"2026\",\"1.5\"", layout).unwrap();
    assert_eq!((rows, bad.len()), (vec![row("r", "1.5", Some("2026"))], 0));
}

#[test]
fn a_table_may_begin_below_remarks_and_titles() {
    let layout = Layout { constant: Some("r".into()), value: vec!["v".into()], ..mapped() };
    let layout = Layout { time: vec!["day".into(), "hour".into()], ..layout };
    let rows = [row("r", "1", Some("2026-05-17 10:30"))];
    for (skip_lines, top) in [
        (0, "# station: Vienna, Austria\n# since 2020\nday,hour,v\n"),
        (0, "# station\n#day,hour,v\n"),
        (0, "# day;hour;v\n"),
        (2, "Logger 5,000\n\nday,hour,v\n"),
        (0, "day;hour;v;a (x, y);b (x, y, z)\n"),
    ] {
        let delimiter = if top.contains(';') { ';' } else { ',' };
        let more = if top.contains("a (x") { ";0;0" } else { "" };
        let line = "2026-05-17,10:30,1".replace(',', &delimiter.to_string());
        let layout = Layout { skip_lines, ..layout.clone() };
        assert_eq!(table(&format!("{top}{line}{more}\n"), layout).unwrap().0, rows, "{top}");
    }
    for (input, words) in [
        ("Logger v1\n\nday,hour,v\n", "line 1 has 1 cell and line 3 has 3"),
        ("Logger v1\n\nday,hour,v\n", "--skip-lines 2"),
        ("2026-05-17,10:30,1\n", "line 1 looks like a row"),
    ] {
        let refusal = table(input, layout.clone()).unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn columns_of_other_programs_are_named() {
    let layout = Layout {
        record: vec!["entity_id".into()],
        value: vec!["STATE".into()],
        time: vec!["last_changed".into()],
        ..mapped()
    };
    let input = "entity_id,state,last_changed,more\ndoor,on,2026,x\nt,21.5,2027,\nt,,2028,\n";
    let (rows, bad, empty) = table(input, layout).unwrap();
    assert_eq!(rows, [row("door", "\"on\"", Some("2026")), row("t", "21.5", Some("2027"))]);
    assert_eq!((bad.len(), empty), (0, 1));
    let layout = Layout { constant: Some("plant".into()), value: vec!["kW".into()], ..mapped() };
    assert_eq!(table("t,kw\n1,2\n", layout).unwrap().0, [row("plant", "2", None)]);
}

#[test]
fn a_wide_table_has_a_record_for_each_column() {
    let layout = Layout { wide: Some("plant::".into()), ..mapped() };
    let (rows, _, empty) = table("Time;a;b\n1;2;\n3;x;4\n", layout.clone()).unwrap();
    assert_eq!(empty, 1);
    assert_eq!(
        rows,
        [
            row("plant::a", "2", Some("1")),
            row("plant::a", "\"x\"", Some("3")),
            row("plant::b", "4", Some("3")),
        ]
    );
    for (header, reason) in [
        ("x,y", "--time-column"),
        ("time,a,a", "two columns are called a"),
        ("time,a*", "reserved for patterns"),
    ] {
        let refusal = table(header, layout.clone()).unwrap_err().to_string();
        assert!(refusal.contains(reason), "{header}: {refusal}");
    }
}

#[test]
fn a_header_that_does_not_fit_is_refused_with_what_it_has() {
    for header in ["record", "value,stored_at", "record,value,storedAt", "a;b;c"] {
        let refusal = table(header, Layout::default()).unwrap_err().to_string();
        assert!(refusal.contains("--record-column"), "{header}: {refusal}");
    }
    let layout = Layout { record: vec!["name".into()], ..mapped() };
    let refusal = table("a,b\n", layout).unwrap_err().to_string();
    assert!(refusal.contains("no column name\nit has a, b"), "{refusal}");
}

#[test]
fn a_delimiter_at_the_end_of_a_line_is_no_cell() {
    assert_eq!(own("record,value,stored_at\na,1,5,\nb,2,6,,\n").0.len(), 2);
}

#[test]
fn several_columns_make_a_name() {
    let layout = Layout {
        record: vec!["host".into(), "metric".into()],
        value: vec!["v".into()],
        ..mapped()
    };
    let (rows, bad, _) = table("v,metric,host\n1,cpu ,a\n2,,a\n", layout).unwrap();
    assert_eq!(rows, [row("a::cpu", "1", None)]);
    assert_eq!(bad, ["it has nothing in the column metric, which names the record"]);
    // Statistics have several values.
    let layout =
        Layout { record: vec!["id".into()], value: vec!["MIN".into(), "max".into()], ..mapped() };
    let (rows, _, empty) = table("id,min,mean,max\na,1,2,3\nb,,,5\n", layout).unwrap();
    assert_eq!(
        rows,
        [row("a::min", "1", None), row("a::max", "3", None), row("b::max", "5", None)]
    );
    assert_eq!(empty, 1);
}

/// What pandas writes of a frame: its index comes first and has no name.
#[test]
fn the_time_of_a_wide_table_may_be_an_index_without_a_name() {
    let layout = Layout { wide: Some(String::new()), ..mapped() };
    let (rows, ..) = table(",a\n2026,1\n", layout.clone()).unwrap();
    assert_eq!(rows, [row("a", "1", Some("2026"))]);
    let (rows, ..) = table(",time,a\n0,2026,1\n", layout).unwrap();
    assert_eq!(rows, [row("a", "1", Some("2026"))]);
}

/// Of InfluxDB: annotations, and a header for each of several tables.
#[test]
fn annotations_come_before_each_header() {
    let layout = Layout {
        record: vec!["_field".into()],
        value: vec!["_value".into()],
        time: vec!["_time".into()],
        ..mapped()
    };
    let input = "# written by a tool\n#group,false,true\r\n#default,_result,\r\n,_time,_value,_field\r\n\
                 ,2026,1.5,usage\r\n\r\n#datatype,string\r\n,_field,_time,_value\r\n,state,2027,idle\r\n";
    let (rows, bad, _) = table(input, layout).unwrap();
    assert_eq!(bad, [""; 0]);
    assert_eq!(rows, [row("usage", "1.5", Some("2026")), row("state", "\"idle\"", Some("2027"))]);
}

#[test]
fn what_may_be_cut_off_is_found() {
    for cell in
        ["", "17790", "2026-05-17T08:3", "2026-05-17T08:", "2026-05-17T", "-", "12.", "1e", "x7"]
    {
        assert!(may_be_cut(cell), "{cell}");
    }
    for cell in ["on", "2026-05-17T08:30:00Z", "21.5 °C", "null", "true", "a."] {
        assert!(!may_be_cut(cell), "{cell}");
    }
}
