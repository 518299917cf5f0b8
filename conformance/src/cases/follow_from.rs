//! FOLLOW: where a follower begins, which is a time, the newest rows, now, or a cursor.

use annals_core::{Batch, Cursor, FollowFrom, FollowStream, PersistenceError, Row, Value};
use futures::StreamExt;

use super::follow::{all, next, params, plain, record};
use crate::case::cases;
use crate::check::{During, Plain, Verdict, ensure, equal, failure, refused};
use crate::context::{Context, is_pending, joined, row, within};

cases![
    follow_3_from_a_time_there_is_no_gap_and_no_double,
    follow_3_the_newest_rows_come_first,
    follow_3_from_now_nothing_old_comes,
    follow_4_a_cursor_goes_on_behind_its_row,
    follow_4_a_cursor_outlives_compaction_cleanup_and_reopening,
    follow_4_what_is_no_cursor_is_refused,
    follow_9_a_cursor_of_another_history_is_refused,
];

async fn follow_3_from_a_time_there_is_no_gap_and_no_double(cx: &Context) -> Verdict {
    const ROWS: u64 = 400;
    let store = cx.fresh().await?;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..ROWS {
                store.put("a", number, number).await?;
            }
            Ok::<(), crate::check::Stop>(())
        })
    };
    // Followers begin while rows are stored.
    let mut begun = Vec::new();
    for follower in 0..5 {
        let mut rows = store.followed("a", FollowFrom::Time(50));
        begun.push(next(cx, &mut rows, 1 + follower * 20).await?);
        let rest = (ROWS - 50) as usize - begun[follower].len();
        begun[follower].extend(next(cx, &mut rows, rest).await?);
    }
    joined(writer.await)??;
    let expected: Vec<u64> = (50..ROWS).collect();
    for rows in begun {
        equal("the rows from 50 on", &record(&rows, "a"), &expected)?;
    }
    Ok(())
}

async fn follow_3_the_newest_rows_come_first(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for number in 0..10_u64 {
        store.put("b", number, number).await?;
        store.put("a", number, 9).await?;
    }
    store.put("c", 0, 0).await?;
    let mut stream = store.followed("*", FollowFrom::Latest(3));
    let rows = next(cx, &mut stream, 7).await?;
    let rows: Vec<(&str, &Value)> = rows.iter().map(|row| (&*row.0, &row.2)).collect();
    let expected = [("a", 7), ("a", 8), ("a", 9), ("b", 7), ("b", 8), ("b", 9), ("c", 0)];
    let expected = expected.map(|(name, value)| (name, Value::from(value)));
    let expected: Vec<(&str, &Value)> =
        expected.iter().map(|(name, value)| (*name, value)).collect();
    equal("the newest rows", &rows, &expected)?;
    store.put("c", 1, 10).await?;
    equal("what arrives", &record(&next(cx, &mut stream, 1).await?, "c"), &[1])?;
    let mut none = store.followed("d", FollowFrom::Latest(3));
    let mut first = std::pin::pin!(next(cx, &mut none, 1));
    ensure(is_pending(first.as_mut()).await, "no rows yet", "a wait", "rows")?;
    store.put("d", 1, 11).await?;
    equal("the first row of a record", &record(&first.await?, "d"), &[1])
}

async fn follow_3_from_now_nothing_old_comes(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.put("a", "old", 10).await?;
    let page = store.follow_page("*", &params(FollowFrom::Now).with_wait(false)).await?;
    equal("the rows that were there", &page.rows.len(), &0)?;
    store.put("a", "new", 11).await?;
    store.put("b", "new", 11).await?;
    let mut stream = store.followed("*", FollowFrom::Cursor(page.cursor));
    let rows = next(cx, &mut stream, 2).await?;
    equal("the rows of a", &record(&rows, "a"), &["new"])?;
    equal("the rows of b", &record(&rows, "b"), &["new"])
}

