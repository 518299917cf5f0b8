//! Fuzz targets: what reads bytes that somebody else wrote.
//!
//! A target is a function of bytes that panics when a promise is broken. `cargo test -p annals-fuzz` runs
//! each for a few seconds; `scripts/fuzz TARGET SECONDS` runs one under libFuzzer for as long as you like.

use annals_core::aggregate::{Function, Member};
use annals_core::{Grammar, JsonText, Pattern, Value, duration};
use annals_embedded::format::{Block, RunIndex};

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
    Target { name: "run_index", run: run_index },
    Target { name: "pattern", run: pattern },
    Target { name: "json", run: json },
    Target { name: "words", run: words },
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
        Value::Array(items) if is_index(name) => items.get(name.parse::<usize>().ok()?),
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

/// What people type: durations and lists of functions.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = duration::parse(text);
    let Ok(functions) = Function::parse_list(text) else { return };
    for function in functions {
        let again = Function::parse(function.name());
        assert_eq!(again.as_ref().map(Function::name).ok(), Some(function.name()));
    }
}
