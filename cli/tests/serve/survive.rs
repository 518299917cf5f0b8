//! The acceptance test: crashes under load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use annals::{Clock, SystemClock};
use annals_test_postgres::LocalServer;
use futures::future::join_all;
use serde::Deserialize;

use crate::load::{Progress, ROWS, client, impatient_client};
use crate::replica::Replica;

const CLIENTS: u128 = 5;

#[derive(Deserialize)]
struct Row {
    value: (u64, u64),
}

/// Three replicas under load: one is killed, the server crashes and recovers, one is drained. Every
/// acknowledged row is stored once and in order, and no other row is.
pub async fn nothing_acknowledged_is_lost_or_doubled() {
    let whole = tokio::time::timeout(Duration::from_secs(300), survive());
    assert!(whole.await.is_ok(), "a replica or a client hangs");
}

async fn survive() {
    let server = Arc::new(LocalServer::start().unwrap());
    let settings = [
        ("ANNALS_BACKEND", server.url()),
        ("ANNALS_RETENTION", "1d"),
        ("ANNALS_DRAIN_DELAY", "3s"),
        ("ANNALS_REQUEST_TIMEOUT", "5s"),
        ("ANNALS_GRACE_PERIOD", "30s"),
    ];
    let mut killed = Replica::start(&settings);
    let drained = Replica::start(&settings);
    let survivor = Replica::start(&settings);
    for replica in [&killed, &drained, &survivor] {
        replica.until_ready().await;
    }
    let replicas: Vec<String> =
        [&killed, &drained, &survivor].map(|replica| replica.base.clone()).into();
    let now = SystemClock.now_ms();
    let progress = Progress::new();
    let clients = (0..CLIENTS).map(|number| client(number, replicas.clone(), now, &progress));
    let impatient = impatient_client(drained.base.clone(), now);

    let events = async {
        progress.more(120).await;
        killed.kill();
        progress.more(120).await;
        restart(&server).await;
        progress.more(120).await;
        drained.terminate();
        // It reports that it is not ready before it stops accepting.
        let mut seen = BTreeSet::new();
        while let Some(status) = drained.probe("/readyz").await {
            seen.insert(status);
        }
        assert!(seen.contains(&503), "{seen:?}");
        let log = drained.log();
        let status = drained.wait().await;
        assert_eq!(status.code(), Some(0), "{log}");
        progress.more(120).await;
        progress.stop.send_replace(true);
    };
    let (accounts, accepted, ()) = tokio::join!(join_all(clients), impatient, events);

    let again: u64 = accounts.iter().map(|account| account.again).sum();
    assert!(again > 0, "nothing went wrong for any client: {accounts:?}");
    for (number, account) in accounts.iter().enumerate() {
        let stored = stored(&survivor, &format!("client::{number}")).await;
        let expected: Vec<_> = (1..=account.batches)
            .flat_map(|batch| (0..ROWS).map(move |row| (batch, row)))
            .collect();
        assert!(stored == expected, "client {number}: {}", difference(&expected, &stored));
    }
    // The drained replica answered 202 and exited with 0.
    let stored = stored(&survivor, "impatient").await;
    let once: BTreeSet<_> = stored.iter().copied().collect();
    assert_eq!(once.len(), stored.len(), "rows are there twice");
    assert!(!accepted.rows.is_empty());
    let lost: Vec<_> = accepted.rows.iter().filter(|row| !once.contains(row)).collect();
    assert!(lost.is_empty(), "{} rows are lost: {:?} …", lost.len(), lost[0]);
    assert!(once.iter().all(|(batch, _)| *batch <= accepted.last));
    assert_eq!(survivor.probe("/readyz").await, Some(200), "{}", survivor.log());
    assert_eq!(survivor.figure("annals_retention_removed_rows_total").await, 0);
    assert_eq!(survivor.figure(r#"annals_pool_open{pool="write"}"#).await, 1);
    let limit = survivor.figure(r#"annals_pool_limit{pool="read"}"#).await;
    assert!((1..=limit).contains(&survivor.figure(r#"annals_pool_open{pool="read"}"#).await));
}

async fn restart(server: &Arc<LocalServer>) {
    let server = server.clone();
    let restarted = tokio::task::spawn_blocking(move || {
        server.crash().unwrap();
        server.resume().unwrap();
    });
    restarted.await.unwrap();
}

async fn stored(replica: &Replica, record: &str) -> Vec<(u64, u64)> {
    let query = format!("{}/v1/history?pattern={record}&order=oldest", replica.base);
    let answer = reqwest::get(query).await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str::<Row>(line).unwrap().value).collect()
}

/// Keeps the message short: the lists have thousands of rows.
fn difference(expected: &[(u64, u64)], stored: &[(u64, u64)]) -> String {
    let place = expected.iter().zip(stored).take_while(|(expected, stored)| expected == stored);
    let place = place.count();
    format!(
        "{} rows expected, {} stored; at {place} {:?} expected, {:?} stored",
        expected.len(),
        stored.len(),
        expected.get(place),
        stored.get(place)
    )
}
