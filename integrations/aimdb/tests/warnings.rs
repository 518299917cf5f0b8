//! Lost values are logged at the first and then at most once a minute. A separate program, because
//! it installs the global tracing subscriber.
#![cfg(feature = "aimdb-1")]
#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use aimdb_core::{AimDbBuilder, buffer::BufferCfg};
use aimdb_tokio_adapter::{TokioAdapter, TokioRecordRegistrarExt};
use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt};
use annals_core::MemoryBackend;
use futures::FutureExt;
use serde::{Serialize, Serializer};

/// The first value waits here while the others overflow its ring.
static MEETING: Barrier = Barrier::new(2);

/// Serializing the value 0 blocks until the test continues.
#[derive(Debug, Clone)]
struct Slow(u64);

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 {
            MEETING.wait();
            MEETING.wait();
        }
        serializer.serialize_u64(self.0)
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn lost_values_are_counted_and_logged_once_a_minute() {
    const PUSHED: u64 = 10_000;
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();

    let mut builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter))
        .with_persistence(Arc::new(MemoryBackend::new()), Duration::from_secs(3_600));
    builder.configure::<Slow>("slow", |reg| {
        reg.buffer(BufferCfg::SpmcRing { capacity: 16 }).persist("slow");
    });
    let db = builder.build().await.unwrap();
    let push = |n| db.produce("slow", Slow(n)).now_or_never().unwrap().unwrap();
    thread::scope(|threads| {
        threads.spawn(|| push(0));
        MEETING.wait();
        // The other thread reads for both, and is blocked.
        (1..PUSHED).for_each(push);
        MEETING.wait();
    });
    db.persistence().unwrap().flush().await.unwrap();

    let account = db.persistence_stats().unwrap().records["slow"];
    assert!(account.lost > 0, "{account:?}");
    assert_eq!(account.stored + account.lost, PUSHED, "{account:?}");
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = said.lines().filter(|line| line.contains("values lost")).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].contains("WARN") && told[0].contains("slow: "), "{}", told[0]);

    // A buffer that replaces one that records.
    let mut builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter))
        .with_persistence(Arc::new(MemoryBackend::new()), Duration::from_secs(3_600));
    builder.configure::<u64>("replaced", |reg| {
        reg.persist_buffer(BufferCfg::SingleLatest, "replaced").buffer(BufferCfg::SingleLatest);
    });
    builder.configure::<u64>("kept", |reg| {
        reg.buffer(BufferCfg::SingleLatest).persist_buffer(BufferCfg::SingleLatest, "kept");
    });
    let _db = builder.build().await.unwrap();
    let text = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    while !text().contains("replaced the recording buffer") {
        tokio::task::yield_now().await;
    }
    let text = text();
    let told: Vec<&str> =
        text.lines().filter(|line| line.contains("replaced the recording buffer")).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("ERROR") && told[0].contains("replaced: "), "{}", told[0]);

    // A mailbox is logged once.
    let mut builder = AimDbBuilder::new()
        .runtime(Arc::new(TokioAdapter))
        .with_persistence(Arc::new(MemoryBackend::new()), Duration::from_secs(3_600));
    for (key, cfg) in [
        ("ring", BufferCfg::SpmcRing { capacity: 4 }),
        ("latest", BufferCfg::SingleLatest),
        ("box", BufferCfg::Mailbox),
    ] {
        builder.configure::<u64>(key, |reg| {
            reg.buffer(cfg).persist(key);
        });
    }
    let db = builder.build().await.unwrap();
    for key in ["ring", "latest", "box", "box"] {
        db.produce(key, 1_u64).await.unwrap();
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("Mailbox")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("ERROR") && told[0].contains("box: "), "{}", told[0]);
}
