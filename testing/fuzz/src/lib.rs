//! Fuzz targets: what reads bytes that somebody else wrote.
//!
//! A target is a function of bytes that panics when a promise is broken. `cargo test -p annals-fuzz` runs
//! each for a few seconds; `scripts/fuzz TARGET SECONDS` runs one under libFuzzer for as long as you like.

mod http;
mod import;

use annals_core::aggregate::{Function, Member};
use annals_core::{Grammar, JsonText, Pattern, Predicate, Value, duration};
use annals_embedded::format::{Block, RunIndex, Stretch, Verdict};

pub use http::http;
pub use import::import;

/// A target. Inputs to begin with are in `corpus/NAME`.
pub struct Target {
    /// The name, also of its program under cargo-fuzz.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "block", run: block },
    Target { name: "columns", run: columns },
    Target { name: "packed", run: packed },
    Target { name: "run_index", run: run_index },
    Target { name: "pattern", run: pattern },
    Target { name: "json", run: json },
    Target { name: "words", run: words },
    Target { name: "import", run: import },
    Target { name: "http", run: http },
];

/// A frame around `content`, as the format has it: the checksum is right, so that decoding goes on.
fn frame(content: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap_or_else(|error| panic!("{error}"));
    compressor.include_checksum(true).unwrap_or_else(|error| panic!("{error}"));
    compressor.compress(content).unwrap_or_else(|error| panic!("{error}"))
}

/// Any content of a frame is a block or damaged. A block is encoded to one with the same rows.
pub fn block(data: &[u8]) {
    // As it came, and as the content of a sound frame.
    let _ = Block::decode(data);
    let Ok(block) = Block::decode(&frame(data)) else { return };
    let encoded = block.encode().unwrap_or_else(|error| panic!("{error}"));
    let again = Block::decode(&encoded).unwrap_or_else(|error| panic!("{error}"));
    assert!(block.iter().eq(again.iter()), "the rows changed");
}

/// Each line is the value of a row. What is encoded in columns comes back letter for letter, and the numbers
/// of a member and the answers of predicates are those of its text.
pub fn columns(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut rows = Block::new();
    for (at, line) in (0..).zip(text.lines().cycle().take(200)) {
        rows.push(at / 64, u64::from(at) * 1_000, line);
    }
    let encoded = rows.encode_columns(2).unwrap_or_else(|error| panic!("{error}"));
    let Some(encoded) = encoded else { return };
    let read = Block::decode(&encoded).unwrap_or_else(|error| panic!("{error}"));
    assert!(read.iter().eq(rows.iter()), "the rows changed");
    let member = Member::parse("a").unwrap_or_else(|error| panic!("{error}"));
    let numbers =
        Block::decode_numbers(&encoded, &member).unwrap_or_else(|error| panic!("{error}"));
    let numbers = numbers.unwrap_or_else(|| panic!("a block in columns has numbers"));
    let (mut at, mut found) = (0, 0);
    while at < rows.len() {
        let (stretch, length) = numbers.stretch(at..rows.len());
        found += if let Stretch::Samples(..) = stretch { length } else { 0 };
        at += length;
    }
    Block::check_statistics(&encoded).unwrap_or_else(|error| panic!("{error}"));
    let samples = rows.iter().filter(|row| matches!(member.read(row.2), Ok(Some(_))));
    assert_eq!(found, samples.count(), "the samples");
    for predicate in ["a > 1", "not a = 'x' or exists b", "a < 9007199254740993 and b != null"] {
        let predicate = Predicate::parse(predicate).unwrap_or_else(|error| panic!("{error}"));
        let verdicts = Block::decode_verdicts(&encoded, &predicate, 0..rows.len())
            .unwrap_or_else(|error| panic!("{error}"))
            .unwrap_or_else(|| panic!("a block in columns has verdicts"));
        assert_eq!(verdicts.len(), rows.len());
        for (row, verdict) in rows.iter().zip(verdicts.of(0..rows.len())) {
            let holds = predicate.test(row.2).ok();
            let is_right = match verdict {
                Verdict::Yes => holds == Some(true),
                Verdict::No => holds == Some(false),
                Verdict::Unknown => true,
            };
            assert!(is_right, "{predicate}: {}", row.2);
        }
    }
}

