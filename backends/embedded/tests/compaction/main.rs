//! Flushes, merges and cleanups move rows and change nothing else, whenever a store is
//! killed, whatever fails, and whichever other process compacts the same file.

#![allow(clippy::unwrap_used, reason = "test code")]

mod aggregates;
mod damage;
mod disk;
mod filter;
mod rest;

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::{
    Batch, CleanupPlan, CleanupRule, Grammar, MemoryBackend, Order, Pattern, PersistenceBackend,
    PersistenceError, QueryParams, Row, StoredValue,
};
use annals_embedded::{Tuning, format::Layout};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use disk::{Data, Disk, Event};

/// So small that the store flushes and merges all the time.
fn tiny() -> Tuning {
    Tuning {
        flush_rows: 6,
        flush_bytes: 400,
        flush_blocks: 4,
        tier_rows: [8, 24, 60],
        tier_bytes: [800, 2_400, 6_000],
        merged_runs: 3,
        split_rows: 8,
        layout: Layout {
            block_rows: 4,
            block_text: 60,
            fresh_rows: 2,
            fresh_from: 3,
            rest_rows: 16,
            rest_text: 240,
            // Small blocks gain nothing.
            rest_percent: usize::MAX,
            statistics_rows: 3,
        },
        step_rows: 20,
        divided_rows: 8,
    }
}

/// Flushes and merges nothing by itself.
fn still() -> Tuning {
    Tuning { merged_runs: usize::MAX, ..Tuning::default() }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    /// Record, time.
    Store(Vec<(u8, u64)>),
    /// Removes older rows of the first records (a number), but keeps the newest rows (a number).
    Cleanup(u8, u64, u64),
    Query(Option<usize>, Option<u64>, Option<u64>, bool),
    Compact,
}

const NAMES: [&str; 5] = ["a", "a::b", "B", "b", "ä"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly in order, often not, and with many equal times.
    let row = (0..NAMES.len() as u8, 0_u64..40);
    let bound = || proptest::option::of(0_u64..40);
    let step = prop_oneof![
        6 => vec(row, 1..7).prop_map(Step::Store),
        1 => (1..=NAMES.len() as u8, 0_u64..45, 0_u64..4)
            .prop_map(|(records, time, kept)| Step::Cleanup(records, time, kept)),
        2 => (proptest::option::of(1_usize..12), bound(), bound(), any::<bool>())
            .prop_map(|(limit, from, to, forward)| Step::Query(limit, from, to, forward)),
        1 => Just(Step::Compact),
    ];
    vec(step, 1..60)
}

fn batch(rows: &[(u8, u64)], number: &mut u64) -> Batch {
    let row = |(record, time): &(u8, u64)| {
        *number += 1;
        // Some larger than a block.
        let value = json!([*number, "x".repeat((*number % 7 * 15) as usize)]);
        Row::new(NAMES[usize::from(*record)], &value, *time).unwrap()
    };
    Batch::new(rows.iter().map(row).collect::<Vec<_>>())
}

fn plan(records: u8, older_than: u64, keep_newest: u64) -> CleanupPlan {
    let rule = |name: &&str| {
        CleanupRule::new(Pattern::new(name, Grammar::Glob).unwrap(), Some(older_than))
    };
    let rules = NAMES[..usize::from(records)].iter().map(rule).collect();
    CleanupPlan::new(rules).with_keep_newest(keep_newest)
}

fn params(limit: Option<usize>, from: Option<u64>, to: Option<u64>, forward: bool) -> QueryParams {
    QueryParams::default()
        .with_limit_per_record(limit)
        .with_start_time(from)
        .with_end_time(to)
        .with_order(if forward { Order::OldestFirst } else { Order::NewestFirst })
}

async fn everything(backend: &dyn PersistenceBackend) -> Vec<StoredValue> {
    backend.query("*", QueryParams::default()).await.unwrap()
}

fn numbers(rows: &[StoredValue]) -> BTreeSet<u64> {
    rows.iter().map(|row| row.value[0].as_u64().unwrap()).collect()
}

