//! Three replicas, one history to sweep.

use annals::postgres::{PostgresBackend, PostgresConfig};
use annals::{Batch, Clock, PersistenceBackend, QueryExt, Row, SystemClock, Value};
use annals_test_postgres::{Locale, TestServer};

use crate::replica::Replica;

/// Several steps of a sweep.
const EXPIRED: u64 = 20_000;

/// All replicas sweep, at the same time: what has expired is removed and counted once.
pub async fn what_expired_is_removed_once() {
    let url = TestServer::get().unwrap().database(Locale::Icu).unwrap();
    let now = SystemClock.now_ms();
    let url = format!("{url}?schema=sweep_{}_{now}", std::process::id());
    let history = PostgresBackend::new(PostgresConfig::from_url(&url).unwrap());
    let row = |n, stored_at| Row::new(&format!("r{}", n % 100), &Value::from(n), stored_at);
    let expired = (0..EXPIRED).map(|n| row(n, n).unwrap());
    let kept = (0..100).map(|n| row(n, now).unwrap());
    history.store_batch(&Batch::new(expired.chain(kept).collect::<Vec<_>>())).await.unwrap();

    let settings = [("ANNALS_DATABASE_URL", url.as_str()), ("ANNALS_RETENTION", "1d")];
    let replicas = [0; 3].map(|_| Replica::start(&settings));
    let mut removed = 0;
    for replica in &replicas {
        while replica.figure("annals_retention_sweeps_total").await == 0 {
            tokio::task::yield_now().await;
        }
        removed += replica.figure("annals_retention_removed_rows_total").await;
        assert_eq!(replica.figure("annals_retention_failures_total").await, 0, "{}", replica.log());
    }
    assert_eq!(removed, EXPIRED);
    let left: Vec<u64> = history.query_range("*", 0, u64::MAX).await.unwrap();
    assert_eq!(left.len(), 100);
    history.close().await.unwrap();
}
