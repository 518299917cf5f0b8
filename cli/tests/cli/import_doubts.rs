//! Options that hardly mean what a file shows: they are refused, or remarked on, instead of storing
//! something else.

use crate::support::{FILES, Place, Run};

fn import(input: &str, more: &[&str]) -> (Place, Run) {
    let place = Place::new();
    place.write("file.csv", input);
    let run = place.run(&[&["--backend", FILES[0], "import", "file.csv"], more].concat());
    (place, run)
}

const MAPPED: [&str; 2] = ["--record-column=id", "--value-column=v"];

/// Each row had the time of the import.
#[test]
fn a_time_that_no_option_names_is_found() {
    for (input, args, words) in [
        (
            "id,v,last_changed\na,1,2026-05-17T08:30:00Z\n",
            &MAPPED[..],
            "--time-column last_changed",
        ),
        ("id,v,when\na,1,2026-05-17 08:30\n", &MAPPED, "--time-column when"),
        ("id;v;Datum\na;1;17.05.2026 10:30\n", &MAPPED, "--time-column Datum"),
        ("id,v,ts\na,1,1779006600\n", &MAPPED, "--time-column ts"),
        ("id,v,x\na,1,1779006600000\n", &MAPPED, "--time-column x"),
        ("id,v,unit\na,1,C\n", &MAPPED, "--time-now"),
        (
            "{\"n\":\"a\",\"v\":1,\"meta\":{\"time\":\"2026-05-17\"}}\n",
            &["--record-pointer=/n", "--value-pointer=/v"],
            "--time-pointer /meta/time",
        ),
        (
            "[{\"v\":1,\"ts\":1779006600}]",
            &["--record=a", "--value-pointer=/v"],
            "--time-pointer /ts",
        ),
        ("m v=1\n", &["--input=influx"], "--time-now"),
    ] {
        let (place, run) = import(input, args);
        assert!(run.refused(1, words).err.contains("nothing is stored"), "{words}");
        assert!(place.rows(FILES[0]).is_empty());
        let (place, run) = import(input, &[args, &["--time-now"]].concat());
        assert_eq!(run.noted().out, "1 row stored\n");
        assert_eq!(place.rows(FILES[0]).len(), 1);
    }
    // What no option names may be anything else.
    let pipe = Place::new();
    let args = [&["--backend", FILES[0], "import"], &MAPPED[..]].concat();
    pipe.run_with_input(&args, "id,v,unit\na,1,C\n").noted();
    pipe.run_with_input(&args, "id,v,time\na,1,2026-05-17\n").refused(1, "--time-column time");
    let (_, run) =
        import("id,v,t\na,1,5\n", &[&MAPPED[..], &["--time-now", "--time-column=t"]].concat());
    run.refused(2, "cannot be used with");
}

/// Such rows had the time of the import among others of years ago.
#[test]
fn a_pointer_that_finds_nothing_is_an_error_of_the_row() {
    let args = ["--record-pointer=/n", "--value-pointer=/v", "--time-pointer=/t"];
    let row = "{\"n\":\"a\",\"v\":1,\"t\":1779006600}\n";
    let without = "{\"n\":\"a\",\"v\":2,\"at\":1779006600}\n";
    let (place, run) = import(&format!("{row}{without}"), &args);
    run.refused(1, ":2: it has nothing at /t for the time it has /at, /n, /v");
    assert_eq!(place.rows(FILES[0]).len(), 1);
    for (args, words) in [
        (
            ["--record-pointer=/n", "--value-pointer=/v", "--time-pointer=/at"],
            "anything at /at for the time",
        ),
        (
            ["--record-pointer=/m", "--value-pointer=/v", "--time-pointer=/t"],
            "anything at /m for the record",
        ),
        (
            ["--record-pointer=/n", "--value-pointer=/w", "--time-pointer=/t"],
            "anything at /w for the value",
        ),
    ] {
        for more in [&[][..], &["--skip-invalid"]] {
            let (_, run) = import(&row.repeat(3), &[&args[..], more].concat());
            let run = run.refused(1, &format!("no row has {words}"));
            assert!(run.err.contains("it has /n, /t, /v nothing is stored"), "{run:?}");
        }
    }
    // annals' own rows may do without, but it is said.
    let own = "{\"record\":\"a\",\"value\":1,\"stored_at\":1779006600000}\n{\"record\":\"a\",\"value\":2}\n";
    assert!(import(own, &[]).1.noted().err.contains("1 row without a time got the time"));
}

