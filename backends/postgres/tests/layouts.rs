//! Partitions, chunks and shards: what is dropped, what is counted, what a query reads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::{
    Batch, CleanupPlan, CleanupRule, ErrorKind, Grammar, Pattern, PersistenceBackend,
    PersistenceError, QueryExt, QueryParams,
};
use annals_postgres::PostgresBackend;
use annals_test_postgres::Extension;
use common::{Place, batch, row};
use futures::StreamExt;
use futures::future::join_all;
use serde_json::json;

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

/// Rows arrive in parts that are being removed: each is counted once, by one of the sweeps.
async fn counts_are_exact_while_others_write(place: Place) {
    let sweeper = place.backend();
    sweeper.initialize().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let sweeps = tokio::spawn({
        let done = done.clone();
        async move {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                removed += sweeper.cleanup(10_000).await.unwrap();
            }
            removed + sweeper.cleanup(10_000).await.unwrap()
        }
    });
    let writers = (0..3).map(|writer| {
        let backend = place.backend();
        async move {
            for i in 0..60_u64 {
                let at = [i * 100 % 9_000, 20_000 + i];
                let rows = at.map(|at| row(&format!("w{writer}"), 1, at));
                while let Err(error) = backend.store_batch(&Batch::new(rows.clone())).await {
                    assert!(error.is_retryable(), "{error:?}");
                }
            }
        }
    });
    join_all(writers).await;
    done.store(true, Ordering::Relaxed);
    assert_eq!(sweeps.await.unwrap(), 180, "each expired row was counted once");
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 180);
}

async fn partitions_are_counted_while_others_write() {
    counts_are_exact_while_others_write(partitioned()).await;
}

async fn chunks_are_counted_while_others_write() {
    counts_are_exact_while_others_write(hypertable()).await;
}

async fn shards_are_counted_while_others_write() {
    counts_are_exact_while_others_write(distributed()).await;
}

/// Each sweep lists the parts before it holds the lock, and finds some of them gone.
async fn sweeps_at_once_share_the_parts(place: Place) {
    let backends: Vec<PostgresBackend> = (0..3).map(|_| place.backend()).collect();
    // Without a common cutoff, the emptied parts are removed.
    for kept in [Some(i64::MAX as u64), None] {
        let rows: Vec<_> = (0..24).map(|i| row("a", i, i as u64 * 1_000)).collect();
        backends[0].store_batch(&Batch::new(rows)).await.unwrap();
        let rules = [("b", kept), ("*", Some(i64::MAX as u64))].map(|(pattern, older_than)| {
            let pattern = Pattern::new(pattern, Grammar::Glob).unwrap();
            CleanupRule::new(pattern, older_than)
        });
        let plan = CleanupPlan::new(rules.into());
        let swept = join_all(backends.iter().map(|backend| backend.cleanup_plan(&plan))).await;
        let removed: u64 = swept.into_iter().map(Result::unwrap).sum();
        assert_eq!(removed, 24, "each row was counted once");
    }
}

async fn sweeps_at_once_share_the_partitions() {
    sweeps_at_once_share_the_parts(partitioned()).await;
}

async fn sweeps_at_once_share_the_chunks() {
    sweeps_at_once_share_the_parts(hypertable()).await;
}

async fn expired_partitions_are_dropped_and_others_created() {
    let place = partitioned();
    let backend = place.backend();
    backend.initialize().await.unwrap();
    let ahead = place.number(PARTITIONS).await;
    assert!(ahead >= 3, "for now and the next intervals: {ahead}");
    backend.store_batch(&batch(10, 100_000)).await.unwrap();
    assert_eq!(place.number(OLD_PARTITIONS).await, 10);
    assert_eq!(backend.cleanup(5_500).await.unwrap(), 55_000);
    assert_eq!(
        place.number(OLD_PARTITIONS).await,
        5,
        "the one that is half expired is still there"
    );
    // Nothing else is left behind.
    let tables = format!(
        "SELECT count(*) FROM pg_tables WHERE schemaname = '{}' AND tablename LIKE 'removed%'",
        place.schema
    );
    assert_eq!(place.number(&tables).await, 0);
    // An old row finds no partition, which is then created.
    backend.store("late", &json!(1), 100).await.unwrap();
    assert_eq!(place.number(OLD_PARTITIONS).await, 6);
    assert_eq!(backend.cleanup(5_500).await.unwrap(), 1);
    assert_eq!(place.number(OLD_PARTITIONS).await, 5);
    // A partition that was emptied row by row is dropped as well.
    let newest = CleanupPlan::older_than(9_000).with_keep_newest(1);
    backend.cleanup_plan(&newest).await.unwrap();
    assert_eq!(place.number(OLD_PARTITIONS).await, 1);
}

