//! Broken connections during stores and sweeps, during a sweep and during a migration, in every layout.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, QueryParams};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Extension, Fault, Proxy};
use common::{Place, batch, row};
use futures::future::join_all;

const SEED: u64 = 20_261_125;
const CUTS: u64 = 30;

/// Every acknowledged row exists or was counted by a sweep, exactly once, wherever connections were cut.
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
                // In ten partitions; half of the rows are expired when they arrive.
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

/// Waits until the server has no session of `place`: it may still process what it received before a cut.
async fn settled(place: &Place) {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'"
        .replace("{}", &place.application());
    while place.number(&sessions).await > 0 {}
}

/// The rows of the history, and of partitions that are detached and not yet counted.
async fn rows_there(place: &Place) -> u64 {
    let tables = "SELECT format('{s}.%I', relname) FROM pg_class c \
                  WHERE relnamespace = to_regnamespace('{s}') AND (relname = 'history' \
                  OR relkind = 'r' AND NOT relispartition AND relname ~ '^removed_')"
        .replace("{s}", &place.quoted());
    let client = place.client().await;
    let mut rows = 0;
    for table in client.query(&tables, &[]).await.unwrap() {
        rows += place.number(&format!("SELECT count(*) FROM {}", table.get::<_, &str>(0))).await;
    }
    rows.cast_unsigned()
}

