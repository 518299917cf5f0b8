//! FILTER: which rows satisfy a predicate, and what queries and aggregates do with it.

use annals_core::{
    Aggregate, Batch, Fill, Grammar, JsonText, Order, Predicate, QueryParams, Value,
};
use serde_json::json;

use super::aggregate::{buckets, every, functions, same, whole};
use crate::case::cases;
use crate::check::{During, Plain, Verdict, equal, plain, skip};
use crate::context::{Context, Store, row};

cases![
    filter_1_numbers_are_compared_by_value_exactly,
    filter_1_strings_are_compared_byte_by_byte,
    filter_1_types_do_not_mix,
    filter_2_an_absent_member_satisfies_no_comparison,
    filter_2_not_and_and_or_are_plain_logic,
    filter_2_text_that_is_no_json_satisfies_no_filter,
    filter_3_a_limit_selects_the_newest_that_satisfy_it,
    filter_3_a_rare_row_is_found_among_many,
    filter_4_an_aggregate_is_that_of_the_rows_that_satisfy_it,
];

pub(crate) fn filter(text: &str) -> Verdict<Predicate> {
    Predicate::parse(text).during(format!("parsing {text:?}"))
}

impl Store {
    /// The rows of a query with a filter.
    pub(crate) async fn rows_where(
        &self,
        pattern: &str,
        params: QueryParams,
        filter: &Predicate,
    ) -> Verdict<Vec<Plain>> {
        let what = || format!("querying {pattern:?} with {params:?} where {filter}");
        let rows = self.query_where(pattern, params, filter).await.during(what())?;
        Ok(plain(rows.into_values().await.during(what())?))
    }

    /// The times of the rows of `r` that satisfy each filter must be these, oldest first.
    async fn satisfied_at(&self, expected: &[(&str, &[u64])]) -> Verdict {
        let oldest_first = QueryParams::default().with_order(Order::OldestFirst);
        for (text, times) in expected {
            let rows = self.rows_where("r", oldest_first, &filter(text)?).await?;
            let got: Vec<u64> = rows.into_iter().map(|(_, at, _)| at).collect();
            equal(format!("the times of the rows where {text}"), &got, times)?;
        }
        Ok(())
    }
}

async fn filter_1_numbers_are_compared_by_value_exactly(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let two_53 = 1_u64 << 53;
    let numbers = [
        json!(-2),
        json!(-1.5),
        json!(0),
        json!(1),
        json!(1.5),
        json!(two_53),
        json!(two_53 + 1),
        json!(two_53 + 2),
        json!(i64::MIN),
        json!(1e300),
    ];
    for (at, number) in (0..).zip(numbers) {
        store.put("r", json!({ "n": number, "in": [{ "n": number }] }), at).await?;
    }
    let expected: [(&str, &[u64]); 14] = [
        ("n = 1", &[3]),
        ("n = 1.0", &[3]),
        ("n = 10e-1", &[3]),
        ("n = 0", &[2]),
        ("n = -0.0", &[2]),
        ("n > 1", &[4, 5, 6, 7, 9]),
        ("n >= 1.5", &[4, 5, 6, 7, 9]),
        ("n < -1.5", &[0, 8]),
        ("n <= -1.5", &[0, 1, 8]),
        ("n = 9007199254740993", &[6]),
        ("n > 9007199254740992", &[6, 7, 9]),
        ("n < 9007199254740993.0", &[0, 1, 2, 3, 4, 8]),
        ("/in/0/n = 9007199254740993", &[6]),
        ("n != 1 and n < 9007199254740992", &[0, 1, 2, 4, 8]),
    ];
    store.satisfied_at(&expected).await?;
    // The greatest integers, of a record of their own.
    let store = cx.fresh().await?;
    for (at, number) in [(0, u64::MAX), (1, u64::MAX - 1), (2, i64::MAX as u64)] {
        store.put("r", number, at).await?;
    }
    let expected: [(&str, &[u64]); 3] = [
        ("= 18446744073709551615", &[0]),
        ("< 18446744073709551615", &[1, 2]),
        ("> 9223372036854775807", &[0, 1]),
    ];
    store.satisfied_at(&expected).await
}

async fn filter_1_strings_are_compared_byte_by_byte(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let strings =
        ["", "a", "B", "b", "\u{e9}", "e\u{301}", "\u{10000}", "\u{ffff}", "it's \"q\" \\"];
    for (at, string) in (0..).zip(strings) {
        store.put("r", json!({ "s": string }), at).await?;
    }
    let expected: [(&str, &[u64]); 8] = [
        ("s = 'a'", &[1]),
        ("s = ''", &[0]),
        ("s = \"\u{e9}\"", &[4]),
        ("s = \"\\u00e9\"", &[4]),
        ("s = \"it's \\\"q\\\" \\\\\"", &[8]),
        ("s < 'a'", &[0, 2]),
        ("s > 'b'", &[4, 5, 6, 7, 8]),
        ("s >= \"\u{10000}\"", &[6]),
    ];
    store.satisfied_at(&expected).await
}

