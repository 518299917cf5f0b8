//! FOLLOW: what is stored arrives once and in order, and waiting ends when it has to.

use std::collections::BTreeMap;
use std::time::Duration;

use annals_core::{
    Batch, Cursor, FollowExt, FollowFrom, FollowParams, FollowStream, PersistenceError, Row, Value,
};
use futures::StreamExt;

use crate::case::cases;
use crate::check::{During, Plain, Verdict, ensure, equal, failure};
use crate::child::Role;
use crate::context::{Context, Store, is_pending, joined, row, within};

cases![
    follow_1_every_row_arrives_once,
    follow_1_rows_of_other_handles_arrive,
    follow_1_rows_of_other_processes_arrive,
    follow_1_late_rows_arrive,
    follow_1_concurrent_writers_lose_nothing,
    follow_2_rows_of_a_record_come_in_order,
    follow_5_a_follower_that_does_not_read_delays_nobody,
    follow_5_what_was_removed_does_not_come,
    follow_6_without_waiting_it_ends,
    follow_6_closing_ends_it,
    follow_6_dropping_a_wait_loses_nothing,
    follow_7_without_the_claim_rows_come_by_time,
];

/// Followers in the suite do not wait long where a store has to be asked.
pub(crate) fn params(from: FollowFrom) -> FollowParams {
    FollowParams::from(from).with_poll_interval(Duration::from_millis(20))
}

pub(crate) fn all() -> FollowFrom {
    FollowFrom::Time(0)
}

impl Store {
    pub(crate) fn followed(&self, pattern: &str, from: FollowFrom) -> FollowStream<'static> {
        FollowStream::new(self.backend.clone(), pattern, params(from))
    }

    /// Everything behind a place, without waiting.
    pub(crate) async fn arrived(
        &self,
        pattern: &str,
        from: FollowFrom,
    ) -> Verdict<(Vec<Plain>, Cursor)> {
        let params = params(from).with_wait(false).with_page_rows(7);
        let mut stream = FollowStream::new(self.backend.clone(), pattern, params);
        let mut rows = Vec::new();
        while let Some(row) = stream.next().await {
            rows.push(plain(row.during("following without waiting")?)?);
        }
        let cursor = stream.cursor();
        let cursor = cursor.ok_or_else(|| failure("a follower at its end", "a cursor", "none"))?;
        Ok((rows, cursor))
    }
}

pub(crate) fn plain(row: annals_core::RawRow) -> Verdict<Plain> {
    let value = serde_json::from_str(&row.json).during("reading a value")?;
    Ok((row.record.to_string(), row.stored_at, value))
}

/// The next rows of a follower that waits.
pub(crate) async fn next(
    cx: &Context,
    stream: &mut FollowStream<'_>,
    rows: usize,
) -> Verdict<Vec<Plain>> {
    let mut taken = Vec::new();
    while taken.len() < rows {
        let what = format!("row {} of {rows} that a follower waits for", taken.len() + 1);
        let row = within(cx.patience(), &what, stream.next()).await?;
        let row = row.ok_or_else(|| failure(&what, "a row", "the end of the stream"))?;
        taken.push(plain(row.during(&what)?)?);
    }
    Ok(taken)
}

/// Nothing more may come: what is stored now comes next.
pub(crate) async fn nothing_before(
    cx: &Context,
    store: &Store,
    stream: &mut FollowStream<'_>,
) -> Verdict {
    const LAST: u64 = 4_000_000_000_000;
    store.put("zz-marker", "marker", LAST).await?;
    let marker = ("zz-marker".to_owned(), LAST, Value::from("marker"));
    equal("the next row of the follower", &next(cx, stream, 1).await?, &[marker])
}

pub(crate) fn record(rows: &[Plain], name: &str) -> Vec<Value> {
    rows.iter().filter(|row| row.0 == name).map(|row| row.2.clone()).collect()
}

async fn follow_1_every_row_arrives_once(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("a", "before", 1).await?;
    let mut stream = store.followed("*", all());
    equal("the first row", &record(&next(cx, &mut stream, 1).await?, "a"), &["before"])?;
    for number in 0..20_u64 {
        store.put("a", number, 10 + number).await?;
        equal("a row", &record(&next(cx, &mut stream, 1).await?, "a"), &[number])?;
    }
    let batch: Vec<Row> = (0..50_u64)
        .map(|number| row(if number % 2 == 0 { "a" } else { "b" }, number, 100 + number))
        .collect::<Verdict<_>>()?;
    store.store_batch(&Batch::new(batch)).await?;
    let rows = next(cx, &mut stream, 50).await?;
    let evens: Vec<u64> = (0..50).step_by(2).collect();
    let odds: Vec<u64> = (1..50).step_by(2).collect();
    equal("the rows of a", &record(&rows, "a"), &evens)?;
    equal("the rows of b", &record(&rows, "b"), &odds)?;
    nothing_before(cx, &store, &mut stream).await
}

