//! Sweeps: exact counts, concurrent stores, removal of names.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{
    Batch, BatchId, CleanupPlan, CleanupRule, Grammar, Pattern, PersistenceBackend,
    PersistenceError, QueryExt, REMEMBERED_WRITERS,
};
use common::{Place, batch, row};
use futures::future::join_all;
use serde_json::json;

fn rule(pattern: &str, older_than: Option<u64>) -> CleanupRule {
    CleanupRule::new(Pattern::new(pattern, Grammar::Glob).unwrap(), older_than)
}

async fn the_count_is_exact_over_many_steps() {
    let place = Place::new();
    let backend = place.backend();
    // 23,000 rows of one record with few different times, and 7,000 of others.
    let one: Vec<_> = (0..23_000).map(|i| row("one", i, (i / 10_000) as u64)).collect();
    backend.store_batch(&Batch::new(one)).await.unwrap();
    backend.store_batch(&batch(70, 7_000)).await.unwrap();
    assert_eq!(backend.cleanup(0).await.unwrap(), 0);
    assert_eq!(backend.cleanup(2).await.unwrap(), 20_000 + 140);
    assert_eq!(backend.cleanup(2).await.unwrap(), 0);
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 9_860);
    assert_eq!(backend.cleanup(u64::MAX).await.unwrap(), 9_860);
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 0);
}

/// The rows of committed steps were once missing from the count.
async fn a_cleanup_that_fails_part_way_reports_what_it_removed() {
    let place = Place::new();
    let backend = place.backend();
    let rows: Vec<_> = (0..6_000).map(|i| row("a", i, 1)).chain([row("b", 0, 1)]).collect();
    backend.store_batch(&Batch::new(rows)).await.unwrap();
    let refuse = "CREATE FUNCTION {s}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                    RAISE EXCEPTION 'not this one'; END $$; \
                  CREATE TRIGGER refuse BEFORE DELETE ON {s}.history FOR EACH ROW \
                    WHEN (OLD.value = '5999') EXECUTE FUNCTION {s}.refuse()";
    place.execute(refuse).await;
    let error = backend.cleanup(9).await.unwrap_err();
    assert!(error.to_string().contains("not this one"), "{error}");
    let PersistenceError::PartialCleanup { removed: 5_000, .. } = error else { panic!("{error}") };
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 1_001);
    place.execute("DROP TRIGGER refuse ON {s}.history").await;
    assert_eq!(backend.cleanup(9).await.unwrap(), 1_001);
}

async fn a_plan_agrees_with_the_reference() {
    let place = Place::new();
    let plans = [
        CleanupPlan::new(vec![rule("r1*", Some(50)), rule("r2", None)]),
        CleanupPlan::new(vec![rule("*", Some(90))]).with_keep_newest(30),
        CleanupPlan::new(vec![rule("*", Some(95))]).with_keep_newest(1_000_000),
        CleanupPlan::new(vec![rule("r3", Some(97)), rule("*", Some(60))]).with_keep_newest(10),
        CleanupPlan::new(vec![rule("*", Some(u64::MAX))]).with_keep_newest(u64::MAX),
        CleanupPlan::new(vec![rule("*", Some(u64::MAX))]).with_keep_newest(1),
    ];
    let backend = place.backend();
    let reference = annals_core::MemoryBackend::new();
    let rows = (0..2000).map(|i| row(&format!("r{}", i % 20), i, (i / 40) as u64 * 2));
    let rows = Batch::new(rows.collect::<Vec<_>>());
    backend.store_batch(&rows).await.unwrap();
    reference.store_batch(&rows).await.unwrap();
    for plan in plans {
        let expected = reference.cleanup_plan(&plan).await.unwrap();
        assert_eq!(backend.cleanup_plan(&plan).await.unwrap(), expected, "{plan:?}");
        let expected = reference.query("*", Default::default()).await.unwrap();
        assert_eq!(backend.query("*", Default::default()).await.unwrap(), expected, "{plan:?}");
    }
}

async fn two_sweeps_at_once_share_the_work() {
    let place = Place::new();
    let (a, b) = (place.backend(), place.backend());
    a.store_batch(&batch(30, 60_000)).await.unwrap();
    let counts = join_all([a.cleanup(1000), b.cleanup(1000)]).await;
    let total: u64 = counts.into_iter().map(Result::unwrap).sum();
    assert_eq!(total, 30_000);
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 30_000);
}

async fn an_empty_record_is_removed_and_can_return() {
    let place = Place::new();
    let backend = place.backend();
    backend.store("gone", &json!(1), 1).await.unwrap();
    backend.store("stays", &json!(1), 9).await.unwrap();
    assert_eq!(backend.cleanup(5).await.unwrap(), 1);
    assert_eq!(place.number("SELECT count(*) FROM {s}.records").await, 1);
    let listed = backend.records("*", Grammar::Glob).await.unwrap();
    assert_eq!(listed.len(), 1);
    // This backend still has the old id cached.
    backend.store("gone", &json!(2), 2).await.unwrap();
    assert_eq!(backend.query_latest::<i64>("gone", 9).await.unwrap(), [2]);
    assert_eq!(backend.records("*", Grammar::Glob).await.unwrap().len(), 2);
}

