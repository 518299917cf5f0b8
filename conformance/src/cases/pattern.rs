//! PATTERN: both grammars, as the backend resolves them.

use std::time::{Duration, Instant};

use annals_core::{Grammar, MAX_NAME_BYTES, PersistenceError, QueryParams};

use super::name::HOSTILE;
use crate::case::cases;
use crate::check::{Verdict, ensure, equal, refused};
use crate::context::{Context, Store};

cases![
    pattern_1_a_star_is_any_run_of_characters,
    pattern_1_prefixes_end_where_they_end,
    pattern_1_a_listing_takes_the_same_patterns,
    pattern_2_everything_but_star_is_literal,
    pattern_2_no_star_means_exactly_one_record,
    pattern_3_the_empty_pattern_is_refused,
    pattern_3_no_match_is_an_empty_result,
    pattern_4_the_cost_of_matching_is_bounded,
    pattern_5_segments_between_dots,
    pattern_5_a_star_in_a_longer_segment_is_refused,
];

async fn pattern_1_a_star_is_any_run_of_characters(cx: &Context) -> Verdict {
    let names = [
        "a",
        "abc",
        "ac",
        "accuracy",
        "accuracy::",
        "accuracy::graz",
        "accuracy::vienna",
        "axbxc",
        "humidity::vienna",
        "vienna",
    ];
    let store = records(cx, &names).await?;
    for (pattern, expected) in [
        ("*", &names[..]),
        ("**", &names),
        ("accuracy::*", &["accuracy::", "accuracy::graz", "accuracy::vienna"]),
        ("*::vienna", &["accuracy::vienna", "humidity::vienna"]),
        ("*vienna", &["accuracy::vienna", "humidity::vienna", "vienna"]),
        ("a*b*c", &["abc", "axbxc"]),
        ("a*c", &["abc", "ac", "axbxc"]),
        (
            "a*",
            &[
                "a",
                "abc",
                "ac",
                "accuracy",
                "accuracy::",
                "accuracy::graz",
                "accuracy::vienna",
                "axbxc",
            ],
        ),
        ("*a", &["a", "accuracy::vienna", "humidity::vienna", "vienna"]),
        ("*::*", &["accuracy::", "accuracy::graz", "accuracy::vienna", "humidity::vienna"]),
        ("*cc*c*", &["accuracy", "accuracy::", "accuracy::graz", "accuracy::vienna"]),
        // The pieces must not overlap: one `a` is not two.
        ("a*a", &["accuracy::vienna"]),
        ("vienna*vienna", &[]),
        ("a**b**c", &["abc", "axbxc"]),
    ] {
        let got = matching(&store, pattern, Grammar::Glob).await?;
        equal(format!("the records of {pattern:?}"), &got, &expected)?;
    }
    Ok(())
}

/// A range over names needs an end behind the prefix: "increase the last character" goes wrong at
/// U+10FFFF, at U+D7FF and where the increased one sorts elsewhere.
async fn pattern_1_prefixes_end_where_they_end(cx: &Context) -> Verdict {
    let last = "\u{10ffff}";
    let names = [
        "p",
        "pa",
        "pa\u{7f}",
        "pa\u{d7ff}",
        "pa\u{d7ff}x",
        "pa\u{e000}",
        "pa\u{10ffff}",
        "pa\u{10ffff}x",
        "pa\u{10ffff}\u{10ffff}",
        "pb",
        "q",
        last,
        "\u{10ffff}x",
    ];
    let mut sorted = names.to_vec();
    sorted.sort_unstable_by_key(|name| name.as_bytes());
    let store = records(cx, &sorted).await?;
    for prefix in
        ["p", "pa", "pa\u{7f}", "pa\u{d7ff}", "pa\u{e000}", "pa\u{10ffff}", "q", "\u{10ffff}", "r"]
    {
        let expected: Vec<&str> =
            sorted.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        let got = matching(&store, &format!("{prefix}*"), Grammar::Glob).await?;
        equal(format!("the records that start with {prefix:?}"), &got, &expected)?;
    }
    Ok(())
}

