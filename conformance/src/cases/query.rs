//! QUERY: order, completeness, snapshots, streams and listings.

use annals_core::{
    Batch, ErrorKind, Grammar, Order, PersistenceError, QueryParams, RecordSummary, Row, RowStream,
    Value,
};
use futures::StreamExt;
use serde_json::json;

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, plain, skip};
use crate::child::Role;
use crate::context::{Context, Store, joined, row, within};

cases![
    query_1_records_in_byte_order_then_newest_first,
    query_1_oldest_first_is_the_reverse_within_each_record,
    query_2_no_limit_means_everything,
    query_2_a_greater_limit_means_everything,
    query_3_a_batch_stored_while_a_stream_is_read_is_in_it_whole_or_not_at_all,
    query_3_a_cleanup_while_a_stream_is_read_takes_nothing_from_it,
    query_3_concurrent_batches_are_seen_whole,
    query_4_a_stream_yields_what_a_query_returns,
    query_4_memory_does_not_grow_with_the_rows,
    query_4_unread_streams_stop_nobodys_writes,
    query_4_dropped_streams_hold_nothing,
    query_5_a_listing_counts_and_dates_the_records,
];

async fn mixed(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    for (record, at) in [("b", 2), ("a", 3), ("c", 1), ("a", 1), ("b", 4), ("a", 2), ("b", 3)] {
        store.put(record, format!("{record}{at}"), at).await?;
    }
    Ok(store)
}

async fn query_1_records_in_byte_order_then_newest_first(cx: &Context) -> Verdict {
    let store = mixed(cx).await?;
    let expected = ["a3", "a2", "a1", "b4", "b3", "b2", "c1"];
    equal("all rows", &store.values("*", QueryParams::default()).await?, &expected)
}

async fn query_1_oldest_first_is_the_reverse_within_each_record(cx: &Context) -> Verdict {
    let store = mixed(cx).await?;
    let oldest_first = QueryParams::default().with_order(Order::OldestFirst);
    let expected = ["a1", "a2", "a3", "b2", "b3", "b4", "c1"];
    equal("all rows, oldest first", &store.values("*", oldest_first).await?, &expected)?;
    // Rows at one time: the exact reverse, so the first to arrive comes first.
    for value in 0..4 {
        store.put("d", value, 5).await?;
    }
    let newest_first = store.values("d", QueryParams::default()).await?;
    let mut reversed = store.values("d", oldest_first).await?;
    reversed.reverse();
    equal("the reverse of oldest first", &reversed, &newest_first)
}

/// More than any round number that somebody might have thought enough.
const MANY: u64 = 10_500;

async fn many(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    let one_record = (0..MANY).map(|at| row("many", at, at));
    let many_records = (0..1_050).map(|i| row(&format!("of::{i:04}"), i, 1));
    let rows: Verdict<Vec<Row>> = one_record.chain(many_records).collect();
    store.load(rows?).await?;
    Ok(store)
}

async fn query_2_no_limit_means_everything(cx: &Context) -> Verdict {
    let store = many(cx).await?;
    for (pattern, expected) in [("many", 10_500), ("of::*", 1_050), ("*", 11_550)] {
        let rows = store.rows(pattern, QueryParams::default()).await?;
        equal(format!("the number of rows of {pattern:?}"), &rows.len(), &expected)?;
        let mut stream = store.query_stream(pattern, QueryParams::default()).await?;
        let mut streamed = 0;
        while let Some(row) = stream.next().await {
            row.during("reading a stream")?;
            streamed += 1;
        }
        equal(format!("the number of rows streamed of {pattern:?}"), &streamed, &expected)?;
    }
    let listed = store.records("*", Grammar::Glob).await?;
    equal("the number of records listed", &listed.len(), &1_051)
}

async fn query_2_a_greater_limit_means_everything(cx: &Context) -> Verdict {
    let store = many(cx).await?;
    for limit in [MANY as usize + 1, u32::MAX as usize + 1, i64::MAX as usize, usize::MAX] {
        let rows = store.rows("many", QueryParams::latest(limit)).await?;
        equal(format!("the number of rows with limit {limit}"), &rows.len(), &(MANY as usize))?;
    }
    Ok(())
}

/// Three records with more rows each than fit a page.
async fn long_history(cx: &Context) -> Verdict<Store> {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().snapshot_queries, "snapshot_queries")?;
    let rows: Verdict<Vec<Row>> =
        (0..9_000).map(|i| row(["a", "b", "c"][i % 3], "old", 1_000 + i as u64)).collect();
    store.load(rows?).await?;
    Ok(store)
}

