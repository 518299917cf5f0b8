//! Flush, close and the last drop.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::*;

fn away() -> PersistenceError {
    engine_error(ErrorKind::Connection, Outcome::NotApplied)
}

/// CONCURRENT-5, in a program without any executor.
#[test]
fn dropping_the_last_handle_stores_what_was_accepted() {
    let backend = Arc::new(Scripted::new());
    backend.then([Step::Fail(away()), Step::Fail(away())]);
    let recorder = recorder(&backend, RecorderConfig::default().with_max_batch_rows(10));
    let handle = recorder.handle("a").unwrap();
    let clone = recorder.clone();
    drop(recorder);
    for n in 0..1000 {
        handle.try_record(&n).unwrap();
    }
    drop(clone);
    handle.try_record(&1000).unwrap();
    drop(handle);
    let stored = futures::FutureExt::now_or_never(backend.numbers("a")).unwrap();
    assert_eq!(stored, (0..=1000).collect::<Vec<u64>>());
}

/// CONCURRENT-5.
#[tokio::test]
async fn close_stores_what_was_accepted_and_nothing_is_accepted_after() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default().with_capacity_rows(2)).await;
    recorder.record("a", &1).await.unwrap();
    recorder.record("a", &2).await.unwrap();
    let mut waiting = pin!(recorder.record("a", &3));
    assert!(waits(&mut waiting).await);
    let clone = recorder.clone();
    let mut close = pin!(clone.close());
    assert!(waits(&mut close).await);
    assert!(matches!(waiting.await, Err(RecorderError::Closed)), "it was not accepted");
    let error = recorder.record("a", &4).await.unwrap_err();
    assert!(matches!(error, RecorderError::Closed), "{error}");
    assert!(matches!(recorder.try_record("a*", &4), Err(RecorderError::Closed)));
    backend.release(1);
    close.await.unwrap();
    recorder.close().await.unwrap();
    recorder.flush().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1, 2]);
    assert_eq!(fates(&recorder), (3, 0, 0, 0));
}

/// Once the recorder is closed it has let go of the backend, so that a file can be opened anew.
#[tokio::test]
async fn close_lets_go_of_the_backend() {
    let backend = Arc::new(Scripted::new());
    let recorder = recorder(&backend, RecorderConfig::default());
    recorder.record("a", &1).await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(Arc::strong_count(&backend), 1);
}

#[tokio::test]
async fn a_close_that_nobody_waits_for_closes_all_the_same() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default()).await;
    {
        let mut close = pin!(recorder.close());
        assert!(waits(&mut close).await);
    }
    assert!(matches!(recorder.record("a", &1).await, Err(RecorderError::Closed)));
    backend.release(1);
    recorder.close().await.unwrap();
    assert_eq!(fates(&recorder), (1, 0, 0, 0));
}

#[tokio::test]
async fn flush_waits_for_what_was_accepted_before_and_for_nothing_more() {
    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default()).await;
    recorder.record("a", &1).await.unwrap();
    let mut flush = pin!(recorder.flush());
    assert!(waits(&mut flush).await);
    backend.then([Step::Store, Step::Hold]);
    backend.release(1);
    flush.await.unwrap();
    recorder.record("a", &2).await.unwrap();
    backend.called(3).await;
    assert_eq!(backend.numbers("a").await, [1]);
    backend.release(1);
}

#[tokio::test]
async fn a_flush_waits_while_the_backend_is_away_and_may_be_dropped() {
    let backend = Arc::new(Scripted::new());
    let recorder = hasty(&backend, RecorderConfig::default());
    backend.otherwise(Step::Fail(away()));
    recorder.record("a", &1).await.unwrap();
    for _ in 0..10 {
        let mut flush = pin!(recorder.flush());
        assert!(waits(&mut flush).await);
    }
    backend.called(10).await;
    let mut flush = pin!(recorder.flush());
    assert!(waits(&mut flush).await);
    backend.otherwise(Step::Store);
    flush.await.unwrap();
    assert_eq!(fates(&recorder), (1, 0, 0, 0));
}

