//! A backend that fails.

use std::time::Duration;

use super::*;

fn away() -> PersistenceError {
    engine_error(ErrorKind::Connection, Outcome::NotApplied)
}

fn in_doubt() -> PersistenceError {
    engine_error(ErrorKind::Connection, Outcome::Unknown)
}

fn refused() -> PersistenceError {
    engine_error(ErrorKind::Other, Outcome::NotApplied)
}

/// Records `first` on its own, then `values` as one batch, and waits for their end.
async fn record_batch(recorder: &Recorder, backend: &Scripted, records: &[&str]) {
    backend.then([Step::Hold]);
    recorder.record("first", &0).await.unwrap();
    backend.called(1).await;
    for (n, record) in records.iter().enumerate() {
        recorder.record_at(record, &n, 1).await.unwrap();
    }
}

#[tokio::test]
async fn the_same_rows_are_sent_again_under_the_same_number() {
    let backend = Arc::new(Scripted::new());
    let recorder = hasty(&backend, RecorderConfig::default());
    backend.then([Step::Fail(away()), Step::StoreAndFail(in_doubt()), Step::Fail(away())]);
    recorder.record("a", &1).await.unwrap();
    recorder.flush().await.unwrap();
    assert_eq!(backend.calls(), [(1, 1), (1, 1), (1, 1), (1, 1)]);
    assert_eq!(backend.numbers("a").await, [1], "stored once, though it was sent four times");
    let stats = recorder.stats();
    assert_eq!((stats.retries, stats.batches), (3, 1));
    assert!(stats.last_error.is_some() && stats.last_error_ms.is_some());
    assert_eq!(fates(&recorder), (1, 0, 0, 0));
}

/// No row is to blame for a read-only disk; its rows wait, whatever `is_retryable` says of a call.
#[tokio::test]
async fn a_broken_store_is_waited_for_not_blamed_on_the_rows() {
    for kind in [ErrorKind::Permission, ErrorKind::Io, ErrorKind::Corrupt, ErrorKind::Config] {
        let backend = Arc::new(Scripted::new());
        let recorder = hasty(&backend, RecorderConfig::default());
        backend.then(vec![Step::Fail(engine_error(kind, Outcome::Unknown)); 20]);
        recorder.record("a", &1).await.unwrap();
        recorder.flush().await.unwrap();
        assert_eq!(fates(&recorder), (1, 0, 0, 0), "{kind:?}");
        assert_eq!(backend.calls(), vec![(1, 1); 21]);
    }
}

/// RECORD-4: the backend knows the row.
#[tokio::test]
async fn a_row_the_backend_names_is_rejected_alone() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default());
    record_batch(&recorder, &backend, &["a", "b", "a", "c"]).await;
    let invalid = |index| {
        let source = Box::new(PersistenceError::ValueTooLarge { size: 9, limit: 8 });
        Step::Fail(PersistenceError::InvalidRow { index, source })
    };
    backend.then([invalid(1), invalid(2)]);
    backend.release(1);
    let error = recorder.close().await.unwrap_err();
    assert!(
        matches!(&error, RecorderError::RowsRejected { rows: 2, dropped: 0, .. })
            && error.to_string().contains("9 bytes"),
        "{error}"
    );
    assert_eq!(backend.numbers("a").await, [0, 2]);
    assert_eq!(fates(&recorder), (3, 2, 0, 0));
    let records = recorder.stats().records;
    assert_eq!((records["b"].rejected, records["c"].rejected), (1, 1));
    assert_eq!(backend.calls(), [(1, 1), (2, 4), (3, 3), (4, 2)]);
}

