//! When a batch is sent, and how large it is.

use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// With an hour to linger, a value that came first would wait that long.
#[tokio::test]
async fn a_value_after_a_pause_is_sent_at_once() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default().with_linger(HOUR));
    recorder.record("a", &1).await.unwrap();
    backend.called(1).await;
}

#[tokio::test]
async fn values_linger_after_a_batch_until_somebody_flushes() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default().with_linger(HOUR));
    recorder.record("a", &1).await.unwrap();
    recorder.flush().await.unwrap();
    for n in 2..=4 {
        recorder.record("a", &n).await.unwrap();
    }
    recorder.flush().await.unwrap();
    for n in 5..=6 {
        recorder.record("a", &n).await.unwrap();
    }
    recorder.close().await.unwrap();
    assert_eq!(backend.calls(), [(1, 1), (2, 3), (3, 2)]);
}

#[tokio::test]
async fn a_full_batch_does_not_linger() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default().with_linger(HOUR).with_max_batch_rows(3);
    let recorder = recorder(&backend, config);
    recorder.record("a", &1).await.unwrap();
    backend.called(1).await;
    for n in 2..=4 {
        recorder.record("a", &n).await.unwrap();
    }
    backend.called(2).await;
    assert_eq!(backend.calls(), [(1, 1), (2, 3)]);
}

/// A queue smaller than a batch can never fill one.
#[tokio::test]
async fn a_full_queue_does_not_linger() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default().with_linger(HOUR).with_capacity_rows(2);
    let recorder = recorder(&backend, config);
    recorder.record("a", &1).await.unwrap();
    backend.called(1).await;
    for n in 2..=5 {
        recorder.record("a", &n).await.unwrap();
    }
    backend.called(3).await;
}

#[tokio::test]
async fn linger_ends_by_itself() {
    let backend = Arc::new(Scripted::new());
    let recorder = hasty(&backend, RecorderConfig::default().with_linger(HOUR));
    recorder.record("a", &1).await.unwrap();
    backend.called(1).await;
    recorder.record("a", &2).await.unwrap();
    backend.called(2).await;
}

#[tokio::test]
async fn what_comes_while_a_batch_is_in_flight_goes_together_within_both_bounds() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default()
        .with_linger(Duration::ZERO)
        .with_max_batch_rows(4)
        .with_max_batch_bytes(20);
    let recorder = held_up(&backend, config).await;
    for n in 1..=6 {
        recorder.record("a", &n).await.unwrap();
    }
    for text in ["x".repeat(8), "x".repeat(8), "x".repeat(40), "x".to_owned()] {
        recorder.record("b", &text).await.unwrap();
    }
    backend.release(1);
    recorder.close().await.unwrap();
    // Six numbers of one byte, two texts of ten, one of 42, one of three.
    assert_eq!(backend.calls(), [(1, 1), (2, 4), (3, 3), (4, 1), (5, 1), (6, 1)]);
    assert_eq!(fates(&recorder), (11, 0, 0, 0));
}

#[tokio::test]
async fn every_recorder_writes_under_a_name_of_its_own() {
    let backend = Arc::new(Scripted::new());
    for _ in 0..3 {
        let recorder = recorder(&backend, RecorderConfig::default());
        recorder.record("a", &1).await.unwrap();
        recorder.close().await.unwrap();
    }
    assert_eq!(backend.writers().len(), 3);
    assert_eq!(backend.numbers("a").await, [1, 1, 1]);
}