async fn pattern_1_a_listing_takes_the_same_patterns(cx: &Context) -> Verdict {
    let store = records(cx, &["abc", "abd", "b", "xbc"]).await?;
    for (pattern, expected) in
        [("*", &["abc", "abd", "b", "xbc"][..]), ("ab*", &["abc", "abd"]), ("*bc", &["abc", "xbc"])]
    {
        let got = listed(&store, pattern, Grammar::Glob).await?;
        equal(format!("the listing of {pattern:?}"), &got, &expected)?;
    }
    Ok(())
}

async fn pattern_2_everything_but_star_is_literal(cx: &Context) -> Verdict {
    let store = records(cx, HOSTILE).await?;
    for name in HOSTILE {
        let got = matching(&store, name, Grammar::Glob).await?;
        equal(format!("the records of {name:?}"), &got, &[*name])?;
    }
    for (pattern, expected) in [
        ("a%*", &["a%"][..]),
        ("a_*", &["a_"]),
        ("*\\b", &["a\\b"]),
        ("*records; --", &["'; DROP TABLE records; --"]),
        ("[a*", &["[a]"]),
        ("*\nb", &["a\nb"]),
        ("?*", &["?"]),
        ("*.b", &["a.b"]),
        ("a#*", &["a#"]),
    ] {
        let got = matching(&store, pattern, Grammar::Glob).await?;
        equal(format!("the records of {pattern:?}"), &got, &expected)?;
    }
    Ok(())
}

async fn pattern_2_no_star_means_exactly_one_record(cx: &Context) -> Verdict {
    let store = records(cx, &["a", "a::b", "aa", "ab", "ba"]).await?;
    equal("the records of \"a\"", &matching(&store, "a", Grammar::Glob).await?, &["a"])?;
    equal("the records of \"ab\"", &matching(&store, "ab", Grammar::Glob).await?, &["ab"])?;
    equal("the listing of \"a\"", &listed(&store, "a", Grammar::Glob).await?, &["a"])
}

async fn pattern_3_the_empty_pattern_is_refused(cx: &Context) -> Verdict {
    let store = records(cx, &["a"]).await?;
    let is_expected = |error: &PersistenceError| matches!(error, PersistenceError::InvalidPattern { reason, .. } if !reason.is_empty());
    for grammar in [Grammar::Glob, Grammar::Topic] {
        let params = QueryParams::default().with_grammar(grammar);
        let what = "the empty pattern";
        refused(what, store.query("", params).await, "InvalidPattern", is_expected)?;
        refused(what, store.query_stream("", params).await, "InvalidPattern", is_expected)?;
        refused(what, store.records("", grammar).await, "InvalidPattern", is_expected)?;
    }
    // Known to be empty without asking the store, and refused all the same.
    let nothing = QueryParams::latest(0);
    refused("with limit 0", store.query("", nothing).await, "InvalidPattern", is_expected)?;
    Ok(())
}

async fn pattern_3_no_match_is_an_empty_result(cx: &Context) -> Verdict {
    let store = records(cx, &["a", "b"]).await?;
    let too_long = "x".repeat(MAX_NAME_BYTES + 1);
    let too_long_for_any_name = format!("{too_long}*");
    for pattern in ["c", "c*", "*c*", "a*a", "a\0", "\0*", &too_long, &too_long_for_any_name] {
        let rows = store.rows(pattern, QueryParams::default()).await?;
        equal(format!("the rows of {pattern:.20?}"), &rows, &[])?;
        let got = listed(&store, pattern, Grammar::Glob).await?;
        equal(format!("the listing of {pattern:.20?}"), &got, &[""; 0])?;
    }
    let empty = cx.fresh().await?;
    equal("the rows of an empty store", &empty.all().await?, &[])
}