/// Each attempt reports what it removed, except for a last step whose outcome is unknown. A whole sweep
/// transfers less than `most` bytes in either direction.
async fn a_sweep_that_is_cut_reports_what_it_removed(place: Place, most: u64) {
    /// The most rows of a step, and the rows of a part that is dropped as a whole.
    const MOST: u64 = 5_000;
    let direct = place.backend();
    direct.initialize().await.unwrap();
    let proxy = Proxy::start(&place.url).unwrap();
    let url = proxy.url(&place.url).unwrap();
    let url = format!("{url}?application_name={}&{}", place.application(), place.options);
    let config = PostgresConfig::from_url(&url).unwrap().with_schema(&place.schema);
    let backend = PostgresBackend::new(config);
    backend.initialize().await.unwrap();
    proxy.set(Fault::Cut { seed: SEED, most });
    let (mut failed, mut known, mut unknown) = (0, 0, 0);
    // Few bytes are those of a commit and its answer.
    while failed < CUTS || unknown == 0 && failed < 20 * CUTS {
        if failed >= CUTS {
            proxy.set(Fault::CutAnswer { seed: SEED, most: 60 });
        }
        // In three partitions, of which the last is kept in part.
        let rows = (0..9_000).map(|i| row(&format!("r{}", i % 3), i, i.cast_unsigned() / 3));
        direct.store_batch(&Batch::new(rows.collect::<Vec<_>>())).await.unwrap();
        loop {
            let before = rows_there(&place).await;
            let result = backend.cleanup(2_500).await;
            // For each connection, because its sessions are waited for.
            proxy.cut();
            settled(&place).await;
            let gone = before - rows_there(&place).await;
            let (removed, outcome) = match &result {
                Ok(removed) => (*removed, Outcome::NotApplied),
                Err(PersistenceError::PartialCleanup { removed, source }) => {
                    known += 1;
                    (*removed, source.outcome())
                }
                Err(error) => (0, error.outcome()),
            };
            match outcome {
                Outcome::NotApplied => assert_eq!(removed, gone, "{result:?}"),
                _ => {
                    unknown += 1;
                    assert!((removed..=removed + MOST).contains(&gone), "{gone}: {result:?}");
                }
            }
            match result {
                Ok(_) => break,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
            failed += 1;
        }
        let expired = "SELECT count(*) FROM {s}.history WHERE stored_at < 2500";
        assert_eq!(place.number(expired).await, 0);
    }
    assert!(known > 0 && unknown > 0, "{known} cut half way, {unknown} at a commit");
}

async fn a_sweep_of_rows_is_cut() {
    a_sweep_that_is_cut_reports_what_it_removed(Place::new(), 5_000).await;
}

async fn a_sweep_of_partitions_is_cut() {
    let place = Place::with_options("partition_interval=1s");
    a_sweep_that_is_cut_reports_what_it_removed(place, 10_000).await;
}

async fn a_sweep_of_chunks_is_cut() {
    let place = Place::with(Extension::Timescale, "timescale=require&chunk_interval=1s");
    a_sweep_that_is_cut_reports_what_it_removed(place, 10_000).await;
}

async fn a_sweep_of_shards_is_cut() {
    let place = Place::with(Extension::Citus, "distribute=require");
    a_sweep_that_is_cut_reports_what_it_removed(place, 10_000).await;
}

/// Whatever is cut, the history is either unchanged or completely converted.
async fn a_migration_that_is_cut_is_complete_or_undone(mut place: Place, options: &'static str) {
    let first = place.schema.clone();
    let (mut round, mut failed) = (0, 0);
    let proxy = Proxy::start(&place.url).unwrap();
    proxy.set(Fault::Cut { seed: SEED, most: 12_000 });
    while proxy.cuts() < CUTS {
        round += 1;
        place.schema = format!("{first}_{round}");
        place.options = "timescale=off";
        let plain = place.backend();
        plain.store_batch(&batch(10, 2_000)).await.unwrap();
        let expected = plain.query("*", QueryParams::default()).await.unwrap();
        let url = proxy.url(&place.url).unwrap();
        let url = format!("{url}?application_name={}&{options}", place.application());
        let config = PostgresConfig::from_url(&url).unwrap().with_schema(&place.schema);
        let mut may_be_made = false;
        let migration = loop {
            match PostgresBackend::migrate(config.clone(), |_| {}).await {
                Ok(migration) => break migration,
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    may_be_made |= error.outcome() == Outcome::Unknown;
                    failed += 1;
                }
            }
            settled(&place).await;
            place.options = options;
            let found = match place.backend().query("*", QueryParams::default()).await {
                Ok(rows) => rows,
                Err(error) => {
                    assert!(error.to_string().contains("annals migrate"), "{error}");
                    plain.query("*", QueryParams::default()).await.unwrap()
                }
            };
            assert_eq!(found, expected);
        };
        assert!(migration.rows == 2_000 || may_be_made && migration.rows == 0, "{migration:?}");
        place.options = options;
        let after = place.backend();
        assert_eq!(after.query("*", QueryParams::default()).await.unwrap(), expected);
        assert_eq!(after.cleanup(100).await.unwrap(), 1_000);
        let left = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('{s}') \
                    AND relkind IN ('r', 'p') AND relname ~ 'history_new'";
        assert_eq!(place.number(left).await, 0, "half of a history is left behind");
        place.execute("DROP SCHEMA {s} CASCADE").await;
    }
    assert!(failed > 0, "none was cut in {round} rounds");
}

async fn a_migration_to_partitions_is_cut() {
    a_migration_that_is_cut_is_complete_or_undone(Place::new(), "partition_interval=1s").await;
}

async fn a_migration_to_a_hypertable_is_cut() {
    let place = Place::with(Extension::Timescale, "");
    a_migration_that_is_cut_is_complete_or_undone(place, "timescale=require&chunk_interval=1s")
        .await;
}

async fn a_migration_to_shards_is_cut() {
    let place = Place::with(Extension::Citus, "");
    a_migration_that_is_cut_is_complete_or_undone(place, "distribute=require").await;
}

annals_test_postgres::server_tests! {
    async a_storm_over_partitions,
    async a_storm_over_a_hypertable with Timescale,
    async a_storm_over_shards with Citus,
    async a_sweep_of_rows_is_cut,
    async a_sweep_of_partitions_is_cut,
    async a_sweep_of_chunks_is_cut with Timescale,
    async a_sweep_of_shards_is_cut with Citus,
    async a_migration_to_partitions_is_cut,
    async a_migration_to_a_hypertable_is_cut with Timescale,
    async a_migration_to_shards_is_cut with Citus,
}
