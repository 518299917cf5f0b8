//! CONCURRENT-2: futures that are dropped after every possible number of polls.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use annals_core::{Batch, BatchId, Durability, QueryParams, Row};
use futures::StreamExt;
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal};
use crate::context::{Context, Store, row, within};

cases![
    concurrent_2_a_dropped_store_is_stored_once_or_not_at_all,
    concurrent_2_a_dropped_batch_is_stored_once_or_not_at_all,
    concurrent_2_dropped_queries_leave_the_store_usable,
    concurrent_2_a_dropped_cleanup_can_be_done_again,
    durable_4_a_dropped_batch_sent_again_is_stored_once,
];

/// A future that is still not done after so many polls has no await left worth dropping it at.
const MOST_POLLS: usize = 24;

/// Polls a future so many times, each time it asks for it, and drops it.
async fn poll_times<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Numbers of polls, each twice, for as long as the future is not done within them.
struct Polls {
    polls: usize,
    done: usize,
}

impl Polls {
    fn new() -> Self {
        Self { polls: 0, done: 0 }
    }

    fn next(&mut self) -> Option<usize> {
        let polls = self.polls / 2;
        self.polls += 1;
        // How many polls it takes differs from time to time: a few more after the first success.
        (polls <= MOST_POLLS && self.done < 6).then_some(polls)
    }
}

async fn concurrent_2_a_dropped_store_is_stored_once_or_not_at_all(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let mut polls = Polls::new();
    let mut answered = Vec::new();
    let mut at = 0;
    while let Some(polls_now) = polls.next() {
        at += 1;
        let (backend, value) = (store.backend.clone(), json!(at));
        let answer = poll_times(polls_now, backend.store("r", &value, at)).await;
        let done = answer.transpose().during("storing")?.is_some();
        polls.done += usize::from(done);
        answered.push((at, done));
        let what = format!("a store after one that was dropped after {polls_now} polls");
        within(cx.patience(), &what, store.put("other", at, at)).await??;
    }
    let store = settled(cx, store).await?;
    let values = store.values("r", QueryParams::default()).await?;
    for (at, done) in answered {
        let times = values.iter().filter(|value| **value == at).count();
        let expected = if done { 1..=1 } else { 0..=1 };
        let what = format!("how often row {at} is there (answered: {done})");
        ensure(expected.contains(&times), what, format!("{expected:?}"), times)?;
    }
    let others = store.values("other", QueryParams::default()).await?;
    equal("the rows stored in between", &(others.len() as u64), &at)
}

async fn concurrent_2_a_dropped_batch_is_stored_once_or_not_at_all(cx: &Context) -> Verdict {
    const ROWS: usize = 5;
    let store = cx.fresh().await?;
    let mut polls = Polls::new();
    let mut answered = Vec::new();
    let mut number = 0;
    while let Some(polls_now) = polls.next() {
        number += 1;
        let record = format!("batch{number}");
        let rows: Verdict<Vec<Row>> = (0..ROWS).map(|i| row(&record, i, i as u64)).collect();
        let (backend, batch) = (store.backend.clone(), Batch::new(rows?));
        let answer = poll_times(polls_now, backend.store_batch(&batch)).await;
        let done = answer.transpose().during("storing a batch")?.is_some();
        polls.done += usize::from(done);
        answered.push((record, done));
        let what = format!("a store after a batch that was dropped after {polls_now} polls");
        within(cx.patience(), &what, store.put("other", number, number)).await??;
    }
    let atomic = store.claims().atomic_batches;
    let store = settled(cx, store).await?;
    for (record, done) in answered {
        let mut rows = store.values(&record, QueryParams::default()).await?;
        rows.reverse();
        let whole = rows.len() == ROWS || rows.is_empty() && !done;
        let expected =
            if done || atomic { "all five or, unanswered, none" } else { "the first few" };
        let few = !done && !atomic && rows.len() < ROWS;
        ensure(whole || few, format!("the rows of {record} (answered: {done})"), expected, &rows)?;
        let first: Vec<usize> = (0..rows.len()).collect();
        equal(format!("the rows of {record}"), &rows, &first)?;
    }
    Ok(())
}

