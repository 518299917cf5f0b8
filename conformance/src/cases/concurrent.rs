//! CONCURRENT-1 and CONCURRENT-5: many tasks, and an orderly end.

use annals_core::{Batch, PersistenceError, QueryParams, Row};
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal};
use crate::context::{Context, Store, joined, row, within};

cases![
    concurrent_1_every_store_is_stored_once,
    concurrent_5_after_close_every_call_says_so,
    concurrent_5_close_waits_for_what_was_accepted,
    concurrent_5_dropping_the_last_handle_loses_nothing,
];

async fn concurrent_1_every_store_is_stored_once(cx: &Context) -> Verdict {
    const WRITERS: u64 = 8;
    const ROWS: u64 = 40;
    let store = cx.fresh().await?;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let backend = store.backend.clone();
            tokio::spawn(async move {
                // All to one record and some to a record of their own.
                for i in 0..ROWS {
                    let at = 1_000 + writer * ROWS + i;
                    backend.store("shared", &json!(at), at).await.during("storing")?;
                    if i % 4 == 0 {
                        let own = format!("own{writer}");
                        let batch =
                            Batch::new(vec![row(&own, at, at)?, row(&own, at, at + 100_000)?]);
                        backend.store_batch(&batch).await.during("storing a batch")?;
                    }
                }
                Verdict::Ok(())
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let rows = store.rows("shared", QueryParams::default()).await?;
        let ordered = rows.windows(2).all(|pair| pair[0].1 > pair[1].1);
        ensure(ordered, "a query beside many writers", "every row once, newest first", rows)?;
        store.cleanup(500).await.during("cleaning up beside many writers")?;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        joined(writer.await)??;
    }
    let shared: Vec<u64> = (1_000..1_000 + WRITERS * ROWS).rev().collect();
    equal("the shared record", &store.values("shared", QueryParams::default()).await?, &shared)?;
    let own = store.rows("own*", QueryParams::default()).await?;
    equal("the rows of the others", &(own.len() as u64), &(WRITERS * ROWS / 4 * 2))
}

async fn concurrent_5_after_close_every_call_says_so(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", 1, 1).await?;
    store.health().await.during("asking for the health of an open store")?;
    store.close().await.during("closing")?;
    store.close().await.during("closing again")?;
    let other = store.backend.clone();
    // A backend that holds nothing back may keep the default `close` and go on.
    if other.store("r", &json!(2), 2).await.is_ok() {
        let values = store.values("r", QueryParams::default()).await?;
        return equal("the rows of a store that goes on after close", &values, &[2, 1]);
    }
    let batch = Batch::new(vec![row("r", 3, 3)?]);
    let params = QueryParams::default();
    for (call, result) in [
        ("store", other.store("r", &json!(2), 2).await),
        ("store_batch", other.store_batch(&batch).await),
        ("query", other.query("*", params).await.map(drop)),
        ("query_stream", other.query_stream("*", params).await.map(drop)),
        ("records", other.records("*", params.grammar).await.map(drop)),
        ("cleanup", other.cleanup(9).await.map(drop)),
        ("health", other.health().await),
    ] {
        let said = matches!(result, Err(PersistenceError::BackendShutdown));
        ensure(said, format!("{call} after close"), "BackendShutdown", result)?;
    }
    Ok(())
}

/// Every store that answers Ok must be there, and no store that says it was not applied.
async fn concurrent_5_close_waits_for_what_was_accepted(cx: &Context) -> Verdict {
    const STORES: u64 = 200;
    let store = cx.fresh_durable().await?;
    for round in 0..3 {
        let tasks: Vec<_> = (0..STORES)
            .map(|i| {
                let backend = store.backend.clone();
                let at = round * STORES + i;
                tokio::spawn(async move { (at, backend.store("r", &json!(at), at).await) })
            })
            .collect();
        // Some are on their way by now, and some are not.
        for _ in 0..round * 10 {
            tokio::task::yield_now().await;
        }
        if round == 2 {
            let close = store.close();
            within(cx.patience(), "close with stores on their way", close)
                .await?
                .during("closing with stores on their way")?;
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(joined(task.await)?);
        }
        if round < 2 {
            for (at, answer) in answers {
                answer.during(format!("store {at}"))?;
            }
            continue;
        }
        let Store { location, backend } = store;
        drop(backend);
        let store = cx.open(&location).await?;
        let values = store.values("r", QueryParams::default()).await?;
        for (at, answer) in answers {
            let times = values.iter().filter(|value| **value == at).count();
            let expected = match &answer {
                Ok(()) => 1..=1,
                Err(error) if error.outcome() == annals_core::Outcome::NotApplied => 0..=0,
                Err(_) => 0..=1,
            };
            let what = format!("how often row {at} is there, whose store answered {answer:?}");
            ensure(expected.contains(&times), what, format!("{expected:?}"), times)?;
        }
        return Ok(());
    }
    Ok(())
}

async fn concurrent_5_dropping_the_last_handle_loses_nothing(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    let mut expected = 0_u64;
    for _ in 0..3 {
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let backend = store.backend.clone();
                let at = expected + i;
                tokio::spawn(async move { backend.store("r", &json!(at), at).await })
            })
            .collect();
        for task in tasks {
            joined(task.await)?.during("storing")?;
        }
        expected += 20;
        let rows: Verdict<Vec<Row>> =
            (expected..expected + 20).map(|at| row("r", at, at)).collect();
        store.load(rows?).await?;
        expected += 20;
        let Store { location, backend } = store;
        drop(backend);
        store = cx.open(&location).await?;
        let values = store.values("r", QueryParams::default()).await?;
        let all: Vec<u64> = (0..expected).rev().collect();
        equal("the rows after dropping the last handle", &values, &all)?;
    }
    Ok(())
}