/// A reader of the whole history holds every partition: the sweep deletes the rows instead, and drops the
/// partitions later.
async fn a_reader_blocks_neither_sweep_nor_store(place: Place, parts: &str) {
    let backend = place.backend();
    backend.store_batch(&batch(10, 30_000)).await.unwrap();
    let mut stream = backend.query_stream("*", QueryParams::default()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let sweep = tokio::spawn({
        let backend = backend.clone();
        async move { backend.cleanup(2_000).await.unwrap() }
    });
    let mut at = 100_000;
    while !sweep.is_finished() {
        at += 1;
        backend.store("r0", &json!(at), at).await.unwrap();
    }
    assert_eq!(sweep.await.unwrap(), 20_000);
    let before = place.number(parts).await;
    // The snapshot contains the rows deleted meanwhile, and not the new ones.
    let mut rows = 1;
    while let Some(row) = stream.next().await {
        row.unwrap();
        rows += 1;
    }
    assert_eq!(rows, 30_000);
    assert_eq!(backend.cleanup(2_000).await.unwrap(), 0);
    assert_eq!(place.number(parts).await, before - 2);
}

async fn a_reader_of_partitions_blocks_nobody() {
    a_reader_blocks_neither_sweep_nor_store(partitioned(), OLD_PARTITIONS).await;
}

async fn a_reader_of_chunks_blocks_nobody() {
    a_reader_blocks_neither_sweep_nor_store(hypertable(), PARTITIONS).await;
}

/// A sweep that dies between its two steps leaves this behind.
async fn the_next_sweep_counts_what_a_dead_one_detached() {
    let place = partitioned();
    let backend = place.backend();
    backend.store_batch(&batch(10, 30_000)).await.unwrap();
    let detach = "ALTER TABLE {s}.history DETACH PARTITION {s}.history_0_1000; \
                  ALTER TABLE {s}.history_0_1000 RENAME TO removed_42";
    place.execute(detach).await;
    backend.store("r0", &json!(1), 5).await.unwrap();
    assert_eq!(backend.cleanup(1_500).await.unwrap(), 15_001);
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

/// The rows that the server read from the tables of the history, with or without an index.
const READ: &str = "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint \
                    FROM pg_stat_all_tables WHERE relid IN ({tables})";

async fn rows_read(place: &Place, tables: &str) -> i64 {
    // The statistics of a session arrive when it ends.
    let sessions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'",
        place.application()
    );
    while place.number(&sessions).await > 0 {}
    place.number(&READ.replace("{tables}", tables)).await
}

async fn latest_is_a_seek(place: &Place, tables: &str) {
    for end in [None, Some(5_500), Some(1_200)] {
        let before = rows_read(place, tables).await;
        let backend = place.named_backend();
        let params = QueryParams::latest(5).with_end_time(end);
        assert_eq!(backend.query("*", params).await.unwrap().len(), 50);
        backend.close().await.unwrap();
        let read = rows_read(place, tables).await - before;
        assert!(read <= 500, "{read} rows were read for 50, up to {end:?}");
    }
}

async fn latest_n_is_a_seek_in_partitions() {
    let place = partitioned();
    place.backend().store_batch(&batch(10, 100_000)).await.unwrap();
    let tables = "SELECT inhrelid FROM pg_inherits WHERE inhparent = '{s}.history'::regclass";
    latest_is_a_seek(&place, tables).await;
}

/// The older chunks are compressed.
async fn latest_n_is_a_seek_in_compressed_chunks() {
    let place = hypertable();
    place.backend().store_batch(&batch(10, 100_000)).await.unwrap();
    // As the job does within an hour; all rows are from 1970.
    place.execute("CALL {s}.compress_old(0, NULL)").await;
    let compressed = format!(
        "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed \
         AND hypertable_schema = '{}'",
        place.schema
    );
    assert!(place.number(&compressed).await >= 6);
    let tables = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                  JOIN _timescaledb_catalog.chunk k \
                  ON k.schema_name = nspname AND k.table_name = relname \
                  WHERE hypertable_id IN (SELECT unnest(ARRAY[id, compressed_hypertable_id]) \
                    FROM _timescaledb_catalog.hypertable \
                    WHERE format('%I.%I', schema_name, table_name)::regclass \
                      = '{s}.history'::regclass)";
    latest_is_a_seek(&place, tables).await;
    // Rows of compressed chunks are removed exactly, and old rows can still be added.
    let backend = place.backend();
    assert_eq!(backend.cleanup(2_500).await.unwrap(), 25_000);
    backend.store("r1", &json!(1), 2_600).await.unwrap();
    backend.store("late", &json!(1), 100).await.unwrap();
    assert_eq!(backend.cleanup(4_000).await.unwrap(), 15_002);
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 60_000);
}

