//! DURABLE: what was acknowledged is there, once, whatever happened in between.

use annals_core::{
    Batch, BatchId, ErrorKind, MAX_TIMESTAMP, Outcome, PersistenceError, QueryParams, Value,
};

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, refused, skip};
use crate::child::{Role, role};
use crate::context::{Context, Store, row};

cases![
    durable_1_acknowledged_rows_survive_kill_9,
    durable_1_acknowledged_rows_of_concurrent_writers_survive_kill_9,
    durable_1_acknowledged_batches_survive_kill_9,
    durable_2_reopening_shows_every_row_once_and_in_order,
    durable_2_reopening_after_kill_9_shows_every_row_once_and_in_order,
    durable_3_a_failed_sync_is_no_success,
    durable_4_a_batch_with_an_id_is_stored_once,
    durable_4_a_number_out_of_range_is_refused,
    durable_4_a_batch_sent_again_after_reopening_is_stored_once,
    durable_4_a_batch_sent_again_after_kill_9_is_stored_once,
    durable_4_without_the_claim_the_id_is_ignored,
    durable_5_a_full_disk_refuses_rows_and_answers_queries,
];

/// How often a writer is killed: a store that loses the last of its rows may be lucky once.
const KILLS: u64 = 3;

async fn durable_1_acknowledged_rows_survive_kill_9(cx: &Context) -> Verdict {
    acknowledged_rows_survive(cx, 1, 0, 7).await
}

async fn durable_1_acknowledged_rows_of_concurrent_writers_survive_kill_9(cx: &Context) -> Verdict {
    acknowledged_rows_survive(cx, 4, 0, 25).await
}

async fn durable_1_acknowledged_batches_survive_kill_9(cx: &Context) -> Verdict {
    acknowledged_rows_survive(cx, 2, 50, 5).await
}

async fn acknowledged_rows_survive(
    cx: &Context,
    writers: usize,
    batch: usize,
    acknowledgements: u64,
) -> Verdict {
    for kill in 0..KILLS {
        let (store, acknowledged) = killed(cx, writers, batch, acknowledgements + 3 * kill).await?;
        for (writer, rows) in acknowledged.into_iter().enumerate() {
            let values = store.values(&format!("w{writer}"), QueryParams::default()).await?;
            let missing: Vec<u64> =
                (0..rows).filter(|row| !values.iter().any(|value| value == row)).collect();
            let what = format!("the rows missing of {rows} acknowledged to writer {writer}");
            equal(what, &missing, &[0_u64; 0])?;
        }
    }
    Ok(())
}

/// Lets a process write to a new store, kills it after some acknowledgements and opens the store.
/// Returns how many rows of each writer were acknowledged.
async fn killed(
    cx: &Context,
    writers: usize,
    batch: usize,
    acknowledgements: u64,
) -> Verdict<(Store, Vec<u64>)> {
    let store = cx.fresh_durable().await?;
    store.close().await?;
    let Store { location, backend } = store;
    drop(backend);
    let mut child = cx.child(&location, Role::Write { writers, batch }).await?;
    let mut acknowledged = vec![0; writers];
    let mut noted = 0;
    while noted < acknowledgements {
        noted += note(&mut acknowledged, &child.line().await?)?;
    }
    for line in child.kill().await? {
        note(&mut acknowledged, &line)?;
    }
    Ok((cx.open(&location).await?, acknowledged))
}

/// Notes what a writer was acknowledged; returns how many acknowledgements the line has.
fn note(acknowledged: &mut [u64], line: &str) -> Verdict<u64> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["send", ..] => Ok(0),
        ["ack", writer, rows] => {
            let writer: usize = writer.parse().during("reading an acknowledgement")?;
            acknowledged[writer] = rows.parse().during("reading an acknowledgement")?;
            Ok(1)
        }
        _ => Err(failure("the process that writes", "an acknowledgement", line)),
    }
}

/// The rows of a writer must be 0, 1, 2, … without a gap or a double, the last to arrive first.
async fn in_order(store: &Store, record: &str) -> Verdict<u64> {
    let values = store.values(record, QueryParams::default()).await?;
    let expected: Vec<Value> = (0..values.len()).rev().map(Value::from).collect();
    equal(format!("the rows of {record}, the last to arrive first"), &values, &expected)?;
    Ok(values.len() as u64)
}

