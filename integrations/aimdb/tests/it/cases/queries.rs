//! Queries on the live handle, grammar, retention.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, PersistenceOptions};
use annals_core::{
    Clock, Grammar, ManualClock, MemoryBackend, Order, PersistenceBackend, PersistenceError,
    QueryParams, RawRow, RetentionPolicy,
};
use futures::StreamExt;
use serde_json::json;

use super::line::{self, Cfg, SEPARATOR};
use crate::fixture::{How, Reading, ThreeMethods, WEEK, until};

/// `accuracy::vienna` or `accuracy.vienna`.
fn name(segments: &[&str]) -> &'static str {
    segments.join(SEPARATOR).leak()
}

#[tokio::test]
async fn all_forms_of_a_query_read_the_store() {
    let clock = Arc::new(ManualClock::new(1_000));
    let options = PersistenceOptions::new(WEEK).with_clock(clock.clone());
    let backend = Arc::new(MemoryBackend::new());
    let mut builder = line::builder().with_persistence_options(backend, options);
    let (vienna, graz) = (name(&["accuracy", "vienna"]), name(&["accuracy", "graz"]));
    line::persist::<Reading>(&mut builder, vienna, Cfg::SingleLatest, How::Push);
    line::persist::<Reading>(&mut builder, graz, Cfg::SpmcRing { capacity: 4 }, How::Tap);
    let db = line::start(builder).await;
    for n in 0..3 {
        clock.set(1_000 + n);
        line::pusher(&db, vienna).push(Reading::new(n));
        line::pusher(&db, graz).push(Reading::new(10 + n));
        db.persistence().unwrap().flush().await.unwrap();
    }

    let all = name(&["accuracy", "*"]);
    let numbers = |readings: Vec<Reading>| readings.into_iter().map(|r| r.n).collect::<Vec<_>>();
    assert_eq!(numbers(db.query_latest(all, 2).await.unwrap()), [12, 11, 2, 1]);
    assert_eq!(numbers(db.query_range(vienna, 1_000, 1_001).await.unwrap()), [1, 0]);
    assert_eq!(numbers(db.query_range(all, 0, u64::MAX).await.unwrap()).len(), 6);

    let oldest_first = QueryParams::range(1_001, 1_002).with_order(Order::OldestFirst);
    let raw = db.query_raw(graz, oldest_first).await.unwrap();
    assert_eq!(raw[0].value, json!({"n": 11, "celsius": 21.5}));
    assert_eq!((&*raw[0].record_name, raw[0].stored_at), (graz, 1_001));
    let rows = db.query_stream(all, QueryParams::default()).await.unwrap();
    assert_eq!(rows.count().await, 6);
    let typed = db.stream_typed::<Reading>(graz, QueryParams::latest(1)).await.unwrap();
    let typed: Vec<_> = typed.map(|row| row.unwrap()).collect().await;
    assert_eq!((typed[0].value.n, typed[0].stored_at), (12, 1_002));

    // Only even numbers can be read.
    let half = |row: &RawRow| {
        let reading: Reading =
            serde_json::from_str(&row.json).map_err(|error| error.to_string())?;
        if reading.n.is_multiple_of(2) {
            Ok(reading.n / 2)
        } else {
            Err(format!("{} is odd", reading.n))
        }
    };
    assert_eq!(db.query_latest_with(all, 2, half).await.unwrap(), [6, 1]);
    let typed = db.query_typed_with(all, QueryParams::default(), half).await.unwrap();
    assert_eq!((typed.rows.len(), typed.skipped), (4, 2));

    let stats = db.persistence_stats().unwrap();
    assert_eq!((stats.total.recorded, stats.total.stored), (6, 6));
    assert_eq!(stats.records[vienna].stored, 3);
}

#[tokio::test]
async fn each_line_reads_patterns_its_own_way_unless_told_otherwise() {
    let backend = Arc::new(MemoryBackend::new());
    for record in ["house.attic.temperature", "house.temperature", "house::temperature"] {
        backend.store(record, &json!(1), 1).await.unwrap();
    }
    let ask = async |options: PersistenceOptions, pattern| {
        let builder = line::builder().with_persistence_options(backend.clone(), options);
        let db = line::start(builder).await;
        // The grammar in the parameters is ignored.
        let params = QueryParams::default().with_grammar(Grammar::Glob);
        db.query_raw(pattern, params).await.unwrap().len()
    };
    let by_line = |glob, topic| if SEPARATOR == "::" { glob } else { topic };
    assert_eq!(ask(PersistenceOptions::default(), "house.*").await, by_line(2, 1));
    assert_eq!(ask(PersistenceOptions::default(), "house.#").await, by_line(0, 2));
    for (grammar, star, hash) in [(Grammar::Glob, 2, 0), (Grammar::Topic, 1, 2)] {
        let options = || PersistenceOptions::default().with_grammar(grammar);
        assert_eq!(ask(options(), "house.*").await, star, "{grammar:?}");
        assert_eq!(ask(options(), "house.#").await, hash, "{grammar:?}");
    }
}

