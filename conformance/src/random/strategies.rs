//! Which calls are tried: from so small an alphabet that they meet each other.

use annals_core::{Grammar, MAX_TIMESTAMP, Order, QueryParams, Value};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::call::{Call, NewRow, Script};

/// Pieces of names: what is special in SQL, `LIKE`, topics and text comparison, and letters that
/// collide with what stands for any letter.
const PIECES: &[&str] =
    &["a", "b", "A", "ab", ".", "%", "_", "#", "\\", "'", "\u{e9}", "e\u{301}", "\u{10ffff}", "\n"];

/// Mostly one of a few, so that records get several rows, and differ by what is easily overlooked.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(&["a", "A", "ab", "a.b", "a\u{10ffff}"][..]).prop_map(str::to_owned),
        3 => vec(select(PIECES), 1..4).prop_map(|pieces| pieces.concat()),
    ]
}

/// Mostly valid, sometimes not: what is refused must be refused alike.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => name(),
        1 => select(&["", "*", "a*", "a\0"][..]).prop_map(str::to_owned),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => Just("*"), 2 => Just("."), 5 => select(PIECES)];
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => name(),
        2 => name().prop_map(|name| name + "*"),
        4 => vec(piece, 1..5).prop_map(|pieces| pieces.concat()),
        1 => vec(select(&["*", "#", "a", "b", "ab"][..]), 1..4).prop_map(|parts| parts.join(".")),
        1 => Just("#".to_owned()),
    ]
}

fn grammar() -> impl Strategy<Value = Grammar> {
    prop_oneof![3 => Just(Grammar::Glob), 1 => Just(Grammar::Topic)]
}

/// Few, so that rows share times and bounds hit rows.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..6_u64, 1 => Just(MAX_TIMESTAMP), 1 => Just(MAX_TIMESTAMP - 1)]
}

fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![24 => time(), 1 => Just(MAX_TIMESTAMP + 1), 1 => Just(u64::MAX)]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0..100_u32).prop_map(|number| json!(number)),
        1 => any::<f64>().prop_filter("JSON has no other", |f| f.is_finite()).prop_map(|f| json!(f)),
        1 => any::<String>().prop_map(|text| json!(text)),
        1 => select(vec![json!(null), json!({}), json!(["\u{0}"]), json!(u64::MAX), json!(-0.0)]),
    ]
}

fn row(
    names: impl Strategy<Value = String>,
    times: impl Strategy<Value = u64>,
) -> impl Strategy<Value = NewRow> {
    (names, value(), times).prop_map(|(record, value, stored_at)| NewRow {
        record,
        value,
        stored_at,
    })
}

fn params() -> impl Strategy<Value = QueryParams> {
    let limit = option::weighted(0.5, prop_oneof![8 => 0..4_usize, 1 => Just(usize::MAX)]);
    let bound = || option::weighted(0.5, any_time());
    let order = prop_oneof![2 => Just(Order::NewestFirst), 1 => Just(Order::OldestFirst)];
    (limit, bound(), bound(), order, grammar()).prop_map(
        |(limit_per_record, start_time, end_time, order, grammar)| {
            QueryParams::default()
                .with_limit_per_record(limit_per_record)
                .with_start_time(start_time)
                .with_end_time(end_time)
                .with_order(order)
                .with_grammar(grammar)
        },
    )
}

fn filter() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "> 50",
            "<= 30 or = null",
            "not >= 0",
            "!= 7",
            "exists /0",
            "= 18446744073709551615",
            "> ''",
        ][..],
    )
}

fn window() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
    (option::weighted(0.5, any_time()), option::weighted(0.5, any_time()))
}

fn batch() -> impl Strategy<Value = Call> {
    // A name is checked before a batch can be made of it; a time is not.
    let rows = vec(row(name(), any_time()), 0..8);
    let id = option::weighted(0.5, (1..3_u128, 1..6_u64));
    (rows, id).prop_map(|(rows, id)| Call::StoreBatch(rows, id))
}

fn call() -> impl Strategy<Value = Call> {
    let rule = (pattern(), option::weighted(0.7, any_time()));
    prop_oneof![
        8 => row(any_name(), any_time()).prop_map(Call::Store),
        5 => batch(),
        8 => (pattern(), params()).prop_map(|(pattern, params)| Call::Query(pattern, params)),
        2 => (pattern(), params()).prop_map(|(pattern, params)| Call::Stream(pattern, params)),
        3 => (pattern(), params(), filter())
            .prop_map(|(pattern, params, filter)| Call::QueryWhere(pattern, params, filter)),
        2 => (pattern(), window(), option::weighted(0.4, filter()))
            .prop_map(|(pattern, window, filter)| Call::Erase(pattern, window, filter)),
        2 => row(any_name(), any_time()).prop_map(Call::Correct),
        2 => (pattern(), grammar()).prop_map(|(pattern, grammar)| Call::Records(pattern, grammar)),
        2 => any_time().prop_map(Call::Cleanup),
        2 => (vec(rule, 0..4), 0..3_u64).prop_map(|(rules, keep)| Call::CleanupPlan(rules, keep)),
        1 => Just(Call::Initialize),
        1 => Just(Call::Reopen),
    ]
}

pub(crate) fn scripts() -> impl Strategy<Value = Script> {
    vec(call(), 1..40).prop_map(Script)
}
