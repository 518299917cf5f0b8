//! FOLLOW beside ERASE and CORRECT: a place stays where it was.

use std::collections::BTreeMap;

use annals_core::{Batch, Cursor, FollowFrom, FollowStream, QueryParams, Row, Value};
use futures::StreamExt;
use serde_json::json;

use super::erase::{erasing, of};
use super::filter::filter;
use super::follow::{all, next, nothing_before, params, plain};
use crate::case::cases;
use crate::check::{During, Plain, Verdict, ensure, equal, failure};
use crate::context::{Context, Store, row, within};

cases![
    follow_6_it_ends_where_the_newest_rows_were_removed,
    follow_8_erase_and_correct_leave_every_place,
    follow_8_a_follower_at_its_end_gets_no_row_again,
    follow_8_places_outlive_edits_and_rest,
];

/// Each row says which it is, whatever becomes of its value.
fn value(number: u64) -> Value {
    json!({ "n": number, "odd": number % 2 == 1 })
}

/// Three records and two transactions of many rows, then single rows with times of the former.
async fn fill(store: &Store, from: u64) -> Verdict {
    let one = |n: u64| row(["a", "b", "c"][n as usize % 3], value(n), 1_000 + n % 30);
    for batch in [from..from + 12, from + 12..from + 30] {
        let rows: Verdict<Vec<Row>> = batch.map(one).collect();
        store.store_batch(&Batch::new(rows?)).await.during("storing a batch")?;
    }
    for n in from + 30..from + 40 {
        let at = 1_000 + n % 30;
        store.put(["a", "b", "c"][n as usize % 3], value(n), at).await?;
    }
    Ok(())
}

/// The rows, and the cursor behind each.
async fn followed(store: &Store) -> Verdict<Vec<(Plain, Cursor)>> {
    let params = params(all()).with_wait(false).with_page_rows(5);
    let mut stream = FollowStream::new(store.backend.clone(), "*", params);
    let mut rows = Vec::new();
    while let Some(row) = stream.next().await {
        let row = plain(row.during("following")?)?;
        let cursor = stream.cursor().ok_or_else(|| failure("a follower", "a cursor", "none"))?;
        rows.push((row, cursor));
    }
    Ok(rows)
}

async fn follow_6_it_ends_where_the_newest_rows_were_removed(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    for at in [1, 2] {
        store.put("a", at, at).await?;
    }
    store.cleanup(2).await.during("a cleanup")?;
    store.put("b", 3, 10).await?;
    let cursor = store.arrived("*", FollowFrom::Time(5)).await?.1;
    store.put("z", 4, 100).await?;
    for record in ["z", "b", "a"] {
        store.erase(&of(record)?).await.during("an erase")?;
        let from = [all(), FollowFrom::Cursor(cursor.clone())];
        for from in from {
            let ended = within(cx.patience(), "a follower without new rows", async {
                store.arrived("*", from).await
            });
            let (rows, _) = ended.await??;
            equal("the last row", &rows.iter().any(|row| row.0 == "z"), &false)?;
        }
    }
    // What arrives then is not passed over.
    store.put("c", 5, 7).await?;
    let (rows, _) = store.arrived("*", all()).await?;
    equal("the rows that are left", &rows.len(), &1)
}

fn number(row: &Plain) -> u64 {
    row.2["n"].as_u64().unwrap_or(u64::MAX)
}

/// Behind each cursor there is what was behind it, as far as the store still has it, with the values
/// that it has now.
async fn places_hold(store: &Store, before: &[(Plain, Cursor)], stored_since: &[u64]) -> Verdict {
    let now: BTreeMap<u64, Plain> =
        store.all().await?.into_iter().map(|row| (number(&row), row)).collect();
    for (taken, (_, cursor)) in (1..).zip(before) {
        let behind = before[taken..].iter().map(|(row, _)| number(row));
        let expected: Vec<&Plain> =
            behind.chain(stored_since.iter().copied()).filter_map(|n| now.get(&n)).collect();
        let (rest, _) = store.arrived("*", FollowFrom::Cursor(cursor.clone())).await?;
        // Between records, the order is that of a store.
        let what = format!("what follows row {taken}");
        equal(format!("{what}, in number"), &rest.len(), &expected.len())?;
        for record in ["a", "b", "c"] {
            let of_record = |row: &&&Plain| row.0 == record;
            let rest: Vec<&Plain> = rest.iter().filter(|row| of_record(&row)).collect();
            let expected: Vec<&Plain> = expected.iter().filter(of_record).copied().collect();
            equal(format!("{what} of {record}"), &rest, &expected)?;
        }
    }
    Ok(())
}

async fn edit(store: &Store, first: u64) -> Verdict {
    for pattern in ["a", "b"] {
        let some = of(pattern)?.with_start_time(first).with_end_time(first + 12);
        store.erase(&some.with_where(filter("odd = true")?)).await.during("erasing")?;
    }
    let rows = store.all().await?;
    for (record, at, value) in rows.iter().step_by(3) {
        let value = json!({ "n": value["n"], "odd": false, "corrected": "longer than before" });
        // Of several rows with a time the last is meant, which this value must say.
        let there = store.rows(record, QueryParams::range(*at, *at)).await?;
        if there.first().is_some_and(|last| last.2["n"] == value["n"]) {
            store.correct(&row(record, value, *at)?).await.during("correcting")?;
        }
    }
    Ok(())
}

async fn follow_8_erase_and_correct_leave_every_place(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    store.must_claim(store.claims().complete_follow, "complete_follow")?;
    fill(&store, 0).await?;
    let before = followed(&store).await?;
    equal("the rows", &before.len(), &40)?;
    edit(&store, 1_000).await?;
    places_hold(&store, &before, &[]).await?;
    // What arrives afterwards comes last, and another edit finds what the first left.
    let since: Vec<u64> = (90..130).collect();
    fill(&store, 90).await?;
    edit(&store, 1_001).await?;
    places_hold(&store, &before, &since).await?;
    store.erase(&of("b")?).await.during("erasing")?;
    places_hold(&store, &before, &since).await
}

async fn follow_8_a_follower_at_its_end_gets_no_row_again(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    let mut stream = store.followed("*", all());
    fill(&store, 0).await?;
    next(cx, &mut stream, 40).await?;
    edit(&store, 1_000).await?;
    nothing_before(cx, &store, &mut stream).await
}

async fn follow_8_places_outlive_edits_and_rest(cx: &Context) -> Verdict {
    let mut store = cx.fresh_durable().await?;
    store.must_claim(store.claims().erasure, "erasure")?;
    store.must_claim(store.claims().complete_follow, "complete_follow")?;
    fill(&store, 0).await?;
    let before = followed(&store).await?;
    edit(&store, 1_000).await?;
    fill(&store, 90).await?;
    edit(&store, 1_002).await?;
    let removed = store.cleanup(1_001).await.during("a cleanup")?;
    ensure(removed > 0, "a cleanup", "rows to remove", removed)?;
    store = cx.reopen(store).await?;
    places_hold(&store, &before, &(90..130).collect::<Vec<u64>>()).await
}