async fn durable_2_reopening_shows_every_row_once_and_in_order(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    let mut stored = 0;
    for opening in 0..4_u64 {
        for _ in 0..6 {
            store.put("r", stored, role::written_at(stored)).await?;
            stored += 1;
        }
        let batch: Verdict<Vec<_>> =
            (stored..stored + 6).map(|i| row("r", i, role::written_at(i))).collect();
        store.load(batch?).await?;
        stored += 6;
        if opening % 2 == 0 {
            store = cx.reopen(store).await?;
        } else {
            let Store { location, backend } = store;
            drop(backend);
            store = cx.open(&location).await?;
        }
        equal("the number of rows", &in_order(&store, "r").await?, &stored)?;
    }
    store.put("r", stored, MAX_TIMESTAMP).await?;
    let store = cx.reopen(store).await?;
    equal("the number of rows", &in_order(&store, "r").await?, &(stored + 1))
}

async fn durable_2_reopening_after_kill_9_shows_every_row_once_and_in_order(
    cx: &Context,
) -> Verdict {
    for batch in [0, 7] {
        let (store, acknowledged) = killed(cx, 2, batch, 12).await?;
        for (writer, rows) in acknowledged.into_iter().enumerate() {
            let record = format!("w{writer}");
            let found = in_order(&store, &record).await?;
            // One call was on its way at most.
            let most = rows + batch.max(1) as u64;
            let what = format!("the number of rows of {record}");
            ensure((rows..=most).contains(&found), what, format!("{rows} to {most}"), found)?;
            if store.claims().atomic_batches && batch > 0 {
                equal("the rows beyond whole batches", &(found % batch as u64), &0)?;
            }
        }
    }
    Ok(())
}

async fn durable_3_a_failed_sync_is_no_success(cx: &Context) -> Verdict {
    let store = cx.fresh_durable().await?;
    store.put("r", 0, 0).await?;
    let Some(failing) = cx.harness().fail_syncs(&store.location).await? else {
        return skip("the harness has no hook fail_syncs");
    };
    let mut acknowledged = vec![0];
    for value in 1..4_u64 {
        let result = store.store("r", &value.into(), value).await;
        ensure(result.is_err(), "a store while syncs fail", "an error", result)?;
    }
    let batch: Verdict<Vec<_>> = (0..3_000).map(|i| row("batch", i, i)).collect();
    let result = store.store_batch(&Batch::new(batch?)).await;
    ensure(result.is_err(), "a batch while syncs fail", "an error", result)?;
    drop(failing);
    // It may have to be opened again first. What it acknowledges from here on must be true.
    for value in 4..7_u64 {
        if store.store("r", &value.into(), value).await.is_ok() {
            acknowledged.push(value);
        }
    }
    let Store { location, backend } = store;
    // A store that cannot be closed properly any more must say so, and may.
    let _ = backend.close().await;
    drop(backend);
    let store = cx.open(&location).await?;
    let found = store.rows("batch", QueryParams::default()).await?.len();
    if store.claims().atomic_batches {
        let whole = found == 0 || found == 3_000;
        ensure(whole, "the rows of the batch that failed", "none, or all 3,000", found)?;
    }
    let values = store.values("r", QueryParams::default()).await?;
    let missing: Vec<u64> =
        acknowledged.into_iter().filter(|row| !values.iter().any(|value| value == row)).collect();
    equal("acknowledged rows that are missing", &missing, &[0_u64; 0])?;
    let mut once = values.clone();
    once.dedup();
    equal("the rows", &values, &once)
}

/// Batches of two writers, each sent several times and an old one late.
async fn send_again(store: &Store, writer: u128, first: u64) -> Verdict {
    let batch = |number: u64| -> Verdict<Batch> {
        let rows = vec![row("r", number, number)?, row("s", number, number)?];
        Ok(Batch::new(rows).with_id(BatchId { writer, number }))
    };
    for number in [first, first, first + 1, first, first + 5, first + 5, first + 1] {
        store.store_batch(&batch(number)?).await.during("storing a batch with an id")?;
    }
    Ok(())
}

async fn idempotent(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    Ok(store)
}

async fn durable_4_a_number_out_of_range_is_refused(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for number in [0, i64::MAX as u64 + 1, u64::MAX] {
        let batch = Batch::new(vec![row("r", number, 1)?]).with_id(BatchId { writer: 9, number });
        let result = store.store_batch(&batch).await;
        let refused = matches!(result, Err(PersistenceError::InvalidBatchId { .. }));
        ensure(refused, format!("a batch with the number {number}"), "InvalidBatchId", result)?;
    }
    let batch = Batch::new(vec![row("r", 1, 1)?]);
    let last = BatchId { writer: 9, number: i64::MAX as u64 };
    store.store_batch(&batch.with_id(last)).await.during("storing the last number there is")?;
    equal("the rows", &store.values("r", QueryParams::default()).await?, &[1])
}