/// A block in columns with a sound frame around its header: the first two bytes are the header's length.
pub fn packed(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (header, segments) = rest.split_at(length);
    let header = frame(header);
    let mut block = vec![2];
    let mut left = header.len();
    while left >= 0x80 {
        block.push(left as u8 | 0x80);
        left >>= 7;
    }
    block.push(left as u8);
    block.extend([&header[..], segments].concat());
    if let Ok(read) = Block::decode(&block) {
        assert_eq!(read.iter().count(), read.len());
    }
    let member = Member::parse("a").unwrap_or_else(|error| panic!("{error}"));
    let _ = Block::decode_numbers(&block, &member);
    let _ = Block::decode_statistics(&block, &member, None);
    let _ = Block::check_statistics(&block);
    let predicate = Predicate::parse("a > 1 or b = 'x'").unwrap_or_else(|error| panic!("{error}"));
    let _ = Block::decode_verdicts(&block, &predicate, 0..1);
}

/// Any content of a frame is a run index or damaged; what an index says about its rows adds up.
pub fn run_index(data: &[u8]) {
    let _ = RunIndex::decode(data);
    let Ok(index) = RunIndex::decode(&frame(data)) else { return };
    let of_blocks: u64 = (0..index.blocks()).map(|n| index.block_rows(n).len() as u64).sum();
    assert_eq!(of_blocks, u64::from(index.rows()), "the rows of the blocks");
    for (place, extent) in index.iter().enumerate().take(1_000) {
        assert_eq!(index.get(place), extent);
        assert!(index.find(extent.record).is_some());
    }
}

/// The first line is a pattern in both grammars, the second a name.
pub fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, name) = text.split_once('\n').unwrap_or((text, text));
    for grammar in [Grammar::Glob, Grammar::Topic] {
        let Ok(pattern) = Pattern::new(pattern, grammar) else { continue };
        if let Some(exact) = pattern.exact() {
            assert!(pattern.matches(exact), "an exact pattern matches its name");
        }
        if pattern.matches(name) {
            assert!(name.starts_with(pattern.literal_prefix()));
            assert!(pattern.can_match());
        }
    }
}

/// The first line is a member, the rest a value. What is taken for JSON reads back, and a member is found
/// where a tree has it.
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (member, json) = text.split_once('\n').unwrap_or(("", text));
    let Ok(value) = JsonText::from_text(json, 1 << 20) else { return };
    let tree = value.to_value().unwrap_or_else(|error| panic!("{error}"));
    let Ok(member) = Member::parse(member) else { return };
    let sample = member.read(json).unwrap_or_else(|error| panic!("{error}"));
    let expected = member.names().try_fold(&tree, |tree, name| match tree {
        Value::Object(members) => members.get(name),
        Value::Array(items) if member.is_pointer() && is_index(name) => {
            items.get(name.parse::<usize>().ok()?)
        }
        _ => None,
    });
    let expected = match expected {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::Bool(value)) => Some(f64::from(u8::from(*value))),
        _ => None,
    };
    assert_eq!(sample.map(f64::to_bits), expected.map(f64::to_bits), "the sample");
}

/// RFC 6901: no sign and no leading zero.
fn is_index(name: &str) -> bool {
    name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What people type: durations, filters and lists of functions.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = duration::parse(text);
    if let Ok(predicate) = Predicate::parse(text) {
        assert_eq!(Predicate::parse(&predicate.to_string()).ok(), Some(predicate));
    }
    let Ok(functions) = Function::parse_list(text) else { return };
    for function in functions {
        let again = Function::parse(function.name());
        assert_eq!(again.as_ref().map(Function::name).ok(), Some(function.name()));
    }
}
