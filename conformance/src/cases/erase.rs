//! ERASE: rows that must go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use annals_core::{
    Batch, BatchId, Durability, Erasure, Grammar, Order, Pattern, PersistenceError, QueryParams,
};
use futures::StreamExt;
use serde_json::json;
use tokio::runtime::Handle;

use super::filter::filter;
use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, refused, skip};
use crate::context::{Context, Store, joined, row};

cases![
    erase_1_removes_exactly_what_it_selects,
    erase_1_bounds_are_those_of_a_query,
    erase_1_patterns_are_those_of_a_query,
    erase_1_counts_exactly_over_many_rows,
    erase_1_without_the_claim_it_is_refused,
    erase_2_readers_see_no_part_of_it,
    erase_2_an_open_stream_reads_on,
    erase_3_rows_that_are_stored_meanwhile_are_counted_or_stay,
    erase_3_a_cleanup_beside_it_counts_the_rest,
    erase_4_a_batch_that_is_sent_again_stays_erased,
    erase_5_an_empty_record_is_not_listed_and_can_be_written_again,
    erase_5_what_is_erased_stays_erased_when_opened_again,
];

/// A store that claims `erasure`, or the case is skipped.
pub(crate) async fn erasing(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().erasure, "erasure")?;
    Ok(store)
}

pub(crate) fn of(pattern: &str) -> Verdict<Erasure> {
    Ok(Erasure::new(Pattern::new(pattern, Grammar::Glob).during("making a pattern")?))
}

impl Store {
    async fn erases(&self, erasure: &Erasure, rows: u64) -> Verdict {
        let erased = self.erase(erasure).await.during(format!("erasing {erasure:?}"))?;
        equal(format!("the rows erased by {erasure:?}"), &erased, &rows)
    }

    async fn values_of(&self, record: &str) -> Verdict<Vec<u64>> {
        let oldest_first = QueryParams::default().with_order(Order::OldestFirst);
        let values = self.values(record, oldest_first).await?;
        Ok(values.iter().filter_map(|value| value["n"].as_u64()).collect())
    }
}

/// Ten rows each of the records `a`, `b` and `ab`, at the times 0 to 9.
async fn thirty(cx: &Context) -> Verdict<Store> {
    let store = erasing(cx).await?;
    for n in 0..10_u64 {
        for record in ["a", "ab", "b"] {
            store.put(record, json!({ "n": n, "odd": n % 2 == 1 }), n).await?;
        }
    }
    Ok(store)
}

async fn erase_1_removes_exactly_what_it_selects(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    let some = of("a*")?.with_start_time(2).with_end_time(7).with_where(filter("odd = true")?);
    store.erases(&some, 6).await?;
    for record in ["a", "ab"] {
        let left = store.values_of(record).await?;
        equal(format!("what is left of {record}"), &left, &[0, 1, 2, 4, 6, 8, 9])?;
    }
    equal("the other record", &store.values_of("b").await?.len(), &10)?;
    store.erases(&some, 0).await?;
    store.erases(&of("a")?, 7).await?;
    equal("the records", &store.names("*", QueryParams::default()).await?, &["ab", "b"])?;
    store.erases(&of("none*")?, 0).await?;
    store.erases(&of("*")?, 17).await?;
    equal("all rows", &store.all().await?, &[])
}

async fn erase_1_bounds_are_those_of_a_query(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    store.erases(&of("a")?.with_start_time(3).with_end_time(3), 1).await?;
    store.erases(&of("a")?.with_start_time(5).with_end_time(4), 0).await?;
    store.erases(&of("a")?.with_start_time(u64::MAX).with_end_time(4), 0).await?;
    store.erases(&of("a")?.with_start_time(8), 2).await?;
    store.erases(&of("a")?.with_end_time(1), 2).await?;
    equal("what is left", &store.values_of("a").await?, &[2, 4, 5, 6, 7])?;
    store.put("a", json!({ "n": 99 }), i64::MAX as u64).await?;
    store.erases(&of("a")?.with_start_time(9).with_end_time(u64::MAX), 1).await?;
    store.erases(&of("a")?.with_start_time(u64::MAX).with_end_time(u64::MAX), 5).await
}

