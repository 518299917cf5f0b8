//! NAME: which record names there are, and how they compare.

use annals_core::{Grammar, MAX_NAME_BYTES, PersistenceError, QueryParams};
use serde_json::{Value, json};

use crate::case::cases;
use crate::check::{Verdict, ensure, equal, failure, refused};
use crate::context::Context;

cases![
    name_1_anything_but_nul_and_star_is_literal,
    name_1_the_longest_name_has_1024_bytes,
    name_2_other_names_are_refused_before_anything_is_stored,
    name_3_case_and_accents_are_not_folded,
    name_3_patterns_fold_nothing_either,
    name_3_order_is_byte_order_under_every_locale,
];

/// Names that mean something to SQL, `LIKE`, globs, regular expressions, shells or text shaping.
pub(super) const HOSTILE: &[&str] = &[
    "%",
    "_",
    "a%",
    "a_",
    "\\",
    "\\%",
    "a\\b",
    "'",
    "''",
    "\"",
    "`",
    "'; DROP TABLE records; --",
    " ",
    "  ",
    " a",
    "a ",
    "\n",
    "a\nb",
    "\t",
    "\r\n",
    "\u{7f}",
    "\u{1}",
    "?",
    "[a]",
    "{a}",
    "a|b",
    "^a$",
    "(a)",
    "$1",
    ":name",
    "@p",
    "#",
    "a#",
    "a.b",
    ".",
    "..",
    "/",
    "../a",
    "NULL",
    "true",
    "0",
    "-1",
    "🦀",
    "👩‍👩‍👧",
    "مرحبا",
    "\u{202e}abc",
    "\u{200b}",
    "\u{feff}a",
    "ß",
    "İ",
    "ı",
    "\u{e9}",
    "e\u{301}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{10ffff}",
    "a\u{10ffff}",
    "日本語",
];

async fn name_1_anything_but_nul_and_star_is_literal(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (at, name) in HOSTILE.iter().enumerate() {
        store.put(name, *name, at as u64).await?;
    }
    // Sorted here, since order is NAME-3's matter; asked for one by one in PATTERN-2.
    let mut rows = store.all().await?;
    rows.sort_unstable_by_key(|(_, stored_at, _)| *stored_at);
    let expected: Vec<_> = HOSTILE
        .iter()
        .enumerate()
        .map(|(at, name)| (name.to_string(), at as u64, json!(name)))
        .collect();
    equal("all rows", &rows, &expected)
}

async fn name_1_the_longest_name_has_1024_bytes(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    // Two names that differ in their last byte only, and one of two-byte characters.
    let names = [
        format!("{}a", "x".repeat(MAX_NAME_BYTES - 1)),
        "x".repeat(MAX_NAME_BYTES),
        "é".repeat(512),
    ];
    for (at, name) in names.iter().enumerate() {
        equal("the length of the name", &name.len(), &MAX_NAME_BYTES)?;
        store.put(name, at, 1).await?;
    }
    for (at, name) in names.iter().enumerate() {
        let values = store.values(name, QueryParams::default()).await?;
        equal(format!("the values of name {at}"), &values, &[at])?;
    }
    Ok(())
}

async fn name_2_other_names_are_refused_before_anything_is_stored(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    let long_in_bytes = "é".repeat(513);
    for name in ["", "*", "a*", "*a", "a\0b", "\0", "a\0", &long, &long_in_bytes] {
        let error = refused(
            format!("storing to the record {name:.40?}"),
            store.store(name, &Value::Null, 1).await,
            "InvalidRecordName",
            |error| matches!(error, PersistenceError::InvalidRecordName { .. }),
        )?;
        let PersistenceError::InvalidRecordName { reason, .. } = &error else {
            return Err(failure("the refusal", "InvalidRecordName", format!("{error:?}")));
        };
        ensure(!reason.is_empty(), "the reason", "a word on what is wrong", &error)?;
    }
    equal("what was stored", &store.all().await?, &[])
}

/// Names that one folding or another takes for the same.
const ALIKE: &[&str] = &[
    "Kiln",
    "kiln",
    "KILN",
    "caf\u{e9}",
    "cafe\u{301}",
    "cafe",
    "CAF\u{c9}",
    "stra\u{df}e",
    "strasse",
    "STRASSE",
    "\u{130}",
    "I",
    "i",
    "\u{131}",
];

async fn name_3_case_and_accents_are_not_folded(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for name in ALIKE {
        store.put(name, *name, 1).await?;
    }
    for name in ALIKE {
        let values = store.values(name, QueryParams::default()).await?;
        equal(format!("the values of {name:?}"), &values, &[*name])?;
    }
    Ok(())
}

/// `LIKE`, a collation or a regular expression may fold where a comparison does not. One star at
/// most: what more mean is PATTERN-1's matter.
async fn name_3_patterns_fold_nothing_either(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for name in ALIKE {
        store.put(name, *name, 1).await?;
    }
    for (pattern, expected) in [
        ("K*", &["KILN", "Kiln"][..]),
        ("k*", &["kiln"]),
        ("*iln", &["Kiln", "kiln"]),
        ("*N", &["KILN"]),
        ("K*n", &["Kiln"]),
        ("caf\u{e9}*", &["caf\u{e9}"]),
        ("*\u{301}", &["cafe\u{301}"]),
        ("*\u{c9}", &["CAF\u{c9}"]),
        ("*\u{df}e", &["stra\u{df}e"]),
        ("*sse", &["strasse"]),
        ("I*", &["I"]),
        ("*i", &["i"]),
    ] {
        let mut got = store.names(pattern, QueryParams::default()).await?;
        got.sort_unstable();
        equal(format!("the records of {pattern:?}"), &got, &expected)?;
        let listed = store.records(pattern, Grammar::Glob).await?;
        let mut listed: Vec<String> = listed.into_iter().map(|r| r.record).collect();
        listed.sort_unstable();
        equal(format!("the listing of {pattern:?}"), &listed, &expected)?;
    }
    Ok(())
}

/// Locales put `a-b` behind `ab`, `B` behind `a` and pass over punctuation; UTF-16 puts U+1F980
/// before U+FFFD.
async fn name_3_order_is_byte_order_under_every_locale(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let mut names = vec![
        "ab",
        "a-b",
        "a b",
        "A_B",
        "a_b",
        "aB",
        "B",
        "a",
        "b",
        "Z",
        "z",
        "\u{e9}",
        "e",
        "f",
        "10",
        "9",
        "~",
        "\u{fffd}",
        "\u{1f980}",
        "\u{10ffff}",
        "aa",
        "a\u{1}",
        "_",
        "-",
        "",
    ];
    names.retain(|name| !name.is_empty());
    for name in &names {
        store.put(name, 1, 1).await?;
    }
    names.sort_unstable_by_key(|name| name.as_bytes());
    equal("the order of the records", &store.names("*", QueryParams::default()).await?, &names)?;
    let listed = store.records("*", Default::default()).await?;
    let listed: Vec<String> = listed.into_iter().map(|summary| summary.record).collect();
    equal("the order of the listing", &listed, &names)
}
