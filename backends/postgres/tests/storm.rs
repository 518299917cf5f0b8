//! Stores, sweeps and broken connections at once, in every layout that takes rows away as a whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{Batch, BatchId, PersistenceBackend};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Extension, Fault, Proxy};
use common::{Place, row};
use futures_util::future::join_all;

const SEED: u64 = 20_261_125;
const CUTS: u64 = 30;

/// Every acknowledged row is there or was counted by a sweep, once: whatever was cut while its
/// partition was made, while it was stored, or while another sweep was at it.
async fn every_row_is_stored_once_and_counted_once(place: Place) {
    place.backend().initialize().await.unwrap();
    let proxy = Proxy::start(&place.url).unwrap();
    proxy.set(Fault::Cut { seed: SEED, most: 40_000 });
    let url = format!("{}?{}", proxy.url(&place.url).unwrap(), place.options);
    let config = PostgresConfig::from_url(&url).unwrap().with_schema(&place.schema);
    let backend = PostgresBackend::new(config.with_writers(3));
    let done = Arc::new(AtomicBool::new(false));
    let sweeper = {
        let (backend, done) = (place.backend(), done.clone());
        tokio::spawn(async move {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                removed += backend.cleanup(50_000).await.unwrap();
            }
            removed + backend.cleanup(50_000).await.unwrap()
        })
    };
    let enough = || proxy.cuts() >= CUTS;
    let writers = (1..=3_u64).map(|writer| {
        let backend = &backend;
        async move {
            let mut number = 0;
            while !enough() {
                number += 1;
                // In ten partitions: half of the rows are expired when they arrive.
                let rows = (0..10).map(|i| {
                    let at = (number * 1_000 + i * 10_000) % 100_000;
                    row(&format!("w{writer}"), (number * 10 + i) as i64, at)
                });
                let id = BatchId { writer: u128::from(writer), number };
                let batch = Batch::new(rows.collect::<Vec<_>>()).with_id(id);
                while let Err(error) = backend.store_batch(&batch).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
            number * 10
        }
    });
    let stored: u64 = join_all(writers).await.into_iter().sum();
    drop(proxy);
    done.store(true, Ordering::Relaxed);
    let removed = sweeper.await.unwrap();
    let kept = place.number("SELECT count(*) FROM {s}.history").await;
    let distinct = "SELECT count(DISTINCT (record_id, value)) FROM {s}.history";
    assert_eq!(place.number(distinct).await, kept, "nothing twice");
    assert_eq!((removed, kept as u64), (stored / 2, stored / 2));
}

async fn a_storm_over_partitions() {
    let place = Place::with_options("partition_interval=1s");
    every_row_is_stored_once_and_counted_once(place).await;
}

async fn a_storm_over_a_hypertable() {
    let place = Place::with(Extension::Timescale, "timescale=require&chunk_interval=1s");
    every_row_is_stored_once_and_counted_once(place).await;
}

async fn a_storm_over_shards() {
    every_row_is_stored_once_and_counted_once(Place::with(Extension::Citus, "distribute=require"))
        .await;
}

annals_test_postgres::server_tests! {
    async a_storm_over_partitions,
    async a_storm_over_a_hypertable with Timescale,
    async a_storm_over_shards with Citus,
}