async fn concurrent_2_dropped_queries_leave_the_store_usable(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> = (0..2_000).map(|at| row("r", at, at)).collect();
    store.load(rows?).await?;
    let mut polls = Polls::new();
    while let Some(polls_now) = polls.next() {
        let query = store.query("*", QueryParams::default());
        let answer = poll_times(polls_now, query).await;
        polls.done += usize::from(answer.transpose().during("querying")?.is_some());
        let what = format!("a query after one that was dropped after {polls_now} polls");
        let rows = within(cx.patience(), &what, store.rows("*", QueryParams::latest(1))).await??;
        equal("the latest row", &rows.first().map(|row| row.1), &Some(1_999))?;
    }
    let mut polls = Polls::new();
    while let Some(polls_now) = polls.next() {
        let all = store.query_stream("*", QueryParams::default());
        let what = format!("a stream after one dropped after {polls_now} polls");
        let mut stream = within(cx.patience(), &what, all).await?.during("opening a stream")?;
        // A pending `next` that is dropped loses nothing: the next one goes on where it was.
        let first = poll_times(polls_now, stream.next()).await;
        let second = within(cx.patience(), &what, stream.next()).await?.transpose();
        let expected = if first.is_some() { 1_998 } else { 1_999 };
        let got = second.during("reading a stream")?.map(|row| row.stored_at);
        equal("the row after a dropped `next`", &got, &Some(expected))?;
        polls.done += usize::from(first.is_some());
    }
    within(cx.patience(), "a store after dropped streams", store.put("r", 1, 5_000)).await?
}

async fn concurrent_2_a_dropped_cleanup_can_be_done_again(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("r", "kept", 50_000).await?;
    let mut polls = Polls::new();
    while let Some(polls_now) = polls.next() {
        let rows: Verdict<Vec<Row>> = (0..300).map(|at| row("r", at, at)).collect();
        store.load(rows?).await?;
        let answer = poll_times(polls_now, store.cleanup(10_000)).await;
        polls.done += usize::from(answer.transpose().during("cleaning up")?.is_some());
        let what = format!("a cleanup after one that was dropped after {polls_now} polls");
        within(cx.patience(), &what, store.cleanup(10_000)).await?.during("cleaning up again")?;
        equal("the rows left", &store.values("*", QueryParams::default()).await?, &["kept"])?;
    }
    Ok(())
}

/// As a caller does whose patience has an end: the first attempt may still be on its way.
async fn durable_4_a_dropped_batch_sent_again_is_stored_once(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().idempotent_batches, "idempotent_batches")?;
    let mut polls = Polls::new();
    let mut number = 0;
    while let Some(polls_now) = polls.next() {
        number += 1;
        let rows: Verdict<Vec<Row>> = (0..5).map(|i| row("r", number, 5 * number + i)).collect();
        let batch = Batch::new(rows?).with_id(BatchId { writer: 3, number });
        let answer = poll_times(polls_now, store.store_batch(&batch)).await;
        polls.done += usize::from(answer.transpose().during("storing a batch")?.is_some());
        let again = within(cx.patience(), "a batch sent again", store.store_batch(&batch));
        again.await?.during("sending a dropped batch again")?;
    }
    let store = settled(cx, store).await?;
    let times: Vec<u64> = store.all().await?.iter().map(|row| row.1).collect();
    let expected: Vec<u64> = (5..5 * number + 5).rev().collect();
    equal("the times of the rows, five of each batch", &times, &expected)
}

/// What was dropped may still be on its way. Closing waits for it, where closing is possible
/// without losing everything.
async fn settled(cx: &Context, store: Store) -> Verdict<Store> {
    if store.claims().durability == Durability::Volatile {
        return Ok(store);
    }
    cx.reopen(store).await
}
