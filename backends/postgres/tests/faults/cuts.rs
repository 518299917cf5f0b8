//! Connections that are cut at random.

use std::collections::HashMap;
use std::time::Duration;

use annals_core::{Batch, BatchId, Outcome, PersistenceBackend, QueryExt, QueryParams};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Fault, Proxy};
use futures::future::join_all;

use crate::common::{Place, row};
use crate::recorder;

/// The seed of the cuts, which reproduces a failure unless it is a race.
const SEED: u64 = 20_261_124;

/// The outcome of a batch without an id.
enum Fate {
    Stored,
    NotApplied,
    Unknown,
}

/// Three writers with ids that retry until they succeed, two without ids that do not, and a recorder,
/// through a proxy that cuts every connection after a random number of bytes.
pub(crate) async fn random_cuts_neither_lose_nor_duplicate_rows() {
    const CUTS: u64 = 220;
    let place = Place::new();
    place.backend().initialize().await.unwrap();
    let proxy = Proxy::start(&place.url).unwrap();
    proxy.set(Fault::Cut { seed: SEED, most: 30_000 });
    let url = proxy.url(&place.url).unwrap();
    let url = format!("{url}?application_name={}&writers=3", place.application());
    let config = PostgresConfig::from_url(&url).unwrap().with_schema(&place.schema);
    let backend = PostgresBackend::new(config);

    let size = |number: u64| [1, 3, 50, 400, 2100][(number % 5) as usize];
    let batch = |record: &str, number: u64| {
        let rows = (0..size(number)).map(|i| row(record, i, number));
        Batch::new(rows.collect::<Vec<_>>())
    };
    let enough = || proxy.cuts() >= CUTS;
    let retrying = |writer: u64| {
        let (backend, record) = (&backend, format!("retried::{writer}"));
        async move {
            let mut number = 0;
            while !enough() {
                number += 1;
                let id = BatchId { writer: u128::from(writer), number };
                let batch = batch(&record, number).with_id(id);
                while let Err(error) = backend.store_batch(&batch).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
            (record, (1..=number).map(|_| Fate::Stored).collect::<Vec<_>>())
        }
    };
    let once = |writer: u64| {
        let (backend, record) = (&backend, format!("once::{writer}"));
        async move {
            let mut fates = Vec::new();
            while !enough() {
                let number = fates.len() as u64 + 1;
                fates.push(match backend.store_batch(&batch(&record, number)).await {
                    Ok(()) => Fate::Stored,
                    Err(error) => {
                        assert!(error.is_retryable(), "{error:?}");
                        match error.outcome() {
                            Outcome::NotApplied => Fate::NotApplied,
                            _ => Fate::Unknown,
                        }
                    }
                });
            }
            (record, fates)
        }
    };
    let recorder = recorder(&backend);
    let recording = async {
        let mut recorded = 0;
        while !enough() {
            recorder.record_at("recorded", &recorded, recorded).await.unwrap();
            recorded += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        recorded
    };
    let writers = join_all((1..=3).map(retrying));
    let others = join_all((1..=2).map(once));
    let (mut ends, others, recorded) = tokio::join!(writers, others, recording);
    ends.extend(others);
    recorder.flush().await.unwrap();
    recorder.close().await.unwrap();
    backend.close().await.unwrap();
    assert!(proxy.cuts() >= CUTS);

    // The server may still process what it received before a cut.
    drop(proxy);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    let observer = place.client().await;
    let sessions = observer.prepare(sessions).await.unwrap();
    let name = place.application();
    while observer.query_one(&sessions, &[&name]).await.unwrap().get::<_, i64>(0) > 0 {}

    let direct = place.backend();
    let mut unknown = 0;
    for (record, fates) in ends {
        let mut found: HashMap<u64, Vec<i64>> = HashMap::new();
        for row in direct.query(&record, QueryParams::default()).await.unwrap() {
            found.entry(row.stored_at).or_default().push(row.value.as_i64().unwrap());
        }
        for (number, fate) in (1..).zip(fates) {
            let rows = found.remove(&number).unwrap_or_default();
            let whole = (0..size(number)).rev().collect::<Vec<_>>();
            match fate {
                Fate::Stored => assert_eq!(rows, whole, "{record} {number}"),
                Fate::NotApplied => assert!(rows.is_empty(), "{record} {number}: {rows:?}"),
                Fate::Unknown => {
                    unknown += 1;
                    assert!(rows.is_empty() || rows == whole, "{record} {number}: {rows:?}");
                }
            }
        }
        assert!(found.is_empty(), "{record}: rows that nobody sent");
    }
    assert!(unknown > 0, "no cut met a commit");
    let back: Vec<u64> = direct.query_latest("recorded", usize::MAX).await.unwrap();
    assert_eq!(back, (0..recorded).rev().collect::<Vec<_>>());
}
