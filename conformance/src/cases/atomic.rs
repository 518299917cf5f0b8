//! BATCH-1 and DURABLE-4 with batches of thousands of rows: a store that commits a batch in steps is
//! found by readers in between, or by `kill -9` in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use annals_core::{Batch, QueryParams, Row, Value};
use tokio::runtime::Handle;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure};
use crate::child::{Role, role};
use crate::context::{Context, Store, joined, row};

cases![
    batch_1_readers_see_no_part_of_a_large_batch,
    batch_1_a_large_batch_is_whole_or_absent_after_kill_9,
    batch_1_a_batch_has_tens_of_thousands_of_rows,
    durable_4_a_large_batch_sent_again_after_kill_9_is_stored_once,
];

/// The rows of a batch in this file.
const ROWS: u64 = 3_000;

/// Two point reads, one after the other: a batch whose last row was visible to the first read must
/// show its first row to the second, and the other way round. This holds without a snapshot.
async fn batch_1_readers_see_no_part_of_a_large_batch(cx: &Context) -> Verdict {
    /// On threads of their own: a store that never awaits would keep tasks from running.
    const READERS: usize = 3;
    /// Pairs of reads that began and ended while one batch was being stored.
    const READS: u64 = 100;
    /// A store that keeps its readers waiting for the whole batch never gets that many.
    const MOST_BATCHES: u64 = 60;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().atomic_batches, "atomic_batches")?;
    let progress = Arc::new(Progress::default());
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (store, progress, runtime) = (store.clone(), progress.clone(), Handle::current());
            tokio::task::spawn_blocking(move || runtime.block_on(read_beside(&store, &progress)))
        })
        .collect();
    let mut batches = 0;
    let store_batches = async {
        while batches < MOST_BATCHES && progress.reads.load(Ordering::SeqCst) < READS {
            batches += 1;
            let batch = ends_in_first_and_last(batches)?;
            progress.storing.store(batches, Ordering::SeqCst);
            let stored = store.store_batch(&batch).await;
            progress.storing.store(0, Ordering::SeqCst);
            stored.during("storing a large batch")?;
        }
        Verdict::Ok(())
    };
    let stored = store_batches.await;
    // However it went: the readers have threads of their own and would go on for ever.
    progress.done.store(true, Ordering::SeqCst);
    for reader in readers {
        joined(reader.await)??;
    }
    stored?;
    let rows = store.rows("last", QueryParams::default()).await?.len() as u64;
    equal("the number of batches in the end", &rows, &batches)
}

/// What writer and readers know of each other.
#[derive(Default)]
struct Progress {
    /// The number of the batch that is being stored, or 0.
    storing: AtomicU64,
    done: AtomicBool,
    reads: AtomicU64,
}

async fn read_beside(store: &Store, progress: &Progress) -> Verdict {
    while !progress.done.load(Ordering::SeqCst) {
        for (one, other) in [("first", "last"), ("last", "first")] {
            let storing = progress.storing.load(Ordering::SeqCst);
            let seen = newest(store, one).await?;
            let then = newest(store, other).await?;
            if storing != 0 && progress.storing.load(Ordering::SeqCst) == storing {
                progress.reads.fetch_add(1, Ordering::SeqCst);
            }
            if then < seen {
                let what = format!("{other:?}, read after {one:?}: every batch has a row of both");
                return Err(failure(what, format!("batch {seen} or later"), then.to_string()));
            }
        }
    }
    Ok(())
}

fn ends_in_first_and_last(number: u64) -> Verdict<Batch> {
    let rows: Verdict<Vec<Row>> = (0..ROWS)
        .map(|i| match i {
            0 => row("first", number, number),
            i if i == ROWS - 1 => row("last", number, number),
            i => row(["middle0", "middle1"][i as usize % 2], i, number),
        })
        .collect();
    Ok(Batch::new(rows?))
}

