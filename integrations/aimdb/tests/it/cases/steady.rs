//! 10,000 values a second for ten seconds, with every kind of buffer.

use std::sync::Arc;
use std::time::Duration;

use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt};
use annals_sqlite::SqliteBackend;
use tokio::time::{MissedTickBehavior, interval};

use super::line::{self, Cfg};
use crate::fixture::{How, Reading, WEEK};

const SECONDS: u64 = 10;
const PER_TICK: u64 = 10;
const TICK: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_values_a_second_are_all_stored() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db")).unwrap());
    let mut builder = line::builder().with_persistence(backend, WEEK);
    // 500 values are a twentieth of a second; a ring of one allows no delay at all.
    line::persist::<Reading>(&mut builder, "ring", Cfg::SpmcRing { capacity: 500 }, How::Tap);
    line::persist::<Reading>(&mut builder, "small", Cfg::SpmcRing { capacity: 1 }, How::Tap);
    line::persist::<Reading>(&mut builder, "latest", Cfg::SingleLatest, How::Push);
    line::persist::<Reading>(&mut builder, "mailbox", Cfg::Mailbox, How::Push);
    let db = line::start(builder).await;
    let names = ["ring", "small", "latest", "mailbox"];
    let pushers = names.map(|name| line::pusher::<Reading>(&db, name));

    // The default behaviour catches up after late ticks, so the average rate holds.
    let mut ticks = interval(TICK);
    assert_eq!(ticks.missed_tick_behavior(), MissedTickBehavior::Burst);
    let pushed = SECONDS * 1_000 * PER_TICK;
    for first in (0..pushed).step_by(PER_TICK as usize) {
        ticks.tick().await;
        for n in first..first + PER_TICK {
            pushers.iter().for_each(|pusher| pusher.push(Reading::new(n)));
        }
    }
    db.persistence().unwrap().flush().await.unwrap();

    for name in names {
        let mut stored: Vec<Reading> = db.query_range(name, 0, u64::MAX).await.unwrap();
        stored.reverse();
        let account = db.persistence_stats().unwrap().records[name];
        assert_eq!(stored.len() as u64, pushed, "{name}: {account:?}");
        assert!(stored.iter().map(|reading| reading.n).eq(0..pushed), "{name}: in order");
    }
}
