//! THIN: filters within the recorder, and their accounts.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::aggregate::{Aggregate, Function};
use crate::query::QueryParams;
use crate::typed::QueryExt;

fn filtered(filter: Filter) -> RecorderConfig {
    RecorderConfig::default().with_filter("*", filter).unwrap()
}

/// `(recorded, filtered, held)` of the total, which must balance.
#[track_caller]
fn sifted(recorder: &Recorder) -> (u64, u64, u64) {
    let stats = recorder.stats();
    assert_balanced(&stats);
    (stats.total.recorded, stats.total.filtered.total(), stats.total.held)
}

/// THIN-2.
#[tokio::test]
async fn every_value_is_recorded_filtered_or_held() {
    let backend = Arc::new(Scripted::new());
    let filter = Filter::new()
        .within("c", 0.0..=100.0)
        .count_outside("c", 0.0..=50.0)
        .on_change()
        .dead_band("c", 1.0)
        .min_interval(Duration::from_millis(10));
    let recorder = recorder(&backend, filtered(filter));
    let handle = recorder.handle("oven").unwrap();
    for (at, c) in [(0, 20.0), (1, 20.0), (2, 20.5), (3, 900.0), (4, 30.0), (5, 60.0)] {
        handle.record_at(&json!({ "c": c }), at).await.unwrap();
    }
    let stats = handle.stats();
    assert_eq!((stats.recorded, stats.held, stats.implausible), (1, 1, 1));
    let by_reason = stats.filtered;
    assert_eq!((by_reason.implausible, by_reason.unchanged), (1, 1));
    assert_eq!((by_reason.dead_band, by_reason.interval), (1, 1));
    recorder.flush().await.unwrap();
    assert_eq!(sifted(&recorder), (2, 4, 0));
    assert_eq!(backend.rows("oven").await, [(json!({"c": 20.0}), 0), (json!({"c": 60.0}), 5)]);
}

/// THIN-3.
#[tokio::test]
async fn close_and_drop_store_what_is_held() {
    for close in [true, false] {
        let backend = Arc::new(Scripted::new());
        let filter = Filter::new().min_interval(Duration::from_secs(60));
        let recorder = recorder(&backend, filtered(filter));
        for n in 0..5 {
            recorder.try_record_at("a", &n, n).unwrap();
            recorder.try_record_at("b", &n, n).unwrap();
        }
        assert_eq!(sifted(&recorder), (2, 6, 2));
        if close {
            recorder.close().await.unwrap();
            assert_eq!(sifted(&recorder), (4, 6, 0));
        }
        drop(recorder);
        assert_eq!(backend.numbers("a").await, [0, 4]);
        assert_eq!(backend.numbers("b").await, [0, 4]);
    }
}

#[tokio::test]
async fn what_is_held_when_the_backend_shuts_down_counts_as_dropped() {
    let backend = Arc::new(Scripted::new());
    backend.otherwise(Step::Fail(PersistenceError::BackendShutdown));
    let recorder = recorder(&backend, filtered(Filter::new().min_interval(Duration::from_secs(9))));
    recorder.try_record_at("a", &1, 1).unwrap();
    recorder.try_record_at("a", &2, 2).unwrap();
    recorder.close().await.unwrap_err();
    assert_eq!(fates(&recorder), (0, 0, 2, 0));
    assert_eq!(sifted(&recorder), (2, 0, 0));
}

/// Otherwise the history would miss the change for good.
#[tokio::test]
async fn a_value_after_one_that_was_dropped_or_rejected_passes() {
    let backend = Arc::new(Scripted::new());
    let config = filtered(Filter::new().on_change());
    let config = config.with_capacity_rows(1).with_overflow(Overflow::DropNewest);
    let recorder = held_up(&backend, config).await;
    recorder.try_record_at("a", &1, 1).unwrap();
    recorder.try_record_at("a", &2, 2).unwrap();
    assert_eq!(recorder.stats().total.dropped, 1, "2 found no room");
    backend.release(1);
    recorder.flush().await.unwrap();
    recorder.try_record_at("a", &2, 3).unwrap();
    recorder.flush().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 2]);

    let refused = PersistenceError::ValueTooLarge { size: 9, limit: 8 };
    backend.then([Step::Fail(refused)]);
    recorder.try_record_at("a", &3, 4).unwrap();
    recorder.flush().await.unwrap_err();
    recorder.try_record_at("a", &3, 5).unwrap();
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 2, 3]);
}

/// The value pushed out of the queue is compared with no more, but a newer one is.
#[tokio::test]
async fn pushing_out_an_older_value_does_not_let_repetitions_pass() {
    let backend = Arc::new(Scripted::new());
    let config = filtered(Filter::new().on_change());
    let config = config.with_capacity_rows(2).with_overflow(Overflow::DropOldest);
    let recorder = held_up(&backend, config).await;
    for (n, at) in [(1, 1), (2, 2), (3, 3), (3, 4)] {
        recorder.try_record_at("a", &n, at).unwrap();
    }
    let stats = recorder.stats().records["a"];
    assert_eq!((stats.dropped, stats.filtered.unchanged), (1, 1));
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [2, 3]);
}