async fn follow_1_rows_of_other_handles_arrive(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().many_processes, "many_processes")?;
    let mut stream = store.followed("*", all());
    let other = cx.open(&store.location).await?;
    for number in 0..10_u64 {
        other.put("a", number, number).await?;
        equal("a row", &record(&next(cx, &mut stream, 1).await?, "a"), &[number])?;
    }
    nothing_before(cx, &other, &mut stream).await
}

async fn follow_1_rows_of_other_processes_arrive(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().many_processes, "many_processes")?;
    let mut stream = store.followed("w*", all());
    let mut child = cx.child(&store.location, Role::Write { writers: 2, batch: 20 }).await?;
    let mut acknowledged = 0;
    while acknowledged < 30 {
        acknowledged += u64::from(child.line().await?.starts_with("ack "));
    }
    let rows = next(cx, &mut stream, 300).await?;
    for writer in ["w0", "w1"] {
        let values = record(&rows, writer);
        let expected: Vec<usize> = (0..values.len()).collect();
        equal(format!("the rows of {writer}"), &values, &expected)?;
    }
    // Those that were acknowledged come; others may.
    let mut least = BTreeMap::new();
    for line in child.kill().await? {
        if let ["ack", writer, rows] = line.split(' ').collect::<Vec<_>>()[..] {
            let rows: usize = rows.parse().during("reading an acknowledgement")?;
            least.insert(format!("w{writer}"), rows);
        }
    }
    let Some(cursor) = stream.cursor() else {
        return Err(failure("a follower behind 300 rows", "a cursor", "none"));
    };
    let (rest, _) = store.arrived("w*", FollowFrom::Cursor(cursor)).await?;
    for (writer, least) in least {
        let values = [record(&rows, &writer), record(&rest, &writer)].concat();
        let expected: Vec<usize> = (0..values.len()).collect();
        equal(format!("the rows of {writer}"), &values, &expected)?;
        ensure(values.len() >= least, &writer, format!("at least {least} rows"), values.len())?;
    }
    Ok(())
}

async fn follow_1_late_rows_arrive(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().complete_follow, "complete_follow")?;
    store.put("a", "new", 1_740_081_234_000).await?;
    let mut stream = store.followed("*", all());
    next(cx, &mut stream, 1).await?;
    for at in [5, 1_740_081_233_999, 0, 5] {
        store.put("a", at, at).await?;
        equal("a late row", &record(&next(cx, &mut stream, 1).await?, "a"), &[at])?;
    }
    nothing_before(cx, &store, &mut stream).await
}

/// Numbers that are given out in one order and become visible in another must not be passed over.
async fn follow_1_concurrent_writers_lose_nothing(cx: &Context) -> Verdict {
    const WRITERS: u64 = 8;
    const ROWS: u64 = 60;
    let store = cx.fresh().await?;
    let mut handles = vec![store.clone()];
    if store.claims().many_processes {
        handles.push(cx.open(&store.location).await?);
    }
    let mut stream = store.followed("w*", all());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = handles[writer as usize % handles.len()].clone();
            tokio::spawn(async move {
                for number in 0..ROWS {
                    // Batches of several sizes take several times.
                    let rows = (0..1 + (writer * 7 + number) % 40)
                        .map(|part| row(&format!("w{writer}"), number * 100 + part, number))
                        .collect::<Verdict<Vec<Row>>>()?;
                    store.store_batch(&Batch::new(rows)).await?;
                }
                Ok::<(), crate::check::Stop>(())
            })
        })
        .collect();
    let size = |writer: u64, number: u64| 1 + (writer * 7 + number) % 40;
    let all: u64 = (0..WRITERS).map(|w| (0..ROWS).map(|number| size(w, number)).sum::<u64>()).sum();
    let rows = next(cx, &mut stream, all as usize).await?;
    for writer in writers {
        joined(writer.await)??;
    }
    for writer in 0..WRITERS {
        let expected: Vec<u64> = (0..ROWS)
            .flat_map(|number| (0..size(writer, number)).map(move |part| number * 100 + part))
            .collect();
        let name = format!("w{writer}");
        equal(format!("the rows of {name}"), &record(&rows, &name), &expected)?;
    }
    Ok(())
}

async fn follow_2_rows_of_a_record_come_in_order(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    // Equal times are in order of arrival, also across batches.
    let batches: [&[u64]; 4] = [&[5, 5, 6], &[6, 7], &[7], &[7, 7, 8, 8]];
    let mut value = 0_u64;
    for times in batches {
        let mut rows = Vec::new();
        for at in times {
            for name in ["a", "b"] {
                rows.push(row(name, value, *at)?);
            }
            value += 1;
        }
        store.store_batch(&Batch::new(rows)).await?;
    }
    let (rows, _) = store.arrived("*", all()).await?;
    let expected: Vec<u64> = (0..value).collect();
    for name in ["a", "b"] {
        equal(format!("the rows of {name}"), &record(&rows, name), &expected)?;
    }
    Ok(())
}

