//! CORRECT: a value that was wrong.

use annals_core::{
    Batch, Durability, JsonText, Order, PersistenceBackend, PersistenceError, QueryParams, Row,
    Value,
};
use futures::TryStreamExt;
use serde_json::json;

use super::erase::{erasing, of};
use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, refused};
use crate::context::{Context, Store, joined, row};

cases![
    correct_1_replaces_one_value,
    correct_1_keeps_the_text,
    correct_1_of_equal_times_the_last_to_arrive_is_meant,
    correct_1_nothing_is_there_to_correct,
    correct_1_any_row_of_many,
    correct_2_what_a_store_refuses_is_refused,
    correct_2_a_reader_sees_the_old_value_or_the_new_one,
];

impl Store {
    async fn corrects(&self, record: &str, value: Value, at: u64, expected: bool) -> Verdict {
        let what = format!("correcting {record:?} at {at}");
        let corrected = self.correct(&row(record, value, at)?).await.during(what.clone())?;
        equal(format!("{what}: whether there is a row"), &corrected, &expected)
    }
}

async fn correct_1_replaces_one_value(cx: &Context) -> Verdict {
    let mut store = erasing(cx).await?;
    for at in 1..=5_u64 {
        store.put("r", at, at).await?;
        store.put("s", at, at).await?;
    }
    store.corrects("r", json!({ "longer": "than before", "n": [3] }), 3, true).await?;
    store.corrects("r", json!(null), 5, true).await?;
    let expected =
        [json!(null), json!(4), json!({ "longer": "than before", "n": [3] }), json!(2), json!(1)];
    equal("the corrected record", &store.values("r", QueryParams::default()).await?, &expected)?;
    equal("the other record", &store.values("s", QueryParams::default()).await?, &[5, 4, 3, 2, 1])?;
    if store.claims().durability >= Durability::Process {
        store = cx.reopen(store).await?;
        let again = store.values("r", QueryParams::default()).await?;
        equal("the corrected record, opened again", &again, &expected)?;
    }
    store.corrects("r", json!(33), 3, true).await?;
    store.corrects("r", json!(33), 3, true).await?;
    let newest = store.values("r", QueryParams::range(3, 3)).await?;
    equal("what was corrected twice", &newest, &[33])?;
    let erased = store.erase(&of("r")?).await.during("erasing")?;
    equal("the number of rows", &erased, &5)
}

/// Members keep their order, and numbers their digits.
async fn correct_1_keeps_the_text(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    store.put("r", 1, 1).await?;
    let text = r#"{"z":1.50,"a":12345678901234567890123,"z":1e2}"#;
    let value = JsonText::from_text(text.to_owned(), usize::MAX).during("making a value")?;
    let right = Row { value, ..row("r", 0, 1)? };
    let corrected = store.correct(&right).await.during("correcting")?;
    equal("whether there is a row", &corrected, &true)?;
    let stream = store.query_stream("r", QueryParams::default()).await.during("querying")?;
    let rows: Vec<_> = stream.try_collect().await.during("reading")?;
    let found: Vec<&str> = rows.iter().map(|row| &*row.json).collect();
    equal("the text", &found, &[text])
}

async fn correct_1_of_equal_times_the_last_to_arrive_is_meant(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    for value in [1, 2, 3] {
        store.put("r", value, 7).await?;
    }
    store.put("r", 0, 6).await?;
    store.put("r", 9, 8).await?;
    store.corrects("r", json!(33), 7, true).await?;
    let oldest_first = QueryParams::default().with_order(Order::OldestFirst);
    equal("oldest first", &store.values("r", oldest_first).await?, &[0, 1, 2, 33, 9])?;
    // A row that arrives later is after it.
    store.put("r", 4, 7).await?;
    equal("oldest first", &store.values("r", oldest_first).await?, &[0, 1, 2, 33, 4, 9])?;
    store.corrects("r", json!(44), 7, true).await?;
    equal("oldest first", &store.values("r", oldest_first).await?, &[0, 1, 2, 33, 44, 9])
}

async fn correct_1_nothing_is_there_to_correct(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    store.put("r", 1, 5).await?;
    store.corrects("r", json!(2), 4, false).await?;
    store.corrects("r", json!(2), 6, false).await?;
    store.corrects("s", json!(2), 5, false).await?;
    store.corrects("R", json!(2), 5, false).await?;
    equal("the rows", &store.values("*", QueryParams::default()).await?, &[1])?;
    equal("the records", &store.names("*", QueryParams::default()).await?, &["r"])
}

/// Rows that have been at rest for a while, among many.
async fn correct_1_any_row_of_many(cx: &Context) -> Verdict {
    const ROWS: u64 = 20_000;
    let store = erasing(cx).await?;
    let rows: Verdict<Vec<_>> =
        (0..ROWS).map(|n| row(&format!("r{}", n % 3), json!({ "n": n }), n / 6)).collect();
    store.load(rows?).await?;
    // The times hold two rows of a record each.
    for n in [3_u64, 9_999, 19_997] {
        let (record, at) = (format!("r{}", n % 3), n / 6);
        store.corrects(&record, json!({ "n": "corrected" }), at, true).await?;
        let mut expected: Vec<Value> = (0..ROWS)
            .filter(|other| other % 3 == n % 3 && other / 6 == at)
            .map(|other| json!({ "n": other }))
            .collect();
        expected.pop();
        expected.push(json!({ "n": "corrected" }));
        let params = QueryParams::range(at, at).with_order(Order::OldestFirst);
        equal(
            format!("the rows of {record} at {at}"),
            &store.values(&record, params).await?,
            &expected,
        )?;
    }
    equal("the number of rows", &(store.all().await?.len() as u64), &ROWS)
}

async fn correct_2_what_a_store_refuses_is_refused(cx: &Context) -> Verdict {
    let store = erasing(cx).await?;
    store.put("r", 1, 1).await?;
    let late = Row { stored_at: u64::MAX, ..row("r", 2, 1)? };
    refused("a time too late", store.correct(&late).await, "TimestampOutOfRange", |error| {
        matches!(error, PersistenceError::TimestampOutOfRange { .. })
    })?;
    equal("the rows", &store.values("*", QueryParams::default()).await?, &[1])
}

async fn correct_2_a_reader_sees_the_old_value_or_the_new_one(cx: &Context) -> Verdict {
    const ROUNDS: u64 = 40;
    let store = erasing(cx).await?;
    let rows: Verdict<Vec<_>> = (0..200_u64).map(|at| row("r", 0, at)).collect();
    store.store_batch(&Batch::new(rows?)).await.during("storing a batch")?;
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let reader = {
        let store = store.clone();
        tokio::spawn(async move {
            let mut newest = 0;
            while !*is_done.borrow_and_update() {
                let values = store.values("r", QueryParams::range(100, 100)).await?;
                let value = values.first().and_then(Value::as_u64);
                let is_right = values.len() == 1 && value.is_some_and(|value| value >= newest);
                let what = "the row beside corrections";
                ensure(is_right, what, format!("one value, {newest} or greater"), &values)?;
                newest = value.unwrap_or(newest);
                tokio::task::yield_now().await;
            }
            Verdict::Ok(())
        })
    };
    for round in 1..=ROUNDS {
        store.corrects("r", json!(round), 100, true).await?;
        if reader.is_finished() {
            break;
        }
    }
    done.send_replace(true);
    joined(reader.await)??;
    equal("the number of rows", &store.all().await?.len(), &200)
}
