//! The loop, in paused time: an hour passes as soon as nobody has anything else to do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::*;
use crate::backend::PersistenceBackend;
use crate::cleanup::{CleanupPlan, Swept};
use crate::clock::ManualClock;
use crate::error::{BackendError, ErrorKind, PersistenceError};
use crate::guarantees::Guarantees;
use crate::memory::MemoryBackend;
use crate::query::{QueryParams, StoredValue};

const HOUR: Duration = Duration::from_secs(3600);
const WINDOW: Duration = Duration::from_millis(1_000);

enum Step {
    Fail,
    /// After it has removed what is to go.
    FailHalfWay,
    CloseHalfWay,
    Panic,
    Hold,
    Sweep,
    /// Another process is at it.
    Leave,
}

/// Sweeps as told, and remembers when.
struct Scripted {
    store: MemoryBackend,
    selective: bool,
    steps: Mutex<VecDeque<Step>>,
    times: watch::Sender<Vec<Instant>>,
    gate: Semaphore,
}

impl Scripted {
    fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            store: MemoryBackend::new(),
            selective: true,
            steps: Mutex::new(steps.into_iter().collect()),
            times: watch::Sender::new(Vec::new()),
            gate: Semaphore::new(0),
        })
    }

    /// Waits for so many sweeps; their times in seconds after the first.
    async fn seconds(&self, sweeps: usize) -> Vec<u64> {
        let mut times = self.times.subscribe();
        let times = times.wait_for(|times| times.len() >= sweeps).await.unwrap();
        times.iter().map(|time| (*time - times[0]).as_secs()).collect()
    }
}

