//! Converts plain histories, and upgrades older ones.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::{
    Batch, BatchId, ErrorKind, Grammar, PersistenceBackend, PersistenceError, QueryExt, QueryParams,
};
use annals_postgres::{MigrationProgress, PostgresBackend};
use annals_test_postgres::Extension;
use common::{Place, batch, row};
use futures::future::join_all;
use serde_json::json;

fn config_error(error: &PersistenceError, word: &str) {
    let PersistenceError::Backend(reported) = error else { panic!("{error:?}") };
    assert_eq!(reported.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

/// Converts a plain table to `options`, in a schema with an odd name, with backends that stay open.
async fn converts(mut place: Place, options: &'static str, to: &str) {
    place.schema = format!("\"; x'%_ {}", place.schema).chars().take(60).collect();
    place.options = "timescale=off";
    let before = place.backend();
    before.store_batch(&batch(50, 60_000)).await.unwrap();
    let same = Batch::new((0..20).map(|i| row("same", i, 77)).collect::<Vec<_>>());
    before.store_batch(&same).await.unwrap();
    before.store("odd times", &json!(1), 0).await.unwrap();
    before.store("odd times", &json!(2), i64::MAX as u64).await.unwrap();
    let expected = before.query("*", QueryParams::default()).await.unwrap();
    let records = before.records("*", Grammar::Glob).await.unwrap();

    // Without a conversion the option is refused, and nothing changes.
    let error = PostgresBackend::new(place.config_with(options)).initialize().await.unwrap_err();
    config_error(&error, "annals migrate");

    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let seen = seen.clone();
        move |progress: MigrationProgress| seen.lock().unwrap().push(progress)
    };
    let migration = PostgresBackend::migrate(place.config_with(options), progress).await.unwrap();
    assert_eq!((migration.from, migration.to), ("plain table", to));
    assert_eq!(migration.rows, 60_022);
    let seen = seen.lock().unwrap().clone();
    assert!(seen.len() > 1 && seen.is_sorted_by_key(|progress| progress.moved), "{seen:?}");
    assert_eq!(seen.last().map(|last| (last.moved, last.total)), Some((60_022, 60_022)));

    let again = PostgresBackend::migrate(place.config_with(options), |_| {}).await.unwrap();
    assert_eq!((again.from, again.to, again.rows), (to, to, 0));

    place.options = options;
    let after = place.backend();
    assert_eq!(after.query("*", QueryParams::default()).await.unwrap(), expected);
    assert_eq!(after.records("*", Grammar::Glob).await.unwrap(), records);
    // Equal times stay in order of arrival: the sequence continues.
    after.store("same", &json!(20), 77).await.unwrap();
    let latest: Vec<i64> = after.query_latest("same", 3).await.unwrap();
    assert_eq!(latest, [20, 19, 18]);
    // A backend that was open all the time has ids of the old table.
    before.store("same", &json!(21), 5_000_000).await.unwrap();
    let new = before.store("new", &json!(1), 9_000_000).await;
    if options.contains("distribute") {
        // Nobody would find its names.
        config_error(&new.unwrap_err(), "distribute=require");
        after.store("new", &json!(1), 9_000_000).await.unwrap();
    } else {
        new.unwrap();
    }
    assert_eq!(after.query_latest::<i64>("same", 1).await.unwrap(), [21]);
    assert_eq!(after.cleanup(1_000).await.unwrap(), 50_000 + 21 + 1);
    assert_eq!(after.cleanup(u64::MAX).await.unwrap(), 60_000 + 2 + 20 + 3 - 50_022);
    let view = place.number("SELECT count(*) FROM {s}.record_history").await;
    assert_eq!(view, 0);
}

async fn a_plain_history_becomes_partitioned() {
    converts(Place::new(), "partition_interval=1min", "partitioned table").await;
}

async fn a_plain_history_becomes_a_hypertable() {
    let place = Place::with(Extension::Timescale, "");
    converts(place, "timescale=require&chunk_interval=1min", "hypertable").await;
}

async fn a_plain_history_becomes_a_hypertable_under_the_apache_licence() {
    let place = Place::with(Extension::TimescaleApache, "");
    converts(place, "timescale=require&chunk_interval=1min", "hypertable").await;
}

async fn a_plain_history_becomes_distributed() {
    converts(Place::with(Extension::Citus, ""), "distribute=require", "distributed table").await;
}

/// A running program is not told of the migration.
async fn migrates_under_queries(mut place: Place, options: &'static str) {
    place.options = "timescale=off";
    let backend = place.backend();
    backend.store_batch(&batch(10, 60_000)).await.unwrap();
    let migration = tokio::spawn(PostgresBackend::migrate(place.config_with(options), |_| {}));
    while !migration.is_finished() {
        let query = |record| backend.query(record, QueryParams::latest(5));
        for answer in join_all(["r1", "r2", "r3"].map(query)).await {
            match answer {
                Ok(rows) => assert_eq!(rows.len(), 5),
                Err(error) => {
                    assert!(options.contains("distribute") && !error.is_retryable(), "{error}");
                }
            }
        }
    }
    assert_eq!(migration.await.unwrap().unwrap().rows, 60_000);
}

async fn queries_continue_while_a_history_becomes_partitioned() {
    migrates_under_queries(Place::new(), "partition_interval=1s").await;
}

async fn queries_continue_while_a_history_becomes_a_hypertable() {
    let place = Place::with(Extension::Timescale, "");
    migrates_under_queries(place, "timescale=require&chunk_interval=1s").await;
}

async fn queries_wait_while_a_history_becomes_distributed() {
    migrates_under_queries(Place::with(Extension::Citus, ""), "distribute=require").await;
}

/// A sweep's step had read the history when the migration locked it, and waited to delete from it, while
/// the migration waited for that step before it could drop the old table. The server ended one of the
/// two after a second: possibly an hour of copying.
async fn migrates_under_stores_and_sweeps(mut place: Place, options: &'static str) {
    const OLD: u64 = 10_000;
    let first = place.schema.clone();
    for round in 0..3 {
        place.schema = format!("{first}_{round}");
        place.options = "timescale=off";
        let backend = place.backend();
        backend.store_batch(&batch(10, 20_000)).await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let sweeps: Vec<_> = (0..2)
            .map(|_| {
                let (backend, done) = (place.backend(), done.clone());
                tokio::spawn(async move {
                    let mut removed = 0;
                    while !done.load(Ordering::Relaxed) {
                        removed += backend.cleanup(OLD).await.unwrap();
                    }
                    removed
                })
            })
            .collect();
        let stores: Vec<_> = (0..3)
            .map(|writer| {
                let (backend, done) = (place.backend(), done.clone());
                tokio::spawn(async move {
                    let mut stored = 0;
                    while !done.load(Ordering::Relaxed) {
                        let rows = [stored % OLD, OLD + stored]
                            .map(|at| row(&format!("w{writer}"), stored as i64, at));
                        backend.store_batch(&Batch::new(rows)).await.unwrap();
                        stored += 1;
                    }
                    stored
                })
            })
            .collect();
        // In the middle of these stores and sweeps.
        while place.number("SELECT count(*) FROM {s}.history WHERE stored_at > 10000").await < 50 {}
        PostgresBackend::migrate(place.config_with(options), |_| {}).await.unwrap();
        done.store(true, Ordering::Relaxed);
        let sum = async |tasks: Vec<tokio::task::JoinHandle<u64>>| -> u64 {
            join_all(tasks).await.into_iter().map(Result::unwrap).sum()
        };
        let (stored, mut removed) = (sum(stores).await, sum(sweeps).await);
        place.options = options;
        removed += place.backend().cleanup(OLD).await.unwrap();
        assert_eq!(removed, 20_000 + stored, "each expired row was counted once");
        let kept = place.backend().query("w*", QueryParams::default()).await.unwrap();
        assert_eq!(kept.len() as u64, stored);
        let distinct = "SELECT count(DISTINCT (record_id, value)) FROM {s}.history";
        assert_eq!(place.number(distinct).await as u64, stored);
    }
}

async fn stores_and_sweeps_continue_around_a_migration_to_partitions() {
    migrates_under_stores_and_sweeps(Place::new(), "partition_interval=1s").await;
}

async fn stores_and_sweeps_continue_around_a_migration_to_a_hypertable() {
    let place = Place::with(Extension::Timescale, "");
    migrates_under_stores_and_sweeps(place, "timescale=require&chunk_interval=1s").await;
}

async fn an_impossible_conversion_is_refused_and_changes_nothing() {
    let place = Place::new();
    let migrate = |options| PostgresBackend::migrate(place.config_with(options), |_| {});
    config_error(&migrate("partition_interval=1s").await.unwrap_err(), "no history");
    let backend = place.backend();
    backend.store_batch(&batch(3, 30)).await.unwrap();
    config_error(&migrate("timescale=require").await.unwrap_err(), "CREATE EXTENSION timescaledb");
    config_error(&migrate("distribute=require").await.unwrap_err(), "CREATE EXTENSION citus");
    assert_eq!(migrate("").await.unwrap().rows, 0);
    // A user's view would lose its table.
    place.execute("CREATE VIEW {s}.theirs AS SELECT count(*) FROM {s}.history").await;
    migrate("partition_interval=1s").await.unwrap_err();
    assert_eq!(backend.query("*", QueryParams::default()).await.unwrap().len(), 30);
    place.execute("DROP VIEW {s}.theirs").await;
    assert_eq!(migrate("partition_interval=1s").await.unwrap().rows, 30);
    config_error(&migrate("timescale=off").await.unwrap_err(), "only a plain table");
    assert_eq!(backend.query("*", QueryParams::default()).await.unwrap().len(), 30);
}

/// The tables of version 1, with these writers.
async fn as_version_1(place: &Place, writers: &str) {
    place.backend().store("a", &json!(1), 1).await.unwrap();
    let first = "ALTER TABLE {s}.meta DROP COLUMN partition_interval; \
                 ALTER TABLE {s}.writers DROP COLUMN last_use, \
                   ADD COLUMN touched_at timestamptz NOT NULL; \
                 UPDATE {s}.meta SET schema_version = 1;";
    place.execute(&format!("{first} {writers}")).await;
}

async fn the_first_process_upgrades_an_older_schema() {
    let place = Place::new();
    as_version_1(&place, "").await;
    let backends: Vec<_> = (0..16).map(|_| place.backend()).collect();
    for result in join_all(backends.iter().map(|backend| backend.initialize())).await {
        result.unwrap();
    }
    assert_eq!(place.number("SELECT schema_version::bigint FROM {s}.meta").await, 3);
    assert_eq!(backends[3].query_latest::<i64>("*", 9).await.unwrap(), [1]);
}

/// The upgrade holds the lock on the writers and needs the version, another session the reverse. The
/// server ends the upgrade, which was once the answer to the first call.
async fn an_upgrade_that_ends_in_a_deadlock_is_repeated() {
    let place = Place::new();
    as_version_1(
        &place,
        "ALTER TABLE {s}.meta ADD COLUMN partition_interval bigint; \
                          UPDATE {s}.meta SET schema_version = 2",
    )
    .await;
    let other = place.client().await;
    let meta = "SET deadlock_timeout = '1h'; BEGIN; UPDATE {s}.meta SET schema_version = 2";
    other.batch_execute(&meta.replace("{s}", &place.quoted())).await.unwrap();
    let upgrading = {
        let config = place.config_with("options=-c%20deadlock_timeout%3D2s&application_name=up");
        tokio::spawn(async move { PostgresBackend::new(config).initialize().await })
    };
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ANY \
                   (SELECT pid FROM pg_stat_activity WHERE application_name = 'up')";
    while place.number(waiting).await == 0 {}
    let writers = format!("SELECT FROM {}.writers; COMMIT", place.quoted());
    other.batch_execute(&writers).await.unwrap();
    upgrading.await.unwrap().unwrap();
    assert_eq!(place.number("SELECT schema_version::bigint FROM {s}.meta").await, 3);
}

/// They keep the order of their times, before all writers that store later, although one of them had a
/// clock that was ahead.
async fn writers_of_an_older_schema_keep_their_order() {
    let place = Place::new();
    let writers = "INSERT INTO {s}.writers SELECT decode(lpad(w, 32, '0'), 'hex'), 5, t \
                   FROM (VALUES ('3', '2020-01-01'::timestamptz), ('1', '2021-01-01'), \
                     ('2', '2999-01-01')) AS v (w, t)";
    as_version_1(&place, writers).await;
    let backend = place.backend();
    let store = async |writer, number| {
        let batch = Batch::new([row("b", 1, 1)]).with_id(BatchId { writer, number });
        backend.store_batch(&batch).await.unwrap();
    };
    store(4, 1).await;
    store(3, 6).await;
    // Already known, and not stored again.
    store(1, 5).await;
    // A program of the previous version continues while replicas are replaced one by one.
    let before = "INSERT INTO {s}.writers AS w (writer, number, touched_at) \
                  VALUES (decode(lpad('5', 32, '0'), 'hex'), 1, now()), \
                    (decode(lpad('2', 32, '0'), 'hex'), 6, now()) \
                  ON CONFLICT (writer) DO UPDATE \
                  SET number = excluded.number, touched_at = excluded.touched_at \
                  WHERE w.number < excluded.number";
    place.execute(before).await;
    let order = "SELECT string_agg(get_byte(writer, 15)::text, '' ORDER BY last_use)::bigint \
                 FROM {s}.writers";
    assert_eq!(place.number(order).await, 12_435);
    assert_eq!(backend.query("b", QueryParams::default()).await.unwrap().len(), 2);
}

async fn the_interval_of_a_history_is_not_changed_implicitly() {
    let place = Place::with_options("partition_interval=1h");
    place.backend().store("a", &json!(1), 1).await.unwrap();
    PostgresBackend::new(place.config_with("")).store("a", &json!(2), 2).await.unwrap();
    let other = PostgresBackend::new(place.config_with("partition_interval=2h"));
    config_error(
        &other.store("a", &json!(3), 3).await.unwrap_err(),
        "`partition_interval` is 2h, but the history is partitioned by 1h: omit",
    );
    let options = place.config_with("partition_interval=2h");
    let error = PostgresBackend::migrate(options, |_| {}).await.unwrap_err();
    config_error(&error, "or write 1h");
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 2);
}

annals_test_postgres::server_tests! {
    async a_plain_history_becomes_partitioned,
    async a_plain_history_becomes_a_hypertable with Timescale,
    async a_plain_history_becomes_a_hypertable_under_the_apache_licence with TimescaleApache,
    async a_plain_history_becomes_distributed with Citus,
    async queries_continue_while_a_history_becomes_partitioned,
    async queries_continue_while_a_history_becomes_a_hypertable with Timescale,
    async queries_wait_while_a_history_becomes_distributed with Citus,
    async stores_and_sweeps_continue_around_a_migration_to_partitions,
    async stores_and_sweeps_continue_around_a_migration_to_a_hypertable with Timescale,
    async an_impossible_conversion_is_refused_and_changes_nothing,
    async the_first_process_upgrades_an_older_schema,
    async an_upgrade_that_ends_in_a_deadlock_is_repeated,
    async writers_of_an_older_schema_keep_their_order,
    async the_interval_of_a_history_is_not_changed_implicitly,
}