/// Its report was lost: the row had its fate, and the answer was not sent yet.
#[tokio::test]
async fn a_flush_dropped_while_its_answer_is_on_the_way_leaves_it_to_the_next() {
    type Flush = Pin<Box<dyn Future<Output = Result<(), RecorderError>> + Send>>;

    struct DropWhenWoken(std::sync::Mutex<Option<Flush>>);

    impl Wake for DropWhenWoken {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }

    let backend = Arc::new(Scripted::new());
    let recorder = held_up(&backend, RecorderConfig::default()).await;
    let too_large = PersistenceError::ValueTooLarge { size: 9, limit: 8 };
    backend.then([Step::Fail(too_large)]);
    recorder.record("a", &1).await.unwrap();
    let flush = |recorder: Recorder| -> Flush { Box::pin(async move { recorder.flush().await }) };
    let (mut first, mut second) = (flush(recorder.clone()), flush(recorder.clone()));
    let noop = &mut Context::from_waker(Waker::noop());
    let wakes_first = Arc::new(DropWhenWoken(std::sync::Mutex::default()));
    let waker = Waker::from(wakes_first.clone());
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(second.as_mut().poll(noop).is_pending());
    *wakes_first.0.lock().unwrap() = Some(second);
    backend.release(1);
    let closed = recorder.close().await;
    assert!(matches!(closed, Err(RecorderError::RowsRejected { rows: 1, .. })), "{closed:?}");
    assert!(wakes_first.0.lock().unwrap().is_none(), "the first flush was answered before");
    assert!(matches!(first.await, Err(RecorderError::RowsRejected { rows: 1, .. })));
}

#[tokio::test]
async fn a_backend_that_hangs_is_waited_for_no_longer_than_the_drain_timeout() {
    for step in [Step::Hang, Step::Fail(away())] {
        let backend = Arc::new(Scripted::new());
        backend.otherwise(step);
        let recorder = hasty(&backend, RecorderConfig::default().with_max_batch_rows(2));
        for n in 0..5 {
            recorder.record("a", &n).await.unwrap();
        }
        let flush = recorder.flush();
        let (flushed, closed) = tokio::join!(flush, recorder.close());
        for error in
            [flushed.unwrap_err(), closed.unwrap_err(), recorder.close().await.unwrap_err()]
        {
            assert!(matches!(error, RecorderError::Dropped { rows: 5, source: Some(_) }));
            assert!(error.to_string().contains("30s"), "{error}");
        }
        assert_eq!(fates(&recorder), (0, 0, 5, 0));
        assert!(matches!(recorder.record("a", &1).await, Err(RecorderError::Closed)));
    }
}

#[test]
fn the_last_drop_gives_up_on_a_backend_that_hangs() {
    let backend = Arc::new(Scripted::new());
    backend.otherwise(Step::Hang);
    let recorder = hasty(&backend, RecorderConfig::default());
    recorder.try_record("a", &1).unwrap();
    drop(recorder);
    assert_eq!(Arc::strong_count(&backend), 1, "its thread has ended");
}

/// The timeout is for a backend that does nothing. One that takes 20 s a batch drains to the end.
#[tokio::test]
async fn a_slow_backend_drains_for_longer_than_the_timeout() {
    struct Slow(crate::MemoryBackend, AtomicU64);

    #[async_trait::async_trait]
    impl PersistenceBackend for Slow {
        async fn store(
            &self,
            record: &str,
            value: &crate::Value,
            at: u64,
        ) -> Result<(), PersistenceError> {
            tokio::time::advance(Duration::from_secs(20)).await;
            self.1.fetch_add(20, Ordering::SeqCst);
            self.0.store(record, value, at).await
        }

        async fn query(
            &self,
            pattern: &str,
            params: crate::QueryParams,
        ) -> Result<Vec<crate::StoredValue>, PersistenceError> {
            self.0.query(pattern, params).await
        }

        async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
            self.0.cleanup(older_than).await
        }
    }

    let backend = Arc::new(Slow(crate::MemoryBackend::new(), AtomicU64::new(0)));
    let recorder = hasty_on(backend.clone(), RecorderConfig::default());
    for n in 0..10 {
        recorder.record("a", &n).await.unwrap();
    }
    recorder.close().await.unwrap();
    assert_eq!(fates(&recorder), (10, 0, 0, 0));
    assert_eq!(backend.1.load(Ordering::SeqCst), 200);
}

/// Whoever closes has little time: the next try is not an hour away.
#[tokio::test]
async fn closing_cuts_the_wait_for_the_next_try_short() {
    let backend = Arc::new(Scripted::new());
    backend.then([Step::Fail(away())]);
    let hour = Duration::from_secs(3600);
    let retry = RetryPolicy::default().with_delays(hour, hour);
    let recorder = recorder(&backend, RecorderConfig::default().with_retry(retry));
    recorder.record("a", &1).await.unwrap();
    backend.called(1).await;
    recorder.close().await.unwrap();
    assert_eq!(backend.numbers("a").await, [1]);
}
