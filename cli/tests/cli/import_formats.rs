//! Encodings, compressions, line ends and times of files, end to end.

use std::io::Write;
use std::process::Stdio;

use crate::support::{FILES, Place, Run};

fn import(place: &Place, more: &[&str], input: impl AsRef<[u8]>) -> Run {
    place.run_with_input(&[&["--backend", FILES[0], "import"], more].concat(), input)
}

/// Rows as export prints them.
fn stored(place: &Place) -> String {
    place.run(&["--backend", FILES[0], "export"]).ok().out
}

const ROWS: &str = "record,value,stored_at\nAußen,21.5,1779006600000\nAußen,7,1779006660000\n";
const STORED: &str = "{\"record\":\"Außen\",\"value\":21.5,\"stored_at\":1779006600000}\n\
                      {\"record\":\"Außen\",\"value\":7,\"stored_at\":1779006660000}\n";

#[test]
fn a_table_comes_in_any_encoding_compression_and_line_end() {
    let utf_16 = |bytes: fn(u16) -> [u8; 2]| {
        format!("\u{feff}{ROWS}").encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
    };
    let latin_1: Vec<u8> = ROWS.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let zstd = zstd::encode_all(ROWS.as_bytes(), 3).unwrap();
    // Two frames one after the other, as appending to a file makes them.
    let (first, second) = ROWS.split_at(40);
    let frames = [zstd::encode_all(first.as_bytes(), 1), zstd::encode_all(second.as_bytes(), 1)];
    let frames = frames.map(Result::unwrap).concat();
    let latin_1_in_zstd = zstd::encode_all(&*latin_1, 3).unwrap();
    for (input, args, said) in [
        (ROWS.as_bytes().to_vec(), &[][..], "CSV,"),
        (utf_16(u16::to_le_bytes), &[], "CSV (UTF-16LE),"),
        (utf_16(u16::to_be_bytes), &[], "CSV (UTF-16BE),"),
        (utf_16(u16::to_le_bytes)[2..].to_vec(), &["--encoding", "utf-16le"], "CSV (UTF-16LE),"),
        (latin_1, &["--encoding", "latin1"], "CSV (windows-1252),"),
        (zstd, &[], "CSV (zstd),"),
        (frames, &[], "CSV (zstd),"),
        (latin_1_in_zstd, &["--encoding", "windows-1252"], "CSV (zstd, windows-1252),"),
        (ROWS.replace('\n', "\r").into_bytes(), &[], "CSV,"),
        (ROWS.replace('\n', "\r\n").into_bytes(), &[], "CSV,"),
        // One line end of another kind than the others.
        (ROWS.replacen('\n', "\r\n", 1).into_bytes(), &[], "CSV,"),
    ] {
        let place = Place::new();
        let run = import(&place, args, input).noted();
        assert_eq!(run.out, "2 rows stored\n");
        assert!(run.err.contains(said), "{said}: {run:?}");
        assert_eq!(stored(&place), STORED);
    }
}

#[test]
fn lines_of_json_may_end_with_cr_alone() {
    let place = Place::new();
    import(&place, &[], STORED.replace('\n', "\r")).noted();
    assert_eq!(stored(&place), STORED);
}

#[test]
fn compressed_data_that_is_cut_off_says_so_and_keeps_what_came_before() {
    let rows: String =
        (0..40_000).map(|n| format!("a,{n},{}\n", 1_779_006_600_000_u64 + n)).collect();
    let whole = zstd::encode_all(format!("record,value,stored_at\n{rows}").as_bytes(), 1).unwrap();
    let place = Place::new();
    place.write("rows.zst", &whole[..whole.len() / 2]);
    let run = place.run(&["--backend", FILES[0], "import", "rows.zst"]);
    let run = run.refused(1, "its zstd data is cut off");
    assert!(run.err.contains("mend it and run the same command with --resume"), "{run:?}");
    let before = place.rows(FILES[0]).len();
    assert!(before > 0);
    place.write("rows.zst", &whole);
    let run = place.run(&["--backend", FILES[0], "import", "rows.zst", "--resume"]).noted();
    assert_eq!(run.out, format!("{} rows stored, {before} already there\n", 40_000 - before));
}