async fn query_3_a_batch_stored_while_a_stream_is_read_is_in_it_whole_or_not_at_all(
    cx: &Context,
) -> Verdict {
    let store = long_history(cx).await?;
    for (round, order) in [(0, Order::NewestFirst), (1, Order::OldestFirst)] {
        let params = QueryParams::default().with_order(order);
        let mut stream = store.query_stream("*", params).await?;
        let first = stream.next().await;
        ensure(matches!(first, Some(Ok(_))), "the first row of the stream", "a row", &first)?;
        // In front of and behind the place where the stream is, in every record.
        let rows: Verdict<Vec<Row>> = ["a", "b", "c", "d"]
            .iter()
            .flat_map(|record| [10 + round, 90_000 + round].map(|at| row(record, round, at)))
            .collect();
        store.store_batch(&Batch::new(rows?)).await.during("storing a batch")?;
        let mut seen = Vec::new();
        for row in rest(stream).await? {
            if row.2 == json!(round) {
                seen.push((row.0, row.1));
            }
        }
        let what = format!("the rows of a batch of 8 in a stream opened before it, {order:?}");
        // Without atomic batches the rows are eight calls, of which a snapshot sees the first few.
        if store.claims().atomic_batches {
            ensure(seen.is_empty() || seen.len() == 8, what, "none or all", seen)?;
        } else {
            ensure(seen.is_empty(), what, "none: the stream was open before", seen)?;
        }
    }
    Ok(())
}

async fn query_3_a_cleanup_while_a_stream_is_read_takes_nothing_from_it(cx: &Context) -> Verdict {
    let store = long_history(cx).await?;
    let mut stream = store.query_stream("*", QueryParams::default()).await?;
    let first = stream.next().await;
    ensure(matches!(first, Some(Ok(_))), "the first row of the stream", "a row", &first)?;
    let cleanup = store.cleanup(u64::MAX);
    let removed = within(cx.patience(), "a cleanup beside an open stream", cleanup).await?;
    removed.during("cleaning up")?;
    equal("the rows that the stream still has", &rest(stream).await?.len(), &8_999)?;
    equal("the rows a new query has", &store.all().await?.len(), &0)
}

async fn rest(mut stream: RowStream) -> Verdict<Vec<(String, u64, Value)>> {
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await {
        let row = row.during("reading a stream")?;
        let value = serde_json::from_str(&row.json).during("reading a row's text")?;
        rows.push((row.record.as_ref().to_owned(), row.stored_at, value));
    }
    Ok(rows)
}

async fn query_3_concurrent_batches_are_seen_whole(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.must_claim(store.claims().snapshot_queries, "snapshot_queries")?;
    store.must_claim(store.claims().atomic_batches, "atomic_batches")?;
    let backend = store.backend.clone();
    let writer = tokio::spawn(async move {
        for at in 0..150 {
            let rows: Verdict<Vec<Row>> = ["a", "m", "z"].iter().map(|r| row(r, at, at)).collect();
            backend.store_batch(&Batch::new(rows?)).await.during("storing a batch")?;
        }
        Verdict::Ok(())
    });
    loop {
        let finished = writer.is_finished();
        let rows = store.all().await?;
        let counts =
            ["a", "m", "z"].map(|record| rows.iter().filter(|(name, ..)| name == record).count());
        let whole = counts[0] == counts[1] && counts[1] == counts[2];
        ensure(whole, "the rows of three records written together", "as many of each", counts)?;
        if finished {
            equal("the rows in the end", &counts, &[150; 3])?;
            return joined(writer.await)?;
        }
        tokio::task::yield_now().await;
    }
}

async fn query_4_a_stream_yields_what_a_query_returns(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> =
        (0..2_500).map(|i| row(&format!("r{}", i % 3), json!({ "i": i }), i / 2)).collect();
    store.load(rows?).await?;
    for params in [
        QueryParams::default(),
        QueryParams::default().with_order(Order::OldestFirst),
        QueryParams::latest(7),
        QueryParams::range(100, 900).with_limit_per_record(1_001),
        QueryParams::latest(500).with_order(Order::OldestFirst),
    ] {
        let queried = store.query("r*", params).await.map(plain)?;
        let streamed = rest(store.query_stream("r*", params).await?).await?;
        ensure(
            streamed == queried,
            format!("the rows streamed with {params:?}"),
            format!("the {} rows of the query", queried.len()),
            streamed.len(),
        )?;
    }
    Ok(())
}

async fn query_4_memory_does_not_grow_with_the_rows(cx: &Context) -> Verdict {
    memory_does_not_grow(cx, |records| Role::Measure { records }).await
}