#[tokio::test]
async fn a_value_that_found_no_room_leaves_no_trace() {
    let backend = Arc::new(Scripted::new());
    let recorder =
        held_up(&backend, filtered(Filter::new().on_change()).with_capacity_rows(1)).await;
    recorder.try_record_at("a", &1, 1).unwrap();
    let full = recorder.try_record_at("a", &2, 2).unwrap_err();
    assert!(matches!(full, RecorderError::Full));
    {
        let mut waiting = Box::pin(recorder.record_at("a", &2, 3));
        assert!(waits(&mut waiting).await);
    }
    assert_eq!(sifted(&recorder), (2, 0, 0));
    backend.release(1);
    recorder.flush().await.unwrap();
    recorder.try_record_at("a", &2, 4).unwrap();
    recorder.close().await.unwrap();
    assert_eq!(backend.rows("a").await, [(json!(1), 1), (json!(2), 4)]);
}

#[tokio::test]
async fn the_first_pattern_counts_and_a_handle_has_its_own_filter() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default()
        .with_filter("raw::*", Filter::new())
        .unwrap()
        .with_filter("*", Filter::new().on_change())
        .unwrap();
    let recorder = recorder(&backend, config);
    let own = recorder.handle_with("own", &Filter::new().dead_band("", 5.0)).unwrap();
    for (at, n) in [(1, 10), (2, 10), (3, 12), (4, 20)] {
        recorder.try_record_at("raw::a", &n, at).unwrap();
        recorder.try_record_at("a", &n, at).unwrap();
        own.try_record_at(&n, at).unwrap();
    }
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("raw::a").await, [10, 10, 12, 20]);
    assert_eq!(backend.numbers("a").await, [10, 12, 20]);
    assert_eq!(backend.numbers("own").await, [10, 20]);
}

#[tokio::test]
async fn a_filter_that_cannot_work_is_refused() {
    let config = || RecorderConfig::default();
    for filter in [
        Filter::new().dead_band("a", -1.0),
        Filter::new().relative_dead_band("a", f64::NAN),
        Filter::new().within("a", 5.0..=1.0),
        Filter::new().on_change_of(["/a~2"]),
    ] {
        let refused = config().with_filter("*", filter.clone()).unwrap_err();
        assert!(matches!(refused, PersistenceError::InvalidFilter { .. }), "{refused}");
        let recorder = recorder(&Arc::new(Scripted::new()), config());
        assert!(matches!(
            recorder.handle_with("a", &filter),
            Err(RecorderError::Rejected(PersistenceError::InvalidFilter { .. }))
        ));
    }
}

/// RESTORE-1: a restart is no change.
#[tokio::test]
async fn a_resumed_value_is_what_the_first_one_is_compared_with() {
    let backend = Arc::new(Scripted::new());
    backend.store.store("a", &json!({"n": 1}), 1_000).await.unwrap();
    let restored = backend.restore::<Value>("a").await.unwrap().unwrap();
    assert_eq!(restored.stored_at, 1_000);
    assert_eq!(backend.restore_since::<Value>("a", 1_001).await.unwrap(), None);
    let recorder = recorder(&backend, filtered(Filter::new().on_change()));
    let handle = recorder.handle("a").unwrap();
    handle.resume(&restored.value, restored.stored_at).unwrap();
    handle.try_record_at(&json!({"n": 1.0}), 2_000).unwrap();
    handle.try_record_at(&json!({"n": 2}), 3_000).unwrap();
    // Too late to resume.
    handle.resume(&json!({"n": 3}), 3_500).unwrap();
    handle.try_record_at(&json!({"n": 3}), 4_000).unwrap();
    recorder.close().await.unwrap();
    let times: Vec<u64> = backend.rows("a").await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(times, [1_000, 3_000, 4_000]);
}

/// THIN-4, with a record that changes at random and stands still in between.
#[tokio::test]
async fn a_history_on_change_has_the_time_weighted_mean_of_a_full_one() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default().with_filter("thin", Filter::new().on_change()).unwrap();
    let recorder = recorder(&backend, config);
    let mut random = fastrand::Rng::with_seed(18);
    let mut value = 0;
    for second in 0..5_000 {
        if random.u8(..) < 20 {
            value = random.i32(-50..50);
        }
        for name in ["full", "thin"] {
            recorder.record_at(name, &value, second * 1_000).await.unwrap();
        }
    }
    recorder.close().await.unwrap();
    let stored = |name| backend.store.query(name, QueryParams::default());
    assert!(stored("thin").await.unwrap().len() < 600);
    assert_eq!(stored("full").await.unwrap().len(), 5_000);
    for width in [7, 60, 3_600] {
        let question = Aggregate::every(Duration::from_secs(width))
            .functions(Function::parse_list("time_weighted_mean,integral").unwrap())
            .start_time(0)
            .end_time(4_999_999);
        let [full, thin] = [
            backend.aggregate("full", &question).await.unwrap(),
            backend.aggregate("thin", &question).await.unwrap(),
        ];
        assert!(full.len() > 1);
        for bucket in &full {
            let same = thin.iter().find(|other| other.start == bucket.start).unwrap();
            for function in ["time_weighted_mean", "integral"] {
                let [a, b] = [bucket, same].map(|bucket| bucket.get(function).unwrap());
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{width}s {function}: {a} {b}");
            }
        }
    }
}
