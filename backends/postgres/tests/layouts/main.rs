//! Partitions, chunks and shards: what is dropped, what is counted, what a query reads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod licence;
mod reads;
mod sweeps;

use annals_core::{
    Batch, CleanupPlan, CleanupRule, ErrorKind, Grammar, Pattern, PersistenceBackend,
    PersistenceError, QueryExt, QueryParams,
};
use annals_postgres::PostgresBackend;
use annals_test_postgres::Extension;
use common::{Place, row};
use futures::future::join_all;
use serde_json::json;

use licence::under_the_apache_licence_nothing_is_compressed;
use reads::{
    a_query_of_one_record_goes_to_one_shard, latest_n_is_a_seek_in_compressed_chunks,
    latest_n_is_a_seek_in_partitions,
};
use sweeps::{
    a_reader_of_chunks_blocks_nobody, a_reader_of_partitions_blocks_nobody,
    chunks_are_counted_while_others_write, expired_partitions_are_dropped_and_others_created,
    partitions_are_counted_while_others_write, shards_are_counted_while_others_write,
    sweeps_at_once_share_the_chunks, sweeps_at_once_share_the_partitions,
    the_next_sweep_counts_what_a_dead_one_detached,
};

const PARTITIONS: &str =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = '{s}.history'::regclass";
/// Partitions of rows from the time 0 on; those created ahead are far away.
const OLD_PARTITIONS: &str = "SELECT count(*) FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid \
                              WHERE inhparent = '{s}.history'::regclass AND length(relname) < 30";

fn partitioned() -> Place {
    Place::with_options("partition_interval=1s")
}

fn hypertable() -> Place {
    Place::with(Extension::Timescale, "timescale=require&chunk_interval=1s")
}

fn apache_hypertable() -> Place {
    Place::with(Extension::TimescaleApache, "chunk_interval=1s")
}

fn distributed() -> Place {
    Place::with(Extension::Citus, "distribute=require")
}

async fn sixteen_initialize_at_once(place: Place) {
    let backends: Vec<PostgresBackend> = (0..16).map(|_| place.backend()).collect();
    let initialized = join_all(backends.iter().map(|backend| async {
        backend.initialize().await?;
        backend.store("a", &json!(1), 1).await?;
        backend.store("b", &json!(1), 500_000).await
    }));
    for result in initialized.await {
        result.unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 32);
    assert_eq!(place.number("SELECT count(*) FROM {s}.meta").await, 1);
}

async fn sixteen_initialize_partitions_at_once() {
    sixteen_initialize_at_once(partitioned()).await;
}

async fn sixteen_initialize_a_hypertable_at_once() {
    sixteen_initialize_at_once(hypertable()).await;
}

async fn sixteen_initialize_a_cluster_at_once() {
    sixteen_initialize_at_once(distributed()).await;
}

/// Compares a layout with the reference: rows in random order, the extremes of time, every kind of plan.
async fn agrees_with_the_reference(place: Place) {
    let backend = place.backend();
    let reference = annals_core::MemoryBackend::new();
    let mut rows: Vec<_> =
        (0..3_000).map(|i| row(&format!("r{}", i % 7), i, (i * 7_919 % 12_000) as u64)).collect();
    rows.extend([0, i64::MAX as u64, 1 << 40, i64::MAX as u64 - 1].map(|at| row("odd", 1, at)));
    for rows in rows.chunks(500) {
        let batch = Batch::new(rows.to_vec());
        backend.store_batch(&batch).await.unwrap();
        reference.store_batch(&batch).await.unwrap();
    }
    let rule = |pattern: &str, older_than| {
        CleanupRule::new(Pattern::new(pattern, Grammar::Glob).unwrap(), older_than)
    };
    for plan in [
        CleanupPlan::older_than(0),
        CleanupPlan::older_than(2_500),
        CleanupPlan::new(vec![rule("r1", Some(6_000)), rule("*", Some(3_000))]),
        CleanupPlan::new(vec![rule("r2", None), rule("*", Some(5_000))]),
        CleanupPlan::new(vec![rule("r*", Some(9_000))]).with_keep_newest(40),
        CleanupPlan::new(vec![rule("*", Some(u64::MAX))]).with_keep_newest(3),
        CleanupPlan::older_than(i64::MAX as u64),
        CleanupPlan::older_than(u64::MAX),
    ] {
        let expected = reference.cleanup_plan(&plan).await.unwrap();
        assert_eq!(backend.cleanup_plan(&plan).await.unwrap(), expected, "{plan:?}");
        assert_eq!(backend.cleanup_plan(&plan).await.unwrap(), 0, "{plan:?}");
        for params in [QueryParams::default(), QueryParams::latest(2)] {
            let expected = reference.query("*", params).await.unwrap();
            assert_eq!(backend.query("*", params).await.unwrap(), expected, "{plan:?}");
        }
        let expected = reference.records("*", Grammar::Glob).await.unwrap();
        assert_eq!(backend.records("*", Grammar::Glob).await.unwrap(), expected, "{plan:?}");
    }
}

async fn partitions_agree_with_the_reference() {
    agrees_with_the_reference(partitioned()).await;
}

async fn chunks_agree_with_the_reference() {
    agrees_with_the_reference(hypertable()).await;
}

async fn chunks_agree_with_the_reference_under_the_apache_licence() {
    agrees_with_the_reference(apache_hypertable()).await;
}

async fn shards_agree_with_the_reference() {
    agrees_with_the_reference(distributed()).await;
}

