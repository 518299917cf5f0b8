//! Aggregates on the live handle.

use std::sync::Arc;
use std::time::Duration;

use annals_aimdb::{
    Aggregate, AimDbBuilderPersistExt, AimDbQueryExt, Function, PersistenceOptions,
};
use annals_core::{ManualClock, MemoryBackend, PersistenceError};
use serde_json::json;

use super::line::{self, Cfg, Db};
use crate::fixture::{How, Reading, WEEK};

const HOUR: u64 = 3_600_000;

/// Two records: 1, 2, 3 and 4 °C half an hour apart in Vienna, twice as much in Graz.
async fn database() -> Db {
    let clock = Arc::new(ManualClock::new(0));
    let options = PersistenceOptions::new(WEEK).with_clock(clock.clone());
    let mut builder =
        line::builder().with_persistence_options(Arc::new(MemoryBackend::new()), options);
    let names = ["accuracy::vienna", "accuracy::graz"];
    for name in names {
        line::persist::<Reading>(&mut builder, name, Cfg::SingleLatest, How::Push);
    }
    let db = line::start(builder).await;
    for n in 1..=4 {
        clock.set((n - 1) * HOUR / 2);
        for (name, factor) in names.into_iter().zip([1.0, 2.0]) {
            line::pusher(&db, name).push(Reading { n, celsius: factor * n as f64 });
        }
    }
    db.persistence().unwrap().flush().await.unwrap();
    db
}

#[tokio::test]
async fn a_question_is_answered_by_record_and_hour() {
    let db = database().await;
    let hourly = Aggregate::every(Duration::from_secs(3_600)).now(2 * HOUR);
    let buckets = db.aggregate("accuracy::*", &hourly.clone().member("n")).await.unwrap();
    let found: Vec<_> =
        buckets.iter().map(|b| (&*b.record, b.start as u64, b.count, b.mean())).collect();
    let expected = ["accuracy::graz", "accuracy::vienna"]
        .map(|record| [(record, 0, 2, Some(1.5)), (record, HOUR, 2, Some(3.5))]);
    assert_eq!(found, expected.as_flattened());

    // Without a member the number is the value itself, and these values are objects.
    let buckets = db.aggregate("accuracy::vienna", &hourly).await.unwrap();
    assert_eq!(buckets.len(), 2);
    assert!(buckets.iter().all(|bucket| (bucket.count, bucket.skipped) == (0, 2)), "{buckets:?}");
}

#[tokio::test]
async fn a_type_with_a_signal_needs_no_member_in_the_question() {
    let db = database().await;
    let all = Aggregate::new().functions([Function::Max]);
    let max = async |pattern, question: &Aggregate| {
        let buckets = db.aggregate_typed::<Reading>(pattern, question).await.unwrap();
        buckets.iter().map(|bucket| bucket.max().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(max("accuracy::*", &all).await, [8.0, 4.0]);
    // A member in the question takes precedence.
    assert_eq!(max("accuracy::graz", &all.member("n")).await, [4.0]);
}

#[tokio::test]
async fn the_value_at_a_time_is_the_newest_until_then() {
    let db = database().await;
    let at = async |pattern, time| {
        let rows = db.value_at(pattern, time).await.unwrap();
        rows.iter().map(|row| (row.stored_at, row.value["n"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(at("accuracy::*", HOUR - 1).await, [(HOUR / 2, json!(2)), (HOUR / 2, json!(2))]);
    assert_eq!(at("accuracy::vienna", u64::MAX).await, [(3 * HOUR / 2, json!(4))]);
}

#[tokio::test]
async fn a_question_that_cannot_work_is_refused() {
    let db = database().await;
    let zero = Aggregate::every(Duration::ZERO);
    let error = db.aggregate_typed::<Reading>("accuracy::*", &zero).await.unwrap_err();
    assert!(matches!(error, PersistenceError::InvalidAggregate { .. }), "{error}");
    let error = db.aggregate("", &Aggregate::new()).await.unwrap_err();
    assert!(matches!(error, PersistenceError::InvalidPattern { .. }), "{error}");
    let without = line::start(line::builder()).await;
    let error = without.aggregate("a", &Aggregate::new()).await.unwrap_err();
    assert!(matches!(error, PersistenceError::NotConfigured(_)), "{error}");
}
