//! CLEANUP: exactly what is too old goes, and the rest goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals_core::{
    CleanupPlan, CleanupRule, Grammar, MAX_TIMESTAMP, Pattern, PersistenceError, QueryParams, Row,
};

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, refused, skip};
use crate::context::{Context, Store, joined, row};

cases![
    cleanup_1_removes_strictly_older_rows_of_all_records,
    cleanup_1_the_greatest_cut_off_removes_everything,
    cleanup_1_counts_exactly_while_rows_arrive,
    cleanup_2_stores_and_queries_go_on,
    cleanup_3_space_comes_back,
    cleanup_4_an_empty_record_is_not_listed_and_can_be_written_again,
    cleanup_5_a_record_follows_the_first_rule_that_matches,
    cleanup_5_rules_mind_case,
    cleanup_5_the_newest_rows_stay,
    cleanup_5_a_plain_plan_needs_no_claim,
    cleanup_5_without_the_claim_other_plans_are_refused,
    cleanup_6_what_is_held_stays,
];

/// Records `a`, `b` and `c` with rows at 1 to 10.
async fn thirty(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for record in ["a", "b", "c"] {
        for at in 1..=10 {
            store.put(record, at, at).await?;
        }
    }
    Ok(store)
}

async fn cleanup_1_removes_strictly_older_rows_of_all_records(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    equal("rows removed before 0", &store.cleanup(0).await?, &0)?;
    equal("rows removed before 1", &store.cleanup(1).await?, &0)?;
    equal("rows removed before 5", &store.cleanup(5).await?, &12)?;
    for record in ["a", "b", "c"] {
        let left = store.values(record, QueryParams::default()).await?;
        equal(format!("what is left of {record}"), &left, &[10, 9, 8, 7, 6, 5])?;
    }
    equal("rows removed by the second call", &store.cleanup(5).await?, &0)?;
    equal("rows removed before 6", &store.cleanup(6).await?, &3)
}

async fn cleanup_1_the_greatest_cut_off_removes_everything(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", 1, 0).await?;
    store.put("r", 2, MAX_TIMESTAMP).await?;
    equal("rows removed before i64::MAX", &store.cleanup(MAX_TIMESTAMP).await?, &1)?;
    store.put("r", 3, 5).await?;
    equal("rows removed before i64::MAX + 1", &store.cleanup(MAX_TIMESTAMP + 1).await?, &2)?;
    store.put("r", 4, MAX_TIMESTAMP).await?;
    equal("rows removed before u64::MAX", &store.cleanup(u64::MAX).await?, &1)
}

async fn cleanup_1_counts_exactly_while_rows_arrive(cx: &Context) -> Verdict {
    const WRITERS: u64 = 3;
    const ROWS: u64 = 60;
    let store = cx.fresh().await?;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let backend = store.backend.clone();
            tokio::spawn(async move {
                for i in 0..ROWS {
                    // Every other row is too old from the start.
                    let at = if i % 2 == 0 { i } else { 1_000 + i };
                    let record = format!("r{writer}");
                    backend.store(&record, &i.into(), at).await.during("storing")?;
                }
                Verdict::Ok(())
            })
        })
        .collect();
    let mut removed = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        removed += store.cleanup(500).await.during("cleaning up while rows arrive")?;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        joined(writer.await)??;
    }
    removed += store.cleanup(500).await?;
    equal("the rows removed, all counts together", &removed, &(WRITERS * ROWS / 2))?;
    equal("the rows left", &(store.all().await?.len() as u64), &(WRITERS * ROWS / 2))
}

/// A cleanup that holds everybody up for its whole time fails, unless it takes no time worth
/// speaking of beside a store and a query without it. A machine that stands still for a moment
/// does not do so every time.
async fn cleanup_2_stores_and_queries_go_on(cx: &Context) -> Verdict {
    const OLD: u64 = 20_000;
    const ATTEMPTS: usize = 4;
    const NO_TIME: Duration = Duration::from_millis(500);
    let store = cx.fresh().await?;
    let mut at = OLD + 10;
    let mut kept = 0;
    for attempt in 1..=ATTEMPTS {
        let rows: Verdict<Vec<Row>> =
            (0..OLD).map(|at| row(["a", "b"][at as usize % 2], "x".repeat(60), at)).collect();
        store.load(rows?).await?;
        let mut without = Duration::ZERO;
        for _ in 0..20 {
            at += 1;
            without = without.max(time_of_a_round(&store, at).await?);
            kept += 1;
        }
        let done = Arc::new(AtomicBool::new(false));
        let (backend, is_done) = (store.backend.clone(), done.clone());
        let cleanup = tokio::spawn(async move {
            let started = Instant::now();
            let removed = backend.cleanup(OLD + 5).await;
            is_done.store(true, Ordering::Relaxed);
            (removed, started.elapsed())
        });
        let mut longest = Duration::ZERO;
        while !done.load(Ordering::Relaxed) {
            at += 1;
            longest = longest.max(time_of_a_round(&store, at).await?);
            kept += 1;
            tokio::task::yield_now().await;
        }
        let (removed, taken) = joined(cleanup.await)?;
        removed.during("cleaning up")?;
        equal("the rows left", &store.all().await?.len(), &kept)?;
        let bound = NO_TIME.max(taken / 2).max(10 * without);
        if longest < bound {
            break;
        }
        ensure(
            attempt < ATTEMPTS,
            format!("the longest wait for a store and a query during a cleanup of {taken:?}"),
            format!("less than {bound:?} (without a cleanup: {without:?})"),
            longest,
        )?;
    }
    Ok(())
}