async fn follow_5_a_follower_that_does_not_read_delays_nobody(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let mut slow = store.followed("*", all());
    store.put("a", 0, 0).await?;
    next(cx, &mut slow, 1).await?;
    let rows = (1..2_000_u64).map(|number| row("a", number, number));
    let load = store.load(rows.collect::<Verdict<Vec<Row>>>()?);
    within(cx.patience(), "storing beside a follower that does not read", load).await??;
    let cleanup = store.cleanup(0);
    within(cx.patience(), "a cleanup beside a follower that does not read", cleanup).await??;
    let rows = next(cx, &mut slow, 1_999).await?;
    equal("what it reads then", &record(&rows, "a"), &(1..2_000).collect::<Vec<u64>>())
}

async fn follow_5_what_was_removed_does_not_come(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let mut slow = store.followed("*", all());
    store.put("a", 0, 5).await?;
    next(cx, &mut slow, 1).await?;
    for number in 10..20_u64 {
        store.put("a", number, number).await?;
    }
    equal("the rows removed", &store.cleanup(15).await?, &6)?;
    let rows = next(cx, &mut slow, 5).await?;
    equal("what is still there", &record(&rows, "a"), &(15..20).collect::<Vec<u64>>())?;
    nothing_before(cx, &store, &mut slow).await
}

async fn follow_6_without_waiting_it_ends(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let (rows, cursor) = store.arrived("*", all()).await?;
    equal("the rows of an empty store", &rows.len(), &0)?;
    store.put("a", 1, 1).await?;
    let (rows, cursor) = store.arrived("*", FollowFrom::Cursor(cursor)).await?;
    equal("the rows", &record(&rows, "a"), &[1])?;
    let (rows, _) = store.arrived("*", FollowFrom::Cursor(cursor)).await?;
    equal("the rows behind them", &rows.len(), &0)
}

async fn follow_6_closing_ends_it(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let mut stream = store.followed("*", all());
    let mut waiting = std::pin::pin!(stream.next());
    ensure(is_pending(waiting.as_mut()).await, "a follower", "a wait", "rows")?;
    store.put("a", 1, 1).await?;
    within(cx.patience(), "the row that was waited for", waiting).await?;
    if !store.claims().complete_follow {
        // Whoever asks from time to time learns what a query answers then.
        return Ok(());
    }
    let mut waiting = std::pin::pin!(stream.next());
    ensure(is_pending(waiting.as_mut()).await, "a follower", "a wait", "rows")?;
    store.close().await?;
    match within(cx.patience(), "a follower of a closed store", waiting).await? {
        Some(Err(PersistenceError::BackendShutdown)) => Ok(()),
        other => {
            Err(failure("a follower of a closed store", "BackendShutdown", format!("{other:?}")))
        }
    }
}

async fn follow_6_dropping_a_wait_loses_nothing(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let mut stream = store.followed("*", all());
    for number in 0..20_u64 {
        {
            let mut waiting = std::pin::pin!(stream.next());
            for _ in 0..number % 4 {
                if !is_pending(waiting.as_mut()).await {
                    return Err(failure("a follower", "a wait", "a row too many"));
                }
                tokio::task::yield_now().await;
            }
        }
        store.put("a", number, number).await?;
        equal("a row", &record(&next(cx, &mut stream, 1).await?, "a"), &[number])?;
    }
    // A call that is dropped leaves the place where it was.
    let cursor = stream.cursor().ok_or_else(|| failure("a follower", "a cursor", "none"))?;
    let from = params(FollowFrom::Cursor(cursor));
    for _ in 0..5 {
        let mut waiting = std::pin::pin!(store.follow_page("*", &from));
        ensure(is_pending(waiting.as_mut()).await, "a page", "a wait", "rows")?;
    }
    store.put("a", "last", 100).await?;
    let page = within(cx.patience(), "a page", store.follow_page("*", &from)).await??;
    equal("the rows of the page", &page.rows.len(), &1)
}

async fn follow_7_without_the_claim_rows_come_by_time(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    if store.claims().complete_follow {
        return crate::check::skip("the backend claims complete_follow");
    }
    let mut stream = store.backend.follow("*", all());
    for at in [1_000, 1_000, 2_000, 2_001] {
        store.put("a", at, at).await?;
        equal("a row", &record(&next(cx, &mut stream, 1).await?, "a"), &[at])?;
    }
    // Another record may be behind by less than a minute.
    store.put("b", 1, 1_500).await?;
    equal("a row", &record(&next(cx, &mut stream, 1).await?, "b"), &[1])?;
    store.put("a", "late", 1_999).await?;
    nothing_before(cx, &store, &mut stream).await
}
