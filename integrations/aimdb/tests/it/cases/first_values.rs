//! Ten values that a `.source()` emits as soon as it starts, in 200 starts.

use std::sync::Arc;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt};
use annals_core::MemoryBackend;
use tokio::sync::oneshot;

use super::line::{self, Cfg, MAY_MISS_THE_FIRST};
use crate::fixture::{How, Reading, WEEK};

/// In a debug build AimDB treats a thousand records in one process as a mistake. These four tests and
/// the other cases stay below that.
const STARTS: usize = 200;
const EMITTED: u64 = 10;

/// The number of starts, of `STARTS`, that missed a value.
async fn starts_that_miss(how: How) -> usize {
    let mut missing = 0;
    for _ in 0..STARTS {
        let backend = Arc::new(MemoryBackend::new());
        let mut builder = line::builder().with_persistence(backend, WEEK);
        let (emitted, told) = oneshot::channel();
        let ring = Cfg::SpmcRing { capacity: 500 };
        line::persist_source(&mut builder, "early", ring, how, |pusher| async move {
            (0..EMITTED).for_each(|n| pusher.push(Reading::new(n)));
            emitted.send(()).unwrap();
        });
        let db = line::start(builder).await;
        told.await.unwrap();
        db.persistence().unwrap().close().await.unwrap();
        let stored: Vec<Reading> = db.query_range("early", 0, u64::MAX).await.unwrap();
        let numbers: Vec<u64> = stored.iter().rev().map(|reading| reading.n).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "each once, in order: {numbers:?}");
        missing += usize::from(numbers.len() as u64 != EMITTED);
    }
    missing
}

#[tokio::test(flavor = "current_thread")]
async fn persist_buffer_misses_none_on_a_current_thread_runtime() {
    assert_eq!(starts_that_miss(How::Push).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn persist_buffer_misses_none_on_four_threads() {
    assert_eq!(starts_that_miss(How::Push).await, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn persist_misses_none_on_a_current_thread_runtime() {
    assert_eq!(starts_that_miss(How::Tap).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn persist_misses_none_on_four_threads_where_the_line_allows_it() {
    let missing = starts_that_miss(How::Tap).await;
    println!("{missing} of {STARTS} starts missed a value");
    if !MAY_MISS_THE_FIRST {
        assert_eq!(missing, 0);
    }
}
