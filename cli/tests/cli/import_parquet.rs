//! Parquet as other programs write it.

use std::fs::File;
use std::sync::Arc;

use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::support::{FILES, Place, Run};

/// The values of a column in one row group, with definition and repetition levels.
struct Leaf {
    values: Values,
    defined: Option<Vec<i16>>,
    repeated: Option<Vec<i16>>,
}

enum Values {
    Texts(Vec<&'static str>),
    Fixed(Vec<Vec<u8>>),
    Days(Vec<i32>),
    Counts(Vec<i64>),
    Numbers(Vec<f64>),
}

impl From<Values> for Leaf {
    fn from(values: Values) -> Self {
        Self { values, defined: None, repeated: None }
    }
}

fn texts(values: &[&'static str]) -> Leaf {
    Values::Texts(values.to_vec()).into()
}

fn counts(values: &[i64]) -> Leaf {
    Values::Counts(values.to_vec()).into()
}

fn numbers(values: &[f64]) -> Leaf {
    Values::Numbers(values.to_vec()).into()
}

fn fixed(values: &[&[u8]]) -> Leaf {
    Values::Fixed(values.iter().map(|value| value.to_vec()).collect()).into()
}

impl Leaf {
    fn with_levels(mut self, defined: &[i16], repeated: &[i16]) -> Self {
        self.defined = Some(defined.to_vec());
        self.repeated = Some(repeated.to_vec()).filter(|levels| !levels.is_empty());
        self
    }
}

/// Writes `rows.parquet` with these fields, a row group for each list of columns.
fn write(place: &Place, fields: &str, groups: &[&[Leaf]]) {
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {fields} }}")).unwrap());
    let out = File::create(place.path("rows.parquet")).unwrap();
    let mut file = SerializedFileWriter::new(out, schema, Arc::default()).unwrap();
    for leaves in groups {
        let mut group = file.next_row_group().unwrap();
        for Leaf { values, defined, repeated } in *leaves {
            let (defined, repeated) = (defined.as_deref(), repeated.as_deref());
            let mut column = group.next_column().unwrap().unwrap();
            let written = match (values, column.untyped()) {
                (Values::Texts(texts), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                    let texts: Vec<_> = texts.iter().map(|text| ByteArray::from(*text)).collect();
                    writer.write_batch(&texts, defined, repeated)
                }
                (Values::Fixed(all), ColumnWriter::FixedLenByteArrayColumnWriter(writer)) => {
                    let all: Vec<FixedLenByteArray> =
                        all.iter().map(|bytes| bytes.clone().into()).collect();
                    writer.write_batch(&all, defined, repeated)
                }
                (Values::Days(days), ColumnWriter::Int32ColumnWriter(writer)) => {
                    writer.write_batch(days, defined, repeated)
                }
                (Values::Counts(counts), ColumnWriter::Int64ColumnWriter(writer)) => {
                    writer.write_batch(counts, defined, repeated)
                }
                (Values::Numbers(numbers), ColumnWriter::DoubleColumnWriter(writer)) => {
                    writer.write_batch(numbers, defined, repeated)
                }
                _ => panic!("the values have another type than their column"),
            };
            written.unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    file.close().unwrap();
}

const NAMED: [&str; 3] = ["--record-column=r", "--value-column=v", "--time-column=t"];
const AT: i64 = 1_779_006_600_000;

fn import(place: &Place, more: &[&str]) -> Run {
    place.run(&[&["--backend", FILES[0], "import", "rows.parquet"], more].concat())
}

fn import_named(place: &Place, more: &[&str]) -> Run {
    import(place, &[&NAMED[..], more].concat())
}

/// The values and times of all rows, by time.
fn stored(place: &Place) -> Vec<(String, i64)> {
    let mut rows = place.rows(FILES[0]);
    rows.sort_by_key(|row| row["stored_at"].as_i64());
    rows.iter().map(|r| (r["value"].to_string(), r["stored_at"].as_i64().unwrap())).collect()
}

const INTERVALS: &str = "required binary r (STRING); required int64 v; required int64 t \
                         (TIMESTAMP(MILLIS,true)); required fixed_len_byte_array(12) i (INTERVAL);";

/// The reader panicked at an interval, in a column that nobody asked for, which was taken for the end
/// of the input.
#[test]
fn only_the_columns_that_are_named_are_read() {
    let place = Place::new();
    let group = |n: i64| {
        [
            texts(&["a", "b"]),
            counts(&[n, n + 1]),
            counts(&[AT + n, AT + n + 1]),
            fixed(&[&[1; 12], &[2; 12]]),
        ]
    };
    write(&place, INTERVALS, &[&group(0), &group(2)]);
    assert_eq!(import_named(&place, &["--atomic"]).noted().out, "4 rows stored\n");
    let expected: Vec<_> = (0..4).map(|n| (n.to_string(), AT + n)).collect();
    assert_eq!(stored(&place), expected);
}

#[test]
fn a_column_that_cannot_be_read_is_named() {
    let place = Place::new();
    write(&place, INTERVALS, &[&[texts(&["a"]), counts(&[1]), counts(&[AT]), fixed(&[&[1; 12]])]]);
    let said = "the column i has the type INTERVAL, which is not read; name another column";
    let args = ["--record-column=r", "--value-column=i", "--time-column=t"];
    import(&place, &args).refused(1, said);
    import(&place, &["--columns=wide", "--time-column=t"]).refused(1, said);
    assert_eq!(place.rows(FILES[0]).len(), 0);
}

/// A panic of the reader's thread was taken for the end of the input: exit code 0.
#[test]
fn a_panic_of_the_reader_is_a_failed_import() {
    let place = Place::new();
    // A list has one member.
    let fields = "required binary r (STRING); required int64 t (TIMESTAMP(MILLIS,true)); optional \
                  group v (LIST) { repeated int64 one; repeated int64 two; } required int64 w;";
    let nothing = || counts(&[]).with_levels(&[0], &[0]);
    write(&place, fields, &[&[texts(&["a"]), counts(&[AT]), nothing(), nothing(), counts(&[7])]]);
    for more in [&[][..], &["--atomic"], &["--dry-run"], &["--skip-invalid"]] {
        let run = import_named(&place, more);
        assert_eq!((run.code, &*run.out), (Some(1), ""), "{run:?}");
        let said = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("cannot be read: the reader failed"), "{run:?}");
        assert!(said.contains("nothing is stored"), "{run:?}");
    }
    assert_eq!(place.rows(FILES[0]).len(), 0);
    let args = ["--record-column=r", "--value-column=w", "--time-column=t"];
    assert_eq!(import(&place, &args).noted().out, "1 row stored\n");
}

/// They were read as UTC, whatever --time-zone said.
#[test]
fn timestamps_without_a_zone_are_in_the_zone_that_is_given() {
    let utc_is_assumed = "note: times without an offset are read as UTC; --time-zone names";
    let two_hours = 2 * 60 * 60 * 1000;
    for (unit, per_ms) in [("MILLIS", 1), ("MICROS", 1_000), ("NANOS", 1_000_000)] {
        for (is_utc, zone, stored_at) in [
            (false, &["--time-zone=Europe/Vienna"][..], AT - two_hours),
            (false, &[], AT),
            (true, &["--time-zone=Europe/Vienna"], AT),
            (true, &[], AT),
        ] {
            let place = Place::new();
            let fields = format!(
                "required binary r (STRING); required double v; required int64 t \
                 (TIMESTAMP({unit},{is_utc}));"
            );
            write(&place, &fields, &[&[texts(&["a"]), numbers(&[1.5]), counts(&[AT * per_ms])]]);
            let run = import_named(&place, zone).noted();
            assert_eq!(stored(&place), [("1.5".to_owned(), stored_at)], "{unit} {is_utc} {zone:?}");
            let assumed = !is_utc && zone.is_empty();
            assert_eq!(run.err.contains(utc_is_assumed), assumed, "{run:?}");
            let format = ["--time-format=s", "--again"];
            let run = import_named(&place, &[zone, &format].concat()).noted();
            assert!(run.err.contains("--time-format is not used"), "{run:?}");
            assert_eq!(stored(&place).len(), 2);
            assert!(stored(&place).iter().all(|(_, at)| *at == stored_at));
        }
    }
}

const TYPES: &str = "required binary r (STRING); required int64 t (TIMESTAMP(MILLIS,true)); ";

/// The text of each value of a column `v` with this type.
fn values(kind: &str, leaves: Vec<Leaf>, rows: usize) -> Vec<String> {
    let place = Place::new();
    let times: Vec<_> = (0..).take(rows).map(|n| AT + n).collect();
    let mut all = vec![texts(&vec!["a"; rows]), counts(&times)];
    all.extend(leaves);
    write(&place, &format!("{TYPES}{kind}"), &[&all]);
    let said = format!("{rows} row{} stored\n", if rows == 1 { "" } else { "s" });
    assert_eq!(import_named(&place, &[]).noted().out, said);
    stored(&place).into_iter().map(|(value, _)| value).collect()
}

/// Infinity was "NaN", a time without a zone got a Z, nanoseconds were a number and a UUID base64.
#[test]
fn values_are_what_they_are() {
    let of = |kind: &str, leaf: Leaf| values(kind, vec![leaf], 2);
    let (at, us) = (1_779_006_600, 1_000_000);
    assert_eq!(
        of("required double v;", numbers(&[f64::INFINITY, f64::NEG_INFINITY])),
        ["\"Infinity\"", "\"-Infinity\""]
    );
    assert_eq!(of("required double v;", numbers(&[f64::NAN, -0.1])), ["\"NaN\"", "-0.1"]);
    let uuid: Vec<u8> = (0..16).collect();
    let uuids = fixed(&[&uuid, &[0xff; 16]]);
    assert_eq!(
        of("required fixed_len_byte_array(16) v (UUID);", uuids),
        ["\"00010203-0405-0607-0809-0a0b0c0d0e0f\"", "\"ffffffff-ffff-ffff-ffff-ffffffffffff\""]
    );
    for (utc, end) in [(false, ""), (true, "Z")] {
        let times = counts(&[at * us, at * us + 500]);
        assert_eq!(
            of(&format!("required int64 v (TIMESTAMP(MICROS,{utc}));"), times),
            [format!("\"2026-05-17T08:30:00{end}\""), format!("\"2026-05-17T08:30:00.0005{end}\"")]
        );
        let times = counts(&[at * us * 1_000, at * us * 1_000 + 5]);
        assert_eq!(
            of(&format!("required int64 v (TIMESTAMP(NANOS,{utc}));"), times),
            [
                format!("\"2026-05-17T08:30:00{end}\""),
                format!("\"2026-05-17T08:30:00.000000005{end}\"")
            ]
        );
    }
    // A day that no calendar has: the reader of the format panics.
    let days = Values::Days(vec![20_590, i32::MAX]).into();
    assert_eq!(of("required int32 v (DATE);", days), ["\"2026-05-17\"", "2147483647"]);
    let decimals = || counts(&[-5, 1_234]);
    assert_eq!(of("required int64 v (DECIMAL(18,3));", decimals()), ["-0.005", "1.234"]);
    assert_eq!(of("required int64 v (DECIMAL(18,0));", decimals()), ["-5", "1234"]);
}

#[test]
fn parts_of_values_are_written_as_values_are() {
    let group =
        "required group v { required int64 at (TIMESTAMP(MICROS,false)); required double x; }";
    let leaves = vec![counts(&[0, 1]), numbers(&[f64::NAN, 1.5])];
    assert_eq!(
        values(group, leaves, 2),
        [
            "{\"at\":\"1970-01-01T00:00:00\",\"x\":\"NaN\"}",
            "{\"at\":\"1970-01-01T00:00:00.000001\",\"x\":1.5}"
        ]
    );
    let list = "optional group v (LIST) { repeated group list { optional int64 element \
                (TIMESTAMP(MILLIS,true)); } }";
    let leaves = vec![counts(&[0]).with_levels(&[3, 2, 1], &[0, 1, 0])];
    assert_eq!(values(list, leaves, 2), ["[\"1970-01-01T00:00:00Z\",null]", "[]"]);
    let map = "optional group v (MAP) { repeated group key_value { required binary key (STRING); \
               required fixed_len_byte_array(16) value (UUID); } }";
    let leaves = vec![
        texts(&["a\"", "b"]).with_levels(&[2, 2], &[0, 1]),
        fixed(&[&[0; 16], &[1; 16]]).with_levels(&[2, 2], &[0, 1]),
    ];
    let expected = "{\"a\\\"\":\"00000000-0000-0000-0000-000000000000\",\
                    \"b\":\"01010101-0101-0101-0101-010101010101\"}";
    assert_eq!(values(map, leaves, 1), [expected]);
}

/// The advice was to write null, which it was.
#[test]
fn a_null_is_skipped_and_counted_in_every_layout() {
    let fields = "required binary record (STRING); optional binary value (STRING); required int64 \
                  stored_at (TIMESTAMP(MILLIS,true));";
    let columns = [
        texts(&["a", "a", "a"]),
        texts(&["1", "null"]).with_levels(&[1, 0, 1], &[]),
        counts(&[AT, AT + 1, AT + 2]),
    ];
    for more in [&[][..], &["--value-column=value"]] {
        let place = Place::new();
        write(&place, fields, &[&columns]);
        assert_eq!(import(&place, more).noted().out, "2 rows stored, 1 empty cell skipped\n");
        assert_eq!(stored(&place), [("1".to_owned(), AT), ("null".to_owned(), AT + 2)]);
    }
}

/// Infinity, as DuckDB writes it. The advice was --time-format, which is not used.
#[test]
fn a_timestamp_that_no_calendar_has_is_out_of_range() {
    let place = Place::new();
    let fields = "required binary r (STRING); required int64 v; required int64 t \
                  (TIMESTAMP(MICROS,false));";
    write(&place, fields, &[&[texts(&["a"]), counts(&[1]), counts(&[i64::MAX])]]);
    let said = "row 1: the time 9223372036854775807 is out of range";
    import_named(&place, &[]).refused(1, said);
}

/// 1.234 became 1234.
#[test]
fn a_decimal_comma_is_not_for_numbers_of_parquet() {
    let place = Place::new();
    let fields = format!("{TYPES}required double v;");
    write(&place, &fields, &[&[texts(&["a"]), counts(&[AT]), numbers(&[1.234])]]);
    import_named(&place, &["--decimal-comma"]).refused(1, "leave --decimal-comma out");
}