async fn same(one: &dyn PersistenceBackend, other: &MemoryBackend, params: QueryParams) {
    let (one_rows, other_rows) = (one.query("*", params).await, other.query("*", params).await);
    assert_eq!(one_rows.unwrap(), other_rows.unwrap(), "{params:?}");
    let listed = one.records("*", Grammar::Glob).await.unwrap();
    assert_eq!(listed, other.records("*", Grammar::Glob).await.unwrap());
}

/// A store as it would be found after a crash in this state.
async fn after_a_crash(data: &Arc<Data>) -> Vec<StoredValue> {
    let store = Disk::with(data.clone()).open(tiny());
    let rows = everything(&store).await;
    store.close().await.unwrap();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Out-of-order rows and equal times across head, runs and merges, against the reference; and
    /// a crash after any transaction loses and adds nothing.
    #[test]
    fn it_agrees_with_the_reference_at_every_transaction(steps in steps()) {
        runtime().block_on(async {
            let disk = Disk::default();
            let (store, reference) = (disk.open(tiny()), MemoryBackend::new());
            let mut number = 0;
            // What is there before and after each step.
            let mut states = vec![Vec::new()];
            for step in &steps {
                disk.note(states.len() - 1);
                match step {
                    Step::Store(rows) => {
                        let batch = batch(rows, &mut number);
                        store.store_batch(&batch).await.unwrap();
                        reference.store_batch(&batch).await.unwrap();
                    }
                    Step::Cleanup(records, time, kept) => {
                        let plan = plan(*records, *time, *kept);
                        let removed = store.cleanup_plan(&plan).await.unwrap();
                        assert_eq!(removed, reference.cleanup_plan(&plan).await.unwrap());
                    }
                    Step::Query(limit, from, to, forward) => {
                        same(&store, &reference, params(*limit, *from, *to, *forward)).await;
                    }
                    Step::Compact => {
                        store.compact(|_| {}).await.unwrap();
                        assert_eq!(disk.data().head_blocks(), 0);
                    }
                }
                states.push(everything(&reference).await);
            }
            same(&store, &reference, QueryParams::default()).await;
            store.close().await.unwrap();
            let events = disk.events.lock().unwrap().clone();
            let mut step = 0;
            for event in events {
                let data = match event {
                    Event::Note(begun) => {
                        step = begun;
                        continue;
                    }
                    Event::Committed(data) => data,
                };
                let found = after_a_crash(&data).await;
                let (before, after) = (&states[step], &states[step + 1]);
                if found != *before && found != *after {
                    // During a cleanup some expired rows are removed.
                    assert!(matches!(steps[step], Step::Cleanup(..)), "step {step}");
                    let found = numbers(&found);
                    assert!(found.is_subset(&numbers(before)) && found.is_superset(&numbers(after)));
                }
            }
        });
    }

    /// Two processes write to, compact and clean up one file.
    #[test]
    fn two_stores_share_a_file(steps in steps()) {
        runtime().block_on(async {
            let disk = Disk::default();
            let (stores, reference) =
                ([disk.open(tiny()), disk.open(tiny())], MemoryBackend::new());
            let mut number = 0;
            for (at, step) in steps.iter().enumerate() {
                let store = &stores[at % 2];
                match step {
                    Step::Store(rows) => {
                        let batch = batch(rows, &mut number);
                        store.store_batch(&batch).await.unwrap();
                        reference.store_batch(&batch).await.unwrap();
                    }
                    Step::Cleanup(records, time, kept) => {
                        let plan = plan(*records, *time, *kept);
                        let removed = store.cleanup_plan(&plan).await.unwrap();
                        assert_eq!(removed, reference.cleanup_plan(&plan).await.unwrap());
                    }
                    Step::Query(limit, from, to, forward) => {
                        same(store, &reference, params(*limit, *from, *to, *forward)).await;
                    }
                    Step::Compact => store.compact(|_| {}).await.unwrap(),
                }
            }
            for store in &stores {
                same(store, &reference, QueryParams::default()).await;
                store.close().await.unwrap();
            }
        });
    }

    /// Any call of the engine may fail. The caller tries again, and nothing is lost, doubled or in the
    /// wrong place.
    #[test]
    fn failures_change_nothing(steps in steps(), every in 3_u64..40) {
        runtime().block_on(async {
            let disk = Disk::default();
            let (store, reference) = (disk.open(tiny()), MemoryBackend::new());
            let mut number = 0;
            disk.fail_every(every);
            for step in &steps {
                match step {
                    Step::Store(rows) => {
                        let batch = batch(rows, &mut number);
                        until_done(async || store.store_batch(&batch).await, &disk).await;
                        reference.store_batch(&batch).await.unwrap();
                    }
                    Step::Cleanup(records, time, kept) => {
                        let plan = plan(*records, *time, *kept);
                        until_done(async || store.cleanup_plan(&plan).await, &disk).await;
                        reference.cleanup_plan(&plan).await.unwrap();
                    }
                    Step::Query(limit, from, to, forward) => {
                        let params = params(*limit, *from, *to, *forward);
                        let found = until_done(async || store.query("*", params).await, &disk).await;
                        assert_eq!(found, reference.query("*", params).await.unwrap());
                    }
                    Step::Compact => until_done(async || store.compact(|_| {}).await, &disk).await,
                }
            }
            disk.fail_every(0);
            same(&store, &reference, QueryParams::default()).await;
            store.close().await.unwrap();
            assert_eq!(after_a_crash(&disk.data()).await, everything(&reference).await);
        });
    }
}

