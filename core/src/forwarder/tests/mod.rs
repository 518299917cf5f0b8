//! Forwarding between two stores in memory, one of which fails as it is told to.

mod restored;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::batch::BatchId;
use crate::error::{BackendError, ErrorKind};
use crate::follow::{FollowFrom, FollowPage};
use crate::memory::MemoryBackend;
use crate::query::{QueryParams, StoredValue};
use crate::store_ext::StoreExt;
use crate::{FollowExt, Guarantees, Result, Value};

/// A destination or source whose answers get lost, or which fails before anything is done.
#[derive(Clone)]
struct Cut {
    inner: MemoryBackend,
    calls: Arc<AtomicU64>,
    /// What happens to each call to `store_batch`, in turn.
    faults: Arc<[Fault]>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Refused,
    AnswerLost,
    /// An error after which the forwarder ends, as if its process was killed.
    KilledBefore,
    KilledAfter,
}

impl Cut {
    fn new(inner: &MemoryBackend, faults: &[Fault]) -> Self {
        Self { inner: inner.clone(), calls: Arc::default(), faults: faults.into() }
    }
}

#[async_trait]
impl PersistenceBackend for Cut {
    async fn store(&self, record: &str, value: &Value, at: u64) -> Result<()> {
        self.inner.store(record, value, at).await
    }

    async fn query(&self, pattern: &str, params: QueryParams) -> Result<Vec<StoredValue>> {
        self.inner.query(pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64> {
        self.inner.cleanup(older_than).await
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) as usize;
        let error = |kind| PersistenceError::from(BackendError::new("cut", "store", kind, "cut"));
        match self.faults.get(call).copied().unwrap_or(Fault::None) {
            Fault::None => self.inner.store_batch(batch).await,
            Fault::Refused => Err(error(ErrorKind::Connection)),
            Fault::KilledBefore => Err(error(ErrorKind::Corrupt)),
            Fault::AnswerLost => {
                self.inner.store_batch(batch).await?;
                let error = BackendError::new("cut", "store", ErrorKind::Connection, "cut");
                Err(error.with_outcome(Outcome::Unknown).into())
            }
            Fault::KilledAfter => {
                self.inner.store_batch(batch).await?;
                Err(error(ErrorKind::Corrupt))
            }
        }
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        self.inner.has_batch(id).await
    }

    async fn follow_page(&self, pattern: &str, params: &FollowParams) -> Result<FollowPage> {
        self.inner.follow_page(pattern, params).await
    }

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }
}

