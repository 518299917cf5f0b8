//! Buffers that overwrite values without a report.

use std::sync::Arc;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt};
use annals_core::MemoryBackend;
use serde::{Serialize, Serializer};

use super::line::{self, Cfg};
use crate::fixture::{How, Reading, WEEK};

const PUSHED: u64 = 5_000;

#[tokio::test(flavor = "current_thread")]
async fn both_forms_see_every_value_of_one_producer() {
    let backend = Arc::new(MemoryBackend::new());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    let kinds = [
        ("tapped latest", Cfg::SingleLatest, How::Tap),
        ("tapped mailbox", Cfg::Mailbox, How::Tap),
        ("pushed latest", Cfg::SingleLatest, How::Push),
        ("pushed mailbox", Cfg::Mailbox, How::Push),
    ];
    for (name, cfg, how) in kinds.clone() {
        line::persist::<Reading>(&mut builder, name, cfg, how);
    }
    let db = line::start(builder).await;
    for (name, ..) in kinds {
        let pusher = line::pusher::<Reading>(&db, name);
        (0..PUSHED).for_each(|n| pusher.push(Reading::new(n)));
        db.persistence().unwrap().flush().await.unwrap();
        let stored: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
        assert!(stored.iter().rev().map(|reading| reading.n).eq(0..PUSHED), "{name}");
    }
}

/// What the application's readers get must not depend on persistence.
#[tokio::test(flavor = "current_thread")]
async fn persist_buffer_takes_nothing_from_the_readers_of_a_mailbox() {
    let backend = Arc::new(MemoryBackend::new());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    line::persist::<Reading>(&mut builder, "mailbox", Cfg::Mailbox, How::Push);
    let db = line::start(builder).await;
    let mut reader = line::subscribe::<Reading>(&db, "mailbox");
    for n in 0..3 {
        line::pusher(&db, "mailbox").push(Reading::new(n));
        assert_eq!(reader.recv().await.unwrap(), Reading::new(n));
    }
}

/// Panics when it serializes an odd number.
#[derive(Debug, Clone)]
struct Touchy(u64);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0.is_multiple_of(2), "as expected");
        serializer.serialize_u64(self.0)
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_value_that_panics_while_it_is_serialized_is_counted_as_lost() {
    let backend = Arc::new(MemoryBackend::new());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    let ring = || Cfg::SpmcRing { capacity: 8 };
    line::persist::<Touchy>(&mut builder, "tapped", ring(), How::Tap);
    line::persist::<Touchy>(&mut builder, "pushed", ring(), How::Push);
    let db = line::start(builder).await;
    for name in ["tapped", "pushed"] {
        let pusher = line::pusher::<Touchy>(&db, name);
        (0..4).for_each(|n| pusher.push(Touchy(n)));
        db.persistence().unwrap().flush().await.unwrap();
        assert_eq!(db.query_latest::<u64>(name, 9).await.unwrap(), [2, 0], "{name}");
        assert_eq!(db.persistence_stats().unwrap().records[name].lost, 2, "{name}");
    }
}