async fn erase_1_patterns_are_those_of_a_query(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    for name in ["room.a", "room.b", "room.a.x", "Room.a", "room%a", "r\u{e9}", "re\u{301}"] {
        store.put(name, json!({ "n": 1 }), 1).await?;
    }
    store.erases(&of("room%*")?, 1).await?;
    store.erases(&of("r\u{e9}")?, 1).await?;
    let topic = Pattern::new("room.*", Grammar::Topic).during("making a pattern")?;
    store.erases(&Erasure::new(topic), 2).await?;
    // Their order is NAME-3's matter.
    let mut left = store.names("*", QueryParams::default()).await?;
    left.sort_unstable();
    equal("the records left", &left, &["Room.a", "re\u{301}", "room.a.x"])
}

/// More than any step of a backend: some of the rows of many records, some of which lose all.
async fn erase_1_counts_exactly_over_many_rows(cx: &Context) -> Verdict {
    const ROWS: u64 = 24_000;
    let store = erasing(cx).await?;
    let rows: Verdict<Vec<_>> = (0..ROWS)
        .map(|n| {
            row(&format!("r{}", n % 12), json!({ "n": n, "gone": n % 5 == 0 || n % 12 == 7 }), n)
        })
        .collect();
    store.load(rows?).await?;
    let gone = |n: u64| (n.is_multiple_of(5) || n % 12 == 7) && n >= 100;
    let expected = (0..ROWS).filter(|n| gone(*n)).count() as u64;
    let erasure = of("r*")?.with_start_time(100).with_where(filter("gone = true")?);
    store.erases(&erasure, expected).await?;
    equal("the number of rows left", &(store.all().await?.len() as u64), &(ROWS - expected))?;
    for record in [0, 7] {
        let left: Vec<u64> = (0..ROWS).filter(|n| n % 12 == record && !gone(*n)).collect();
        equal(
            format!("the rows of r{record}"),
            &store.values_of(&format!("r{record}")).await?,
            &left,
        )?;
    }
    store.erases(&of("r3")?, (0..ROWS).filter(|n| n % 12 == 3 && !gone(*n)).count() as u64).await?;
    equal("the number of records", &store.records("*", Grammar::Glob).await?.len(), &11)
}

async fn erase_1_without_the_claim_it_is_refused(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    if store.claims().erasure {
        return skip("the backend claims erasure");
    }
    store.put("a", 1, 1).await?;
    let unsupported = |error: &PersistenceError| matches!(error, PersistenceError::Unsupported(_));
    refused("erasing", store.erase(&of("*")?).await, "Unsupported", unsupported)?;
    let corrected = store.correct(&row("a", 2, 1)?).await;
    refused("correcting", corrected, "Unsupported", unsupported)?;
    equal("the rows", &store.values("a", QueryParams::default()).await?, &[1])
}

