//! The recorder against a backend that fails as it is told to.

mod accounting;
mod batching;
mod ending;
mod faults;
mod filtering;
mod order;
mod overflow;
mod scripted;
mod storm;
mod time;

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::pipeline::runtime;
use super::*;
use crate::backend::PersistenceBackend;
use crate::error::{BackendError, ErrorKind, Outcome, PersistenceError};

use scripted::{Scripted, Step};

fn engine_error(kind: ErrorKind, outcome: Outcome) -> PersistenceError {
    BackendError::new("test", "store", kind, "as told").with_outcome(outcome).into()
}

/// A recorder whose delays take no time: its clock moves on whenever it has nothing else to do.
fn hasty(backend: &Arc<Scripted>, config: RecorderConfig) -> Recorder {
    hasty_on(backend.clone(), config)
}

fn hasty_on(backend: Arc<dyn PersistenceBackend>, config: RecorderConfig) -> Recorder {
    let paused = || {
        let runtime = runtime()?;
        runtime.block_on(async { tokio::time::pause() });
        Ok(runtime)
    };
    Recorder { pipeline: Arc::new(Pipeline::start(backend, config, paused)) }
}

/// One whose delays take as long as they say.
fn recorder(backend: &Arc<Scripted>, config: RecorderConfig) -> Recorder {
    Recorder::new(backend.clone(), config)
}

/// Polls `future` once; whether it has to wait.
async fn waits(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

/// A recorder whose worker is held up with one value of `first` in flight.
async fn held_up(backend: &Arc<Scripted>, config: RecorderConfig) -> Recorder {
    backend.then([Step::Hold]);
    let recorder = recorder(backend, config);
    recorder.record("first", &0).await.unwrap();
    backend.called(1).await;
    recorder
}

#[track_caller]
fn assert_balanced(stats: &RecorderStats) {
    let mut sum = stats.invalid_names;
    for account in stats.records.values() {
        assert!(account.balances(), "{account:?}");
        sum += *account;
    }
    assert!(stats.total.balances() && stats.invalid_names.balances(), "{stats:?}");
    assert_eq!(sum, stats.total);
}

/// `(stored, rejected, dropped, pending)` of the total, which must balance.
#[track_caller]
fn fates(recorder: &Recorder) -> (u64, u64, u64, u64) {
    let stats = recorder.stats();
    assert_balanced(&stats);
    let total = stats.total;
    (total.stored, total.rejected, total.dropped, total.pending)
}
