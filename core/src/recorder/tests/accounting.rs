//! RECORD-1 and RECORD-4: what became of every value, and values that can never be stored.

use serde_json::json;

use super::*;

/// RECORD-1.
#[tokio::test]
async fn a_value_is_pending_until_the_backend_has_answered() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default()).await;
    recorder.record("second", &1).await.unwrap();
    assert_eq!(fates(&recorder), (0, 0, 0, 2));
    assert_eq!(recorder.stats().queued_bytes, 1);
    backend.release(1);
    recorder.flush().await.unwrap();
    assert_eq!(fates(&recorder), (2, 0, 0, 0));
    let stats = recorder.stats();
    assert_eq!(stats.records["first"].stored, 1);
    assert_eq!(stats.records["second"].stored, 1);
    assert_eq!(stats.batches, 2);
    assert!(stats.last_stored_ms.is_some() && stats.last_error.is_none() && stats.open);
}

/// RECORD-1: one account for all names that are not allowed, or a hostile source fills the memory.
#[tokio::test]
async fn names_that_are_not_allowed_share_one_account() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default());
    for n in 0..1000 {
        let error = recorder.record(&format!("{n}*"), &n).await.unwrap_err();
        assert!(matches!(
            error,
            RecorderError::Rejected(PersistenceError::InvalidRecordName { .. })
        ));
    }
    let error = recorder.handle("").unwrap_err();
    assert!(matches!(error, RecorderError::Rejected(_)), "{error}");
    recorder.add_lost("*", 3);
    let stats = recorder.stats();
    assert_balanced(&stats);
    assert!(stats.records.is_empty());
    assert_eq!(stats.invalid_names, stats.total);
    assert_eq!((stats.total.rejected, stats.total.lost), (1000, 3));
}

/// RECORD-4.
#[tokio::test]
async fn a_value_that_can_never_be_stored_is_rejected_alone() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default().with_max_value_bytes(10);
    let recorder = recorder(&backend, config);
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    recorder.record("a", &1).await.unwrap();
    let large = recorder.record("a", "0123456789").await.unwrap_err();
    let deep = recorder.try_record("a", &deep).unwrap_err();
    let late = recorder.record_at("a", &2, u64::MAX).await.unwrap_err();
    let unserializable = std::collections::HashMap::from([((1, 2), 3)]);
    let strange = recorder.try_record("a", &unserializable).unwrap_err();
    recorder.record("a", &3).await.unwrap();
    use PersistenceError as E;
    assert!(matches!(large, RecorderError::Rejected(E::ValueTooLarge { limit: 10, .. })));
    assert!(matches!(
        deep,
        RecorderError::Rejected(E::ValueTooLarge { .. } | E::ValueTooDeep { .. })
    ));
    assert!(matches!(late, RecorderError::Rejected(E::TimestampOutOfRange { .. })));
    assert!(matches!(strange, RecorderError::Rejected(E::Serialization { .. })));
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 3]);
    assert_eq!(fates(&recorder), (2, 4, 0, 0));
    assert_eq!(recorder.stats().records["a"].rejected, 4);
}

/// RECORD-1.
#[tokio::test]
async fn what_a_source_lost_is_counted_beside_the_rest() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default());
    let handle = recorder.handle("a").unwrap();
    assert_eq!(handle.name().as_str(), "a");
    handle.record(&1).await.unwrap();
    handle.add_lost(2);
    recorder.add_lost("a", 3);
    recorder.add_lost("b", u64::MAX - 5);
    recorder.flush().await.unwrap();
    let stats = recorder.stats();
    assert_balanced(&stats);
    assert_eq!((stats.records["a"].lost, stats.records["a"].recorded), (5, 1));
    assert_eq!((stats.total.lost, handle.stats()), (u64::MAX, stats.records["a"]));
}
