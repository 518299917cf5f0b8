//! REFERENCE-1 for aggregates: random questions about random rows, answered by the backend and by
//! the reference.

use std::time::{Duration, Instant};

use annals_core::{
    Aggregate, Fill, Function, Grammar, Interpolation, MemoryBackend, Order, PersistenceBackend,
    Predicate, QueryExt, Row, Value, Width,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::aggregate::{as_json, same};
use crate::case::cases;
use crate::check::{During, Verdict, failure};
use crate::context::Context;

cases![reference_1_random_aggregates_agree_with_the_reference];

/// No new store is begun after this time.
const BUDGET: Duration = Duration::from_secs(8);
const STORES: usize = 12;
const QUESTIONS: usize = 16;

/// 29 March 2025, 00:00 UTC: a day before the clocks of Vienna change.
const START: u64 = 1_743_206_400_000;
const HOUR: u64 = 3_600_000;

async fn reference_1_random_aggregates_agree_with_the_reference(cx: &Context) -> Verdict {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&cx.suite.seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let started = Instant::now();
    for _ in 0..STORES {
        if started.elapsed() > BUDGET {
            break;
        }
        let (store, reference) = (cx.fresh().await?, MemoryBackend::new());
        let batches = pick(&mut runner, &vec(vec(new_row(), 1..20), 1..8))?;
        for batch in batches {
            let rows: Result<Vec<Row>, _> =
                batch.iter().map(|(name, value, at)| Row::new(name, value, *at)).collect();
            let rows = rows.during("making rows")?;
            reference.store_batch(&annals_core::Batch::new(rows.clone())).await?;
            store.load(rows).await?;
        }
        for _ in 0..QUESTIONS {
            let (pattern, asked) = pick(&mut runner, &question())?;
            compare(&store.backend, &reference, &pattern, &asked, cx.suite.seed).await?;
        }
    }
    Ok(())
}

fn pick<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> Verdict<S::Value> {
    let tree = strategy.new_tree(runner);
    tree.map(|tree| tree.current())
        .map_err(|reason| failure("a strategy", "a value", reason.message()))
}

async fn compare(
    backend: &dyn PersistenceBackend,
    reference: &MemoryBackend,
    pattern: &str,
    asked: &Aggregate,
    seed: u64,
) -> Verdict {
    let what = format!("{pattern:?} with {asked:?} (ANNALS_CONFORMANCE_SEED={seed})");
    let got = backend.aggregate(pattern, asked).await;
    let expected = reference.aggregate(pattern, asked).await;
    match (got, expected) {
        (Ok(got), Ok(expected)) => same(&what, &as_json(&got)?, &as_json(&expected)?),
        (Err(got), Err(expected)) => {
            let (got, expected) = (format!("{got:?}"), format!("{expected:?}"));
            if got == expected { Ok(()) } else { Err(failure(what, expected, got)) }
        }
        (got, expected) => Err(failure(what, format!("{expected:?}"), format!("{got:?}"))),
    }
}

/// Values whose sums have few digits, so that what is left of time-weighted sums is exact as well,
/// and everything that is no sample.
fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        6 => (-40..400_i32).prop_map(|number| json!(f64::from(number) / 4.0)),
        3 => (0..50_u32).prop_map(|number| json!(number)),
        1 => Just(json!(true)),
        1 => Just(json!(1_u64 << 40)),
    ];
    let other =
        select(vec![json!("open"), json!("closed"), json!(null), json!([1]), json!("\u{0}")]);
    let inner = prop_oneof![5 => number, 2 => other].boxed();
    prop_oneof![
        8 => inner.clone().prop_map(|value| json!({ "v": value, "n": { "v": [value] } })),
        1 => inner,
        1 => Just(json!({ "w": 1 })),
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        // A few times within hours of each other, so that rows share them.
        4 => (0..25_u64).prop_map(|hours| START + hours * 3 * HOUR),
        2 => (0..75 * HOUR).prop_map(|millis| START + millis),
    ]
}

fn new_row() -> impl Strategy<Value = (String, Value, u64)> {
    (select(vec!["a", "A", "ab", "\u{e9}"]).prop_map(str::to_owned), value(), time())
}

fn all_functions() -> Vec<Function> {
    let names = "count,skipped,sum,mean,min,min_at,max,max_at,first,first_at,last,last_at,stddev,\
                 median,p95,p33.3,delta,increase,rate,time_weighted_mean,integral,covered_ms,\
                 duration{\"open\"},duration{4}";
    Function::parse_list(names).unwrap_or_default()
}

fn width() -> impl Strategy<Value = Option<Aggregate>> {
    let calendar = select(vec!["1d", "1w", "1mo", "2mo", "1q", "1y", "24h", "6h", "90m"]);
    let zone = select(vec!["UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu"]);
    option::weighted(
        0.85,
        (calendar, zone).prop_map(|(width, zone)| {
            let width = Width::parse(width).map(Aggregate::every);
            width.unwrap_or_default().time_zone(zone)
        }),
    )
}

fn filter() -> impl Strategy<Value = Option<Predicate>> {
    const FILTERS: &[&str] =
        &["v > 10", "v = 'open'", "not v < 20", "exists w", "/n/v/0 >= 5 or v = null", "= 7"];
    let filter = select(FILTERS).prop_map(|text| Predicate::parse(text).ok());
    option::weighted(0.3, filter).prop_map(Option::flatten)
}

fn question() -> impl Strategy<Value = (String, Aggregate)> {
    let pattern = select(vec!["*", "a*", "a", "A", "\u{e9}", "x*"]);
    let member = select(vec!["v", "/v", "/n/v/0", "", "w", "/n"]);
    let functions = subsequence(all_functions(), 1..8);
    let bound = || option::weighted(0.6, time());
    let fill = select(vec![Fill::None, Fill::None, Fill::Null, Fill::Previous, Fill::Linear]);
    let gap = option::weighted(0.3, (1..20 * HOUR).prop_map(Duration::from_millis));
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2), filter());
    let now = prop_oneof![Just(START + 200 * HOUR), time()];
    (pattern, member, functions, width(), (bound(), bound()), fill, gap, flags, now).prop_map(
        |(
            pattern,
            member,
            functions,
            width,
            (from, to),
            fill,
            gap,
            (newest, linear, merge, filter),
            now,
        )| {
            let mut asked = width.unwrap_or_else(Aggregate::new).member(member);
            asked = asked.functions(functions).fill(fill).merge(merge).now(now);
            asked = asked.grammar(Grammar::Glob);
            if let Some(from) = from {
                asked = asked.start_time(from);
            }
            if let Some(to) = to {
                asked = asked.end_time(to);
            }
            if let Some(gap) = gap {
                asked = asked.max_gap(gap);
            }
            if let Some(filter) = filter {
                asked = asked.with_where(filter);
            }
            if newest {
                asked = asked.order(Order::NewestFirst);
            }
            if linear {
                asked = asked.interpolation(Interpolation::Linear);
            }
            (pattern.to_owned(), asked)
        },
    )
}