/// Every warning of this process, as text.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?} "));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        WARNINGS.lock().unwrap().push(text.0);
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The warning appears once for each backend, and never with `compress_after=off`.
async fn under_the_apache_licence_nothing_is_compressed() {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let said = || {
        let warnings = WARNINGS.lock().unwrap();
        warnings.iter().filter(|text| text.contains("compress_after=off")).count()
    };
    let place = apache_hypertable();
    let before = said();
    let off = PostgresBackend::new(place.config_with("chunk_interval=1s&compress_after=off"));
    off.store("a", &json!(1), 1).await.unwrap();
    let quiet = said();
    let backend = place.backend();
    backend.store_batch(&batch(10, 30_000)).await.unwrap();
    backend.query_latest::<i64>("*", 1).await.unwrap();
    let after = said();
    // Other tests in this process connect to such histories as well.
    assert!(quiet >= before && after > quiet, "{before} {quiet} {after}");
    let kept = format!(
        "SELECT count(*) FROM timescaledb_information.hypertables \
         WHERE hypertable_schema = '{}' AND NOT compression_enabled",
        place.schema
    );
    assert_eq!(place.number(&kept).await, 1);
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

/// A query of one record goes to one shard, and the latest of all is a seek in each.
async fn a_query_of_one_record_goes_to_one_shard() {
    let place = distributed();
    place.backend().store_batch(&batch(10, 20_000)).await.unwrap();
    let client = place.client().await;
    // Shards are on any node, and so are their statistics.
    let everywhere = async |command: &str| -> i64 {
        let sum =
            "SELECT sum(nullif(result, '')::bigint)::bigint FROM run_command_on_all_nodes($1)";
        client.query_one(sum, &[&command]).await.unwrap().get::<_, Option<i64>>(0).unwrap_or(0)
    };
    let touched = "(idx_scan > 0 OR seq_scan > 0)::int";
    let sum = |table: &str, column: &str| {
        format!(
            "SELECT coalesce(sum({column}), 0)::bigint FROM pg_stat_all_tables \
             WHERE schemaname = '{}' AND relname ~ '^{table}_[0-9]+$'",
            place.schema
        )
    };
    let asked = |table: &str| sum(table, touched);
    let shards = async |column: &str| everywhere(&sum("history", column)).await;
    let rows = "seq_tup_read + coalesce(idx_tup_fetch, 0)";
    // The statistics of a node's session arrive when it ends or has been idle for a moment, and so do
    // those of the stores.
    while shards("n_tup_ins").await < 20_000 {}
    everywhere("SELECT pg_stat_reset()").await;
    let one = place.backend();
    assert_eq!(one.query_latest::<i64>("r3", 7).await.unwrap().len(), 7);
    one.close().await.unwrap();
    while shards(rows).await < 7 {}
    assert_eq!(shards(touched).await, 1, "shards were asked");
    // These were once asked as well, with a round trip each.
    assert_eq!(everywhere(&asked("placements")).await, 1, "shards of placements were asked");
    let all = place.backend();
    assert_eq!(all.query_latest::<i64>("*", 5).await.unwrap().len(), 50);
    all.close().await.unwrap();
    while shards(rows).await < 57 {}
    let read = shards(rows).await;
    assert!(read <= 200, "{read} rows were read for 57");
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
