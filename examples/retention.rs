//! Keep different records for different times: a day of debug records, audit records forever, 90
//! days of everything else, and always the newest row of each record.
//!
//! `cargo run -p annals --example retention`

use std::time::Duration;

use annals::{Clock, PersistenceBackend, Retention, RetentionPolicy, StoreExt, SystemClock};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> annals::Result<()> {
    let history = annals::connect("memory:").await?;
    let now = SystemClock.now_ms();
    for record in ["debug::gc", "audit::login", "temperature::attic"] {
        for days in [1_000_u64, 100, 10, 0] {
            history.put_at(record, &days, now - days * DAY.as_millis() as u64).await?;
        }
    }

    // The first pattern that matches a record decides.
    let policy = RetentionPolicy::new()
        .keep("debug::*", DAY)?
        .keep_forever("audit::*")?
        .keep_all(90 * DAY)
        .keep_newest(1);
    // Sweeps at the start and then every hour. If several processes share the store, one of them
    // sweeps at a time.
    let retention = Retention::new(history.clone(), policy)?.with_interval(DAY / 24).spawn();
    retention.sweep_now().await?;
    println!("{:?}", retention.stats());
    for record in history.records("*", Default::default()).await? {
        println!("{}: {} rows left", record.record, record.count);
    }

    retention.stop().await;
    history.close().await
}