/// Beside a pattern of two pieces on the same store, in turn; the best of several answers counts,
/// since a busy machine can only make an answer slower.
async fn pattern_4_the_cost_of_matching_is_bounded(cx: &Context) -> Verdict {
    const ROUNDS: usize = 10;
    /// A backtracking matcher takes hundreds of times as long as a simple pattern does, at least.
    const FACTOR: u32 = 10;
    /// What a bounded matcher takes for a name of 1024 bytes in the slowest build.
    const ENOUGH: Duration = Duration::from_millis(100);
    let longest = "a".repeat(MAX_NAME_BYTES);
    let dotted = "a.".repeat(MAX_NAME_BYTES / 2 - 1) + "a";
    let store = records(cx, &[&dotted, &longest]).await?;
    for (simple, hostile, grammar) in [
        ("*b", "*a*a*a*a*a*a*a*a*b".to_owned(), Grammar::Glob),
        ("*b", "*a".repeat(200) + "*b", Grammar::Glob),
        ("#.b", "#.a.#.a.#.a.#.a.#.a.#.b".to_owned(), Grammar::Topic),
    ] {
        let (mut bound, mut best) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            bound = bound.min(time_for_nothing(&store, simple, grammar).await? * FACTOR + ENOUGH);
            best = best.min(time_for_nothing(&store, &hostile, grammar).await?);
            if best < bound {
                break;
            }
        }
        let what = format!("the time that {hostile:.40?} takes");
        ensure(best < bound, what, format!("less than {bound:?}, from {simple:?}"), best)?;
    }
    Ok(())
}

/// How long a pattern takes that matches no record.
async fn time_for_nothing(store: &Store, pattern: &str, grammar: Grammar) -> Verdict<Duration> {
    let params = QueryParams::default().with_grammar(grammar);
    let started = Instant::now();
    equal("the number of rows", &store.rows(pattern, params).await?.len(), &0)?;
    Ok(started.elapsed())
}

async fn pattern_5_segments_between_dots(cx: &Context) -> Verdict {
    let names = [
        "a",
        "a.",
        "a..b",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "a.x.c",
        "ab",
        "b",
        "house.attic.t",
        "house.t",
        "x.#y",
    ];
    let store = records(cx, &names).await?;
    for (pattern, expected) in [
        ("a", &["a"][..]),
        ("*", &["a", "ab", "b"]),
        ("#", &names),
        ("a.*", &["a.", "a.b"]),
        ("a.#", &["a", "a.", "a..b", "a.b", "a.b.c", "a.b.c.d", "a.x.c"]),
        ("a.*.c", &["a.b.c", "a.x.c"]),
        ("a.#.c", &["a.b.c", "a.x.c"]),
        ("a.#.b", &["a..b", "a.b"]),
        ("#.c", &["a.b.c", "a.x.c"]),
        ("*.*", &["a.", "a.b", "house.t", "x.#y"]),
        ("house.*.t", &["house.attic.t"]),
        ("x.#y", &["x.#y"]),
        ("a..b", &["a..b"]),
        ("c.#", &[]),
    ] {
        let got = matching(&store, pattern, Grammar::Topic).await?;
        equal(format!("the records of the topic {pattern:?}"), &got, &expected)?;
        let got = listed(&store, pattern, Grammar::Topic).await?;
        equal(format!("the listing of the topic {pattern:?}"), &got, &expected)?;
    }
    // Without the choice, dots mean nothing and `#` stands for itself.
    equal("the records of \"a.#\"", &matching(&store, "a.#", Grammar::Glob).await?, &[""; 0])
}

async fn pattern_5_a_star_in_a_longer_segment_is_refused(cx: &Context) -> Verdict {
    let store = records(cx, &["a.b"]).await?;
    let params = QueryParams::default().with_grammar(Grammar::Topic);
    for pattern in ["a*.b", "a.b*", "**", "a::*"] {
        refused(
            format!("the topic {pattern:?}"),
            store.query(pattern, params).await,
            "InvalidPattern",
            |error| matches!(error, PersistenceError::InvalidPattern { .. }),
        )?;
    }
    Ok(())
}

/// A store with one row in each of these records.
async fn records(cx: &Context, names: &[&str]) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for name in names {
        store.put(name, 1, 1).await?;
    }
    Ok(store)
}

/// The records that a query returns, sorted: their order is QUERY-1's and NAME-3's matter.
async fn matching(store: &Store, pattern: &str, grammar: Grammar) -> Verdict<Vec<String>> {
    let params = QueryParams::default().with_grammar(grammar);
    Ok(sorted(store.names(pattern, params).await?))
}

/// The records that a listing returns, sorted.
async fn listed(store: &Store, pattern: &str, grammar: Grammar) -> Verdict<Vec<String>> {
    let listed = store.records(pattern, grammar).await?;
    Ok(sorted(listed.into_iter().map(|summary| summary.record).collect()))
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    names
}