/// RECORD-4: the backend does not know the row.
#[tokio::test]
async fn a_poison_row_is_found_and_rejected_alone() {
    let backend = Arc::new(Scripted::poisoned("poison", Step::Fail(refused())));
    let recorder = hasty(&backend, RecorderConfig::default());
    record_batch(&recorder, &backend, &["a", "b", "a", "poison", "c", "poison", "a"]).await;
    backend.release(1);
    let error = recorder.flush().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 2, .. }), "{error}");
    recorder.flush().await.unwrap();
    assert_eq!(backend.numbers("a").await, [0, 2, 6]);
    assert_eq!(fates(&recorder), (6, 2, 0, 0));
    assert_eq!(recorder.stats().records["poison"].rejected, 2);
}

/// A backend that fails as `error` says, or panics, for its first two seconds.
struct Outage {
    store: crate::MemoryBackend,
    since: std::sync::OnceLock<tokio::time::Instant>,
    error: Option<PersistenceError>,
}

#[async_trait::async_trait]
impl PersistenceBackend for Outage {
    async fn store(
        &self,
        record: &str,
        value: &crate::Value,
        at: u64,
    ) -> Result<(), PersistenceError> {
        if self.since.get_or_init(tokio::time::Instant::now).elapsed() < Duration::from_secs(2) {
            return Err(self.error.clone().unwrap_or_else(|| panic!("away")));
        }
        self.store.store(record, value, at).await
    }

    async fn query(
        &self,
        pattern: &str,
        params: crate::QueryParams,
    ) -> Result<Vec<crate::StoredValue>, PersistenceError> {
        self.store.query(pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.store.cleanup(older_than).await
    }

    async fn store_batch(&self, batch: &crate::Batch) -> Result<(), PersistenceError> {
        for row in batch.rows() {
            self.store(row.record.as_str(), &row.value.to_value()?, row.stored_at).await?;
        }
        Ok(())
    }

    fn guarantees(&self) -> crate::Guarantees {
        crate::Guarantees::default().with_atomic_batches(self.error.is_some())
    }
}

/// RECORD-4: an error of kind `Other`, or a panic, had every row rejected at once, and flush was Ok.
#[tokio::test]
async fn an_outage_of_an_unknown_kind_loses_nothing() {
    let in_doubt = engine_error(ErrorKind::Other, Outcome::Unknown);
    let unsupported = PersistenceError::Unsupported("storing today");
    for error in [Some(refused()), Some(in_doubt), Some(unsupported), None] {
        let store = crate::MemoryBackend::new();
        let backend = Arc::new(Outage { store, since: Default::default(), error });
        let recorder = hasty_on(backend.clone(), RecorderConfig::default());
        for n in 0..300 {
            recorder.record(&format!("r{}", n % 7), &n).await.unwrap();
        }
        recorder.flush().await.unwrap();
        assert_eq!(fates(&recorder), (300, 0, 0, 0), "{:?}", backend.error);
        for n in 0..7 {
            let record = format!("r{n}");
            let values = crate::QueryExt::query_latest::<u64>(&backend.store, &record, 99);
            let values = values.await.unwrap();
            assert!(values.is_sorted_by(|newer, older| newer > older), "{values:?}");
        }
    }
}

/// Whether the value or the store is at fault cannot be known before another value is stored.
#[tokio::test]
async fn a_value_that_fails_without_company_waits_for_it() {
    let backend = Arc::new(Scripted::poisoned("poison", Step::Fail(refused())));
    let recorder = hasty(&backend, RecorderConfig::default());
    recorder.record("poison", &1).await.unwrap();
    backend.called(50).await;
    assert_eq!(fates(&recorder), (0, 0, 0, 1));
    recorder.record("a", &1).await.unwrap();
    let error = recorder.flush().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 1, .. }), "{error}");
    assert_eq!(fates(&recorder), (1, 1, 0, 0));
    assert_eq!(backend.numbers("a").await, [1]);
}

/// RECORD-3: a row may not be stored before an earlier one of its record and time.
#[tokio::test]
async fn the_company_keeps_the_order_of_equal_times() {
    let backend = Arc::new(Scripted::new());
    let recorder = hasty(&backend, RecorderConfig::default());
    record_batch(&recorder, &backend, &["a", "a", "b", "a", "b"]).await;
    backend.then(vec![Step::Fail(refused()); 5]);
    backend.then([Step::Store, Step::Fail(refused())]);
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [0, 1, 3]);
    assert_eq!(backend.numbers("b").await, [2, 4]);
    assert_eq!(fates(&recorder), (6, 0, 0, 0));
}