async fn follow_4_a_cursor_goes_on_behind_its_row(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    // One batch, so that cursors lie within a transaction; equal times within it.
    let rows =
        (0..24_u64).map(|number| row(["a", "b", "c"][number as usize % 3], number, number / 6));
    store.store_batch(&Batch::new(rows.collect::<Verdict<Vec<Row>>>()?)).await?;
    for number in 24..30_u64 {
        store.put("a", number, number).await?;
    }
    let mut stream = FollowStream::new(
        store.backend.clone(),
        "*",
        params(all()).with_wait(false).with_page_rows(5),
    );
    let mut rows = Vec::new();
    let mut cursors = Vec::new();
    while let Some(row) = stream.next().await {
        rows.push(plain(row?)?);
        cursors.extend(stream.cursor());
    }
    equal("the rows", &rows.len(), &30)?;
    equal("the cursors", &cursors.len(), &30)?;
    for (taken, cursor) in (1..).zip(cursors) {
        let text = cursor.to_string();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        ensure(text.bytes().all(allowed), "a cursor", "letters, digits, `.` and `-`", &text)?;
        let (rest, _) = store.arrived("*", FollowFrom::Cursor(text.parse()?)).await?;
        equal(format!("what follows row {taken}"), &rest, &rows[taken..].to_vec())?;
    }
    Ok(())
}

async fn follow_4_a_cursor_outlives_compaction_cleanup_and_reopening(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    store.must_claim(store.claims().complete_follow, "complete_follow")?;
    let rows = (0..300_u64).map(|number| row(&format!("r{}", number % 7), number, 1_000 + number));
    store.load(rows.collect::<Verdict<Vec<Row>>>()?).await?;
    let mut stream = store.followed("*", all());
    let before = next(cx, &mut stream, 137).await?;
    let cursor = stream.cursor().ok_or_else(|| failure("a follower", "a cursor", "none"))?;
    drop(stream);
    // Late rows, so that runs overlap; the cleanup merges and rewrites.
    let rows = (300..600_u64).map(|number| row(&format!("r{}", number % 7), number, number));
    store.load(rows.collect::<Verdict<Vec<Row>>>()?).await?;
    equal("the rows removed", &store.cleanup(350).await?, &50)?;
    store = cx.reopen(store).await?;
    let (rest, _) = store.arrived("*", FollowFrom::Cursor(cursor)).await?;
    let mut values: Vec<u64> =
        before.iter().chain(&rest).filter_map(|row| row.2.as_u64()).collect();
    values.sort_unstable();
    let expected: Vec<u64> = (0..300).chain(350..600).collect();
    equal("all rows, each once", &values, &expected)
}

async fn follow_4_what_is_no_cursor_is_refused(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for text in ["x", "time", "memory-", "another-1-2", "1"] {
        let cursor: Cursor = text.parse().during("making a cursor")?;
        let page = store.follow_page("*", &params(FollowFrom::Cursor(cursor))).await;
        refused(format!("the cursor {text}"), page, "InvalidCursor", |error| {
            matches!(error, PersistenceError::InvalidCursor { .. })
        })?;
    }
    Ok(())
}

async fn follow_9_a_cursor_of_another_history_is_refused(cx: &Context) -> Verdict {
    let (store, other) = (cx.fresh().await?, cx.fresh().await?);
    store.must_claim(store.claims().complete_follow, "complete_follow")?;
    // Both have been given the same numbers.
    for number in 0..5_u64 {
        store.put("a", number, number).await?;
        other.put("a", number, number).await?;
    }
    let begin = store.arrived("*", FollowFrom::Now).await?.1;
    let (rows, end) = store.arrived("*", all()).await?;
    equal("the rows of the store", &rows.len(), &5)?;
    for cursor in [begin, end] {
        let from = params(FollowFrom::Cursor(cursor.clone()));
        for wait in [false, true] {
            let from = from.clone().with_wait(wait);
            let page = other.follow_page("*", &from);
            let page = within(cx.patience(), "a cursor of another store", page).await?;
            refused("a cursor of another store", page, "AnotherHistory", |error| {
                matches!(error, PersistenceError::AnotherHistory { .. })
            })?;
        }
        let behind = store.arrived("*", from.from).await?.0;
        equal("what is behind it in its own", &behind, &Vec::<Plain>::new())?;
    }
    Ok(())
}