/// Tries again; from the tenth failure on without any more of them.
async fn until_done<T>(call: impl AsyncFn() -> Result<T, PersistenceError>, disk: &Disk) -> T {
    for tried in 0.. {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        if tried == 10 {
            disk.fail_every(0);
        }
    }
    unreachable!("the loop has no end")
}

async fn filled(disk: &Disk, rows: u64) {
    let store = disk.open(tiny());
    for at in 0..rows {
        let record = NAMES[at as usize % NAMES.len()];
        store.store(record, &json!([at]), at).await.unwrap();
    }
    // A cleanup that finds something to remove in the head flushes all of it first.
    store.store("a", &json!([rows]), 0).await.unwrap();
    assert_eq!(store.cleanup(1).await.unwrap(), 2);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_head_becomes_runs_and_many_runs_become_few() {
    let disk = Disk::default();
    filled(&disk, 2_000).await;
    let data = disk.data();
    assert_eq!(data.head_blocks(), 0);
    assert!((1..200).contains(&data.runs()), "{} runs", data.runs());
    let merged = disk.events.lock().unwrap().windows(2).any(|events| match events {
        [Event::Committed(before), Event::Committed(after)] => after.runs() < before.runs(),
        _ => false,
    });
    assert!(merged);
}

#[tokio::test]
async fn names_go_with_their_rows_and_come_back_under_new_ids() {
    let disk = Disk::default();
    let store = disk.open(tiny());
    for round in 0..30 {
        for at in 0..10 {
            store.store("comes and goes", &json!([at]), at).await.unwrap();
            store.store("stays", &json!([at]), round * 10 + at).await.unwrap();
        }
        let rule = CleanupRule::new(Pattern::new("comes*", Grammar::Glob).unwrap(), Some(u64::MAX));
        let plan = CleanupPlan::new(vec![rule]);
        assert_eq!(store.cleanup_plan(&plan).await.unwrap(), 10);
        assert_eq!(disk.data().names(), 1);
        assert_eq!(store.records("*", Grammar::Glob).await.unwrap().len(), 1);
    }
    assert_eq!(everything(&store).await.len(), 300);
}

/// The writer waited forever for a smaller head, because it counted blocks that the engine had lost when
/// it reopened its file.
#[tokio::test]
async fn what_was_lost_is_not_in_the_head() {
    let disk = Disk::default();
    let store = disk.open(Tuning { flush_rows: 10, ..still() });
    store.store("a", &json!([100]), 0).await.unwrap();
    let before = disk.data();
    for round in 0..8 {
        for at in 0..9 {
            store.store("a", &json!([round, at]), at).await.unwrap();
        }
        disk.fall_back_to(before.clone());
    }
    for at in 0..100 {
        store.store("a", &json!([at]), at).await.unwrap();
    }
    assert_eq!(numbers(&everything(&store).await), (0..=100).collect());
}