async fn rows(backend: &MemoryBackend) -> Vec<(String, u64, Value)> {
    let rows = backend.query("*", QueryParams::default()).await.unwrap();
    let rows = rows.into_iter().map(|row| (row.record_name, row.stored_at, row.value));
    rows.filter(|row| !row.0.starts_with(progress::RECORDS)).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_is_cut_every_row_arrives_once() {
    use Fault::{AnswerLost, KilledAfter, KilledBefore, None, Refused};
    let every = [None, Refused, AnswerLost, KilledBefore, KilledAfter];
    let random = &mut fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
        let mut pick = || every[random.usize(..every.len())];
        let faults: Vec<Fault> = (0..40).map(|_| pick()).collect();
        let (source, destination) = (Cut::new(&edge, &faults), {
            let faults: Vec<Fault> = (0..40).map(|_| pick()).collect();
            Cut::new(&cloud, &faults)
        });
        let mut value = 0_u64;
        let mut finished = false;
        while !finished {
            for _ in 0..random.usize(..12) {
                // Late rows, and equal times.
                let record = ["a", "b", "c"][random.usize(..3)];
                edge.put_at(record, &value, random.u64(..20)).await.unwrap();
                value += 1;
            }
            // Each is a process of its own.
            let forwarder = Forwarder::new(source.clone(), destination.clone());
            let forwarder = forwarder.with_batch_rows(1 + random.usize(..5));
            finished = forwarder.run_once().await.is_ok();
        }
        assert_eq!(rows(&cloud).await, rows(&edge).await, "round {round}");
        assert!(value == 0 || cloud.records("annals*", Grammar::Glob).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_cleanup_between_sending_and_sending_again_changes_nothing() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    for at in 0..10_u64 {
        edge.put_at("a", &at, at).await.unwrap();
    }
    let killed = Cut::new(&cloud, &[Fault::KilledBefore]);
    Forwarder::new(edge.clone(), killed).with_batch_rows(4).run_once().await.unwrap_err();
    edge.cleanup(2).await.unwrap();
    edge.put_at("a", &"late", 0).await.unwrap();
    let stats = Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!(rows(&cloud).await, rows(&edge).await);
    assert!(stats.caught_up && stats.lag_ms == 0 && stats.rows == 9, "{stats:?}");
}

#[tokio::test]
async fn what_cannot_work_is_refused() {
    struct Three;
    #[async_trait]
    impl PersistenceBackend for Three {
        async fn store(&self, _: &str, _: &Value, _: u64) -> Result<()> {
            Ok(())
        }
        async fn query(&self, _: &str, _: QueryParams) -> Result<Vec<StoredValue>> {
            Ok(Vec::new())
        }
        async fn cleanup(&self, _: u64) -> Result<u64> {
            Ok(0)
        }
    }
    let memory = MemoryBackend::new;
    let refused = Forwarder::new(Three, memory()).run_once().await;
    assert!(matches!(refused, Err(ForwardError::Source)), "{refused:?}");
    let refused = Forwarder::new(memory(), Three).run_once().await;
    assert!(matches!(refused, Err(ForwardError::Destination)), "{refused:?}");

    let (edge, cloud) = (memory(), memory());
    edge.put("a", &1).await.unwrap();
    Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    let refused = Forwarder::new(edge.clone(), memory()).run_once().await;
    assert!(matches!(refused, Err(ForwardError::AnotherDestination { .. })), "{refused:?}");
    let other = Forwarder::new(edge.clone(), cloud.clone()).with_pattern("b*", Grammar::Glob);
    let refused = other.run_once().await;
    assert!(matches!(refused, Err(ForwardError::AnotherPattern { .. })), "{refused:?}");
    let second = memory();
    Forwarder::new(edge.clone(), second.clone()).with_name("second").run_once().await.unwrap();
    assert_eq!(rows(&second).await, rows(&edge).await);
}

/// One that takes nothing, as a server does whose token may not write.
struct Refusing(ErrorKind);

#[async_trait]
impl PersistenceBackend for Refusing {
    async fn store(&self, _: &str, _: &Value, _: u64) -> Result<()> {
        Err(BackendError::new("refusing", "store", self.0, "no").into())
    }
    async fn query(&self, _: &str, _: QueryParams) -> Result<Vec<StoredValue>> {
        Ok(Vec::new())
    }
    async fn cleanup(&self, _: u64) -> Result<u64> {
        Ok(0)
    }
    fn guarantees(&self) -> Guarantees {
        MemoryBackend::new().guarantees()
    }
    async fn store_batch(&self, _: &Batch) -> Result<()> {
        self.store("", &Value::Null, 0).await
    }
    async fn has_batch(&self, _: BatchId) -> Result<bool> {
        Ok(false)
    }
}

#[tokio::test]
async fn a_destination_that_takes_nothing_is_not_waited_for() {
    let edge = MemoryBackend::new();
    edge.put_at("a", &1, 1).await.unwrap();
    let refusing = Refusing(ErrorKind::Permission);
    Forwarder::new(edge.clone(), refusing).run_once().await.unwrap_err();
    assert_eq!(unforwarded(&edge).await.unwrap(), []);
    // One that took something before is.
    Forwarder::new(edge.clone(), MemoryBackend::new()).run_once().await.unwrap();
    edge.put_at("a", &2, 2).await.unwrap();
    let refusing = Refusing(ErrorKind::Permission);
    Forwarder::new(edge.clone(), refusing).run_once().await.unwrap_err();
    assert_eq!(unforwarded(&edge).await.unwrap().len(), 1);
    // A name is not a pattern.
    let any = Forwarder::new(edge.clone(), MemoryBackend::new()).with_name("a*b");
    let refused = any.run_once().await;
    assert!(
        matches!(refused, Err(ForwardError::Store(PersistenceError::InvalidRecordName { .. }))),
        "{refused:?}"
    );
}

/// The lag of a destination that is away grows, and that of a source where nothing happens does not.
#[tokio::test(start_paused = true)]
async fn who_is_behind_says_so_and_nobody_else() {
    async fn until(
        forwarder: &Forwarder<MemoryBackend, impl PersistenceBackend>,
        is_so: impl FnMut(&ForwardStats) -> bool,
    ) {
        let mut stats = forwarder.stats.subscribe();
        let reached = tokio::time::timeout(Duration::from_secs(60), stats.wait_for(is_so));
        reached.await.unwrap().unwrap();
    }
    let edge = MemoryBackend::new();
    edge.put_at("a", &1, 1).await.unwrap();
    let cloud = MemoryBackend::new();
    Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    let forwarder = Forwarder::new(edge.clone(), Cut::new(&cloud, &[Fault::Refused; 9]));
    tokio::select! {
        done = forwarder.run_forever() => panic!("{done:?}"),
        () = async {
            // Nothing is there to be sent, and then something that is refused.
            until(&forwarder, |stats| stats.caught_up).await;
            edge.put_at("a", &2, 2).await.unwrap();
            until(&forwarder, |stats| stats.retries == 3).await;
            assert!(!forwarder.stats().caught_up);
        } => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_the_rows_of_a_second() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    for at in 0..30_u64 {
        edge.put_at("a", &at, at).await.unwrap();
    }
    let forwarder = Forwarder::new(edge.clone(), cloud.clone()).with_rows_per_second(10);
    let begun = tokio::time::Instant::now();
    let stats = forwarder.run_once().await.unwrap();
    assert_eq!((stats.rows, stats.batches), (30, 3));
    // The end does not wait for what nobody sends.
    let spent = begun.elapsed();
    assert!((2.0..2.5).contains(&spent.as_secs_f64()), "{spent:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_and_new_rows_are_forwarded_as_they_come() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    for at in 0..100_u64 {
        edge.put_at("a", &at, at).await.unwrap();
    }
    let forwarder = Arc::new(
        Forwarder::new(edge.clone(), cloud.clone()).with_batch_rows(10).with_rows_per_second(20),
    );
    let begun = tokio::time::Instant::now();
    let running = tokio::spawn({
        let forwarder = forwarder.clone();
        async move { forwarder.run_forever().await }
    });
    let mut arrived = cloud.follow("*", FollowFrom::Time(0));
    for at in 0..100_u64 {
        let row = futures::StreamExt::next(&mut arrived).await.unwrap().unwrap();
        assert_eq!(*row.json, at.to_string());
    }
    // 90 rows were paid for before the last ten were sent.
    let spent = begun.elapsed();
    assert!(spent >= Duration::from_secs_f64(4.4), "{spent:?}");
    edge.put_at("a", &"new", 1_000).await.unwrap();
    futures::StreamExt::next(&mut arrived).await.unwrap().unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn the_first_time_rows_from_a_time_on_can_be_chosen() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    for at in 0..10_u64 {
        edge.put_at("a", &at, at).await.unwrap();
    }
    let killed = Cut::new(&cloud, &[Fault::KilledBefore]);
    let from =
        |cloud: Cut| Forwarder::new(edge.clone(), cloud).with_batch_rows(4).with_from_time(7);
    from(killed).run_once().await.unwrap_err();
    edge.put_at("a", &"late", 0).await.unwrap();
    from(Cut::new(&cloud, &[])).run_once().await.unwrap();
    let forwarded = rows(&cloud).await;
    assert_eq!(forwarded.len(), 4, "{forwarded:?}");
    assert_eq!(forwarded[3].2, "late");
}
