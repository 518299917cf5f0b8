mod filter;
mod value;

use std::ops::Range;

use annals_core::Predicate;
use annals_core::aggregate::{Member, Partial};
use proptest::prelude::*;

use super::*;

fn block<'a>(rows: impl IntoIterator<Item = (u32, u64, &'a str)>) -> Block {
    let mut block = Block::new();
    rows.into_iter().for_each(|(record, time, json)| block.push(record, time, json));
    block
}

/// Records with this many rows have statistics.
const STATISTICS_ROWS: usize = 5;

/// Rows of one record, a minute apart.
fn values(values: &[String]) -> Block {
    block((0..).zip(values).map(|(at, json)| (7, 1_740_081_234_000 + at * 60_000, json.as_str())))
}

fn many(rows: usize, value: impl FnMut(usize) -> String) -> Block {
    values(&(0..rows).map(value).collect::<Vec<_>>())
}

/// A number that looks random.
fn dice(number: usize) -> u64 {
    let mut x = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Encodes in columns and says how many bytes that is of the text form, in percent.
fn percent(rows: &Block) -> usize {
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().expect("columns");
    let read = Block::decode(&encoded).unwrap();
    assert_eq!(&read, rows);
    assert_eq!((read.text_bytes(), read.records()), (rows.text_bytes(), rows.records()));
    encoded.len() * 100 / rows.encode().unwrap().len()
}

/// Whether the numbers of a member are those that its text has, whichever way they are read.
fn numbers_agree(rows: &Block, encoded: &[u8], member: &str) {
    let member = Member::parse(member).unwrap();
    let read = Block::decode(encoded).unwrap().numbers(&member).unwrap().unwrap();
    assert_eq!(Block::decode_numbers(encoded, &member).unwrap().unwrap(), read);
    assert_eq!(read.len(), rows.len());
    let mut row = 0;
    while row < rows.len() {
        let (stretch, length) = read.stretch(row..rows.len());
        assert!(length > 0);
        for (at, (_, time, json)) in rows.iter().skip(row).take(length).enumerate() {
            match (stretch, member.read(json)) {
                (Stretch::Samples(times, values), Ok(Some(value))) => {
                    assert_eq!(
                        (times[at], values[at].to_bits()),
                        (time, value.to_bits()),
                        "{json}"
                    );
                }
                (Stretch::NoSamples(times), Ok(None)) => assert_eq!(times[at], time),
                (Stretch::Unreadable(read_at, text), Err(_)) => {
                    assert_eq!((read_at, text), (time, json))
                }
                (stretch, read) => panic!("{stretch:?} {read:?} {json}"),
            }
        }
        row += length;
    }
    statistics_agree(rows, encoded, &member);
}

/// The times and values of the samples of some rows, and how many rows have none.
fn samples(rows: &Block, range: Range<usize>, member: &Member) -> (Vec<u64>, Vec<f64>, u64) {
    let all = rows.iter().skip(range.start).take(range.len());
    let samples = all.filter_map(|(_, time, json)| Some((time, member.read(json).ok()??)));
    let (times, values): (Vec<u64>, Vec<f64>) = samples.unzip();
    let skipped = (range.len() - times.len()) as u64;
    (times, values, skipped)
}

/// Whether the statistics of a member are those of its text.
fn statistics_agree(rows: &Block, encoded: &[u8], member: &Member) {
    let (_, statistics) = Block::decode_statistics(encoded, member, None).unwrap();
    for Statistics { rows: range, first, last, samples: found, .. } in statistics {
        assert!(range.len() >= STATISTICS_ROWS);
        assert_eq!((first, last), (rows.time(range.start), rows.time(range.end - 1)));
        let (times, values, skipped) = samples(rows, range, member);
        let expected = Partial::of_samples(&times, &values);
        let (high, low) = expected.sum().unwrap();
        assert_eq!(found, expected.with_sum(high, low).with_skipped(skipped));
    }
    Block::check_statistics(encoded).unwrap();
}

#[test]
fn rows_of_one_record_and_one_shape_have_statistics() {
    let json = |row: usize| match row {
        // One record with gaps and states, and one with a sum that two numbers do not hold.
        0..100 => format!(r#"{{"a":{}.5,"b":{}}}"#, dice(row) % 1000, ["true", "null"][row % 2]),
        100..110 => format!(r#"{{"a":{},"b":"x"}}"#, ["1e300", "1", "1e-300"][row % 3]),
        // Two shapes, and too few rows.
        110..150 => format!(r#"{{"{}":1}}"#, ["a", "b"][row % 2]),
        150..154 => r#"{"a":1,"b":2}"#.to_owned(),
        // As the first one.
        _ => format!(r#"{{"a":{row},"b":{row}}}"#),
    };
    let record = |row| [100, 110, 150, 154, 200].iter().position(|end| row < *end).unwrap();
    let mut rows = Block::new();
    for row in 0..200 {
        rows.push(record(row) as u32 * 3, 1_000 + row as u64 * 60, &json(row));
    }
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
    let with = |member: &str| -> Vec<Range<usize>> {
        let member = Member::parse(member).unwrap();
        statistics_agree(&rows, &encoded, &member);
        let (count, statistics) = Block::decode_statistics(&encoded, &member, None).unwrap();
        assert_eq!(count, 200);
        statistics.into_iter().map(|one| one.rows).collect()
    };
    assert_eq!(with("a"), [0..100, 154..200]);
    assert_eq!(with("b"), [0..100, 100..110, 154..200]);
    // No row has a sample.
    assert_eq!(with("c"), [0..100, 100..110, 154..200]);
    // Without the largest record, and without any.
    let most = rows.encode_columns(101).unwrap().unwrap();
    assert_eq!(Block::decode_statistics(&most, &Member::parse("a").unwrap(), None).unwrap().1, []);
    assert!(most.len() < encoded.len());
}

/// A text block, and one of a reader's own rows, of which another block's statistics say something else.
#[test]
fn statistics_that_contradict_the_rows_are_damage() {
    let of = |scale: usize| many(40, |row| format!(r#"{{"a":{}}}"#, row * scale));
    let [one, other] = [of(3), of(4)].map(|rows| rows.encode_columns(1).unwrap().unwrap());
    Block::check_statistics(&one).unwrap();
    Block::check_statistics(&of(3).encode().unwrap()).unwrap();
    let ((header, _), (_, segments)) = (parts(&one), parts(&other));
    // Both have columns of the same lengths.
    let mixed = assembled(&header, &segments);
    assert_eq!(Block::decode(&mixed).unwrap().json(1), r#"{"a":4}"#);
    assert_eq!(
        Block::check_statistics(&mixed),
        Err(FormatError::Damaged("statistics contradict its rows"))
    );
}

#[test]
fn numbers_words_and_text_become_much_smaller() {
    let walk = |at: usize| (2000 + dice(at) % 400) as f64 / 100.0;
    let fixed = many(2048, |at| {
        format!(r#"{{"celsius":{:.2},"humidity":{:.1},"ok":true}}"#, walk(at), walk(at * 3))
    });
    assert!(percent(&fixed) < 70);
    let shortest = many(2048, |at| {
        let word = ["ok", "late", "off"][(dice(at) % 3) as usize];
        let celsius = serde_json::to_string(&walk(at)).unwrap();
        format!(r#"{{"celsius":{celsius},"status":"{word}","id":"{:016x}"}}"#, dice(at))
    });
    assert!(percent(&shortest) < 75);
    let digits = many(2048, |at| format!(r#"{{"a":{},"b":{at}}}"#, dice(at) as f64 / 1e17));
    assert!(percent(&digits) < 80);
}

#[test]
fn numbers_of_every_form_come_back() {
    let forms = |at: usize| match at % 11 {
        0 => "20".to_owned(),
        1 => "20.0".to_owned(),
        2 => "20.50".to_owned(),
        3 => format!("{}", dice(at)),
        4 => "-0".to_owned(),
        5 => "-0.0".to_owned(),
        6 => "1e5".to_owned(),
        7 => format!("{}", f64::from_bits(dice(at) % (0x7ff << 52))),
        8 => "0.1000000000000000055511151231257827".to_owned(),
        9 => "null".to_owned(),
        _ => format!("-{}.{}", dice(at) % 1000, dice(at * 7) % 1000),
    };
    for step in 1..11 {
        let rows = many(300, |at| format!(r#"{{"a":{}}}"#, forms(at * step)));
        if let Some(encoded) = rows.encode_columns(STATISTICS_ROWS).unwrap() {
            assert_eq!(Block::decode(&encoded).unwrap(), rows);
            numbers_agree(&rows, &encoded, "a");
        }
    }
}

#[test]
fn rows_of_many_shapes_come_back_and_so_do_their_numbers() {
    let rows = many(600, |at| match dice(at) % 9 {
        0 => format!(r#"{{"a":{at},"b":[1,{{"a":{at}.5}}]}}"#),
        1 => format!(r#"{{ "a" : "{at}" , "b":[{at},{{"a":null}}]}}"#),
        2 => format!(r#"{{"a":{at},"a":"text","b":[]}}"#),
        3 => format!(r#"{{"\u0061":{at}}}"#),
        4 => format!("{at}"),
        5 => r#"{"a":tru}"#.to_owned(),
        6 => format!(r#"{{"a":{at}e2,"b":{{"1":{{"a":3}}}}}}"#),
        7 => format!(r#"{{"a":{}}}"#, ["true", "false", "null", "1e999"][at % 4]),
        _ => format!(r#"{{"a":{at},"b":"\ud83e\udd80"}}"#),
    });
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
    assert_eq!(Block::decode(&encoded).unwrap(), rows);
    for member in ["a", "", "b", "/b/1/a", "/b/0", "/a", "c", "/b/1"] {
        numbers_agree(&rows, &encoded, member);
    }
}

#[test]
fn records_and_times_come_back() {
    let times = [0, 1, u64::MAX, 3, 1 << 63];
    let rows: Vec<(u32, u64, String)> = (0..100)
        .map(|at| (u32::MAX - (at / 7) as u32 * 3, times[at % 5], format!(r#"{{"n":{}}}"#, at % 3)))
        .collect();
    let rows = block(rows.iter().map(|(record, time, json)| (*record, *time, json.as_str())));
    assert_eq!(
        Block::decode(&rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap()).unwrap(),
        rows
    );
    let mut longer =
        Block::decode(&rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap()).unwrap();
    longer.push(1, 2, "3");
    assert_eq!((longer.len(), longer.json(100), longer.json(0)), (101, "3", rows.json(0)));
    assert_eq!(Block::decode(&longer.encode().unwrap()).unwrap(), longer);
    longer.clear();
    assert_eq!(longer, Block::new());
}

#[test]
fn hostile_rows_stay_text_or_become_smaller() {
    let wide = |at: usize| {
        let members: Vec<String> =
            (0..10_000).map(|member| format!(r#""m{member}":{at}"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    let hostile = [
        many(3000, |at| format!(r#"{{"member{}":{at}}}"#, dice(at))),
        many(64, |at| format!("\"{}\"", dice(at).to_string().repeat(10_000))),
        many(64, wide),
        many(2048, |at| {
            format!("\"{:016x}{:016x}{:016x}\"", dice(at), dice(at + 9999), dice(at * 3))
        }),
        many(500, |at| dice(at).to_string().repeat(at % 3)),
        many(300, |_| "[".repeat(2000)),
    ];
    for rows in hostile {
        let Some(encoded) = rows.encode_columns(STATISTICS_ROWS).unwrap() else { continue };
        assert_eq!(Block::decode(&encoded).unwrap(), rows);
        assert!(
            encoded.len() * 100 <= rows.encode().unwrap().len() * 101,
            "{}",
            rows.json(0).len()
        );
    }
}

fn sound() -> (Block, Vec<u8>) {
    let rows = many(200, |at| match at % 5 {
        0 => format!(r#"{{"a":{at}.25,"b":"x"}}"#),
        1 => format!(r#"{{"a":null,"b":"{at}"}}"#),
        _ => format!(r#"[{},"{:08x}"]"#, dice(at) as f64 / 1e17, dice(at)),
    });
    let encoded = rows.encode_columns(STATISTICS_ROWS).unwrap().unwrap();
    (rows, encoded)
}

#[test]
fn damage_is_noticed() {
    let (_, encoded) = sound();
    for end in 0..encoded.len() {
        assert!(Block::decode(&encoded[..end]).is_err(), "{end}");
    }
    for at in 0..encoded.len() {
        let mut flipped = encoded.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(Block::decode(&flipped).is_err(), "{at}");
    }
    assert!(Block::decode(&[&encoded[..], b"x"].concat()).is_err());
}

/// The parts of a block: the content of its header, and its segments.
fn parts(encoded: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut reader = super::super::varint::Reader(&encoded[1..]);
    let length: usize = reader.small().unwrap();
    let (header, segments) = reader.0.split_at(length);
    let header = super::super::frame::decompress(header, |content| Ok(content.to_vec())).unwrap();
    (header, segments.to_vec())
}

fn assembled(header: &[u8], segments: &[u8]) -> Vec<u8> {
    let header = super::super::frame::compress(|out| out.extend_from_slice(header)).unwrap();
    let mut encoded = vec![VERSION];
    super::super::varint::put(&mut encoded, header.len() as u64);
    [&encoded[..], &header, segments].concat()
}

fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        (-1000i32..1000).prop_map(|value| format!("{:.2}", f64::from(value) / 100.0)),
        (-1000i32..1000).prop_map(|value| (f64::from(value) / 100.0).to_string()),
        any::<f64>().prop_map(|value| value.to_string()),
        "[a-c]{0,3}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[0-9.eE+-]{1,9}",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-b\\\\ué\"]{0,2}", inner), 0..4).prop_map(|members| {
                let member = |(name, value): &(String, String)| {
                    format!("{}:{value}", serde_json::to_string(name).unwrap())
                };
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

/// Some texts, and for each row which of them, with its last digits replaced by the row's number.
fn any_block() -> impl Strategy<Value = Block> {
    let texts = prop::collection::vec(prop_oneof![9 => any_value(), 1 => any::<String>()], 1..6);
    let rows = prop::collection::vec(
        (any::<prop::sample::Index>(), any::<bool>(), 0u64..1 << 40),
        32..400,
    );
    (texts, rows).prop_map(|(texts, rows)| {
        let mut block = Block::new();
        for (row, (text, is_numbered, time)) in rows.iter().enumerate() {
            let text = text.get(&texts);
            let numbered = text.replace('1', &row.to_string());
            block.push(row as u32 / 50, *time, if *is_numbered { &numbered } else { text });
        }
        block
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_mixture_of_shapes_comes_back(rows in any_block()) {
        if let Some(encoded) = rows.encode_columns(STATISTICS_ROWS).unwrap() {
            prop_assert_eq!(&Block::decode(&encoded).unwrap(), &rows);
            for member in ["a", "", "/a/0", "/0", "\u{e9}"] {
                numbers_agree(&rows, &encoded, member);
            }
        }
    }

    /// Checksums do not protect from those who know how to compute them.
    #[test]
    fn forged_headers_are_errors_or_rows(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (rows, encoded) = sound();
        let (mut header, segments) = parts(&encoded);
        for (at, byte) in changes {
            let at = at.index(header.len());
            header[at] = byte;
        }
        let forged = assembled(&header, &segments);
        if let Ok(read) = Block::decode(&forged) {
            prop_assert_eq!(read.iter().count(), rows.len());
            prop_assert!(read.memory() < 64 << 20);
        }
        let member = Member::parse("a").unwrap();
        drop(Block::decode_numbers(&forged, &member));
        drop(Block::decode_verdicts(&forged, &Predicate::parse("a > 1 or b = 'x'").unwrap(), 0..9));
        drop(Block::decode_statistics(&forged, &member, None));
        drop(Block::check_statistics(&forged));
    }

    #[test]
    fn forged_columns_are_errors_or_rows(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (rows, encoded) = sound();
        let (header, segments) = parts(&encoded);
        let forged = segment::tests::forged(&header, &segments, &changes);
        let forged = assembled(&header, &forged);
        if let Ok(read) = Block::decode(&forged) {
            prop_assert_eq!(read.iter().count(), rows.len());
        }
        let member = Member::parse("a").unwrap();
        drop(Block::decode_numbers(&forged, &member));
        drop(Block::decode_verdicts(&forged, &Predicate::parse("a > 1 or b = 'x'").unwrap(), 0..9));
        drop(Block::decode_statistics(&forged, &member, None));
        drop(Block::check_statistics(&forged));
    }
}
