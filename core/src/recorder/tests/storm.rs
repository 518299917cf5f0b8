//! Many threads at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use futures::FutureExt;

use super::*;

const THREADS: u64 = 4;
const VALUES: u64 = 3_000;

/// RECORD-1 "at every moment", under each policy, on a backend that fails in every way.
#[test]
fn the_account_balances_at_every_moment_of_a_storm() {
    for overflow in [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest] {
        let refused = engine_error(ErrorKind::Other, Outcome::NotApplied);
        let backend = Arc::new(Scripted::poisoned("poison", Step::Fail(refused)));
        let away = || Step::Fail(engine_error(ErrorKind::Connection, Outcome::NotApplied));
        let doubt = || Step::StoreAndFail(engine_error(ErrorKind::Timeout, Outcome::Unknown));
        for _ in 0..20 {
            backend.then([Step::Store, away(), Step::Store, doubt(), Step::Panic]);
        }
        let config = RecorderConfig::default()
            .with_capacity_rows(64)
            .with_max_batch_rows(16)
            .with_overflow(overflow);
        let recorder = hasty(&backend, config);
        let (offered, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                let mut samples = 0;
                while !done.load(Ordering::SeqCst) {
                    assert_balanced(&recorder.stats());
                    samples += 1;
                }
                samples
            });
            let producers: Vec<_> = (0..THREADS)
                .map(|producer| {
                    let recorder = recorder.clone();
                    let (offered, refused) = (&offered, &refused);
                    scope.spawn(move || {
                        let own = recorder.handle(&format!("own::{producer}")).unwrap();
                        for n in 0..VALUES {
                            let result = match n % 50 {
                                0 => recorder.try_record("poison", &n),
                                1 => recorder.try_record("bad*", &n),
                                _ => own.try_record_at(&n, 1),
                            };
                            match result {
                                Err(RecorderError::Full) => refused.fetch_add(1, Ordering::SeqCst),
                                _ => offered.fetch_add(1, Ordering::SeqCst),
                            };
                        }
                    })
                })
                .collect();
            for producer in producers {
                producer.join().unwrap();
            }
            done.store(true, Ordering::SeqCst);
            assert!(sampler.join().unwrap() > 0);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // An outage that outlasts the close would drop what is pending: the storm is over first.
        backend.clear();
        // The company that proves the last bad value.
        runtime.block_on(recorder.record("last", &1)).unwrap();
        let rejected = runtime.block_on(recorder.close()).is_err();
        let stats = recorder.stats();
        assert_balanced(&stats);
        assert_eq!(stats.total.recorded, offered.load(Ordering::SeqCst) + 1, "{overflow:?}");
        assert_eq!(stats.total.pending, 0);
        assert_eq!(rejected, stats.records["poison"].rejected > 0);
        assert_eq!(overflow == Overflow::Wait, stats.total.dropped == 0);
        assert_eq!(stats.invalid_names.rejected, THREADS * VALUES / 50);
        for producer in 0..THREADS {
            let name = format!("own::{producer}");
            let rows = backend.numbers(&name).now_or_never().unwrap();
            assert_eq!(rows.len() as u64, stats.records[name.as_str()].stored);
            assert!(rows.is_sorted_by(|a, b| a < b), "in order, and each once");
        }
    }
}

/// CONCURRENT-5: what `record` said Ok to before the close is stored, all else is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn close_and_record_race_without_losing_an_accepted_value() {
    for round in 0..50 {
        let backend = Arc::new(Scripted::new());
        let recorder = recorder(&backend, RecorderConfig::default().with_capacity_rows(8));
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let recorder = recorder.clone();
                tokio::spawn(async move {
                    let mut accepted = 0;
                    while recorder.record("a", &1).await.is_ok() {
                        accepted += 1;
                    }
                    accepted
                })
            })
            .collect();
        backend.called(round % 10).await;
        let (one, other) = tokio::join!(recorder.close(), recorder.close());
        one.and(other).unwrap();
        let mut accepted = 0;
        for producer in producers {
            accepted += producer.await.unwrap();
        }
        assert_eq!(fates(&recorder), (accepted, 0, 0, 0));
        assert_eq!(backend.rows("a").await.len() as u64, accepted);
    }
}

/// CONCURRENT-2: futures that wait for room are dropped at random; the account stays exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dropped_futures_leave_values_in_or_out_and_counted_so() {
    let backend = Arc::new(Scripted::new());
    let config = RecorderConfig::default().with_capacity_rows(2).with_max_batch_rows(1);
    let recorder = recorder(&backend, config);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                let name = format!("{task}");
                for n in 0..200_u64 {
                    let record = recorder.record(&name, &n);
                    let yields = tokio::task::yield_now();
                    tokio::select! {
                        biased;
                        recorded = record => recorded.unwrap(),
                        () = yields => {}
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    recorder.close().await.unwrap();
    let stats = recorder.stats();
    assert_balanced(&stats);
    assert_eq!(stats.total.stored, stats.total.recorded);
    assert_eq!(backend.rows("*").await.len() as u64, stats.total.stored);
    for task in 0..8 {
        let numbers = backend.numbers(&format!("{task}")).await;
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), numbers.len(), "each at most once");
    }
}

/// RECORD-4: bad values of one record do not hide the good one that waits behind them.
#[tokio::test]
async fn a_batch_of_bad_values_does_not_block_the_queue() {
    let refused = engine_error(ErrorKind::Other, Outcome::NotApplied);
    let backend = Arc::new(Scripted::poisoned("poison", Step::Fail(refused)));
    let config = RecorderConfig::default().with_capacity_rows(16).with_max_batch_rows(4);
    let recorder = hasty(&backend, config);
    for n in 0..12 {
        recorder.record_at("poison", &n, n).await.unwrap();
    }
    // Each bad one takes five to prove.
    for n in 0..100 {
        recorder.record_at("good", &n, n).await.unwrap();
    }
    let error = recorder.flush().await.unwrap_err();
    assert!(matches!(error, RecorderError::RowsRejected { rows: 12, .. }), "{error}");
    assert_eq!(fates(&recorder), (100, 12, 0, 0));
    assert_eq!(backend.rows("good").await.len(), 100);
}