/// Digits may be missing from its time.
#[test]
fn a_torn_last_line_of_line_protocol_is_refused() {
    let whole = "cpu usage=1 1779006600000000000\ncpu usage=2 1779006660000000000";
    for cut in [whole.len(), whole.len() - 6, whole.len() - 20, whole.len() - 21] {
        let place = Place::new();
        let run = import(&place, &[], &whole[..cut]).refused(1, ":2: ");
        // A whole line that may lack digits, or half a line.
        let words = ["it has no line end", "it is not measurement"];
        assert!(words.iter().any(|words| run.err.contains(words)), "{run:?}");
        assert_eq!(place.rows(FILES[0]).len(), 1);
    }
    let place = Place::new();
    assert_eq!(import(&place, &["--accept-last-line"], whole).noted().out, "2 rows stored\n");
}

#[test]
fn nulls_and_names_of_several_columns_go_with_resume() {
    let place = Place::new();
    let row = |n: u64| format!("h{},cpu,{n},{}\n", n % 2, 1_779_006_600_000 + n);
    let rows: String = (0..6_000).map(row).collect();
    let header = "host,kind,v,at\n";
    let args = [
        "--record-column=host",
        "--record-column=kind",
        "--value-column=v",
        "--time-column=at",
        "--null=n/a",
        "--null=NULL",
    ];
    let import = |more: &[&str]| {
        place.run(&[&["--backend", FILES[0], "import", "rows.csv"], &args[..], more].concat())
    };
    place.write("rows.csv", format!("{header}{rows}h1,cpu,NULL,1\nh1,cpu\n{}", row(6_000)));
    import(&[]).refused(1, ":6003: it has 2 cells");
    assert_eq!(place.rows(FILES[0]).len(), 6_000);
    place.write("rows.csv", format!("{header}{rows}h1,cpu,NULL,1\nh1,cpu,n/a,1\n{}", row(6_000)));
    let run = import(&["--resume"]).noted();
    assert!(run.out.starts_with("1 row stored, 6000 already there, "), "{run:?}");
    let names = place.run(&["--backend", FILES[0], "query", "*", "--latest", "1"]).ok().out;
    assert!(names.contains("\"h0::cpu\"") && names.contains("\"h1::cpu\""), "{names}");
}

/// Nothing was decided from a block without times, and every later time was an error.
#[test]
fn times_may_begin_anywhere() {
    let without: String =
        (0..5_000).map(|n| format!("{{\"record\":\"a\",\"value\":{n}}}\n")).collect();
    let with = "{\"record\":\"b\",\"value\":1,\"stored_at\":\"2026-05-17T08:30:00Z\"}\n";
    for input in [format!("{without}{with}"), format!("{with}{without}")] {
        let place = Place::new();
        place.write("rows.ndjson", &input);
        let run = place.run(&["--backend", FILES[0], "import", "rows.ndjson", "--time-now"]);
        let run = run.noted();
        assert_eq!(run.out, "5001 rows stored\n");
        assert!(run.err.contains("times: ISO 8601"), "{run:?}");
        assert!(run.err.contains("5000 rows without a time got the time"), "{run:?}");
    }
    // A pipe that brings one line at a time.
    let place = Place::new();
    let mut command = place.command(&["--backend", FILES[0], "import"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"record\":\"a\",\"value\":1}\n").unwrap();
    while place.run(&["--backend", FILES[0], "query", "*"]).out.is_empty() {}
    stdin.write_all(with.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.rows(FILES[0]).len(), 2);
}

#[test]
fn a_dry_run_lists_ten_bad_lines_counts_the_rest_and_stores_nothing() {
    let place = Place::new();
    let good = "{\"record\":\"a\",\"value\":1,\"stored_at\":1779006600000}\n";
    let input = format!("{good}{}{}{good}", "nonsense\n".repeat(5_000), "{}\n".repeat(3));
    let run = import(&place, &["--dry-run"], &input);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.err.matches("annals: stdin:").count(), 10, "{run:?}");
    assert!(run.err.contains(":2: it is not a JSON object"), "{run:?}");
    assert!(run.err.contains("stdin:11: it"), "{run:?}");
    let last = "annals: 5003 lines cannot be stored an import would stop at the first, or skip \
                them with --skip-invalid\n";
    assert!(run.err.ends_with(last), "{run:?}");
    assert_eq!(run.out.lines().count(), 3, "{run:?}");
    assert!(run.out.contains("\n2 rows of 1 record would be stored, from 2026"), "{run:?}");
    assert_eq!(place.names(), [""; 0]);
    let run = import(&place, &["--dry-run", "--skip-invalid"], &input);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.ends_with(", 5003 lines skipped\n"), "{run:?}");
    let run = import(&place, &["--dry-run"], good).noted();
    assert!(run.out.contains("1 row of 1 record"), "{run:?}");
}