/// They became text without a word.
#[test]
fn numbers_with_decimal_commas_are_not_text_by_mistake() {
    let args = [&MAPPED[..], &["--time-column=t"]].concat();
    let german = "id;v;t\na;21,5;2026-05-17\nb;an;2026-05-17\n";
    let (place, run) = import(german, &args);
    run.refused(1, "--decimal-comma reads them as numbers");
    assert!(place.rows(FILES[0]).is_empty());
    let (place, run) = import(german, &[&args[..], &["--decimal-comma"]].concat());
    run.noted();
    assert_eq!(place.rows(FILES[0])[0]["value"], 21.5);
    let (place, run) = import(german, &[&args[..], &["--text"]].concat());
    let run = run.noted();
    assert!(run.err.contains("1 cell that begins like a number became text"), "{run:?}");
    assert_eq!(place.rows(FILES[0])[0]["value"], "21,5");
    // Where commas separate cells, nothing is certain.
    let (_, run) = import("id,v,t\na,\"1,234\",2026-05-17\nb,7 W,2026-05-17\n", &args);
    let run = run.noted();
    assert!(run.err.contains("2 cells that begin like numbers became text"), "{run:?}");
    let (_, run) = import("record,value,stored_at\na,\"1.234,5\",5\n", &[]);
    run.refused(1, "--decimal-comma reads it as a number");
}

/// They were read as times of other years.
#[test]
fn times_that_are_hardly_meant_are_refused() {
    let args = [&MAPPED[..], &["--time-column=t"]].concat();
    for (time, words) in [
        ("2026051708", "--time-format '%Y%m%d%H'"),
        ("46159.354", "--time-format excel"),
        ("639146106000000000", "--time-format s, ms, us or ns"),
    ] {
        let (place, run) = import(&format!("id,v,t\na,1,{time}\n"), &args);
        run.refused(1, words);
        assert!(place.rows(FILES[0]).is_empty());
    }
    let (place, run) = import(
        "id,v,t\n  44, 1.5,2026051708\n",
        &[&args[..], &["--time-format=%Y%m%d%H"]].concat(),
    );
    assert!(run.noted().out.contains("1 row stored"));
    assert_eq!(place.rows(FILES[0])[0]["record"], "44");
    let (_, run) = import(
        "id,v,t\na,-999,1779006600\na,1,1779006601\n",
        &[&args[..], &["--null", "-999"]].concat(),
    );
    assert_eq!(run.noted().out, "1 row stored, 1 empty cell skipped\n");
}

/// A column of intervals ended the import early, with exit code 0; times without a zone were UTC.
#[cfg(feature = "parquet")]
#[test]
fn parquet_of_others_is_read() {
    use std::sync::Arc;

    use parquet::data_type::{
        ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
    };
    use parquet::file::writer::SerializedFileWriter;

    let schema = "message schema {
        required binary s (UTF8);
        required double v;
        required int64 t (TIMESTAMP(MILLIS,false));
        required fixed_len_byte_array(12) i (INTERVAL);
    }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("a")], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[21.5], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1_779_013_800_000], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let interval = FixedLenByteArray::from(ByteArray::from(vec![0; 12]));
    column.typed::<FixedLenByteArrayType>().write_batch(&[interval], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();

    let place = Place::new();
    place.write("rows.parquet", &file);
    let import = |more: &[&str]| {
        let args = ["--backend", FILES[0], "import", "rows.parquet", "--record-column=s"];
        place.run(&[&args[..], more].concat())
    };
    import(&["--value-column=i", "--time-column=t"])
        .refused(1, "has the type INTERVAL, which is not read");
    import(&["--value-column=v", "--time-column=t", "--time-zone=Europe/Vienna"]).noted();
    let rows = place.run(&["--backend", FILES[0], "query", "*"]).ok().out;
    assert_eq!(rows, "{\"record\":\"a\",\"value\":21.5,\"stored_at\":1779006600000}\n");
}