/// What was rejected before a flush began is its to tell as well, once.
#[tokio::test]
async fn a_flush_tells_of_rows_rejected_since_the_one_before() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default());
    let large = || PersistenceError::ValueTooLarge { size: 9, limit: 8 };
    for _ in 0..2 {
        backend.then([Step::Fail(large())]);
        recorder.record("a", &1).await.unwrap();
        while recorder.stats().total.pending > 0 {
            tokio::task::yield_now().await;
        }
    }
    let error = recorder.flush().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 2, dropped: 0, .. }), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
    recorder.flush().await.unwrap();

    backend.then([Step::Hold, Step::Fail(large())]);
    recorder.record("a", &2).await.unwrap();
    backend.called(3).await;
    recorder.record("b", &3).await.unwrap();
    {
        let mut dropped = std::pin::pin!(recorder.flush());
        assert!(waits(&mut dropped).await);
        backend.release(1);
        while recorder.stats().total.pending > 0 {
            tokio::task::yield_now().await;
        }
    }
    recorder.record("c", &4).await.unwrap();
    let error = recorder.close().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 1, .. }), "{error}");
}

/// The rows may have been stored before the call failed: the number tells, if it is the same.
#[tokio::test]
async fn rows_in_doubt_are_asked_for_again_before_they_are_looked_at_singly() {
    let backend = Arc::new(Scripted::new());
    let doubt = || engine_error(ErrorKind::Other, Outcome::Unknown);
    backend.then([Step::StoreAndFail(doubt()), Step::Fail(doubt())]);
    let recorder = hasty(&backend, RecorderConfig::default());
    recorder.record("a", &1).await.unwrap();
    recorder.flush().await.unwrap();
    assert_eq!(backend.calls(), vec![(1, 1); 3]);
    assert_eq!(backend.numbers("a").await, [1]);
    assert_eq!(fates(&recorder), (1, 0, 0, 0));
}

#[tokio::test]
async fn a_panic_of_the_backend_is_an_error_like_others() {
    let backend = Arc::new(Scripted::poisoned("poison", Step::Panic));
    backend.then([Step::Hold, Step::Panic]);
    let recorder = hasty(&backend, RecorderConfig::default());
    recorder.record("first", &0).await.unwrap();
    backend.called(1).await;
    for record in ["a", "poison", "a"] {
        recorder.record(record, &1).await.unwrap();
    }
    backend.release(1);
    let error = recorder.flush().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 1, .. }), "{error}");
    assert_eq!(fates(&recorder), (3, 1, 0, 0));
    assert_eq!(recorder.stats().records["poison"].rejected, 1);
    assert!(recorder.stats().last_error.unwrap().to_string().contains("panicked: as told"));
    recorder.record("a", &2).await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 1, 2]);
}

#[tokio::test]
async fn a_batch_that_broke_off_goes_on_where_it_did() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default());
    record_batch(&recorder, &backend, &["a"; 5]).await;
    backend.then([Step::Partly(2), Step::Partly(3)]);
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [0, 1, 2, 3, 4]);
    assert_eq!(fates(&recorder), (6, 0, 0, 0));
}

/// A batch that broke off with an unknown outcome would store its first rows again.
#[tokio::test]
async fn a_backend_without_whole_batches_is_given_single_rows() {
    let backend = Arc::new(Scripted::modest());
    let recorder = hasty(&backend, RecorderConfig::default());
    record_batch(&recorder, &backend, &["a"; 4]).await;
    backend.then([Step::Store, Step::Fail(away()), Step::Fail(refused())]);
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [0, 1, 2, 3]);
    assert_eq!(fates(&recorder), (5, 0, 0, 0));
    assert!(backend.calls().iter().all(|(_, rows)| *rows == 1));
}

