//! BATCH: whole or not at all, in order.

use annals_core::{Batch, BatchId, Durability, Outcome, PersistenceError, QueryParams, Row, Value};

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, refused};
use crate::context::{Context, row};

cases![
    batch_1_a_batch_is_stored_whole,
    batch_1_one_invalid_row_refuses_the_batch_and_is_named,
    batch_2_order_inside_a_batch_is_order_of_arrival,
    batch_3_a_stored_batch_is_known_by_its_id,
];

async fn batch_1_a_batch_is_stored_whole(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    store.store_batch(&Batch::new(vec![])).await.during("storing an empty batch")?;
    equal("what an empty batch stored", &store.all().await?, &[])?;
    let rows: Verdict<Vec<_>> = (0..500).map(|at| row(&format!("r{}", at % 7), at, at)).collect();
    store.store_batch(&Batch::new(rows?)).await.during("storing a batch of 500 rows")?;
    equal("the number of rows", &store.all().await?.len(), &500)
}

/// A row that only a batch can carry: a single value would be refused when the row is made.
async fn batch_1_one_invalid_row_refuses_the_batch_and_is_named(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    for invalid in [0, 3, 6] {
        let mut rows = Vec::new();
        for at in 0..7 {
            rows.push(row(["a", "b"][at % 2], at, at as u64)?);
        }
        rows[invalid].stored_at = u64::MAX;
        let error = refused(
            format!("a batch whose row {invalid} is invalid"),
            store.store_batch(&Batch::new(rows)).await,
            &format!("InvalidRow with index {invalid}"),
            |error| {
                matches!(error, PersistenceError::InvalidRow { index, source }
                    if *index == invalid && source.is_invalid_input())
            },
        )?;
        equal("what the error says of the rows", &error.outcome(), &Outcome::NotApplied)?;
        ensure(!error.is_retryable(), "whether it may be sent again", "no", &error)?;
        equal("what was stored", &store.all().await?, &[])?;
    }
    Ok(())
}

/// Only the order is looked at: whether equal times are kept at all is TIME-3's matter.
async fn batch_2_order_inside_a_batch_is_order_of_arrival(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let rows: Verdict<Vec<Row>> = (0..30).map(|i| row(["a", "b"][i % 2], i, 5)).collect();
    store.store_batch(&Batch::new(rows?)).await.during("storing a batch")?;
    for (record, last) in [("a", 28), ("b", 29)] {
        let got = store.values(record, QueryParams::default()).await?;
        let numbers: Vec<u64> = got.iter().filter_map(Value::as_u64).collect();
        equal(format!("the last of {record:?} to arrive"), &numbers.first(), &Some(&last))?;
        let ordered = numbers.windows(2).all(|pair| pair[0] > pair[1]);
        ensure(ordered, format!("the rows of {record:?}"), "the last to arrive first", numbers)?;
    }
    Ok(())
}

async fn batch_3_a_stored_batch_is_known_by_its_id(cx: &Context) -> Verdict {
    let store = cx.fresh().await?;
    let id = |writer, number| BatchId { writer, number };
    if !store.guarantees().idempotent_batches {
        refused(
            "asking for a batch of a backend that ignores ids",
            store.has_batch(id(1, 1)).await,
            "Unsupported",
            |error| matches!(error, PersistenceError::Unsupported(_)),
        )?;
        return Ok(());
    }
    let batch = Batch::new(vec![row("a", 1, 1)?]);
    store.store_batch(&batch.clone().with_id(id(7, 5))).await.during("storing batch 5")?;
    let mut invalid = row("a", 2, 2)?;
    invalid.stored_at = u64::MAX;
    drop(store.store_batch(&Batch::new(vec![invalid]).with_id(id(8, 1))).await);
    let (mut store, mut reopened) = (store, false);
    loop {
        for (writer, number, expected) in
            [(7, 5, true), (7, 1, true), (7, 6, false), (8, 1, false), (7 << 64, 5, false)]
        {
            let found = store.has_batch(id(writer, number)).await.during("asking for a batch")?;
            equal(
                format!("whether batch {number} of writer {writer} is stored"),
                &found,
                &expected,
            )?;
        }
        if store.claims().durability == Durability::Volatile || reopened {
            return Ok(());
        }
        store = cx.reopen(store).await?;
        reopened = true;
    }
}