/// Two point reads, one after the other, while one erase is running: once a row of it is gone, so is
/// every other. This holds without a snapshot.
async fn erase_2_readers_see_no_part_of_it(cx: &Context) -> Verdict {
    /// On threads of their own: a store that never awaits would keep tasks from running.
    const READERS: usize = 3;
    /// Pairs of reads that began and ended while one erase was running.
    const READS: u64 = 100;
    /// A store that keeps its readers waiting for the whole erase never gets that many.
    const MOST_ROUNDS: u64 = 60;
    const ROWS: u64 = 300;
    let store = erasing(cx).await?;
    let progress = Arc::new(Progress::default());
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (store, progress, runtime) = (store.clone(), progress.clone(), Handle::current());
            tokio::task::spawn_blocking(move || runtime.block_on(read_beside(&store, &progress)))
        })
        .collect();
    let erase = async {
        let mut round = 0;
        while round < MOST_ROUNDS && progress.reads.load(Ordering::SeqCst) < READS {
            round += 1;
            let rows: Verdict<Vec<_>> = (0..ROWS)
                .map(|n| row(&format!("r{}", n % 3), json!({ "n": n }), round * ROWS + n))
                .collect();
            store.load(rows?).await?;
            progress.erasing.store(round, Ordering::SeqCst);
            let erased = store.erases(&of("r*")?, ROWS).await;
            progress.erasing.store(0, Ordering::SeqCst);
            erased?;
        }
        Verdict::Ok(())
    };
    let erased = erase.await;
    // However it went: the readers have threads of their own and would go on for ever.
    progress.done.store(true, Ordering::SeqCst);
    for reader in readers {
        joined(reader.await)??;
    }
    erased
}

/// Shared by the erasing task and its readers.
#[derive(Default)]
struct Progress {
    /// The erase that is running, counted from 1; 0 for none.
    erasing: AtomicU64,
    done: AtomicBool,
    reads: AtomicU64,
}

async fn read_beside(store: &Store, progress: &Progress) -> Verdict {
    let newest = QueryParams::latest(1);
    for pair in [["r0", "r2"], ["r2", "r0"]].into_iter().cycle() {
        if progress.done.load(Ordering::SeqCst) {
            break;
        }
        let before = progress.erasing.load(Ordering::SeqCst);
        let first = store.rows(pair[0], newest).await?;
        let second = store.rows(pair[1], newest).await?;
        if before == 0 || progress.erasing.load(Ordering::SeqCst) != before {
            continue;
        }
        progress.reads.fetch_add(1, Ordering::SeqCst);
        ensure(
            !first.is_empty() || second.is_empty(),
            format!("reads of {pair:?} while both are erased at once"),
            "none of the second record, since there were none of the first",
            second,
        )?;
    }
    Ok(())
}

async fn erase_2_an_open_stream_reads_on(cx: &Context) -> Verdict {
    const ROWS: u64 = 5_000;
    let store = erasing(cx).await?;
    store.must_claim(store.claims().snapshot_queries, "snapshot_queries")?;
    let rows: Verdict<Vec<_>> = (0..ROWS).map(|n| row("r", json!({ "n": n }), n)).collect();
    store.load(rows?).await?;
    let mut stream = store.query_stream("*", QueryParams::default()).await?;
    let first = stream.next().await.transpose()?.map(|row| row.stored_at);
    equal("the first row of the stream", &first, &Some(ROWS - 1))?;
    let erasure = of("r")?.with_end_time(ROWS / 2 - 1);
    let rest = async {
        let mut rows = 1;
        while let Some(row) = stream.next().await.transpose()? {
            equal("the time of the next row", &row.stored_at, &(ROWS - 1 - rows))?;
            rows += 1;
        }
        Verdict::Ok(rows)
    };
    store.erases(&erasure, ROWS / 2).await?;
    equal("the rows of the stream", &rest.await?, &ROWS)?;
    equal("the rows afterwards", &(store.all().await?.len() as u64), &(ROWS / 2))
}

async fn erase_3_rows_that_are_stored_meanwhile_are_counted_or_stay(cx: &Context) -> Verdict {
    const WRITERS: u64 = 3;
    const ROWS: u64 = 60;
    let store = erasing(cx).await?;
    for n in 0..500_u64 {
        store.put("old", json!({ "n": n }), n).await?;
    }
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..ROWS {
                    store.put("new", json!({ "n": n }), 1_000 * writer + n).await?;
                }
                Verdict::Ok(())
            })
        })
        .collect();
    let mut erased = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        erased += store.erase(&of("*")?).await.during("erasing beside writers")?;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        joined(writer.await)??;
    }
    let left = store.all().await?.len() as u64;
    equal("the rows erased and left", &(erased + left), &(500 + WRITERS * ROWS))?;
    store.erases(&of("*")?, left).await
}