/// An import that failed did not say that its times were implausible.
#[test]
fn implausible_times_are_remarked_on_when_the_import_fails_as_well() {
    let place = Place::new();
    let input = "{\"record\":\"a\",\"value\":1,\"stored_at\":1779006600}\nnonsense\n";
    let run = import(&place, &[], input).refused(1, ":2: ");
    assert!(run.err.contains("is 1970-01-21 if it counts seconds"), "{run:?}");
    assert!(run.err.contains("erase these rows before"), "{run:?}");
}

#[test]
fn the_format_is_said_for_every_input() {
    for (args, input, said) in [
        (&[][..], STORED, "reading NDJSON, times: Unix milliseconds\n"),
        (&["--input", "csv"], ROWS, "reading CSV, delimiter \",\", times: Unix milliseconds\n"),
        (&[], "{\"record\":\"a\",\"value\":1}", "reading NDJSON, times: the time of the import\n"),
        (&[], "", ""),
    ] {
        let run = import(&Place::new(), args, input);
        assert_eq!((run.code, &*run.err), (Some(0), said), "{run:?}");
    }
}

/// "Further lines" were promised where there were none.
#[test]
fn further_lines_are_spoken_of_if_there_are_some() {
    let row = "{\"record\":\"a\",\"value\":1}\n";
    for (bad, further) in [(10, 0), (11, 1), (12, 1)] {
        let input = format!("{row}{}", "nonsense\n".repeat(bad));
        let run = import(&Place::new(), &["--skip-invalid"], input);
        assert_eq!(run.out, format!("1 row stored, {bad} lines skipped\n"));
        assert_eq!(run.err.matches("is skipped: ").count(), 10, "{run:?}");
        let said = "annals: further skipped lines are counted, not listed";
        assert_eq!(run.err.matches(said).count(), further, "{run:?}");
    }
}

/// The usual text for a missing value was taken for an option.
#[test]
fn the_text_of_a_missing_value_may_be_a_negative_number() {
    let place = Place::new();
    let args = ["--record=a", "--value-column=v", "--time-column=t", "--null", "-999"];
    let input = "v,t\n-999,1779006600\n-99.9,1779006601\n-9,1779006602\nNaN,1779006603\n";
    let more = ["--null", "-99.9", "--null", "NaN"];
    let run = import(&place, &[&args[..], &more].concat(), input).noted();
    assert_eq!(run.out, "1 row stored, 3 empty cells skipped\n");
    assert!(stored(&place).contains("\"value\":-9,"));
}

#[test]
fn a_pattern_that_cannot_work_is_wrong_usage() {
    let place = Place::new();
    for (pattern, words) in [
        ("%d.%m.%Y %Q9", "%"),
        ("%H:%M", "no whole date"),
        ("%Y-%m-%d %", "%"),
        ("%K", "%K stands for nothing"),
        // The last would count, so that an hour of ENTSO-E would be the next one.
        ("%d/%m/%Y %H:%M:%S - %d/%m/%Y %H:%M:%S", "%d stands in it twice"),
        ("%F %d %T", "%F and %d are the same part of a time"),
        ("%Y-%m-%d %I:%H", "%I and %H are the same part of a time"),
    ] {
        let run = import(&place, &["--time-format", pattern], "");
        assert_eq!(run.code, Some(2), "{pattern}: {run:?}");
        assert!(run.err.contains(words) && run.err.contains("%d.%m.%Y"), "{run:?}");
    }
    for pattern in [
        "%s",
        "%Y-%m-%dT%H:%M:%S%z",
        "%d.%m.%y",
        "%FT%T",
        "%b %d, %Y %I:%M %p",
        "%Y%j",
        "%a %Y-%m-%d %H:%M:%S%.f",
        "%d%%%m%%%Y %%d",
    ] {
        assert_eq!(import(&place, &["--time-format", pattern], "").code, Some(0), "{pattern}");
    }
}

#[test]
fn options_that_line_protocol_does_not_have_are_refused() {
    let place = Place::new();
    for option in ["--record-pointer", "--time-pointer", "--value-column"] {
        let run = import(&place, &[option, "/a"], "cpu usage=1 1779006600000000000\n");
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains("--record and --value-pointer"), "{run:?}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_that_is_cut_off_says_so() {
    let place = Place::new();
    for bytes in [&b"PAR1"[..], b"PAR1 and then nothing of use PAR1", b"PAR1\0\0\0\0\0\0\0\0PAR1"] {
        place.write("rows.parquet", bytes);
        let run = place.run(&["--backend", FILES[0], "import", "rows.parquet"]);
        run.refused(1, "the Parquet file is damaged or cut off nothing is stored");
    }
}
