//! What happens when the queue is full.

use std::pin::pin;

use super::*;

fn capacity(rows: usize, overflow: Overflow) -> RecorderConfig {
    RecorderConfig::default().with_capacity_rows(rows).with_overflow(overflow)
}

#[tokio::test]
async fn the_oldest_make_room() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, capacity(3, Overflow::DropOldest)).await;
    for n in 1..=10 {
        recorder.record("a", &n).await.unwrap();
    }
    assert_eq!(fates(&recorder), (0, 0, 7, 4));
    assert_eq!(recorder.stats().records["a"].dropped, 7);
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [8, 9, 10]);
    assert_eq!(backend.numbers("first").await, [0]);
    assert_eq!(fates(&recorder), (4, 0, 7, 0));
}

#[tokio::test]
async fn the_newest_are_dropped() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, capacity(3, Overflow::DropNewest)).await;
    for n in 1..=10 {
        recorder.try_record("a", &n).unwrap();
    }
    assert_eq!(fates(&recorder), (0, 0, 7, 4));
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 2, 3]);
}

#[tokio::test]
async fn waiting_values_are_in_no_count_until_there_is_room() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, capacity(1, Overflow::Wait)).await;
    recorder.record("a", &1).await.unwrap();
    let mut second = pin!(recorder.record("a", &2));
    assert!(waits(&mut second).await);
    let full = recorder.try_record("a", &3).unwrap_err();
    assert!(matches!(full, RecorderError::Full), "{full}");
    assert_eq!(fates(&recorder), (0, 0, 0, 2));
    backend.release(1);
    second.await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 2]);
    assert_eq!(fates(&recorder), (3, 0, 0, 0));
}

/// A value whose future is dropped is in or not; here certainly not, and those behind move up.
#[tokio::test]
async fn a_value_that_no_longer_waits_is_not_recorded() {
    let backend = Arc::new(Scripted::new());
    let config = capacity(100, Overflow::Wait).with_capacity_bytes(10);
    let recorder = held_up(&backend, config).await;
    recorder.record("a", &1).await.unwrap();
    let mut small = pin!(recorder.record("a", &3));
    {
        let mut large = pin!(recorder.record("a", "xxxxxxxxxxxx"));
        assert!(waits(&mut large).await);
        assert!(waits(&mut small).await, "it does not push past the first that waits");
    }
    small.await.unwrap();
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 3]);
    assert_eq!(fates(&recorder), (3, 0, 0, 0));
}

/// The future of a value that came in meanwhile may be dropped; the value stays.
#[tokio::test]
async fn a_value_that_came_in_stays_in() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, capacity(1, Overflow::Wait)).await;
    recorder.record("a", &1).await.unwrap();
    {
        let mut second = pin!(recorder.record("a", &2));
        assert!(waits(&mut second).await);
        backend.release(1);
        backend.called(2).await;
    }
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 2]);
}

#[tokio::test]
async fn bytes_are_bounded_and_a_value_above_the_bound_passes_alone() {
    let backend = Arc::new(Scripted::new());
    let config = capacity(1000, Overflow::DropNewest).with_capacity_bytes(10);
    let recorder = held_up(&backend, config).await;
    recorder.record("large", &"x".repeat(50)).await.unwrap();
    assert_eq!(recorder.stats().queued_bytes, 52);
    recorder.record("a", &1).await.unwrap();
    assert_eq!(fates(&recorder), (0, 0, 1, 2));
    backend.release(1);
    recorder.flush().await.unwrap();
    backend.then([Step::Hold]);
    recorder.record("first", &1).await.unwrap();
    backend.called(3).await;
    for n in 0..20 {
        recorder.record("b", &n).await.unwrap();
    }
    assert_eq!(recorder.stats().queued_bytes, 10);
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("b").await, (0..10).collect::<Vec<u64>>());
    assert_eq!(backend.rows("large").await.len(), 1);
    assert_eq!(recorder.stats().queued_bytes, 0);
}

#[tokio::test]
async fn oldest_values_make_room_for_a_large_one() {
    let backend = Arc::new(Scripted::new());
    let config = capacity(1000, Overflow::DropOldest).with_capacity_bytes(10);
    let recorder = held_up(&backend, config).await;
    for n in 0..10 {
        recorder.record("a", &n).await.unwrap();
    }
    recorder.record("a", "xxxxxx").await.unwrap();
    assert_eq!(recorder.stats().queued_bytes, 10);
    assert_eq!(fates(&recorder), (0, 0, 8, 4));
    recorder.record("a", &"x".repeat(50)).await.unwrap();
    assert_eq!(fates(&recorder), (0, 0, 11, 2));
    backend.release(1);
    recorder.close().await.unwrap();
}

/// What was accepted before the flush and pushed out after it is not durable.
#[tokio::test]
async fn a_flush_tells_what_was_pushed_out_meanwhile() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, capacity(3, Overflow::DropOldest)).await;
    for n in 1..=3 {
        recorder.record("a", &n).await.unwrap();
    }
    let mut flush = pin!(recorder.flush());
    assert!(waits(&mut flush).await);
    for n in 4..=20 {
        recorder.record("a", &n).await.unwrap();
    }
    assert!(waits(&mut flush).await, "the first value is still in flight");
    backend.release(1);
    let error = flush.await.unwrap_err();
    assert!(matches!(error, RecorderError::Dropped { rows: 3, source: None }), "{error}");
}
