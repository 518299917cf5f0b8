//! A disk that is full or fails, and what is lost with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::{
    Batch, BatchId, Durability, ErrorKind, Order, Outcome, PersistenceBackend, PersistenceError,
    QueryParams, Row, Value,
};
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{Fault, Medium, Place};
use serde_json::json;
use tokio::runtime::Builder;

use crate::bed::{Redb, open};

fn is_full(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Full)
}

async fn values(history: &RedbBackend) -> Vec<Value> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    let rows = history.query("a", params).await.unwrap();
    rows.into_iter().map(|row| row.value[0].clone()).collect()
}

fn batch(number: u64) -> Batch {
    // Text that zstd hardly compresses.
    let mut dice = annals_test_faults::Dice::new(number);
    let text: String = (0..30_000).map(|_| char::from(b' ' + 3 + dice.below(56) as u8)).collect();
    let row = Row::new("a", &json!([number, text]), number).unwrap();
    Batch::new([row]).with_id(BatchId { writer: 1, number })
}

/// After a write for which there was no space, redb refused every call, even reads, until the program
/// was restarted.
pub(crate) fn readers_continue_and_stores_do_once_there_is_space() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let medium = Arc::new(Medium::modelled());
        let files = Place::<Redb>::new(medium.clone());
        let history = open(RedbConfig::new(files.path())).unwrap();
        history.store_batch(&batch(1)).await.unwrap();
        medium.set_room(Some(4 << 20));
        let mut number = 2;
        let error = loop {
            match history.store_batch(&batch(number)).await {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(is_full(&error) && error.is_retryable(), "{error}");
        let stored: Vec<Value> = (1..number).map(Value::from).collect();
        assert!(stored.len() > 10);
        assert_eq!(values(&history).await, stored);
        assert!(is_full(&history.store_batch(&batch(number)).await.unwrap_err()));
        assert_eq!(values(&history).await, stored);
        medium.set_room(None);
        for number in [number, number, number + 1] {
            history.store_batch(&batch(number)).await.unwrap();
        }
        let stored: Vec<Value> = (1..=number + 1).map(Value::from).collect();
        assert_eq!(values(&history).await, stored);
        history.close().await.unwrap();
        let history = open(RedbConfig::new(files.path())).unwrap();
        assert_eq!(values(&history).await, stored);
    });
}

/// Rows that were acknowledged before they were on the medium, and could not be written to it later, were
/// lost silently.
pub(crate) fn volatile_rows_that_are_lost_are_reported_by_a_store() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let medium = Arc::new(Medium::modelled());
        let files = Place::<Redb>::new(medium.clone());
        let config = RedbConfig::new(files.path()).with_durability(Durability::Volatile);
        let history = open(config).unwrap();
        let (mut acknowledged, mut lost) = (BTreeSet::new(), 0);
        for number in 0..=400_u64 {
            if number == 400 {
                medium.disarm();
            } else if number % 20 == 10 {
                // Beside the writer, which may be at it now or find it when it runs out of work.
                medium.arm(1, Fault::Full(1));
            }
            match history.store("a", &json!([number]), number).await {
                Ok(()) => drop(acknowledged.insert(number)),
                Err(error) => {
                    assert!(is_full(&error), "{error}");
                    medium.disarm();
                    // Reopens the file if that failed, too.
                    history.health().await.unwrap();
                    let there = values(&history).await;
                    let before = acknowledged.len();
                    acknowledged.retain(|number| there.contains(&json!(number)));
                    lost += before - acknowledged.len();
                }
            }
        }
        let there = values(&history).await;
        let unreported: Vec<_> =
            acknowledged.iter().filter(|number| !there.contains(&json!(number))).collect();
        assert!(unreported.is_empty(), "{unreported:?}");
        assert!(lost > 0, "nothing was lost");
        history.close().await.unwrap();
    });
}

/// Closing returned Ok when volatile rows were lost and no later store could report it.
pub(crate) fn volatile_rows_that_are_lost_are_reported_by_closing() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let mut lost = 0;
        for round in 0..40 {
            let medium = Arc::new(Medium::modelled());
            let files = Place::<Redb>::new(medium.clone());
            let config = RedbConfig::new(files.path()).with_durability(Durability::Volatile);
            let history = open(config).unwrap();
            // Which of the writes that follow is the one of the row is a matter of chance.
            medium.arm(1 + round % 8, Fault::Full(1));
            let stored = history.store("a", &json!([1]), 1).await;
            let closed = history.close().await;
            drop(history);
            medium.disarm();
            let history = open(RedbConfig::new(files.path())).unwrap();
            let there = values(&history).await;
            if stored.is_ok() && there.is_empty() {
                lost += 1;
                assert!(closed.is_err(), "nothing was reported");
            }
        }
        assert!(lost > 0, "nothing was lost");
    });
}

/// Stores that were refused because the disk had failed before had an unknown outcome, as the store had
/// at which it failed.
pub(crate) fn a_store_that_is_refused_was_not_applied() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let medium = Arc::new(Medium::modelled());
        let files = Place::<Redb>::new(medium.clone());
        let history = open(RedbConfig::new(files.path())).unwrap();
        history.store("a", &json!([0]), 0).await.unwrap();
        medium.fail_syncs(true);
        let outcomes = [Outcome::Unknown, Outcome::NotApplied, Outcome::NotApplied];
        for (at, outcome) in (1..).zip(outcomes) {
            let error = history.store("a", &json!([at]), at).await.unwrap_err();
            assert_eq!(error.outcome(), outcome, "{error}");
        }
    });
}

/// When there was no space to reopen the file either, readers had to wait for the next store.
pub(crate) fn a_check_of_health_lets_readers_in_once_there_is_space() {
    Builder::new_current_thread().build().unwrap().block_on(async {
        let medium = Arc::new(Medium::modelled());
        let files = Place::<Redb>::new(medium.clone());
        let history = open(RedbConfig::new(files.path())).unwrap();
        history.store("a", &json!([0]), 0).await.unwrap();
        medium.arm(1, Fault::Full(1_000));
        assert!(is_full(&history.store("a", &json!([1]), 1).await.unwrap_err()));
        let query = history.query("a", QueryParams::default()).await;
        assert!(is_full(&query.unwrap_err()));
        assert!(is_full(&history.health().await.unwrap_err()));
        medium.disarm();
        history.health().await.unwrap();
        assert_eq!(values(&history).await, [0]);
    });
}
