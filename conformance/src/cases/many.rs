//! Claims that hold for a few rows and break with many: records, writers, steps of a cleanup, pages
//! of a stream.

use annals_core::{Batch, BatchId, CleanupPlan, CleanupRule, Grammar, Pattern, QueryParams, Row};
use futures::StreamExt;
use futures::future::try_join_all;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal};
use crate::context::{Context, row};

cases![
    query_3_a_long_stream_sees_batches_whole_or_not_at_all,
    cleanup_1_counts_exactly_over_many_rows,
    cleanup_5_a_plan_reaches_every_record_and_row,
    durable_4_many_writers_are_remembered,
    durable_4_a_batch_sent_by_several_tasks_at_once_is_stored_once,
];

/// A snapshot of the first pages only would show the batches stored beside the later ones.
async fn query_3_a_long_stream_sees_batches_whole_or_not_at_all(cx: &Context) -> Verdict {
    const OLD: u64 = 9_600;
    const EVERY: u64 = 2_400;
    const BATCH: u64 = 400;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().snapshot_queries, "snapshot_queries")?;
    let records = ["a", "b", "c", "d"];
    let old: Verdict<Vec<Row>> =
        (0..OLD).map(|i| row(records[(i / EVERY) as usize], 0, 10_000 + i)).collect();
    store.load(old?).await?;
    let mut stream = store.query_stream("*", QueryParams::default()).await?;
    let (mut read, mut stored) = (0, 0);
    let mut seen = [0; 5];
    while let Some(next) = stream.next().await {
        let next = next.during("reading a stream")?;
        let batch: usize = next.json.parse().during("reading a row's text")?;
        seen[batch] += 1;
        read += 1;
        if read % EVERY == 1 && stored < 4 {
            stored += 1;
            // Before, between and behind the rows of every record.
            let rows: Verdict<Vec<Row>> =
                (0..BATCH).map(|i| row(records[i as usize % 4], stored, 50 * i)).collect();
            let stored = store.store_batch(&Batch::new(rows?)).await;
            stored.during("storing a batch beside a stream")?;
        }
    }
    equal("the rows that were there before", &seen[0], &OLD)?;
    let whole = store.claims().atomic_batches;
    let right = seen[1..].iter().all(|rows| *rows == 0 || (whole && *rows == BATCH));
    let what = format!("the rows of four batches of {BATCH} stored while the stream was read");
    ensure(right, what, "of each batch none or, of an atomic one, all", &seen[1..])
}

/// More rows than a step of a cleanup removes.
async fn cleanup_1_counts_exactly_over_many_rows(cx: &Context) -> Verdict {
    const ROWS: u64 = 12_000;
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> =
        (0..ROWS).map(|i| row(["a", "b"][(i / (ROWS / 2)) as usize], i, i % (ROWS / 2))).collect();
    store.load(rows?).await?;
    let cutoff = ROWS / 2 - 10;
    equal("the rows removed", &store.cleanup(cutoff).await?, &(ROWS - 20))?;
    equal("the rows removed by the second call", &store.cleanup(cutoff).await?, &0)?;
    let left: Vec<u64> = store.all().await?.iter().map(|row| row.1).collect();
    let expected: Vec<u64> = (cutoff..ROWS / 2).rev().chain((cutoff..ROWS / 2).rev()).collect();
    equal("the times of the rows left", &left, &expected)
}

/// Beyond one page of a listing and one step of a cleanup.
async fn cleanup_5_a_plan_reaches_every_record_and_row(cx: &Context) -> Verdict {
    const SMALL: u64 = 1_500;
    const LONG: u64 = 6_000;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().selective_cleanup, "selective_cleanup")?;
    let long = (0..LONG).map(|at| row("a::long", at, at));
    let small = (0..3 * SMALL).map(|i| {
        let kind = if i < SMALL { "kept" } else { "small" };
        row(&format!("{kind}::{:04}", i / 3), i, i % 3)
    });
    let rows: Verdict<Vec<Row>> = long.chain(small).collect();
    store.load(rows?).await?;
    let rule = |pattern: &str, older_than: Option<u64>| -> Verdict<CleanupRule> {
        let pattern = Pattern::new(pattern, Grammar::Glob).during("making a pattern")?;
        Ok(CleanupRule::new(pattern, older_than))
    };
    let rules = vec![rule("kept::*", None)?, rule("*", Some(LONG))?];
    let removed = store.cleanup_plan(&CleanupPlan::new(rules).with_keep_newest(2)).await;
    // All but two of each record that is not kept.
    let expected = LONG - 2 + 2 * SMALL / 3;
    equal("the rows removed", &removed.during("cleaning up by a plan")?, &expected)?;
    for (pattern, rows) in [("kept::*", SMALL), ("small::*", SMALL * 4 / 3), ("a::*", 2)] {
        let left = store.rows(pattern, QueryParams::default()).await?.len() as u64;
        equal(format!("the rows left of {pattern}"), &left, &rows)?;
    }
    let newest = store.values("a::long", QueryParams::default()).await?;
    equal("the newest rows", &newest, &[LONG - 1, LONG - 2])
}

async fn durable_4_many_writers_are_remembered(cx: &Context) -> Verdict {
    const WRITERS: u128 = 1_280;
    const AT_ONCE: u128 = 64;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    for _ in 0..2 {
        for first in (0..WRITERS).step_by(AT_ONCE as usize) {
            let batches = (first..first + AT_ONCE).map(|writer| {
                let (backend, row) = (store.backend.clone(), row("r", 1, writer as u64));
                async move {
                    let batch = Batch::new(vec![row?]).with_id(BatchId { writer, number: 1 });
                    backend.store_batch(&batch).await.during("storing the batch of a writer")
                }
            });
            try_join_all(batches).await?;
        }
    }
    let times: Vec<u64> = store.all().await?.iter().map(|row| row.1).collect();
    let expected: Vec<u64> = (0..WRITERS as u64).rev().collect();
    let what = format!("the rows of {WRITERS} writers, each of which sent its batch twice");
    let too_many = times.len() as i64 - expected.len() as i64;
    ensure(times == expected, what, "each once", format!("{too_many} too many"))
}

/// As when a connection is given up that is only slow, and the batch sent over another.
async fn durable_4_a_batch_sent_by_several_tasks_at_once_is_stored_once(cx: &Context) -> Verdict {
    const ROWS: u64 = 300;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    for number in 1..=5 {
        let rows: Verdict<Vec<Row>> =
            (0..ROWS).map(|at| row("r", number, number * ROWS + at)).collect();
        let batch = Batch::new(rows?).with_id(BatchId { writer: 5, number });
        let senders = (0..6).map(|_| {
            let (backend, batch) = (store.backend.clone(), batch.clone());
            let task = tokio::spawn(async move { backend.store_batch(&batch).await });
            async { crate::context::joined(task.await)?.during("sending a batch once more") }
        });
        try_join_all(senders).await?;
        let rows = store.rows("r", QueryParams::default()).await?.len() as u64;
        equal(
            format!("the rows after {number} batches, each sent 6 times"),
            &rows,
            &(ROWS * number),
        )?;
    }
    Ok(())
}