/// A flood of absurd times must not create a partition for each row.
async fn times_across_the_whole_range_create_few_partitions() {
    let place = partitioned();
    let backend = place.backend();
    let step = i64::MAX as u64 / 3_000;
    let rows: Vec<_> = (0..3_000).map(|i| row("a", i, i as u64 * step)).collect();
    backend.store_batch(&Batch::new(rows)).await.unwrap();
    assert!(place.number(PARTITIONS).await < 2_500);
    let back: Vec<i64> = backend.query_latest("a", 3_000).await.unwrap();
    assert_eq!(back, (0..3_000).rev().collect::<Vec<_>>());
}

async fn partitions_of_an_operator_are_used_as_they_are() {
    let place = partitioned();
    place.backend().initialize().await.unwrap();
    place.execute("UPDATE {s}.meta SET partition_interval = NULL").await;
    place
        .execute("CREATE TABLE {s}.theirs PARTITION OF {s}.history FOR VALUES FROM (0) TO (50)")
        .await;
    let backend = PostgresBackend::new(place.config_with(""));
    backend.store("a", &json!(1), 49).await.unwrap();
    let error = backend.store("a", &json!(1), 50).await.unwrap_err();
    let PersistenceError::Backend(reported) = &error else { panic!("{error:?}") };
    assert_eq!(reported.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("partition_interval"), "{error}");
    assert_eq!(backend.cleanup(51).await.unwrap(), 1);
}

/// The error once blamed the removal of record names, whatever was missing.
async fn a_row_that_never_finds_a_partition_is_not_blamed_on_names() {
    let place = partitioned();
    let backend = place.backend();
    backend.store("a", &json!(1), 1).await.unwrap();
    // The server's error for a row without a partition.
    let refuse = "CREATE FUNCTION {s}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                    RAISE EXCEPTION 'no partition found for row' USING ERRCODE = '23514'; \
                  END $$; \
                  CREATE TRIGGER refuse BEFORE INSERT ON {s}.history \
                    FOR EACH ROW EXECUTE FUNCTION {s}.refuse()";
    place.execute(refuse).await;
    let error = backend.store("a", &json!(1), 1).await.unwrap_err();
    let PersistenceError::Backend(reported) = &error else { panic!("{error:?}") };
    assert_eq!(reported.kind(), ErrorKind::Busy, "{error}");
    let message = error.to_string();
    assert!(message.contains("no partition") && !message.contains("names"), "{error}");
}

/// The extension is used by default, and not with `timescale=off`.
async fn timescale_is_used_where_it_exists() {
    let hypertables = "SELECT count(*) FROM timescaledb_information.hypertables \
                       WHERE hypertable_schema = '{name}'";
    for (options, expected) in [("", 1), ("timescale=auto", 1), ("timescale=off", 0)] {
        let place = Place::with(Extension::Timescale, options);
        place.backend().store("a", &json!(1), 1).await.unwrap();
        let hypertables = hypertables.replace("{name}", &place.schema);
        assert_eq!(place.number(&hypertables).await, expected, "{options}");
    }
}

async fn a_missing_extension_is_refused() {
    for (options, extension) in
        [("timescale=require", "timescaledb"), ("distribute=require", "citus")]
    {
        let place = Place::with_options(options);
        let error = place.backend().initialize().await.unwrap_err();
        let PersistenceError::Backend(reported) = &error else { panic!("{error:?}") };
        assert_eq!(reported.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(&format!("CREATE EXTENSION {extension}")), "{error}");
        let made = "SELECT count(*) FROM pg_namespace WHERE nspname = '{name}'";
        assert_eq!(place.number(&made.replace("{name}", &place.schema)).await, 0);
    }
}

async fn a_distributed_history_is_not_mistaken_for_a_plain_one() {
    let place = distributed();
    place.backend().store("a", &json!(1), 1).await.unwrap();
    let error = PostgresBackend::new(place.config_with("")).initialize().await.unwrap_err();
    assert!(error.to_string().contains("add `distribute=require`"), "{error}");
    assert!(place.backend().guarantees().atomic_batches);
}

annals_test_postgres::server_tests! {
    async sixteen_initialize_partitions_at_once,
    async sixteen_initialize_a_hypertable_at_once with Timescale,
    async sixteen_initialize_a_cluster_at_once with Citus,
    async partitions_agree_with_the_reference,
    async chunks_agree_with_the_reference with Timescale,
    async chunks_agree_with_the_reference_under_the_apache_licence with TimescaleApache,
    async shards_agree_with_the_reference with Citus,
    async partitions_are_counted_while_others_write,
    async chunks_are_counted_while_others_write with Timescale,
    async shards_are_counted_while_others_write with Citus,
    async sweeps_at_once_share_the_partitions,
    async sweeps_at_once_share_the_chunks with Timescale,
    async expired_partitions_are_dropped_and_others_created,
    async a_reader_of_partitions_blocks_nobody,
    async a_reader_of_chunks_blocks_nobody with Timescale,
    async the_next_sweep_counts_what_a_dead_one_detached,
    async times_across_the_whole_range_create_few_partitions,
    async partitions_of_an_operator_are_used_as_they_are,
    async a_row_that_never_finds_a_partition_is_not_blamed_on_names,
    async latest_n_is_a_seek_in_partitions,
    async latest_n_is_a_seek_in_compressed_chunks with Timescale,
    async under_the_apache_licence_nothing_is_compressed with TimescaleApache,
    async timescale_is_used_where_it_exists with Timescale,
    async a_missing_extension_is_refused,
    async a_query_of_one_record_goes_to_one_shard with Citus,
    async a_distributed_history_is_not_mistaken_for_a_plain_one with Citus,
}