/// How long it takes to store a row and to get it back.
async fn time_of_a_round(store: &Store, at: u64) -> Verdict<Duration> {
    let started = Instant::now();
    store.put("new", at, at).await?;
    let latest = store.rows("new", QueryParams::latest(1)).await?;
    equal("the latest row", &latest.first().map(|row| row.1), &Some(at))?;
    Ok(started.elapsed())
}

/// A store that leaves all rows behind has three times as many after three times the rounds.
async fn cleanup_3_space_comes_back(cx: &Context) -> Verdict {
    const ROWS: u64 = 250;
    const KEPT_ROUNDS: u64 = 5;
    /// The size is looked at once in so many rounds: to get it may take a store a second.
    const LOOK: u64 = 5;
    /// The greatest size up to each of these is compared with the one before it. Space that a
    /// reader elsewhere holds may come back late: then the steps after it show no growth.
    const STEPS: [u64; 3] = [30, 90, 270];
    let store = cx.fresh().await?;
    if cx.harness().size(&store.location).await?.is_none() {
        return skip("the harness has no hook size");
    }
    // Text that no store packs away: what is left behind must show.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = || {
        let mut word = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{state:016x}")
        };
        (0..32).map(|_| word()).collect::<String>()
    };
    let mut sizes = Vec::new();
    let mut round = 0;
    for step in STEPS {
        let mut greatest = 0;
        while round < step {
            let rows: Verdict<Vec<Row>> =
                (0..ROWS).map(|i| row(&format!("r{}", i % 10), text(), round * ROWS + i)).collect();
            store.load(rows?).await?;
            store.cleanup((round * ROWS).saturating_sub(KEPT_ROUNDS * ROWS)).await?;
            round += 1;
            if round % LOOK == 0 {
                let size = cx.harness().size(&store.location).await?.unwrap_or(0);
                greatest = size.max(greatest);
            }
        }
        // Some stores double their file when it is full.
        if sizes.last().is_some_and(|before| greatest <= 2 * before) {
            return Ok(());
        }
        sizes.push(greatest);
    }
    let what = format!("the greatest sizes up to the rounds {STEPS:?}, in bytes");
    Err(failure(what, "one that is at most twice the one before", format!("{sizes:?}")))
}

async fn cleanup_4_an_empty_record_is_not_listed_and_can_be_written_again(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("gone", 1, 1).await?;
    store.put("stays", 2, 20).await?;
    store.cleanup(10).await?;
    let listed = store.records("*", Grammar::Glob).await?;
    let listed: Vec<String> = listed.into_iter().map(|summary| summary.record).collect();
    equal("the listing", &listed, &["stays"])?;
    equal("the rows of the empty record", &store.rows("gone", QueryParams::default()).await?, &[])?;
    store.put("gone", 3, 30).await?;
    equal("what was written again", &store.values("gone", QueryParams::default()).await?, &[3])?;
    equal("the number of records", &store.records("*", Grammar::Glob).await?.len(), &2)
}

fn rule(pattern: &str, older_than: Option<u64>) -> Verdict<CleanupRule> {
    let pattern = Pattern::new(pattern, Grammar::Glob).during("making a pattern")?;
    Ok(CleanupRule::new(pattern, older_than))
}

async fn selective(cx: &Context) -> Verdict<Store> {
    let store = thirty(cx).await?;
    store.must_claim(store.claims().selective_cleanup, "selective_cleanup")?;
    Ok(store)
}