/// AimDB's published example asks for `accuracy::*`, on both lines.
#[tokio::test]
async fn a_pattern_that_the_topic_grammar_refuses_is_read_as_a_glob() {
    let backend = Arc::new(MemoryBackend::new());
    for record in ["accuracy::vienna", "accuracy::graz", "accuracy", "house.a.b"] {
        backend.store(record, &json!(record), 1).await.unwrap();
    }
    for grammar in [None, Some(Grammar::Topic), Some(Grammar::Glob)] {
        let mut options = PersistenceOptions::default();
        if let Some(grammar) = grammar {
            options = options.with_grammar(grammar);
        }
        let db = line::start(line::builder().with_persistence_options(backend.clone(), options));
        let db = db.await;
        let both = ["accuracy::graz", "accuracy::vienna"];
        let latest: Vec<String> = db.query_latest("accuracy::*", 1).await.unwrap();
        assert_eq!(latest, both, "{grammar:?}");
        let range: Vec<String> = db.query_range("accuracy::*", 0, 9).await.unwrap();
        assert_eq!(range, both, "{grammar:?}");
        let rows = db.query_stream("*::*", QueryParams::default()).await.unwrap();
        assert_eq!(rows.count().await, 2, "{grammar:?}");
        let error = db.query_latest::<String>("", 1).await.unwrap_err();
        assert!(matches!(error, PersistenceError::InvalidPattern { .. }), "{error}");
    }
}

#[tokio::test]
async fn retention_sweeps_at_the_start() {
    let backend = Arc::new(MemoryBackend::new());
    let now = 1_740_000_000_000;
    let week = WEEK.as_millis() as u64;
    backend.store("a", &json!("old"), now - week - 1).await.unwrap();
    backend.store("a", &json!("young"), now - week).await.unwrap();
    let options = PersistenceOptions::new(WEEK).with_clock(Arc::new(ManualClock::new(now)));
    let db = line::start(line::builder().with_persistence_options(backend.clone(), options)).await;
    let stats = || db.persistence().unwrap().retention_stats();
    until(|| stats().sweeps > 0).await;
    assert_eq!((stats().removed, stats().last_success_ms), (1, Some(now)));
    assert_eq!(db.query_latest::<String>("a", 5).await.unwrap(), ["young"]);
    assert_eq!(db.persistence().unwrap().sweep_now().await.unwrap(), 0);
}

#[tokio::test]
async fn retention_sweeps_again_at_each_interval() {
    let backend = Arc::new(MemoryBackend::new());
    let clock = Arc::new(ManualClock::new(1_740_000_000_000));
    let options = PersistenceOptions::new(WEEK)
        .with_clock(clock.clone())
        .with_sweep_interval(Duration::from_millis(1));
    let db = line::start(line::builder().with_persistence_options(backend.clone(), options)).await;
    let stats = || db.persistence().unwrap().retention_stats();
    until(|| stats().sweeps > 0).await;
    backend.store("a", &json!("young"), clock.now_ms()).await.unwrap();
    clock.set(clock.now_ms() + WEEK.as_millis() as u64 + 1);
    until(|| stats().removed == 1).await;
}

/// A failed sweep is counted and retried.
#[tokio::test]
async fn a_failed_sweep_shows_until_one_goes_through() {
    let backend = Arc::new(ThreeMethods::default());
    backend.failing.store(true, Ordering::SeqCst);
    let options = PersistenceOptions::new(WEEK).with_sweep_interval(Duration::from_millis(1));
    let db = line::start(line::builder().with_persistence_options(backend.clone(), options)).await;
    let stats = || db.persistence().unwrap().retention_stats();
    until(|| stats().failures >= 3).await;
    assert_eq!((stats().sweeps, stats().last_success_ms), (0, None));
    assert!(stats().last_error.unwrap().to_string().contains("no answer from"));
    backend.failing.store(false, Ordering::SeqCst);
    until(|| stats().sweeps > 0).await;
}

#[tokio::test]
async fn retention_can_differ_by_record() {
    let backend = Arc::new(MemoryBackend::new());
    for record in ["debug", "audit"] {
        backend.store(record, &json!(1), 1_000).await.unwrap();
    }
    let policy = RetentionPolicy::new().keep("debug", Duration::from_secs(1)).unwrap();
    let options = PersistenceOptions::default()
        .with_retention(policy)
        .with_clock(Arc::new(ManualClock::new(10_000)));
    let db = line::start(line::builder().with_persistence_options(backend, options)).await;
    db.persistence().unwrap().sweep_now().await.unwrap();
    let left = db.query_raw("*", QueryParams::default()).await.unwrap();
    assert_eq!(left.iter().map(|row| &*row.record_name).collect::<Vec<_>>(), ["audit"]);
}

#[tokio::test]
async fn without_persistence_the_handle_says_what_to_do() {
    let db = line::start(line::builder()).await;
    let error = db.query_latest::<Reading>("a", 1).await.unwrap_err();
    assert!(matches!(error, PersistenceError::NotConfigured(_)));
    assert!(error.to_string().contains(".with_persistence("), "{error}");
    assert!(db.persistence_stats().is_err());
}