#[async_trait::async_trait]
impl PersistenceBackend for Scripted {
    async fn store(
        &self,
        record_name: &str,
        value: &crate::Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        self.store.store(record_name, value, timestamp).await
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.store.query(record_pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.cleanup_plan(&CleanupPlan::older_than(older_than)).await
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        let left = matches!(self.steps.lock().unwrap().front(), Some(Step::Leave));
        let removed = self.cleanup_plan(plan).await?;
        Ok(Swept { removed, finished: !left })
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.times.send_modify(|times| times.push(Instant::now()));
        let step = self.steps.lock().unwrap().pop_front();
        match step {
            Some(Step::Fail) => {
                return Err(BackendError::new("test", "cleanup", ErrorKind::Io, "as told").into());
            }
            Some(Step::FailHalfWay) => {
                let removed = self.store.cleanup_plan(plan).await?;
                let error = BackendError::new("test", "cleanup", ErrorKind::Io, "as told");
                return Err(PersistenceError::from(error).after_removing(removed));
            }
            Some(Step::CloseHalfWay) => {
                return Err(PersistenceError::BackendShutdown.after_removing(5));
            }
            Some(Step::Panic) => panic!("as told"),
            Some(Step::Hold) => self.gate.acquire().await.unwrap().forget(),
            Some(Step::Leave) => return Ok(0),
            Some(Step::Sweep) | None => {}
        }
        self.store.cleanup_plan(plan).await
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees { selective_cleanup: self.selective, ..Guarantees::default() }
    }
}

fn retention(backend: &Arc<Scripted>) -> Retention {
    let policy = RetentionPolicy::new().keep_all(WINDOW);
    Retention::new(backend.clone(), policy).unwrap().with_interval(HOUR)
}

async fn fill(backend: &Scripted, times: impl IntoIterator<Item = u64>) {
    for time in times {
        backend.store("a", &json!(time), time).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn sweeps_come_at_the_start_and_at_each_interval() {
    let backend = Scripted::new([]);
    let begun = Instant::now();
    let handle = retention(&backend).spawn();
    assert_eq!(backend.seconds(4).await, [0, 3600, 7200, 10800]);
    assert_eq!(backend.times.borrow()[0], begun);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_sweep_may_wait_for_the_interval() {
    let backend = Scripted::new([]);
    let begun = Instant::now();
    let handle = retention(&backend).with_initial_sweep(false).spawn();
    backend.seconds(1).await;
    assert_eq!(backend.times.borrow()[0] - begun, HOUR);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rows_out_of_their_window_go_and_the_account_says_so() {
    let backend = Scripted::new([]);
    fill(&backend, [1, 8_999, 9_000, 9_500, 20_000]).await;
    let clock = Arc::new(ManualClock::new(10_000));
    let retention = retention(&backend).with_clock(clock.clone());
    assert_eq!(retention.sweep_now().await.unwrap(), 2);
    clock.set(10_501);
    assert_eq!(retention.sweep_now().await.unwrap(), 2);
    let stats = retention.stats();
    assert_eq!((stats.sweeps, stats.removed, stats.failures), (2, 4, 0));
    assert_eq!(stats.last_success_ms, Some(10_501));
    assert_eq!(backend.query("*", QueryParams::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_clock_before_the_window_removes_nothing() {
    let backend = Scripted::new([]);
    fill(&backend, [0, 1, 999]).await;
    let retention = retention(&backend).with_clock(Arc::new(ManualClock::new(999)));
    assert_eq!(retention.sweep_now().await.unwrap(), 0);
}

/// With the clock at the end of time everything is old; the newest row is left.
#[tokio::test]
async fn the_newest_rows_stay_even_under_a_wrong_clock() {
    let backend = Scripted::new([]);
    fill(&backend, [1, 2, 3]).await;
    let policy = RetentionPolicy::new().keep_all(WINDOW).keep_newest(1);
    let retention = Retention::new(backend.clone(), policy).unwrap();
    let retention = retention.with_clock(Arc::new(ManualClock::new(u64::MAX)));
    assert_eq!(retention.sweep_now().await.unwrap(), 2);
}

/// Neither a failure nor a panic ends the loop; the next try comes sooner than the interval, and
/// after a success the delays begin anew.
#[tokio::test(start_paused = true)]
async fn a_failed_sweep_is_seen_and_soon_made_again() {
    let backend = Scripted::new([Step::Fail, Step::Panic, Step::Fail, Step::Sweep, Step::Fail]);
    fill(&backend, [1]).await;
    let handle = retention(&backend).spawn();
    assert_eq!(backend.seconds(6).await, [0, 1, 3, 7, 3607, 3608]);
    let stats = handle.stats();
    assert_eq!((stats.failures, stats.removed), (4, 1));
    assert!(stats.last_error.unwrap().to_string().contains("as told"));
    assert!(!handle.is_finished());
    handle.stop().await;
}

/// What it had removed was in no count, and a backend that was closed meanwhile did not end the loop.
#[tokio::test(start_paused = true)]
async fn a_sweep_that_fails_half_way_tells_what_it_removed() {
    let backend = Scripted::new([Step::FailHalfWay, Step::Sweep, Step::CloseHalfWay]);
    fill(&backend, [1, 2, 3]).await;
    let retention = retention(&backend).with_interval(Duration::from_secs(9));
    let error = retention.sweep_now().await.unwrap_err();
    assert!(matches!(error, PersistenceError::PartialCleanup { removed: 3, .. }), "{error:?}");
    assert_eq!((retention.stats().removed, retention.stats().failures), (3, 1));
    retention.clone().run().await;
    assert_eq!((retention.stats().removed, retention.stats().failures), (8, 2));
}

/// Should the other process die, its work is taken over long before the next interval.
#[tokio::test(start_paused = true)]
async fn a_sweep_left_to_another_process_is_soon_tried_again() {
    let backend = Scripted::new([Step::Leave, Step::Leave, Step::Sweep]);
    fill(&backend, [1]).await;
    let handle = retention(&backend).spawn();
    assert_eq!(backend.seconds(4).await, [0, 1, 3, 3603]);
    let stats = handle.stats();
    assert_eq!((stats.left_to_others, stats.failures, stats.removed), (2, 0, 1));
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_sweep_is_tried_at_least_once_an_interval() {
    let backend = Scripted::new((0..20).map(|_| Step::Fail));
    let handle = retention(&backend).spawn();
    let seconds = backend.seconds(18).await;
    let gaps: Vec<u64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[..4], [1, 2, 4, 8]);
    assert_eq!(gaps[12..], [3600; 5]);
    handle.stop().await;
}

#[tokio::test]
async fn a_policy_beyond_the_backend_is_refused_at_once() {
    let backend =
        Arc::new(Scripted { selective: false, ..Arc::into_inner(Scripted::new([])).unwrap() });
    let refused = [
        RetentionPolicy::new().keep("debug::*", WINDOW).unwrap(),
        RetentionPolicy::new().keep_all(WINDOW).keep_newest(1),
        RetentionPolicy::new().keep_forever("a").unwrap().keep_all(WINDOW),
    ];
    for policy in refused {
        let error = Retention::new(backend.clone(), policy.clone()).unwrap_err();
        assert!(matches!(error, PersistenceError::Unsupported(_)), "{policy:?}: {error}");
    }
    let taken = [
        RetentionPolicy::new(),
        RetentionPolicy::new().keep_newest(5),
        RetentionPolicy::new().keep_all(WINDOW),
        RetentionPolicy::new().keep("*", WINDOW).unwrap(),
    ];
    fill(&backend, [1]).await;
    for policy in taken {
        let retention = Retention::new(backend.clone(), policy.clone()).unwrap();
        // Before the window, where an empty plan would be no plain cut-off.
        let retention = retention.with_clock(Arc::new(ManualClock::new(5)));
        assert_eq!(retention.sweep_now().await.unwrap(), 0, "{policy:?}");
    }
}

#[tokio::test]
async fn a_policy_that_keeps_everything_does_not_ask_the_backend() {
    let backend = Scripted::new([Step::Fail]);
    let policy = RetentionPolicy::new().keep_newest(1);
    let retention = Retention::new(backend.clone(), policy).unwrap();
    assert_eq!(retention.sweep_now().await.unwrap(), 0);
    assert!(backend.times.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closed_backend_ends_the_loop() {
    let backend = Scripted::new([]);
    backend.store.close().await.unwrap();
    tokio::spawn(retention(&backend).run()).await.unwrap();
    assert_eq!(backend.times.borrow().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn sweeps_wait_for_each_other() {
    let backend = Scripted::new([Step::Hold]);
    let handle = retention(&backend).spawn();
    backend.seconds(1).await;
    let mut second = Box::pin(handle.sweep_now());
    tokio::select! {
        biased;
        _ = &mut second => panic!("two sweeps at once"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(backend.times.borrow().len(), 1);
    backend.gate.add_permits(1);
    second.await.unwrap();
    assert_eq!(backend.times.borrow().len(), 2);
    handle.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_go_of_the_backend_even_during_a_sweep() {
    let backend = Scripted::new([Step::Hold]);
    let handle = retention(&backend).spawn();
    backend.seconds(1).await;
    handle.stop().await;
    assert_eq!(Arc::strong_count(&backend), 1);
}

/// A policy that was set up does not lapse because nobody kept the handle.
#[tokio::test(start_paused = true)]
async fn the_loop_outlives_its_handle() {
    let backend = Scripted::new([]);
    drop(retention(&backend).spawn());
    assert_eq!(backend.seconds(3).await.len(), 3);
}