/// A backend that was closed never opens again.
#[tokio::test]
async fn a_closed_backend_ends_the_recorder_which_says_why() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default().with_capacity_rows(2)).await;
    recorder.record("a", &1).await.unwrap();
    recorder.record("a", &2).await.unwrap();
    let waiting = recorder.record("a", &3);
    let flush = recorder.flush();
    let (waited, flushed, ()) = tokio::join!(waiting, flush, async {
        backend.store.close().await.unwrap();
        backend.release(1);
    });
    assert!(matches!(waited, Err(RecorderError::Stopped(_))) || waited.is_ok(), "{waited:?}");
    let rows = 3;
    assert!(matches!(
        flushed,
        Err(RecorderError::Dropped { rows: 3, source: Some(PersistenceError::BackendShutdown) })
    ));
    let error = recorder.record("a", &4).await.unwrap_err();
    assert!(matches!(error, RecorderError::Stopped(PersistenceError::BackendShutdown)), "{error}");
    let error = recorder.flush().await.unwrap_err();
    assert!(matches!(error, RecorderError::Stopped(PersistenceError::BackendShutdown)), "{error}");
    let (stored, rejected, dropped, pending) = fates(&recorder);
    assert_eq!((stored, rejected, pending), (0, 0, 0));
    assert_eq!(dropped, rows + u64::from(waited.is_ok()));
    let error = recorder.close().await.unwrap_err();
    assert!(matches!(error, RecorderError::Dropped { rows, .. } if rows == dropped), "{error}");
    assert!(!recorder.stats().open);
}

#[tokio::test]
async fn a_batch_is_given_up_when_it_failed_for_too_long() {
    let backend = Arc::new(Scripted::new());
    let limit = Duration::from_secs(3600);
    let config =
        RecorderConfig::default().with_retry(RetryPolicy::default().with_give_up_after(limit));
    let recorder = hasty(&backend, config);
    // The hour is over as soon as it begins: the flush has to be there before.
    record_batch(&recorder, &backend, &["a"]).await;
    let mut flush = std::pin::pin!(recorder.flush());
    assert!(waits(&mut flush).await);
    backend.otherwise(Step::Fail(away()));
    backend.release(1);
    let error = flush.await.unwrap_err();
    assert!(
        matches!(&error, RecorderError::Dropped { rows: 1, source: Some(source) }
            if source.is_retryable()),
        "{error}"
    );
    assert_eq!(fates(&recorder), (1, 0, 1, 0));
    let tries = backend.calls().len() - 1;
    // An hour at 10 to 20 seconds each.
    assert!((180..=370).contains(&tries), "{tries}");
    backend.otherwise(Step::Store);
    recorder.record("a", &2).await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [2]);
}

/// A backend with a broken promise of its own: the recorder's thread does not survive it.
struct Broken;

#[async_trait::async_trait]
impl PersistenceBackend for Broken {
    async fn store(&self, _: &str, _: &crate::Value, _: u64) -> Result<(), PersistenceError> {
        Ok(())
    }

    async fn query(
        &self,
        _: &str,
        _: crate::QueryParams,
    ) -> Result<Vec<crate::StoredValue>, PersistenceError> {
        Ok(Vec::new())
    }

    async fn cleanup(&self, _: u64) -> Result<u64, PersistenceError> {
        Ok(0)
    }

    fn guarantees(&self) -> crate::Guarantees {
        panic!("as told")
    }
}

#[tokio::test]
async fn a_dead_thread_is_an_error_and_no_silence() {
    let recorder = Recorder::new(Arc::new(Broken), RecorderConfig::default());
    let mut accepted = 0;
    let error = loop {
        match recorder.record("a", &1).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(&error, RecorderError::Stopped(_)), "{error}");
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(fates(&recorder), (0, 0, accepted, 0));
    assert_eq!(recorder.close().await.is_err(), accepted > 0);
}