/// In a process of its own, whose memory nobody else uses. Most rows are of one record, so that a
/// store that streams record by record shows as well.
pub(crate) async fn memory_does_not_grow(
    cx: &Context,
    role: fn(Vec<(String, u64)>) -> Role,
) -> Verdict {
    const ROW_BYTES: usize = 1_200;
    let store = cx.fresh().await?;
    store.must_claim(store.claims().streamed_queries, "streamed_queries")?;
    if !cfg!(target_os = "linux") {
        return skip("memory is measured on Linux only");
    }
    let mut records = vec![("long".to_owned(), 18_000)];
    records.extend((0..10).map(|i| (format!("r{i}"), 700)));
    let text = "x".repeat(ROW_BYTES);
    for (name, rows) in &records {
        let rows: Verdict<Vec<Row>> = (0..*rows).map(|at| row(name, text.as_str(), at)).collect();
        store.load(rows?).await?;
    }
    store.close().await?;
    let Store { location, backend } = store;
    drop(backend);
    let total = records.iter().map(|(_, rows)| rows * ROW_BYTES as u64).sum::<u64>();
    let mut child = cx.child(&location, role(records)).await?;
    let line = child.line().await?;
    let growth = line.strip_prefix("growth ").and_then(|bytes| bytes.parse::<u64>().ok());
    let growth = growth.ok_or_else(|| failure("the child", "a measurement", line))?;
    ensure(
        growth < total / 3,
        format!("the growth of memory in bytes while {total} bytes are read"),
        format!("less than {}", total / 3),
        growth,
    )
}

async fn query_4_unread_streams_stop_nobodys_writes(cx: &Context) -> Verdict {
    const STREAMS: usize = 24;
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> = (1_000..6_000).map(|at| row("r", "x".repeat(100), at)).collect();
    store.load(rows?).await?;
    // More readers than a pool has connections: those without one wait, but not the writer.
    let (opened, mut any_opened) = tokio::sync::mpsc::unbounded_channel();
    let readers: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (backend, opened) = (store.backend.clone(), opened.clone());
            tokio::spawn(async move {
                let mut stream = backend.query_stream("*", QueryParams::default()).await?;
                let first = stream.next().await.transpose()?;
                // The case may be over.
                let _ = opened.send(first.is_some());
                std::future::pending::<Result<(), PersistenceError>>().await
            })
        })
        .collect();
    let patience = cx.patience();
    let first = within(patience, "opening a stream", any_opened.recv()).await?;
    equal("whether the stream has a row", &first, &Some(true))?;
    let writes = async {
        for at in 0..10 {
            store.put("w", at, at).await?;
        }
        store.load([row("w", 10, 10)?]).await?;
        store.cleanup(500).await.during("cleaning up")
    };
    within(patience, "writes beside unread streams", writes).await??;
    for reader in &readers {
        reader.abort();
    }
    for reader in readers {
        match reader.await {
            // It waited for a connection until its time was up, as it may.
            Ok(Err(PersistenceError::Backend(error))) if error.kind() == ErrorKind::Timeout => {}
            Ok(ended) => ended.during("opening a stream beside others")?,
            Err(_) => {}
        }
    }
    Ok(())
}

async fn query_4_dropped_streams_hold_nothing(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> = (0..3_000).map(|at| row("r", "x".repeat(50), at)).collect();
    store.load(rows?).await?;
    let all = async {
        // More than a pool has connections: it would be empty if they were not given back.
        for read in 0..60 {
            let mut stream = store.query_stream("*", QueryParams::default()).await?;
            for _ in 0..read % 4 {
                stream.next().await.transpose().during("reading a stream")?;
            }
        }
        store.put("r", "after", 9_000).await?;
        equal("the number of rows", &store.all().await?.len(), &3_001)?;
        store.cleanup(u64::MAX).await.during("cleaning up")?;
        store.close().await.during("closing the store")
    };
    within(cx.patience(), "sixty streams dropped half-read, and a close", all).await?
}

async fn query_5_a_listing_counts_and_dates_the_records(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for (record, at) in [("b", 20), ("a", 30), ("c", 10), ("a", 10), ("b", 40), ("a", 20)] {
        store.put(record, at, at).await?;
    }
    let summary = |record: &str, count, first, last| {
        RecordSummary::new(record.to_owned(), count, first, last)
    };
    let expected = [summary("a", 3, 10, 30), summary("b", 2, 20, 40), summary("c", 1, 10, 10)];
    equal("the listing", &store.records("*", Grammar::Glob).await?, &expected)?;
    let listed = store.records("b", Grammar::Glob).await?;
    equal("the listing of b", &listed, &[summary("b", 2, 20, 40)])?;
    // Rows that come and go change it.
    store.put("b", 90, 90).await?;
    store.put("b", 5, 5).await?;
    store.cleanup(15).await?;
    let listed = store.records("b", Grammar::Glob).await?;
    equal("the listing of b afterwards", &listed, &[summary("b", 3, 20, 90)])
}
