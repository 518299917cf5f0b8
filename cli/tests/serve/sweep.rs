//! Three replicas sweep one history.

use std::time::Duration;

use annals::postgres::{PostgresBackend, PostgresConfig};
use annals::{Batch, Clock, PersistenceBackend, QueryExt, Row, SystemClock, Value};
use annals_test_postgres::{Locale, TestServer};
use futures::future::join_all;
use tokio_postgres::NoTls;

use crate::replica::Replica;

const LEFT: &str = "annals_retention_left_to_others_total";

/// Enough rows for several steps of a sweep.
const EXPIRED: u64 = 20_000;

/// All replicas start to sweep at the same time. One of them sweeps, the others skip, and every
/// expired row is removed and counted once.
pub async fn one_replica_sweeps_at_a_time() {
    let whole = tokio::time::timeout(Duration::from_secs(120), sweep());
    assert!(whole.await.is_ok(), "several sweep at once, or nobody does");
}

async fn sweep() {
    let database = TestServer::get().unwrap().database(Locale::Icu).unwrap();
    let now = SystemClock.now_ms();
    let schema = format!("sweep_{}_{now}", std::process::id());
    let url = format!("{database}?schema={schema}");
    let history = PostgresBackend::new(PostgresConfig::from_url(&url).unwrap());
    let row = |n, stored_at| Row::new(&format!("r{}", n % 100), &Value::from(n), stored_at);
    let expired = (0..EXPIRED).map(|n| row(n, n).unwrap());
    let kept = (0..100).map(|n| row(n, now).unwrap());
    history.store_batch(&Batch::new(expired.chain(kept).collect::<Vec<_>>())).await.unwrap();

    // The first replica to remove rows is blocked until this is released.
    let (mut client, connection) = tokio_postgres::connect(&database, NoTls).await.unwrap();
    tokio::spawn(connection);
    let held = client.transaction().await.unwrap();
    held.batch_execute(&format!("LOCK TABLE {schema}.history IN SHARE MODE")).await.unwrap();

    let settings = [("ANNALS_BACKEND", url.as_str()), ("ANNALS_RETENTION", "1d")];
    let replicas = [0; 3].map(|_| Replica::start(&settings));
    loop {
        let left = join_all(replicas.iter().map(|replica| replica.figure(LEFT))).await;
        if left.iter().filter(|left| **left > 0).count() == 2 {
            break;
        }
    }
    held.rollback().await.unwrap();

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
