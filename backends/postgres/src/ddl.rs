//! The tables.

use crate::config::Storage;
use crate::layout::{Extensions, Layout};
use crate::schema::VERSION;
use crate::sql::literal;

/// Sweeps leave dead rows behind at a steady rate: vacuum at 5 % of them instead of 20.
pub(crate) const VACUUM: &str = "WITH (autovacuum_vacuum_scale_factor = 0.05)";

/// Everything in schema `s`, which is an identifier, except for partitions.
pub(crate) fn create(
    s: &str,
    layout: Layout,
    storage: &Storage,
    extensions: &Extensions,
) -> String {
    format!(
        "CREATE TABLE {s}.meta (\
           one boolean PRIMARY KEY DEFAULT true CHECK (one), \
           schema_version integer NOT NULL, \
           names_generation bigint NOT NULL, \
           partition_interval bigint); \
         CREATE TABLE {s}.records (\
           id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
           name text COLLATE \"C\" NOT NULL UNIQUE) {VACUUM}; \
         CREATE TABLE {s}.writers (\
           writer bytea PRIMARY KEY, \
           number bigint NOT NULL, \
           touched_at timestamptz NOT NULL); \
         INSERT INTO {s}.meta (schema_version, names_generation, partition_interval) \
           SELECT {VERSION}, \
             ('x' || left(id, 8) || right(id, 8))::bit(64)::bigint & {most}, {interval} \
           FROM (SELECT gen_random_uuid()::text AS id) AS random; \
         {history} {view}",
        most = i64::MAX,
        interval = interval(layout, storage),
        history = history(s, "history", layout, storage, extensions),
        view = view(s),
    )
}

/// What `meta.partition_interval` says: an expression.
pub(crate) fn interval(layout: Layout, storage: &Storage) -> String {
    match (layout, storage.partition_interval) {
        (Layout::Partitioned, Some(interval)) => interval.to_string(),
        _ => "NULL".to_owned(),
    }
}

/// The rows of the history, in a table of this name.
pub(crate) fn history(
    s: &str,
    table: &str,
    layout: Layout,
    storage: &Storage,
    extensions: &Extensions,
) -> String {
    let with = match layout {
        Layout::Partitioned => "PARTITION BY RANGE (stored_at)",
        _ => VACUUM,
    };
    let create = format!(
        "CREATE TABLE {s}.{table} (\
           record_id bigint NOT NULL, \
           stored_at bigint NOT NULL, \
           seq bigint GENERATED ALWAYS AS IDENTITY, \
           value text NOT NULL, \
           PRIMARY KEY (record_id, stored_at, seq)) {with};"
    );
    let further = match layout {
        Layout::Plain | Layout::Partitioned => String::new(),
        Layout::Hypertable => hypertable(s, table, storage, extensions),
        Layout::Distributed => distributed(s, table),
    };
    format!("{create} {further}")
}

/// What people look at.
pub(crate) fn view(s: &str) -> String {
    format!(
        "CREATE VIEW {s}.record_history AS \
           SELECT r.name AS record_name, h.value AS value_json, h.stored_at \
           FROM {s}.history h JOIN {s}.records r ON r.id = h.record_id; \
         COMMENT ON VIEW {s}.record_history IS \
           'The history for people: value_json::jsonb, to_timestamp(stored_at / 1000.0)';"
    )
}

/// Segments by record and in the order of the key: latest-N is a seek in a compressed chunk too.
fn hypertable(s: &str, table: &str, storage: &Storage, extensions: &Extensions) -> String {
    let e = extensions.timescale.as_deref().unwrap_or("public");
    let relation = literal(&format!("{s}.{table}"));
    let now = literal(&format!("{s}.now_ms"));
    let chunk = storage.chunk_interval();
    let mut ddl = format!(
        "CREATE FUNCTION {s}.now_ms() RETURNS bigint LANGUAGE sql STABLE \
           AS 'SELECT (extract(epoch FROM now()) * 1000)::bigint'; \
         SELECT {e}.create_hypertable({relation}::regclass, 'stored_at', \
           chunk_time_interval => {chunk}::bigint, create_default_indexes => false); \
         SELECT {e}.set_integer_now_func({relation}::regclass, {now}::regproc);"
    );
    if let (Some(age), false) = (storage.compress_after(), extensions.apache) {
        ddl.push_str(&compression(s, table, e, age));
    }
    ddl
}

/// Not TimescaleDB's own policy: at the end of each chunk that waits for everybody who reads it,
/// and every other query waits behind it. This gives up after a moment and comes back in an hour.
/// (`truncate_or_delete`, which does not wait, is no way out: a statement that was planned before it
/// misses the rows.)
fn compression(s: &str, table: &str, e: &str, age: i64) -> String {
    let relation = literal(&format!("{s}.history"));
    let job = literal(&format!("{s}.compress_old"));
    let body = literal(&format!(
        "DECLARE chunk regclass; \
         BEGIN \
           PERFORM set_config('lock_timeout', '100ms', false); \
           FOR chunk IN SELECT {e}.show_chunks({relation}::regclass, \
             older_than => {s}.now_ms() - {age}::bigint) \
           LOOP \
             BEGIN \
               PERFORM {e}.compress_chunk(chunk, if_not_compressed => true); \
             EXCEPTION WHEN OTHERS THEN \
               RAISE WARNING 'chunk % stays as it is for now: %', chunk, SQLERRM; \
             END; \
             COMMIT; \
           END LOOP; \
         END"
    ));
    format!(
        " ALTER TABLE {s}.{table} SET (timescaledb.compress, \
            timescaledb.compress_segmentby = 'record_id', \
            timescaledb.compress_orderby = 'stored_at DESC, seq DESC'); \
          CREATE PROCEDURE {s}.compress_old(job integer, config jsonb) LANGUAGE plpgsql AS {body}; \
          SELECT {e}.add_job({job}::regproc, '1 hour'::interval);"
    )
}

/// `placements` has the ids once more, distributed as the history is: a join with it stays on each
/// shard, which one with the names, of which every node has all, does not when it is limited.
///
/// A program that was started before the history was distributed adds names without `placed`: that
/// fails, where a name without a placement would never be read again.
fn distributed(s: &str, table: &str) -> String {
    let relation = |table: &str| literal(&format!("{s}.{table}"));
    let (history, placements) = (relation(table), relation("placements"));
    format!(
        "ALTER TABLE {s}.records ADD COLUMN placed boolean NOT NULL DEFAULT true; \
         ALTER TABLE {s}.records ALTER COLUMN placed DROP DEFAULT; \
         CREATE TABLE {s}.placements (record_id bigint PRIMARY KEY); \
         SELECT create_reference_table({names}); \
         SELECT create_distributed_table({history}, 'record_id', colocate_with => 'none'); \
         SELECT create_distributed_table({placements}, 'record_id', colocate_with => {history});",
        names = relation("records"),
    )
}

/// From version 1 to 2.
pub(crate) fn version_2(s: &str) -> String {
    format!("ALTER TABLE {s}.meta ADD COLUMN partition_interval bigint;")
}
