//! Every statement, with the schema's name in it: `search_path` is session state, which does not
//! survive a transaction pooler.

use annals_core::{Durability, REMEMBERED_WRITERS};

use crate::config::PostgresConfig;
use crate::layout::Extensions;

mod distributed;

/// The statements of one schema.
///
/// # Tables
///
/// * `records (id, name)`: names, interned, in byte order whatever the database's locale.
/// * `history (record_id, stored_at, seq, value)`: the rows, keyed by the first three. `seq` comes
///   from a sequence, so that equal times stay in order of arrival.
/// * `writers (writer, number, last_use)`: the last batch of each writer. `last_use` comes from a
///   sequence: a clock that was ahead for a while would have the wrong ones forgotten.
/// * `meta (schema_version, names_generation, partition_interval)`: one row. Whoever removes a name
///   raises the generation; whoever has cached ids compares it before he commits. It begins at a
///   random number, so that ids of a schema that was dropped do not fit the one made in its place.
pub(crate) struct Sql {
    /// The schema's name as an identifier.
    pub(crate) schema: String,
    /// Begins a transaction that creates or upgrades the schema.
    pub(crate) begin_create: String,
    /// Begins a transaction that converts the history, for as long as it takes.
    pub(crate) begin_migration: String,
    /// Begins a transaction that stores, and keeps names from being removed meanwhile.
    pub(crate) begin_write: String,
    /// Begins a transaction that adds names.
    pub(crate) begin_names: String,
    /// Begins a transaction that reads one snapshot.
    pub(crate) begin_read: String,
    /// The same, of PostgreSQL's own partitions.
    pub(crate) begin_read_partitioned: String,
    /// Waits until nobody reads a snapshot of partitions, and holds up who begins to.
    pub(crate) lock_reading: String,
    /// Begins one step of a sweep.
    pub(crate) begin_sweep: String,
    /// Waits until no other process makes a step.
    pub(crate) take_turn: String,
    /// Answers whether no other process makes a step.
    pub(crate) try_turn: String,
    /// Begins a transaction that makes partitions.
    pub(crate) begin_partitions: String,
    /// Waits for the transactions that store, and holds up new ones.
    pub(crate) lock_names: String,
    pub(crate) generation: String,
    pub(crate) add_names: String,
    /// After `add_names`, where ids are distributed.
    pub(crate) place_names: Option<String>,
    pub(crate) find_names: String,
    pub(crate) claim: String,
    pub(crate) insert: String,
    pub(crate) copy: String,
    pub(crate) name_exact: String,
    pub(crate) names_page: String,
    pub(crate) newest_first: String,
    pub(crate) oldest_first: String,
    pub(crate) newest_ascending: String,
    pub(crate) of_one: Option<distributed::OfOne>,
    pub(crate) summaries: String,
    pub(crate) keep_bounds: String,
    pub(crate) sweep_step: String,
    /// For layouts that want to be told the record: those with rows up to a time.
    pub(crate) expired_records: String,
    pub(crate) record_bound: String,
    pub(crate) record_delete: String,
    pub(crate) empty_records: String,
    /// Before `prune`, where ids are distributed.
    pub(crate) unplace: Option<String>,
    pub(crate) prune: String,
    pub(crate) raise_generation: String,
    pub(crate) expire_writers: String,
    pub(crate) health: String,
    pub(crate) probe: String,
    pub(crate) version: String,
}

/// Old rows of many records may go into compressed chunks, whose neighbours are unpacked to compare
/// keys; the group's size, or the step's, bounds that already. Only where the history is a
/// hypertable: older releases of TimescaleDB refuse what they do not know.
pub(crate) const UNPACK: &str =
    "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0";

/// How long a sweep that wants to remove names waits for stores, which wait for it meanwhile.
const PRUNE_LOCK_TIMEOUT: &str = "200ms";