async fn filter_1_types_do_not_mix(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let values = [
        json!(1),
        json!("1"),
        json!(true),
        json!(false),
        json!(null),
        json!([1]),
        json!({ "v": 1 }),
        json!("true"),
        json!("null"),
    ];
    for (at, value) in (0..).zip(values) {
        store.put("r", json!({ "v": value }), at).await?;
    }
    let expected: [(&str, &[u64]); 11] = [
        ("v = 1", &[0]),
        ("v = '1'", &[1]),
        ("v = true", &[2]),
        ("v = false", &[3]),
        ("v = null", &[4]),
        ("v != null", &[0, 1, 2, 3, 5, 6, 7, 8]),
        ("v != 1", &[1, 2, 3, 4, 5, 6, 7, 8]),
        ("v >= 0", &[0]),
        ("v >= ''", &[1, 7, 8]),
        ("v < 2 or v > 2", &[0]),
        ("v = 'true' or v = 'null'", &[7, 8]),
    ];
    store.satisfied_at(&expected).await
}

async fn filter_2_an_absent_member_satisfies_no_comparison(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let values = [
        json!({ "a": 1 }),
        json!({ "a": null }),
        json!({ "b": 1 }),
        json!({}),
        json!(1),
        json!([1]),
        json!({ "A": 1, " a": 1 }),
        json!({ "a": { "b": 1 } }),
    ];
    for (at, value) in (0..).zip(values) {
        store.put("r", value, at).await?;
    }
    let expected: [(&str, &[u64]); 8] = [
        ("a = 1", &[0]),
        ("a != 1", &[1, 7]),
        ("a = null", &[1]),
        ("a != null", &[0, 7]),
        ("exists a", &[0, 1, 7]),
        ("not exists a", &[2, 3, 4, 5, 6]),
        ("exists /a/b", &[7]),
        ("/0 = 1", &[5]),
    ];
    store.satisfied_at(&expected).await
}

async fn filter_2_not_and_and_or_are_plain_logic(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (at, value) in
        (0..).zip([json!({}), json!({ "a": 1 }), json!({ "b": 1 }), json!({ "a": 1, "b": 1 })])
    {
        store.put("r", value, at).await?;
    }
    let expected: [(&str, &[u64]); 8] = [
        ("not a = 1", &[0, 2]),
        ("not a != 1", &[0, 1, 2, 3]),
        ("not (a = 1 and b = 1)", &[0, 1, 2]),
        ("not (a = 1 or b = 1)", &[0]),
        ("a = 1 or b = 1 and a = 2", &[1, 3]),
        ("(a = 1 or b = 1) and a = 1", &[1, 3]),
        ("a = 1 or not b = 1", &[0, 1, 3]),
        ("not not b = 1", &[2, 3]),
    ];
    store.satisfied_at(&expected).await
}

async fn filter_2_text_that_is_no_json_satisfies_no_filter(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for at in 1..=3 {
        store.put("r", json!({ "v": 1 }), at).await?;
    }
    store.close().await?;
    let Store { location, backend } = store;
    drop(backend);
    if cx.harness().corrupt(&location, "r", 2, "{\"v\":1,\"x\"").await?.is_none() {
        return skip("the harness has no hook corrupt");
    }
    let store = cx.open(&location).await?;
    let expected: [(&str, &[u64]); 3] =
        [("v = 1", &[1, 3]), ("not exists v", &[]), ("v = 1 or not v = 1", &[1, 3])];
    store.satisfied_at(&expected).await?;
    let expected = [json!({ "record": "r", "start": 1, "end": 4, "count": 2, "sum": 2 })];
    let asked = whole().member("v").functions(functions("sum")?).with_where(filter("exists v")?);
    same("the sum where v exists", &buckets(&store, "r", &asked).await?, &expected)
}

