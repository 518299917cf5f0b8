//! Failing backends, clocks that jump, databases that share a backend.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, PersistenceOptions};
use annals_core::{
    BackendError, ErrorKind, ManualClock, MemoryBackend, Outcome, PersistenceBackend,
    PersistenceError, QueryParams, RecorderConfig, RecorderError, RetryPolicy, StoredValue, Value,
    async_trait,
};
use annals_sqlite::SqliteBackend;

use super::line::{self, Cfg};
use crate::fixture::{How, Reading, ThreeMethods, WEEK, until};

const RING: Cfg = Cfg::SpmcRing { capacity: 1_000 };

/// A fault of a backend while it stores.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Error(ErrorKind, Outcome),
    Refusal,
    Panic,
}

/// Fails at the first attempt to store every third value, without storing it.
struct Faulty {
    rows: MemoryBackend,
    fault: Mutex<Fault>,
    failed: Mutex<HashSet<u64>>,
}

#[async_trait]
impl PersistenceBackend for Faulty {
    async fn store(&self, name: &str, value: &Value, at: u64) -> Result<(), PersistenceError> {
        let n = value["n"].as_u64().unwrap();
        if n % 3 == 1 && self.failed.lock().unwrap().insert(n) {
            let fault = *self.fault.lock().unwrap();
            return match fault {
                Fault::Error(kind, outcome) => {
                    let error = BackendError::new("shelf", "store", kind, "not now");
                    Err(error.with_outcome(outcome).into())
                }
                Fault::Refusal => Err(PersistenceError::ValueTooLarge { size: 2, limit: 1 }),
                Fault::Panic => panic!("not now"),
            };
        }
        self.rows.store(name, value, at).await
    }

    async fn query(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.rows.query(pattern, params).await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.rows.cleanup(older_than).await
    }
}

#[tokio::test]
async fn no_fault_of_the_backend_loses_duplicates_or_reorders_a_value() {
    const EACH: u64 = 30;
    let kinds = [
        ErrorKind::Busy,
        ErrorKind::Connection,
        ErrorKind::Timeout,
        ErrorKind::Full,
        ErrorKind::Permission,
        ErrorKind::Io,
        ErrorKind::Corrupt,
        ErrorKind::NewerSchema,
        ErrorKind::Config,
        ErrorKind::Other,
    ];
    let mut faults = vec![Fault::Refusal, Fault::Panic];
    for kind in kinds {
        faults.push(Fault::Error(kind, Outcome::NotApplied));
        faults.push(Fault::Error(kind, Outcome::Unknown));
    }
    let backend = Arc::new(Faulty {
        rows: MemoryBackend::new(),
        fault: Mutex::new(Fault::Refusal),
        failed: Mutex::default(),
    });
    let soon = Duration::from_millis(1);
    let recorder =
        RecorderConfig::default().with_retry(RetryPolicy::default().with_delays(soon, soon));
    let options = PersistenceOptions::new(WEEK).with_recorder(recorder);
    let mut builder = line::builder().with_persistence_options(backend.clone(), options);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    let db = line::start(builder).await;
    let pusher = line::pusher::<Reading>(&db, "tapped");

    let mut first = 0;
    let mut refused = 0;
    for fault in faults {
        *backend.fault.lock().unwrap() = fault;
        (first..first + EACH).for_each(|n| pusher.push(Reading::new(n)));
        let flushed = db.persistence().unwrap().flush().await;
        let refuses = matches!(fault, Fault::Refusal);
        let rejected = if refuses { EACH / 3 } else { 0 };
        match flushed {
            Ok(()) => assert!(!refuses, "{fault:?}"),
            Err(RecorderError::RowsRejected { rows, dropped: 0, .. }) if rows == rejected => {}
            Err(error) => panic!("{fault:?}: {error}"),
        }
        refused += rejected;
        let account = db.persistence_stats().unwrap().records["tapped"];
        assert!(account.balances(), "{fault:?}: {account:?}");
        assert_eq!((account.rejected, account.dropped), (refused, 0), "{fault:?}");
        let mut stored: Vec<Reading> = db.query_range("tapped", 0, u64::MAX).await.unwrap();
        stored.reverse();
        let stored = stored.iter().map(|reading| reading.n).filter(|n| *n >= first);
        let expected = (first..first + EACH).filter(|n| !refuses || n % 3 != 1);
        assert!(stored.eq(expected), "{fault:?}");
        first += EACH;
    }
}

/// If the backend never answers, closing takes the drain timeout and no longer.
#[tokio::test(flavor = "current_thread")]
async fn closing_does_not_wait_forever_for_a_blocking_backend() {
    let backend = Arc::new(ThreeMethods::default());
    backend.storing.set(true);
    let recorder = RecorderConfig::default().with_drain_timeout(Duration::from_millis(20));
    let options = PersistenceOptions::new(WEEK).with_recorder(recorder);
    let mut builder = line::builder().with_persistence_options(backend.clone(), options);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    let db = line::start(builder).await;
    for name in ["tapped", "pushed"] {
        let pusher = line::pusher::<Reading>(&db, name);
        (0..100).for_each(|n| pusher.push(Reading::new(n)));
    }
    until(|| backend.storing.arrived() > 0).await;
    let closed = db.persistence().unwrap().close().await;
    assert!(matches!(&closed, Err(RecorderError::Stopped(_))), "{closed:?}");
    assert!(closed.unwrap_err().to_string().contains("200 values are still pending"));
    let total = || db.persistence_stats().unwrap().total;
    assert_eq!((total().recorded, total().pending), (200, 200));

    // The backend recovers.
    backend.storing.set(false);
    until(|| total().pending == 0).await;
    assert_eq!(total().stored + total().dropped, 200, "{:?}", total());
    let stored: Vec<Reading> = db.query_range("*", 0, u64::MAX).await.unwrap();
    assert_eq!(stored.len() as u64, total().stored);
}

