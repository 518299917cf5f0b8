//! RECORD-3: order per record.

use super::*;

/// RECORD-3: at one and the same time, so that the order of arrival is all there is.
#[tokio::test]
async fn order_survives_batches_retries_and_rejected_neighbours() {
    let busy = || engine_error(ErrorKind::Connection, Outcome::NotApplied);
    let lost = || engine_error(ErrorKind::Connection, Outcome::Unknown);
    let refused = || engine_error(ErrorKind::Other, Outcome::NotApplied);
    let backend = Arc::new(Scripted::poisoned("poison", Step::Fail(refused())));
    backend.then([
        Step::Fail(busy()),
        Step::StoreAndFail(lost()),
        Step::StoreAndFail(lost()),
        Step::Store,
        Step::Partly(2),
        Step::Fail(busy()),
    ]);
    let config = RecorderConfig::default().with_max_batch_rows(7);
    let recorder = hasty(&backend, config);
    for n in 0..500 {
        recorder.record_at("a", &n, 1).await.unwrap();
        recorder.record_at("b", &n, 1).await.unwrap();
        if n % 10 == 0 {
            recorder.record_at("poison", &n, 1).await.unwrap();
        }
    }
    let error = recorder.close().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 50, .. }), "{error}");
    let expected: Vec<u64> = (0..500).collect();
    assert_eq!(backend.numbers("a").await, expected);
    assert_eq!(backend.numbers("b").await, expected);
    assert_eq!(fates(&recorder), (1000, 50, 0, 0));
    assert!(backend.numbers_ascend());
}

/// RECORD-3: values that wait for room come in the order they came to wait.
#[tokio::test]
async fn order_survives_a_full_queue() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default().with_capacity_rows(3)).await;
    let mut waiting = Vec::new();
    for n in 1..=50 {
        let mut record = Box::pin(recorder.record_at("a", &n, 1));
        if waits(&mut record).await {
            waiting.push(record);
        }
    }
    assert_eq!(waiting.len(), 47);
    backend.release(1);
    for record in waiting {
        record.await.unwrap();
    }
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, (1..=50).collect::<Vec<u64>>());
}
