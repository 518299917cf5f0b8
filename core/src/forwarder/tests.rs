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

/// The source with rows of which the destination has `forwarded`, and a backup of it that was made
/// before all of that was forwarded.
async fn backed_up(forwarded: u64) -> (MemoryBackend, MemoryBackend, MemoryBackend) {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    let forwarder = Forwarder::new(edge.clone(), cloud.clone());
    let mut backup = None;
    for at in 0..forwarded {
        edge.put_at("a", &at, at).await.unwrap();
        if at == 4 {
            forwarder.run_once().await.unwrap();
        }
        if at == 6 {
            backup = Some(edge.restored());
        }
    }
    forwarder.run_once().await.unwrap();
    (edge, cloud, backup.unwrap())
}

fn values(rows: Vec<(String, u64, Value)>) -> Vec<Value> {
    let mut values: Vec<Value> = rows.into_iter().map(|row| row.2).collect();
    values.reverse();
    values
}

/// The numbers of a restored source were given before: rows that arrived under them were taken for rows
/// that the destination had, and lost.
#[tokio::test]
async fn a_restored_source_goes_on_where_the_destination_is() {
    // All of the backup, or a part of it, arrived before the restore.
    let (_, cloud, restored) = backed_up(10).await;
    for at in 100..104_u64 {
        restored.put_at("a", &at, at).await.unwrap();
    }
    let forwarder = Forwarder::new(restored.clone(), cloud.clone());
    let stats = forwarder.run_once().await.unwrap();
    assert_eq!(stats.rows, 4);
    let expected: Vec<u64> = (0..10).chain(100..104).collect();
    assert_eq!(values(rows(&cloud).await), expected);
    // And once more, from a backup of the restored one, in the middle of it.
    let again = restored.restored();
    restored.put_at("a", &104, 104).await.unwrap();
    forwarder.run_once().await.unwrap();
    again.put_at("a", &200, 200).await.unwrap();
    Forwarder::new(again.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!(values(rows(&cloud).await).last(), Some(&Value::from(200)));
    assert_eq!(rows(&cloud).await.len(), 16);
    let stats = Forwarder::new(again, cloud).run_once().await.unwrap();
    assert_eq!(stats.rows, 0);
}

#[tokio::test]
async fn what_a_restored_source_had_not_sent_is_sent() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    for at in 0..10_u64 {
        edge.put_at("a", &at, at).await.unwrap();
    }
    // The destination has acknowledged four rows; the source does not know that.
    let killed = Cut::new(&cloud, &[Fault::KilledAfter]);
    Forwarder::new(edge.clone(), killed).with_batch_rows(4).run_once().await.unwrap_err();
    let restored = edge.restored();
    restored.put_at("a", &10, 10).await.unwrap();
    let stats = Forwarder::new(restored.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!((stats.rows, rows(&cloud).await), (7, rows(&restored).await));
}

/// A backup from before the first time does not know that it was forwarded later.
#[tokio::test]
async fn a_backup_that_was_never_forwarded_is_not_forwarded_twice() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    edge.put_at("a", &1, 1).await.unwrap();
    let (restored, copy) = (edge.restored(), edge.copied());
    edge.put_at("a", &2, 2).await.unwrap();
    Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    restored.put_at("a", &3, 3).await.unwrap();
    Forwarder::new(restored, cloud.clone()).run_once().await.unwrap();
    assert_eq!(values(rows(&cloud).await), [1, 2, 3]);
    // A copy that nothing tells from the original is noticed by what the destination has of it.
    copy.put_at("a", &4, 4).await.unwrap();
    let refused = Forwarder::new(copy, cloud.clone()).run_once().await;
    assert!(matches!(refused, Err(ForwardError::PutBack { .. })), "{refused:?}");
    assert_eq!(rows(&cloud).await.len(), 3);
}