impl Sql {
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        let s = quote(&config.schema);
        let names_lock = lock_key("names", &config.schema);
        let create_lock = lock_key("create", &config.schema);
        let sweep_lock = lock_key("sweep", &config.schema);
        let partitions_lock = lock_key("partitions", &config.schema);
        let read_lock = lock_key("read", &config.schema);
        let limit = config.statement_timeout.as_millis();
        // What is sent before BEGIN was answered must do nothing if BEGIN failed, or if an old
        // pooler ran another schema's statement in place of ours.
        let extensions = Extensions::COLUMNS;
        let tx = literal(&config.schema);
        let ours = format!("current_setting('annals.tx', true) = {tx}");
        // A client that hangs with a transaction open would hold its locks for ever.
        let limits = format!(
            "SET LOCAL statement_timeout = {limit}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit};"
        );
        let commit = match config.durability {
            Durability::Process | Durability::Volatile => "SET LOCAL synchronous_commit = off;",
            _ => "",
        };
        // There is one right plan for every read and every step of a sweep: index seeks in key
        // order. Before the first ANALYZE the planner cannot know that. JIT must go along, because
        // it is the penalty for disabled plans that would call it in.
        let plan = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
                    SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
                    SET LOCAL enable_sort = off; SET LOCAL jit = off; \
                    SET LOCAL max_parallel_workers_per_gather = 0;";
        // Before the snapshot is taken: none keeps the rows of a partition, a chunk or a table that
        // is dropped as a whole. Citus does not do that, and would lock every shard.
        let keep = match config.storage.distribute {
            true => String::new(),
            false => format!("LOCK TABLE {s}.history IN ACCESS SHARE MODE"),
        };
        // Without a limit on the server: a portal that waits for its reader to take the next
        // row counts as running. The client has its own limit for each step,
        // and a client that is gone without a word is noticed by the keepalives.
        let begin_read = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL statement_timeout = 0; \
             SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL tcp_keepalives_idle = 30; \
             SET LOCAL tcp_keepalives_interval = 10; \
             SET LOCAL tcp_keepalives_count = 3; {plan}"
        );
        // Citus otherwise refuses to change what it has read from several shards at once.
        let sequential = match config.storage.distribute {
            true => "SET LOCAL citus.multi_shard_modify_mode = 'sequential';",
            false => "",
        };
        let mut sql = Self {
            begin_create: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {limits} \
                 SELECT pg_advisory_xact_lock({create_lock})"
            ),
            // Sweeps wait for their turn with nothing locked: one that was let in would have read
            // the history, and wait to delete from it while we wait for it to end.
            begin_migration: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
                 SET LOCAL statement_timeout = 0; \
                 SET LOCAL idle_in_transaction_session_timeout = {limit}; {sequential} \
                 SELECT pg_advisory_xact_lock({create_lock}); \
                 SELECT pg_advisory_xact_lock({sweep_lock})"
            ),
            begin_partitions: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {limits} \
                 SELECT pg_advisory_xact_lock({partitions_lock})"
            ),
            begin_write: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
                 {limits} {commit} SET LOCAL annals.tx = {tx}; \
                 SELECT pg_advisory_xact_lock_shared({names_lock})"
            ),
            // Ids are cached, and must not outlive a crash of the server that the names do not.
            begin_names: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
                 {limits} SET LOCAL synchronous_commit = on"
            ),
            begin_read: format!("{begin_read} {keep}"),
            // The parent alone keeps any partition from being detached, and of the partitions those
            // are locked that are read. The second lock is for sweeps: they wait there, and not
            // for the parent, where stores would queue up behind them. It comes after the first
            // because it takes the snapshot.
            begin_read_partitioned: format!(
                "{begin_read} LOCK TABLE ONLY {s}.history IN ACCESS SHARE MODE; \
                 SELECT pg_advisory_xact_lock_shared({read_lock})"
            ),
            lock_reading: format!("SELECT pg_advisory_xact_lock({read_lock})"),
            begin_sweep: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {limits} {}",
                plan.trim_end_matches(';')
            ),
            take_turn: format!("SELECT pg_advisory_xact_lock({sweep_lock})"),
            try_turn: format!("SELECT pg_try_advisory_xact_lock({sweep_lock})"),
            lock_names: format!(
                "SET LOCAL lock_timeout = '{PRUNE_LOCK_TIMEOUT}'; \
                 SELECT pg_advisory_xact_lock({names_lock})"
            ),
            generation: format!("SELECT names_generation FROM {s}.meta"),
            // In order of name: two processes that add the same names then wait for each other in
            // one direction only.
            add_names: format!(
                "INSERT INTO {s}.records (name) \
                 SELECT u.name FROM unnest($1::text[]) AS u (name) \
                 LEFT JOIN {s}.records r ON r.name = u.name COLLATE \"C\" WHERE r.name IS NULL \
                 ORDER BY u.name COLLATE \"C\" ON CONFLICT (name) DO NOTHING"
            ),
            place_names: None,
            // The ids and the generation they belong to come from one snapshot.
            find_names: format!(
                "SELECT r.name, r.id, m.names_generation FROM {s}.meta m \
                 LEFT JOIN {s}.records r ON r.name = ANY ($1::text[])"
            ),
            // Always one row: whether it ran where it should, and whose number was raised. Nobody
            // must take "nothing was raised" for "stored before" when it did not run.
            claim: format!(
                "WITH claimed AS (\
                   INSERT INTO {s}.writers AS w (writer, number) \
                   SELECT u.writer, u.number \
                   FROM unnest($1::bytea[], $2::bigint[]) AS u (writer, number) \
                   WHERE {ours} ORDER BY u.writer \
                   ON CONFLICT (writer) DO UPDATE \
                   SET number = excluded.number, last_use = excluded.last_use \
                   WHERE w.number < excluded.number RETURNING w.writer) \
                 SELECT coalesce({ours}, false), ARRAY(SELECT writer FROM claimed)"
            ),
            // Nothing, if the ids are of another generation of names.
            insert: format!(
                "INSERT INTO {s}.history (record_id, stored_at, value) \
                 SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[]) \
                 WHERE (SELECT names_generation FROM {s}.meta) = $4 AND {ours}"
            ),
            copy: format!(
                "COPY {s}.history (record_id, stored_at, value) FROM STDIN (FORMAT binary)"
            ),
            name_exact: format!("SELECT id, name FROM {s}.records WHERE name = $1"),
            names_page: format!(
                "SELECT id, name FROM {s}.records \
                 WHERE name >= $1 AND name > $2 AND ($3::text IS NULL OR name < $3) \
                 ORDER BY name LIMIT $4"
            ),
            newest_first: format!(
                "SELECT r.place, h.stored_at, h.value \
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
                 CROSS JOIN LATERAL (\
                   SELECT stored_at, value FROM {s}.history \
                   WHERE record_id = r.id AND stored_at >= $2 AND stored_at <= $3 \
                   ORDER BY stored_at DESC, seq DESC LIMIT $4::bigint) h"
            ),
            oldest_first: format!(
                "SELECT r.place, h.stored_at, h.value \
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
                 CROSS JOIN LATERAL (\
                   SELECT stored_at, value FROM {s}.history \
                   WHERE record_id = r.id AND stored_at >= $2 AND stored_at <= $3 \
                   ORDER BY stored_at, seq LIMIT $4::bigint) h"
            ),
            // The newest N from old to new without sorting them: first the key of the Nth newest,
            // then from there on. `OFFSET 0` keeps the bound from being computed for each row.
            newest_ascending: format!(
                "SELECT r.place, h.stored_at, h.value \
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
                 LEFT JOIN LATERAL (\
                   SELECT stored_at, seq FROM {s}.history \
                   WHERE record_id = r.id AND stored_at >= $2 AND stored_at <= $3 \
                   ORDER BY stored_at DESC, seq DESC OFFSET $4::bigint - 1 LIMIT 1) b ON true \
                 CROSS JOIN LATERAL (\
                   SELECT stored_at, value FROM {s}.history \
                   WHERE record_id = r.id AND stored_at <= $3 \
                   AND (stored_at, seq) >= (coalesce(b.stored_at, $2), coalesce(b.seq, 0)) \
                   ORDER BY stored_at, seq OFFSET 0) h"
            ),
            of_one: None,
            summaries: format!(
                "SELECT r.place, h.rows, h.first, h.last \
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
                 CROSS JOIN LATERAL (\
                   SELECT count(*) AS rows, min(stored_at) AS first, max(stored_at) AS last \
                   FROM {s}.history WHERE record_id = r.id) h"
            ),
            keep_bounds: format!(
                "SELECT r.place, b.stored_at, b.seq \
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
                 CROSS JOIN LATERAL (\
                   SELECT stored_at, seq FROM {s}.history WHERE record_id = r.id \
                   ORDER BY stored_at DESC, seq DESC OFFSET $2::bigint - 1 LIMIT 1) b"
            ),
            // From `$2` on, which is where the step before ended: what it removed still lies in
            // the index until a vacuum, and would be passed over again and again.
            sweep_step: format!(
                "WITH doomed AS MATERIALIZED (\
                   SELECT r.place, h.record_id, h.stored_at, h.seq \
                   FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) \
                     WITH ORDINALITY AS r (id, from_time, last_time, last_seq, place) \
                   CROSS JOIN LATERAL (\
                     SELECT record_id, stored_at, seq FROM {s}.history \
                     WHERE record_id = r.id AND stored_at >= r.from_time \
                     AND (stored_at, seq) <= (r.last_time, r.last_seq) \
                     ORDER BY stored_at, seq LIMIT $5::bigint) h \
                   LIMIT $5::bigint), \
                 gone AS (\
                   DELETE FROM {s}.history h USING doomed d \
                   WHERE h.record_id = d.record_id AND h.stored_at = d.stored_at \
                   AND h.seq = d.seq RETURNING 1) \
                 SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM doomed), l.place, \
                        (SELECT max(stored_at) FROM doomed d WHERE d.place = l.place) \
                 FROM (SELECT max(place) AS place FROM doomed) l"
            ),
            expired_records: format!(
                "SELECT r.id FROM unnest($1::bigint[]) AS r (id) WHERE EXISTS (\
                   SELECT FROM {s}.history h WHERE h.record_id = r.id AND h.stored_at <= $2)"
            ),
            record_bound: format!(
                "SELECT stored_at, seq FROM {s}.history WHERE record_id = $1 \
                 AND stored_at >= $2 AND stored_at <= $3 AND (stored_at, seq) <= ($3, $4) \
                 ORDER BY stored_at, seq OFFSET $5::bigint LIMIT 1"
            ),
            record_delete: format!(
                "DELETE FROM {s}.history WHERE record_id = $1 \
                 AND stored_at >= $2 AND stored_at <= $3 AND (stored_at, seq) <= ($3, $4)"
            ),
            empty_records: format!(
                "SELECT r.id FROM unnest($1::bigint[]) AS r (id) \
                 WHERE NOT EXISTS (SELECT FROM {s}.history h WHERE h.record_id = r.id)"
            ),
            unplace: None,
            prune: format!("DELETE FROM {s}.records WHERE id = ANY ($1::bigint[])"),
            raise_generation: format!(
                "UPDATE {s}.meta SET names_generation = names_generation + 1"
            ),
            expire_writers: format!(
                "DELETE FROM {s}.writers WHERE writer IN (SELECT writer FROM {s}.writers \
                 ORDER BY last_use DESC OFFSET {REMEMBERED_WRITERS})"
            ),
            health: format!("SELECT schema_version FROM {s}.meta"),
            probe: format!(
                "SELECT current_setting('server_version_num')::int, \
                      current_setting('server_encoding'), \
                      current_setting('fsync') = 'on' \
                        AND current_setting('full_page_writes') = 'on' \
                        AND current_setting('synchronous_commit') <> 'off', \
                      EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1), \
                      EXISTS (SELECT FROM pg_catalog.pg_class c \
                        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                        WHERE n.nspname = $1 AND c.relname = 'meta'), {extensions}"
            ),
            version: format!("SELECT schema_version FROM {s}.meta"),
            schema: s,
        };
        if config.storage.distribute {
            distributed::apply(&mut sql);
        }
        sql
    }
}

/// A text that means exactly `text`, whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// An identifier that means exactly `name`.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The key of an advisory lock: FNV-1a of what it is for. Advisory locks are one space of numbers
/// for the whole database; should another application's collide, the two wait for each other.
fn lock_key(purpose: &str, schema: &str) -> i64 {
    let text = format!("annals:{purpose}:{schema}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_cannot_end_the_identifier() {
        assert_eq!(quote("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
    }

    #[test]
    fn a_quote_cannot_end_the_literal() {
        assert_eq!(literal(r"a'\' b"), r"E'a''\\'' b'");
    }

    /// Other releases of annals must come to the same keys.
    #[test]
    fn the_keys_of_locks_stay_as_they_are() {
        for (purpose, key) in [
            ("names", 3_896_343_779_372_407_121),
            ("create", 3_472_230_037_345_271_557),
            ("sweep", 6_164_643_500_509_362_089),
            ("partitions", -4_364_375_357_667_629_456),
            ("read", -7_196_103_700_919_766_987),
        ] {
            assert_eq!(lock_key(purpose, "annals"), key, "{purpose}");
        }
        assert_ne!(lock_key("names", "a"), lock_key("names", "b"));
    }
}