/// The number of the newest batch that shows in a record, 0 for none.
async fn newest(store: &Store, record: &str) -> Verdict<u64> {
    let rows = store.rows(record, QueryParams::latest(1)).await?;
    Ok(rows.first().map_or(0, |(_, stored_at, _)| *stored_at))
}

async fn batch_1_a_large_batch_is_whole_or_absent_after_kill_9(cx: &Context) -> Verdict {
    for kill in 1..=KILLS {
        let (store, _) = killed_in_a_batch(cx, kill).await?;
        store.must_claim(store.claims().atomic_batches, "atomic_batches")?;
        // Whether those that were acknowledged are there is DURABLE-1's matter.
        let found = store.rows("w0", QueryParams::default()).await?.len() as u64;
        let what = format!("the rows after a kill in a batch of {ROWS}");
        ensure(found.is_multiple_of(ROWS), what, "whole batches", found)?;
    }
    Ok(())
}

/// A store that notes the id in one step and the rows in another loses or doubles them here.
async fn durable_4_a_large_batch_sent_again_after_kill_9_is_stored_once(cx: &Context) -> Verdict {
    for kill in 1..=KILLS {
        let (store, acknowledged) = killed_in_a_batch(cx, kill).await?;
        store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
        let unknown = role::batch(0, acknowledged, ROWS as usize)?;
        for _ in 0..2 {
            store.store_batch(&unknown).await.during("sending the unanswered batch again")?;
        }
        let mut values = store.values("w0", QueryParams::default()).await?;
        values.sort_unstable_by_key(Value::as_u64);
        let expected: Vec<Value> = (0..acknowledged + ROWS).map(Value::from).collect();
        let doubled = values.len() as i64 - expected.len() as i64;
        ensure(values == expected, "the rows", "each once", format!("{doubled} too many"))?;
    }
    Ok(())
}

/// How often a process is killed in a batch, at another moment of it each time.
const KILLS: u32 = 5;

/// Lets a process store batches and kills it in the second one, when a part of the time is over that
/// the first one took. Returns the store, opened again, and the number of rows acknowledged.
async fn killed_in_a_batch(cx: &Context, kill: u32) -> Verdict<(Store, u64)> {
    let store = cx.fresh_durable().await?;
    store.close().await?;
    let Store { location, backend } = store;
    drop(backend);
    let role = Role::Write { writers: 1, batch: ROWS as usize };
    let mut child = cx.child(&location, role).await?;
    expect(&child.line().await?, "send 0")?;
    let began = Instant::now();
    expect(&child.line().await?, "ack 0")?;
    let took = began.elapsed();
    expect(&child.line().await?, "send 0")?;
    tokio::time::sleep(took * kill / (KILLS + 1)).await;
    let acks = child.kill().await?.iter().filter(|line| line.starts_with("ack ")).count();
    Ok((cx.open(&location).await?, (1 + acks as u64) * ROWS))
}

fn expect(line: &str, start: &str) -> Verdict {
    if line.starts_with(start) {
        return Ok(());
    }
    Err(failure("the process that writes", start, line))
}

/// More than the 65,535 parameters of a statement of PostgreSQL, or the 32,766 of SQLite, hold.
async fn batch_1_a_batch_has_tens_of_thousands_of_rows(cx: &Context) -> Verdict {
    const EACH: u64 = 9_000;
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> =
        (0..4 * EACH).map(|i| row(["a", "b", "c", "d"][(i / EACH) as usize], i, i)).collect();
    store.store_batch(&Batch::new(rows?)).await.during("storing 36,000 rows in one batch")?;
    for (record, first) in [("a", 0), ("b", EACH), ("c", 2 * EACH), ("d", 3 * EACH)] {
        let times: Vec<u64> =
            store.rows(record, QueryParams::default()).await?.iter().map(|row| row.1).collect();
        let right = times.iter().copied().eq((first..first + EACH).rev());
        let what = format!("the rows of {record}");
        ensure(right, what, format!("{EACH} from {first} on, newest first"), times)?;
    }
    Ok(())
}
