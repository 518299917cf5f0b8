//! RECORD-2: the time of capture. And the delays of retries.

use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::memory::MemoryBackend;
use crate::query::QueryParams;

/// RECORD-2.
/// The time used to be taken when a value got into the queue, so that the one awaited later became
/// the latest.
#[tokio::test]
async fn the_time_is_that_of_the_call_whatever_is_awaited_first() {
    let backend = Arc::new(MemoryBackend::new());
    let clock = Arc::new(ManualClock::new(100));
    let config = RecorderConfig::default().with_clock(clock.clone());
    let recorder = Recorder::new(backend.clone(), config);
    let old = recorder.record("t", "old");
    clock.set(200);
    let new = recorder.record("t", "new");
    new.await.unwrap();
    old.await.unwrap();
    recorder.close().await.unwrap();
    let rows = backend.query("t", QueryParams::default()).await.unwrap();
    let seen: Vec<_> = rows.into_iter().map(|row| (row.value, row.stored_at)).collect();
    assert_eq!(seen, [("new".into(), 200), ("old".into(), 100)]);
}

#[tokio::test]
async fn a_value_has_the_time_of_its_capture_not_of_its_storing() {
    let backend = Arc::new(Scripted::new());
    let clock = Arc::new(ManualClock::new(1_000));
    let recorder = held_up(&backend, RecorderConfig::default().with_clock(clock.clone())).await;
    clock.set(2_000);
    recorder.record("a", &1).await.unwrap();
    clock.set(9_000);
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.rows("a").await, [(1.into(), 2_000)]);
    assert_eq!(recorder.stats().last_stored_ms, Some(9_000));
}

/// RECORD-2: the time is that of the call, even if the future waits or is polled later.
#[tokio::test]
async fn a_value_is_captured_when_it_is_handed_over() {
    let backend = Arc::new(Scripted::new());
    let clock = Arc::new(ManualClock::new(1_000));
    let recorder = recorder(&backend, RecorderConfig::default().with_clock(clock.clone()));
    let mut value = vec![1];
    let later = recorder.record("a", &value.clone());
    value.push(2);
    clock.set(5_000);
    later.await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(backend.rows("a").await, [(serde_json::json!([1]), 1_000)]);
}

/// RECORD-2.
#[tokio::test]
async fn a_clock_that_steps_back_makes_no_newer_value_look_older() {
    let backend = Arc::new(Scripted::new());
    let clock = Arc::new(ManualClock::new(5_000));
    let recorder = recorder(&backend, RecorderConfig::default().with_clock(clock.clone()));
    let handle = recorder.handle("a").unwrap();
    recorder.record("a", &1).await.unwrap();
    clock.set(3_000);
    handle.record(&2).await.unwrap();
    recorder.record("b", &1).await.unwrap();
    clock.set(6_000);
    recorder.try_record("a", &3).unwrap();
    recorder.close().await.unwrap();
    let of_a: Vec<u64> = backend.rows("a").await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(of_a, [5_000, 5_000, 6_000]);
    assert_eq!(backend.numbers("a").await, [1, 2, 3]);
    assert_eq!(backend.rows("b").await[0].1, 5_000, "one clock for all records");
}

/// RECORD-2: a time that is given is taken as it is.
#[tokio::test]
async fn a_given_time_neither_bends_nor_is_bent() {
    let backend = Arc::new(Scripted::new());
    let clock = Arc::new(ManualClock::new(5_000));
    let recorder = recorder(&backend, RecorderConfig::default().with_clock(clock));
    let handle = recorder.handle("a").unwrap();
    handle.record(&2).await.unwrap();
    handle.record_at(&4, 900_000).await.unwrap();
    handle.try_record_at(&1, 0).unwrap();
    recorder.try_record_at("a", &5, i64::MAX as u64).unwrap();
    recorder.record_at("a", &0, 0).await.unwrap();
    handle.try_record(&3).unwrap();
    recorder.close().await.unwrap();
    let times: Vec<u64> = backend.rows("a").await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(times, [0, 0, 5_000, 5_000, 900_000, i64::MAX as u64]);
    assert_eq!(backend.numbers("a").await, [1, 0, 2, 3, 4, 5]);
}

#[test]
fn the_delays_grow_to_their_bound_and_never_end() {
    let policy = RetryPolicy::default()
        .with_delays(Duration::from_millis(50), Duration::from_secs(10))
        .with_factor(2.0);
    let delays: Vec<Duration> = policy.delays().take(1000).collect();
    assert_eq!(delays.len(), 1000);
    for (delay, base) in delays.iter().zip([50, 100, 200, 400, 800, 1600, 3200, 6400]) {
        let base = Duration::from_millis(base);
        assert!((base..=2 * base).contains(delay), "{delay:?} for {base:?}");
    }
    let ten = Duration::from_secs(10);
    assert!(delays[8..].iter().all(|delay| (ten..=2 * ten).contains(delay)));
}

#[test]
fn absurd_delays_do_not_panic() {
    for factor in [f32::NAN, -1.0, 0.0, f32::INFINITY, f32::MAX] {
        for delay in [Duration::ZERO, Duration::MAX] {
            let policy =
                RetryPolicy::default().with_delays(delay, Duration::ZERO).with_factor(factor);
            assert_eq!(policy.delays().take(100).count(), 100);
        }
    }
}