async fn erase_3_a_cleanup_beside_it_counts_the_rest(cx: &Context) -> Verdict {
    const ROWS: u64 = 4_000;
    let store = erasing(cx).await?;
    let rows: Verdict<Vec<_>> =
        (0..ROWS).map(|n| row(&format!("r{}", n % 4), json!({ "n": n }), n)).collect();
    store.load(rows?).await?;
    let (cleaned, erased) = {
        let (one, other) = (store.clone(), store.clone());
        let erasure = of("r1")?;
        let cleanup = tokio::spawn(async move { one.cleanup(ROWS / 2).await });
        let erase = tokio::spawn(async move { other.erase(&erasure).await });
        (joined(cleanup.await)?, joined(erase.await)?)
    };
    let gone = cleaned.during("cleaning up")? + erased.during("erasing")?;
    let left = store.all().await?;
    equal("the rows removed and left", &(gone + left.len() as u64), &ROWS)?;
    let should_be_left = |n: u64| n >= ROWS / 2 && n % 4 != 1;
    let expected = (0..ROWS).filter(|n| should_be_left(*n)).count();
    equal("the rows left", &left.len(), &expected)
}

async fn erase_4_a_batch_that_is_sent_again_stays_erased(cx: &Context) -> Verdict {
    let mut store = erasing(cx).await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    let id = |number| BatchId { writer: 7, number };
    let batch = |number| {
        let rows = vec![
            row("gone", json!({ "n": number }), number)?,
            row("stays", json!({ "n": number }), number)?,
        ];
        Verdict::Ok(Batch::new(rows).with_id(id(number)))
    };
    for number in 1..=2 {
        store.store_batch(&batch(number)?).await.during("storing a batch")?;
    }
    store.erases(&of("gone")?, 2).await?;
    for _ in 0..2 {
        for number in 1..=2 {
            store.store_batch(&batch(number)?).await.during("sending a batch again")?;
            let has_batch = store.has_batch(id(number)).await.during("asking for a batch")?;
            equal("whether the batch is known", &has_batch, &true)?;
        }
        equal("the rows of the erased record", &store.values_of("gone").await?, &[0; 0])?;
        equal("the rows of the other record", &store.values_of("stays").await?, &[1, 2])?;
        if store.claims().durability < Durability::Process {
            break;
        }
        store = cx.reopen(store).await?;
    }
    Ok(())
}

async fn erase_5_an_empty_record_is_not_listed_and_can_be_written_again(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    store.erases(&of("a")?, 10).await?;
    store.erases(&of("b")?.with_end_time(4), 5).await?;
    let listed = store.records("*", Grammar::Glob).await?;
    let listed: Vec<_> = listed
        .into_iter()
        .map(|record| (record.record, record.count, record.first, record.last))
        .collect();
    equal("the listing", &listed, &[("ab".into(), 10, 0, 9), ("b".to_owned(), 5, 5, 9)])?;
    store.put("a", json!({ "n": 3 }), 3).await?;
    equal("what was written again", &store.values_of("a").await?, &[3])
}

async fn erase_5_what_is_erased_stays_erased_when_opened_again(cx: &Context) -> Verdict {
    let store = thirty(cx).await?;
    store.must_claim(store.claims().durability >= Durability::Process, "any durability")?;
    store.erases(&of("a*")?.with_where(filter("odd = false")?), 10).await?;
    let store = cx.reopen(store).await?;
    equal("the rows of a", &store.values_of("a").await?, &[1, 3, 5, 7, 9])?;
    equal("the rows of b", &store.values_of("b").await?.len(), &10)?;
    store.erases(&of("*")?, 20).await?;
    let store = cx.reopen(store).await?;
    equal("all rows", &store.all().await?, &[])?;
    equal("the listing", &store.records("*", Grammar::Glob).await?, &[])
}
