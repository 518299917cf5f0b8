//! Filters: what does not pass is in the buffer and not in the history.

use std::sync::Arc;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, Filter, PersistenceOptions};
use annals_core::{MemoryBackend, RecorderConfig};

use super::line::{self, Cfg};
use crate::fixture::{How, Reading};

/// Under a filter of the configuration, each record pushes 0 0 0 3 3 3 6 6 6 9.
#[tokio::test]
async fn a_filter_thins_the_history_and_not_the_buffer() {
    let recorder =
        RecorderConfig::default().with_filter("filtered*", Filter::new().on_change_of(["n"]));
    let options = PersistenceOptions::default().with_recorder(recorder.unwrap());
    let backend = Arc::new(MemoryBackend::new());
    let mut builder = line::builder().with_persistence_options(backend, options);
    let ring = || Cfg::SpmcRing { capacity: 50 };
    let records = [("filtered1", How::Tap), ("filtered2", How::Push), ("full", How::Push)];
    for (name, how) in records {
        line::persist::<Reading>(&mut builder, name, ring(), how);
    }
    // Its own filter counts.
    line::restore::<Reading, _, _>(
        &mut builder,
        "filtered3",
        ring(),
        crate::fixture::WEEK,
        |_| async {},
    );
    let db = line::start(builder).await;
    for (name, stored) in [("filtered1", 4), ("filtered2", 4), ("filtered3", 4), ("full", 10)] {
        let mut reader = line::subscribe::<Reading>(&db, name);
        let pusher = line::pusher::<Reading>(&db, name);
        for n in 0..10 {
            pusher.push(Reading::new(n / 3 * 3));
        }
        for n in 0..10 {
            assert_eq!(reader.try_recv().unwrap().n, n / 3 * 3, "{name}");
        }
        db.persistence().unwrap().flush().await.unwrap();
        let account = db.persistence_stats().unwrap().records[name];
        assert_eq!((account.stored, account.filtered.unchanged), (stored, 10 - stored), "{name}");
        let rows: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
        assert_eq!(rows.len() as u64, stored, "{name}");
    }
}