async fn filter_3_a_limit_selects_the_newest_that_satisfy_it(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for at in 0..40_u64 {
        store.put("a.x", json!({ "n": at, "odd": at % 2 == 1 }), at).await?;
        if at < 10 {
            store.put("a.y", json!({ "n": at, "odd": at % 2 == 1 }), at / 5).await?;
        }
        store.put("b", json!({ "n": at }), at).await?;
    }
    let odd = filter("odd = true")?;
    let newest = QueryParams::latest(3);
    let oldest_first = newest.with_order(Order::OldestFirst);
    type Rows<'a> = &'a [(&'a str, u64)];
    let expected: [(&str, QueryParams, Rows<'_>); 8] = [
        (
            "a*",
            newest,
            &[("a.x", 39), ("a.x", 37), ("a.x", 35), ("a.y", 9), ("a.y", 7), ("a.y", 5)],
        ),
        (
            "a*",
            oldest_first,
            &[("a.x", 35), ("a.x", 37), ("a.x", 39), ("a.y", 5), ("a.y", 7), ("a.y", 9)],
        ),
        (
            "*",
            newest.with_end_time(10),
            &[("a.x", 9), ("a.x", 7), ("a.x", 5), ("a.y", 9), ("a.y", 7), ("a.y", 5)],
        ),
        ("a.x", QueryParams::range(5, 9), &[("a.x", 9), ("a.x", 7), ("a.x", 5)]),
        (
            "a.#",
            QueryParams::range(36, 99).with_grammar(Grammar::Topic),
            &[("a.x", 39), ("a.x", 37)],
        ),
        ("*", QueryParams::latest(0), &[]),
        ("*", QueryParams::range(9, 5), &[]),
        ("b", newest, &[]),
    ];
    for (pattern, params, expected) in expected {
        let rows = store.rows_where(pattern, params, &odd).await?;
        let got: Vec<(&str, u64)> = rows
            .iter()
            .map(|(record, _, value)| (&**record, value["n"].as_u64().unwrap_or(0)))
            .collect();
        equal(format!("the rows of {pattern:?} with {params:?} where {odd}"), &got, &expected)?;
    }
    Ok(())
}

/// More rows than a page has, of which few satisfy the filter, in either order.
async fn filter_3_a_rare_row_is_found_among_many(cx: &Context) -> Verdict {
    const ROWS: u64 = 6_000;
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<_>> =
        (0..ROWS).map(|at| row("r", json!({ "n": at, "rare": at % 1_500 == 7 }), at)).collect();
    store.load(rows?).await?;
    let rare = filter("rare = true")?;
    for (params, expected) in [
        (QueryParams::default(), vec![4_507, 3_007, 1_507, 7]),
        (QueryParams::latest(2), vec![4_507, 3_007]),
        (QueryParams::latest(3).with_order(Order::OldestFirst), vec![1_507, 3_007, 4_507]),
        (QueryParams::range(8, 4_506), vec![3_007, 1_507]),
    ] {
        let rows = store.rows_where("r", params, &rare).await?;
        let times: Vec<u64> = rows.into_iter().map(|(_, at, _)| at).collect();
        equal(format!("the times of the rare rows with {params:?}"), &times, &expected)?;
    }
    let most = store.rows_where("r", QueryParams::default(), &filter("not rare = true")?).await?;
    equal("the number of the other rows", &(most.len() as u64), &(ROWS - 4))
}

/// The questions whose answers depend on rows beside those of the bucket.
fn questions() -> Verdict<Vec<Aggregate>> {
    let held = functions("count,time_weighted_mean,integral,covered_ms,increase,duration{2}")?;
    let plain = functions("count,skipped,sum,mean,min,max,first,last,stddev,median,delta")?;
    Ok(vec![
        whole().functions(plain.clone()),
        every(10).functions(plain.clone()),
        every(10).functions(plain.clone()).order(Order::NewestFirst),
        every(10).functions(plain.clone()).range(15, 75).fill(Fill::Null),
        every(10).functions(plain.clone()).range(15, 75).fill(Fill::Previous),
        every(10).functions(plain).range(15, 75).fill(Fill::Linear),
        every(10).functions(held.clone()).range(15, 75),
        every(7).functions(held).end_time(75),
        every(10).functions(functions("count,sum,p90")?).merge(true),
    ])
}

async fn filter_4_an_aggregate_is_that_of_the_rows_that_satisfy_it(cx: &Context) -> Verdict {
    let (store, only) = (cx.fresh().await?, cx.fresh().await?);
    let ok = filter("ok = true")?;
    let mut all = Vec::new();
    for at in 0..90_u64 {
        // No row of `never` satisfies it, and of `early` none in the window of any question.
        let rows = [
            ("a", json!({ "v": at % 7, "ok": at % 3 == 0 })),
            (
                "b",
                json!({ "v": if at % 4 == 0 { json!("x") } else { json!(at) }, "ok": at % 5 < 2 }),
            ),
            ("early", json!({ "v": at, "ok": at < 10 })),
            ("never", json!({ "v": at, "ok": 1 })),
        ];
        for (record, value) in rows {
            all.push(row(record, value, at)?);
        }
    }
    let satisfying: Vec<_> =
        all.iter().filter(|row| ok.test(row.value.as_str()).unwrap_or(false)).cloned().collect();
    store.load(all).await?;
    only.load(satisfying).await?;
    for asked in questions()? {
        let asked = asked.member("v");
        let expected: Vec<Value> = buckets(&only, "*", &asked).await?;
        let got = buckets(&store, "*", &asked.clone().with_where(ok.clone())).await?;
        same(&format!("{asked:?} where {ok}"), &got, &expected)?;
    }
    // The last of equal names counts, for the filter as well.
    let mut twice = row("twice", 0, 1)?;
    twice.value = JsonText::from_text(r#"{"v":1,"ok":true,"ok":false}"#, 100).during("a text")?;
    store.store_batch(&Batch::new([twice])).await.during("storing")?;
    let asked = whole().member("v").with_where(ok);
    equal("the buckets of twice", &buckets(&store, "twice", &asked).await?, &Vec::<Value>::new())
}