/// Backends with cached ids store while another one removes the names: no row may be stored under an id
/// without a name, and an attempt that was rejected must not consume a writer's number.
async fn names_are_removed_under_writers_with_cached_ids() {
    let place = Place::new();
    let sweeper = place.backend();
    sweeper.initialize().await.unwrap();
    let before = place.number("SELECT names_generation FROM {s}.meta").await;
    let done = Arc::new(AtomicBool::new(false));
    let sweeps = tokio::spawn({
        let done = done.clone();
        async move {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                removed += sweeper.cleanup(u64::MAX).await.unwrap();
            }
            removed + sweeper.cleanup(u64::MAX).await.unwrap()
        }
    });
    let writers = (0..4_u64).map(|writer| {
        let backend = place.backend();
        async move {
            for i in 1..=150_u64 {
                let rows = [row("shared", 1, i), row(&format!("own{writer}"), 1, i)];
                let id = BatchId { writer: u128::from(writer) + 1, number: i };
                let batch = Batch::new(rows).with_id(id);
                while let Err(error) = backend.store_batch(&batch).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
        }
    });
    join_all(writers).await;
    done.store(true, Ordering::Relaxed);
    assert_eq!(sweeps.await.unwrap(), 4 * 150 * 2, "each row was found and removed");
    let orphans = "SELECT count(*) FROM {s}.history h \
                   WHERE NOT EXISTS (SELECT FROM {s}.records r WHERE r.id = h.record_id)";
    assert_eq!(place.number(orphans).await, 0);
    assert_ne!(place.number("SELECT names_generation FROM {s}.meta").await, before);
}

async fn stores_continue_during_a_sweep() {
    let place = Place::new();
    let backend = place.backend();
    for _ in 0..2 {
        backend.store_batch(&batch(50, 100_000)).await.unwrap();
    }
    let sweep = tokio::spawn({
        let backend = backend.clone();
        async move { backend.cleanup(2_000).await.unwrap() }
    });
    let mut slowest = std::time::Duration::ZERO;
    let mut stored = 0;
    while !sweep.is_finished() {
        let begun = std::time::Instant::now();
        backend.store("new", &json!(1), 5_000).await.unwrap();
        slowest = slowest.max(begun.elapsed());
        stored += 1;
    }
    assert_eq!(sweep.await.unwrap(), 200_000);
    assert!(stored > 10, "only {stored} stores during the sweep");
    assert!(slowest.as_millis() < 1_000, "a store waited {slowest:?}");
    assert_eq!(backend.records("*", Grammar::Glob).await.unwrap()[0].count, stored);
}

/// Writers were once evicted by the wall clock: after a clock that was ahead, active writers were
/// forgotten. A test cannot set the server's clock, so the ids and numbers of these writers run against
/// their order of use.
async fn only_the_last_writers_are_remembered() {
    let place = Place::new();
    let backend = place.backend();
    for (writer, number) in [(9, 70), (8, 60), (7, 50), (9, 71)] {
        let id = BatchId { writer, number };
        backend.store_batch(&Batch::new([row("a", 1, 1)]).with_id(id)).await.unwrap();
    }
    let clocks = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'writers' \
                  AND table_schema = '{name}' AND data_type LIKE 'time%'";
    assert_eq!(place.number(&clocks.replace("{name}", &place.schema)).await, 0);
    let crowd = format!(
        "INSERT INTO {0}.writers \
         SELECT decode('ff' || lpad(to_hex(i), 30, '0'), 'hex'), 1 FROM generate_series(1, {1}) i",
        place.quoted(),
        REMEMBERED_WRITERS - 1
    );
    place.client().await.batch_execute(&crowd).await.unwrap();
    backend.cleanup(0).await.unwrap();
    let count = place.number("SELECT count(*) FROM {s}.writers").await;
    assert_eq!(count, REMEMBERED_WRITERS as i64);
    let kept = "SELECT get_byte(writer, 15)::bigint FROM {s}.writers WHERE get_byte(writer, 0) = 0";
    assert_eq!(place.number(kept).await, 9, "it stored twice, the last time as the last of all");
}

annals_test_postgres::server_tests! {
    async the_count_is_exact_over_many_steps,
    async a_cleanup_that_fails_part_way_reports_what_it_removed,
    async a_plan_agrees_with_the_reference,
    async two_sweeps_at_once_share_the_work,
    async an_empty_record_is_removed_and_can_return,
    async names_are_removed_under_writers_with_cached_ids,
    async stores_continue_during_a_sweep,
    async only_the_last_writers_are_remembered,
}