/// Another restore of the same backup has sent its rows already, all of them or some.
#[tokio::test]
async fn restores_of_one_backup_send_its_rows_once() {
    for rows_of_backup in [0, 3, 7] {
        let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
        for at in 0..4_u64 {
            edge.put_at("a", &at, at).await.unwrap();
        }
        if rows_of_backup > 0 {
            Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
        }
        for at in 4..10_u64 {
            edge.put_at("a", &at, at).await.unwrap();
        }
        let (one, other) = (edge.restored(), edge.restored());
        if rows_of_backup == 7 {
            let killed = Cut::new(&cloud, &[Fault::KilledAfter]);
            let one = Forwarder::new(one.clone(), killed).with_batch_rows(3);
            one.run_once().await.unwrap_err();
        } else {
            one.put_at("a", &"one", 20).await.unwrap();
            Forwarder::new(one.clone(), cloud.clone()).with_batch_rows(3).run_once().await.unwrap();
        }
        other.put_at("a", &"other", 30).await.unwrap();
        Forwarder::new(other.clone(), cloud.clone()).with_batch_rows(4).run_once().await.unwrap();
        // And the first one goes on.
        one.put_at("a", &"more", 40).await.unwrap();
        Forwarder::new(one.clone(), cloud.clone()).run_once().await.unwrap();
        let forwarded = rows(&cloud).await;
        let mut distinct = forwarded.clone();
        distinct.dedup();
        assert_eq!(distinct, forwarded, "{rows_of_backup}");
        let expected = 10 + if rows_of_backup == 7 { 2 } else { 3 };
        assert_eq!(forwarded.len(), expected, "{rows_of_backup}: {forwarded:?}");
    }
}

/// The histories before the one that was backed up are not known: rows were sent again, or lost.
#[tokio::test]
async fn what_was_restored_twice_without_being_forwarded_between_is_refused() {
    let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
    edge.put_at("a", &1, 1).await.unwrap();
    let never_forwarded = edge.restored();
    Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
    let forwarded = edge.restored();
    for restored in [never_forwarded, forwarded] {
        restored.put_at("a", &10, 10).await.unwrap();
        let twice = restored.restored();
        twice.put_at("a", &20, 20).await.unwrap();
        let before = rows(&cloud).await;
        let refused = Forwarder::new(twice.clone(), cloud.clone()).run_once().await;
        assert!(matches!(refused, Err(ForwardError::PutBack { .. })), "{refused:?}");
        assert_eq!(rows(&cloud).await, before);
        let from = Forwarder::new(twice, cloud.clone()).with_from_time(10);
        assert_eq!(from.run_once().await.unwrap().rows, 2);
    }
}

#[tokio::test]
async fn a_source_that_was_put_back_by_other_means_is_refused() {
    let (_, cloud, restored) = backed_up(10).await;
    let put_back = restored.without_origin();
    for at in 100..104_u64 {
        put_back.put_at("a", &at, at).await.unwrap();
    }
    let before = rows(&cloud).await;
    let forwarder = Forwarder::new(put_back.clone(), cloud.clone());
    let refused = forwarder.run_once().await;
    assert!(matches!(refused, Err(ForwardError::PutBack { .. })), "{refused:?}");
    assert_eq!(rows(&cloud).await, before);
    // From a time on everything is forwarded that is there, and later everything that arrives.
    let anew = || Forwarder::new(put_back.clone(), cloud.clone()).with_from_time(102);
    assert_eq!(anew().run_once().await.unwrap().rows, 2);
    put_back.put_at("a", &"late", 3).await.unwrap();
    assert_eq!(forwarder.run_once().await.unwrap().rows, 1);
    assert_eq!(anew().run_once().await.unwrap().rows, 0);
    // Without rows that the source does not know of, there is nothing to tell apart.
    let (edge, cloud, _) = backed_up(10).await;
    let put_back = edge.restored().without_origin();
    put_back.put_at("a", &100, 100).await.unwrap();
    let stats = Forwarder::new(put_back.clone(), cloud.clone()).run_once().await.unwrap();
    assert_eq!((stats.rows, rows(&cloud).await), (1, rows(&put_back).await));
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