async fn durable_4_a_batch_with_an_id_is_stored_once(cx: &Context) -> Verdict {
    let store = idempotent(cx).await?;
    send_again(&store, u128::MAX, 1).await?;
    // The same numbers of another writer are other batches.
    send_again(&store, 7, 101).await?;
    for record in ["r", "s"] {
        let values = store.values(record, QueryParams::default()).await?;
        equal(format!("the rows of {record}"), &values, &[106, 102, 101, 6, 2, 1])?;
    }
    let id = BatchId { writer: 8, number: MAX_TIMESTAMP };
    for _ in 0..2 {
        let batch = Batch::new(vec![row("t", "last", 1)?]).with_id(id);
        store.store_batch(&batch).await.during("storing the batch with the last number")?;
    }
    equal("the rows of t", &store.values("t", QueryParams::default()).await?, &["last"])
}

async fn durable_4_a_batch_sent_again_after_reopening_is_stored_once(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    for _ in 0..3 {
        send_again(&store, 1, 101).await?;
        // Nor does a cleanup make the store forget what it has seen.
        store.put("old", 1, 0).await?;
        store.cleanup(50).await?;
        store = cx.reopen(store).await?;
    }
    let values = store.values("r", QueryParams::default()).await?;
    equal("the rows of r", &values, &[106, 102, 101])
}

async fn durable_4_a_batch_sent_again_after_kill_9_is_stored_once(cx: &Context) -> Verdict {
    const BATCH: usize = 10;
    for kill in 0..KILLS {
        let (store, acknowledged) = killed(cx, 1, BATCH, 4 + kill).await?;
        store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
        // Nobody knows whether the one after the last acknowledged is there.
        let unknown = role::batch(0, acknowledged[0], BATCH)?;
        store.store_batch(&unknown).await.during("sending the unanswered batch again")?;
        let mut values = store.values("w0", QueryParams::default()).await?;
        values.sort_unstable_by_key(Value::as_u64);
        let expected: Vec<Value> = (0..acknowledged[0] + BATCH as u64).map(Value::from).collect();
        equal("the rows, each once", &values, &expected)?;
    }
    Ok(())
}

async fn durable_4_without_the_claim_the_id_is_ignored(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    if store.claims().idempotent_batches {
        return skip("the backend claims idempotent_batches");
    }
    let batch = Batch::new(vec![row("r", 1, 1)?]).with_id(BatchId { writer: 1, number: 1 });
    for _ in 0..2 {
        store.store_batch(&batch).await.during("storing a batch with an id")?;
    }
    let values = store.values("r", QueryParams::default()).await?;
    equal("the rows of a batch of one stored twice", &values, &[1, 1])
}

async fn durable_5_a_full_disk_refuses_rows_and_answers_queries(cx: &Context) -> Verdict {
    let store = cx.fresh_durable().await?;
    store.put("r", 0, 0).await?;
    let Some(full) = cx.harness().fill_disk(&store.location).await? else {
        return skip("the harness has no hook fill_disk");
    };
    // There may be room within the files.
    let mut stored = 1;
    // Hardly compressible.
    let text = |row: u64| -> String {
        let number = |i: u64| (2_000 * row + i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string();
        (0..2_000).map(number).collect()
    };
    let error = loop {
        match store.store("r", &text(stored).into(), stored).await {
            Ok(()) if stored < 1_000 => stored += 1,
            result => {
                let is_full = |error: &PersistenceError| matches!(error, PersistenceError::Backend(e) if e.kind() == ErrorKind::Full);
                break refused("a store on a full disk", result, "ErrorKind::Full", is_full)?;
            }
        }
    };
    equal("the outcome of that store", &error.outcome(), &Outcome::NotApplied)?;
    let times = |end: u64| (0..end).rev().collect::<Vec<u64>>();
    equal("the times of the rows on a full disk", &stored_at(&store).await?, &times(stored))?;
    drop(full);
    store.put("r", stored, stored).await?;
    stored += 1;
    equal("the times of the rows", &stored_at(&store).await?, &times(stored))?;
    let store = cx.reopen(store).await?;
    equal("the times of the rows", &stored_at(&store).await?, &times(stored))
}

async fn stored_at(store: &Store) -> Verdict<Vec<u64>> {
    let rows = store.rows("r", QueryParams::default()).await?;
    Ok(rows.into_iter().map(|(_, stored_at, _)| stored_at).collect())
}
