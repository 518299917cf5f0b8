//! How much of a history a query reads.

use annals_core::{PersistenceBackend, QueryExt, QueryParams};
use serde_json::json;

use crate::common::{Place, batch};
use crate::{distributed, hypertable, partitioned};

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

pub(crate) async fn latest_n_is_a_seek_in_partitions() {
    let place = partitioned();
    place.backend().store_batch(&batch(10, 100_000)).await.unwrap();
    let tables = "SELECT inhrelid FROM pg_inherits WHERE inhparent = '{s}.history'::regclass";
    latest_is_a_seek(&place, tables).await;
}

/// The older chunks are compressed.
pub(crate) async fn latest_n_is_a_seek_in_compressed_chunks() {
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

/// A query of one record goes to one shard, and the latest of all is a seek in each.
pub(crate) async fn a_query_of_one_record_goes_to_one_shard() {
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
