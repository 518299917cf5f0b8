//! A hypertable of TimescaleDB: chunks by time, compressed when they are old.

use annals_core::Result;
use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::parts::{Part, count};
use super::{Kind, Layout, create_table};
use crate::net::Session;
use crate::sql::{Sql, VACUUM, literal};

/// How long a sweep waits for the lock on a chunk. Stores of its time queue up behind that wait.
pub(super) const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '50ms'";

#[derive(Debug)]
pub(super) struct Hypertable {
    /// The schema of the extension's functions, as an identifier.
    pub(super) functions: String,
    /// The Apache licence has no compression.
    pub(super) apache: bool,
    /// Milliseconds that one chunk covers.
    pub(super) chunk_interval: i64,
    /// The age, in milliseconds, at which a chunk is compressed.
    pub(super) compress_after: Option<i64>,
}

#[async_trait]
impl Layout for Hypertable {
    fn kind(&self) -> Kind {
        Kind::Hypertable
    }

    /// Segmented by record and in key order: latest N is a seek in a compressed chunk as well.
    fn create(&self, sql: &Sql, table: &str) -> String {
        let (s, f, chunk) = (&sql.schema, &self.functions, self.chunk_interval);
        let relation = sql.relation(table);
        let now = sql.relation("now_ms");
        let mut ddl = create_table(sql, table, VACUUM);
        ddl.push_str(&format!(
            "CREATE FUNCTION {s}.now_ms() RETURNS bigint LANGUAGE sql STABLE \
               AS 'SELECT (extract(epoch FROM now()) * 1000)::bigint'; \
             SELECT {f}.create_hypertable({relation}::regclass, 'stored_at', \
               chunk_time_interval => {chunk}::bigint, create_default_indexes => false); \
             SELECT {f}.set_integer_now_func({relation}::regclass, {now}::regproc);"
        ));
        if let (Some(age), false) = (self.compress_after, self.apache) {
            ddl.push_str(&self.compression(sql, table, age));
        }
        ddl
    }

    async fn prepare(&self, _: &Sql, _: &Session) -> Result<bool> {
        if self.apache && self.compress_after.is_some() {
            tracing::warn!(
                "TimescaleDB runs under its Apache licence, which has no compression: chunks stay \
                 uncompressed (`compress_after=off` silences this warning)"
            );
        }
        Ok(true)
    }

    /// Old rows of many records may go into compressed chunks, whose neighbours are decompressed to
    /// compare keys. The size of a group or a step bounds that already.
    fn write_settings(&self) -> &'static str {
        "; SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
    }

    /// A compressed chunk decompresses only the batches of the record and time that a statement
    /// names.
    fn deletes_by_record(&self) -> bool {
        true
    }

    async fn parts(&self, sql: &Sql, session: &Session) -> Result<Vec<Part>> {
        let select = "SELECT format('%I.%I', chunk_schema, chunk_name), \
                             range_start_integer, range_end_integer \
                      FROM timescaledb_information.chunks \
                      WHERE hypertable_schema = $1 AND hypertable_name = 'history' ORDER BY 2";
        let rows = session.query(select, &[(&sql.name, Type::TEXT)]).await?;
        let parts = rows.iter().map(|row| {
            let end: i64 = row.get(2);
            // The last possible chunk includes the last time.
            let last = if end == i64::MAX { end } else { end - 1 };
            Part { name: row.get(0), first: row.get(1), last }
        });
        Ok(parts.collect())
    }

    /// Counts a chunk's rows and drops it. Stores of its time wait; those rows are expired already.
    async fn remove_part(
        &self,
        sql: &Sql,
        session: &Session,
        part: &Part,
        only_if_empty: bool,
    ) -> Result<Option<u64>> {
        // No row may arrive between the count and the drop.
        let lock = format!("{LOCK_TIMEOUT}; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", part.name);
        session.execute(&lock).await?;
        let count = count(session, &part.name).await?;
        if only_if_empty && count > 0 {
            return Ok(None);
        }
        let drop_chunks = format!(
            "SELECT {}.drop_chunks({}::regclass, older_than => {}::bigint, \
             newer_than => {}::bigint)",
            self.functions,
            sql.relation("history"),
            part.last.saturating_add(1),
            part.first
        );
        let dropped = session.query(&drop_chunks, &[]).await?;
        // With any other number of dropped chunks the count would be wrong.
        Ok((dropped.len() == 1).then_some(count))
    }
}

impl Hypertable {
    /// Not TimescaleDB's own policy: at the end of each chunk that waits for all readers, and every
    /// other query queues up behind it. This job gives up after a moment and tries again an hour
    /// later. (`truncate_or_delete` does not wait, but a statement that was planned before it misses
    /// rows.)
    fn compression(&self, sql: &Sql, table: &str, age: i64) -> String {
        let (s, f) = (&sql.schema, &self.functions);
        let relation = sql.relation("history");
        let job = sql.relation("compress_old");
        let body = literal(&format!(
            "DECLARE chunk regclass; \
             BEGIN \
               PERFORM set_config('lock_timeout', '100ms', false); \
               FOR chunk IN SELECT {f}.show_chunks({relation}::regclass, \
                 older_than => {s}.now_ms() - {age}::bigint) \
               LOOP \
                 BEGIN \
                   PERFORM {f}.compress_chunk(chunk, if_not_compressed => true); \
                 EXCEPTION WHEN OTHERS THEN \
                   RAISE WARNING 'chunk % stays uncompressed for now: %', chunk, SQLERRM; \
                 END; \
                 COMMIT; \
               END LOOP; \
             END"
        ));
        format!(
            " ALTER TABLE {s}.{table} SET (timescaledb.compress, \
                timescaledb.compress_segmentby = 'record_id', \
                timescaledb.compress_orderby = 'stored_at DESC, seq DESC'); \
              CREATE PROCEDURE {s}.compress_old(job integer, config jsonb) LANGUAGE plpgsql \
                AS {body}; \
              SELECT {f}.add_job({job}::regproc, '1 hour'::interval);"
        )
    }
}