/// Whether the bound is strict is CLEANUP-1's matter: no row lies on one here.
async fn cleanup_5_a_record_follows_the_first_rule_that_matches(cx: &Context) -> Verdict {
    let store = selective(cx).await?;
    store.cleanup_plan(&CleanupPlan::default()).await.during("a plan without rules")?;
    equal("the rows after a plan without rules", &store.all().await?.len(), &30)?;
    store.put("d", 99, 99).await?;
    let rules =
        vec![rule("a", None)?, rule("b*", Some(100))?, rule("*b", Some(0))?, rule("c", Some(0))?];
    let removed = store.cleanup_plan(&CleanupPlan::new(rules)).await;
    equal("the rows removed", &removed.during("cleaning up by a plan")?, &10)?;
    equal("the records left", &store.names("*", QueryParams::default()).await?, &["a", "c", "d"])
}

/// A rule that folds names removes what nobody named.
async fn cleanup_5_rules_mind_case(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().selective_cleanup, "selective_cleanup")?;
    for name in ["KILN", "Kiln", "Oven", "kiln", "oven", "\u{e9}", "\u{c9}"] {
        store.put(name, 1, 1).await?;
    }
    let rules = vec![rule("K*", Some(9))?, rule("oven", Some(9))?, rule("*\u{c9}", Some(9))?];
    let removed = store.cleanup_plan(&CleanupPlan::new(rules)).await;
    equal("the rows removed", &removed.during("cleaning up by a plan")?, &4)?;
    // Their order is NAME-3's matter.
    let mut left = store.names("*", QueryParams::default()).await?;
    left.sort_unstable();
    equal("the records left", &left, &["Oven", "kiln", "\u{e9}"])
}

async fn cleanup_5_the_newest_rows_stay(cx: &Context) -> Verdict {
    let store = selective(cx).await?;
    let plan = CleanupPlan::new(vec![rule("*", Some(100))?]).with_keep_newest(3);
    let removed = store.cleanup_plan(&plan).await;
    equal("the rows removed", &removed.during("cleaning up by a plan")?, &21)?;
    for record in ["a", "b", "c"] {
        let left = store.values(record, QueryParams::default()).await?;
        equal(format!("what is left of {record}"), &left, &[10, 9, 8])?;
    }
    equal("the rows removed by the second call", &store.cleanup_plan(&plan).await?, &0)?;
    let more = plan.with_keep_newest(u64::MAX);
    equal("the rows removed if all stay", &store.cleanup_plan(&more).await?, &0)
}

async fn cleanup_5_a_plain_plan_needs_no_claim(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    store.cleanup_plan(&CleanupPlan::older_than(0)).await.during("a plan for nothing")?;
    store.cleanup_plan(&CleanupPlan::older_than(100)).await.during("a plain plan")?;
    equal("the rows left", &store.all().await?, &[])
}

async fn cleanup_5_without_the_claim_other_plans_are_refused(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    if store.claims().selective_cleanup {
        return skip("the backend claims selective_cleanup");
    }
    for plan in [
        CleanupPlan::new(vec![rule("a", Some(100))?]),
        CleanupPlan::new(vec![rule("*", Some(100))?]).with_keep_newest(1),
    ] {
        refused(format!("{plan:?}"), store.cleanup_plan(&plan).await, "Unsupported", |error| {
            matches!(error, PersistenceError::Unsupported(_))
        })?;
    }
    equal("the number of rows left", &store.all().await?.len(), &30)
}

async fn cleanup_6_what_is_held_stays(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    store.must_claim(store.claims().selective_cleanup, "selective_cleanup")?;
    let pattern = |text| Pattern::new(text, Grammar::Glob).during("making a pattern");
    let plan = || CleanupPlan::older_than(9);
    let held = plan().with_hold(pattern("a")?, 3).with_hold(pattern("[ab]")?, 1);
    let held = held.with_hold(pattern("*")?, 8).with_hold(pattern("b*")?, 100);
    equal("rows removed of a to c", &store.cleanup_plan(&held).await?, &(2 + 7 + 7))?;
    for (record, left) in [("a", 8), ("b", 3), ("c", 3)] {
        let rows = store.rows(record, QueryParams::default()).await?;
        equal(format!("the rows left of {record}"), &rows.len(), &left)?;
    }
    let mut held = plan();
    held.holds.push(CleanupRule::new(pattern("c")?, None));
    equal("rows removed of a and b", &store.cleanup_plan(&held).await?, &(6 + 1))?;
    // A hold alone removes nothing.
    let nothing = CleanupPlan::default().with_hold(Pattern::all(), 5);
    equal("rows removed without a rule", &store.cleanup_plan(&nothing).await?, &0)
}