#[tokio::test]
async fn a_clock_that_jumps_changes_no_order_and_loses_nothing() {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = PersistenceOptions::default().with_clock(clock.clone());
    let backend = Arc::new(MemoryBackend::new());
    let mut builder = line::builder().with_persistence_options(backend, options);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    let db = line::start(builder).await;
    let times = [1_000_000, 999_000, 5_000_000, 0, 1, i64::MAX as u64, 7, u64::MAX, 3];
    for (n, now) in times.into_iter().enumerate() {
        clock.set(now);
        for name in ["tapped", "pushed"] {
            line::pusher(&db, name).push(Reading::new(n as u64));
        }
    }
    db.persistence().unwrap().flush().await.unwrap();
    for name in ["tapped", "pushed"] {
        let stored: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
        let numbers: Vec<_> = stored.iter().rev().map(|reading| reading.n as usize).collect();
        assert_eq!(numbers, (0..times.len()).collect::<Vec<_>>(), "{name}");
        let newest: Vec<Reading> = db.query_latest(name, 1).await.unwrap();
        assert_eq!(newest[0].n as usize, times.len() - 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_that_share_a_backend_keep_their_values_apart_by_name_and_none_is_lost() {
    const EACH: u64 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let start = async |own: &'static str| {
        let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
        line::persist::<Reading>(&mut builder, own, RING, How::Tap);
        line::persist::<Reading>(&mut builder, "shared", RING, How::Push);
        line::start(builder).await
    };
    let (one, two) = (start("one").await, start("two").await);
    for (db, own, from) in [(&one, "one", 0), (&two, "two", EACH)] {
        for name in [own, "shared"] {
            let pusher = line::pusher::<Reading>(db, name);
            (from..from + EACH).for_each(|n| pusher.push(Reading::new(n)));
        }
    }
    one.persistence().unwrap().close().await.unwrap();
    two.persistence().unwrap().flush().await.unwrap();
    let numbers = async |name| {
        let stored: Vec<Reading> = two.query_range(name, 0, u64::MAX).await.unwrap();
        let mut numbers: Vec<_> = stored.iter().map(|reading| reading.n).collect();
        numbers.sort_unstable();
        numbers
    };
    assert!(numbers("one").await.into_iter().eq(0..EACH));
    assert!(numbers("two").await.into_iter().eq(EACH..2 * EACH));
    assert!(numbers("shared").await.into_iter().eq(0..2 * EACH), "both, each value once");
}

/// Every name that the contract allows is stored byte by byte.
#[tokio::test]
async fn names_are_stored_byte_by_byte() {
    let long: &'static str = "n".repeat(1_024).leak();
    let names = [
        "accuracy.#",
        "#",
        "a.b",
        "a/b",
        "A.B",
        "%",
        "_",
        "a\\b",
        "'; DROP TABLE history; --",
        " ",
        "line\nbreak",
        "\u{202e}abc",
        "e\u{301}",
        "\u{e9}",
        "mqtt://broker/topic",
        long,
    ];
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let mut builder = line::builder().with_persistence(backend.clone(), WEEK);
    for name in names {
        line::persist::<Reading>(&mut builder, name, RING, How::Push);
    }
    let db = line::start(builder).await;
    for (n, name) in names.into_iter().enumerate() {
        line::pusher(&db, name).push(Reading::new(n as u64));
    }
    db.persistence().unwrap().flush().await.unwrap();
    for (n, name) in names.into_iter().enumerate() {
        let rows = backend.query(name, QueryParams::default()).await.unwrap();
        assert_eq!(rows.len(), 1, "{name:?}");
        assert_eq!((&*rows[0].record_name, &rows[0].value["n"]), (name, &n.into()), "{name:?}");
    }
}

/// A stream that is not read blocks neither stores nor the shutdown.
#[tokio::test]
async fn a_stream_that_is_not_read_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    line::persist::<Reading>(&mut builder, "pushed", RING, How::Push);
    line::persist::<Reading>(&mut builder, "tapped", RING, How::Tap);
    let db = line::start(builder).await;
    let pusher = line::pusher::<Reading>(&db, "pushed");
    (0..5_000).for_each(|n| pusher.push(Reading::new(n)));
    db.persistence().unwrap().flush().await.unwrap();
    let mut streams = Vec::new();
    let mut subscriptions = Vec::new();
    for _ in 0..8 {
        streams.push(db.query_stream("*", QueryParams::default()).await.unwrap());
        subscriptions.push(line::subscribe::<Reading>(&db, "tapped"));
    }
    for name in ["pushed", "tapped"] {
        let pusher = line::pusher::<Reading>(&db, name);
        (5_000..10_000).for_each(|n| pusher.push(Reading::new(n)));
    }
    db.persistence().unwrap().close().await.unwrap();
    let all = db.query_raw("pushed", QueryParams::default()).await.unwrap();
    assert_eq!(all.len(), 10_000);
    assert_eq!(db.persistence_stats().unwrap().records["tapped"].stored, 5_000);
    drop(streams);
}
