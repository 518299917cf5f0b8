//! How the history lies on the server: one table, partitions by time, TimescaleDB's chunks by time, or
//! Citus's shards by record.
//!
//! [`Layout`] is everything that differs between them: the table, the statements whose plans depend
//! on it, what has to exist before rows can be stored, and what a sweep can drop as a whole. Its provided
//! methods are those of a plain table. [`choose`] picks the layout of a schema that is created,
//! [`find`] recognizes that of an existing one.

mod choose;
mod citus;
mod partitioned;
mod partitions;
mod parts;
mod plain;
mod timescale;

use std::fmt;
use std::sync::Arc;

use annals_core::Result;
use async_trait::async_trait;

use crate::net::Session;
use crate::sql::{Sql, VACUUM};

pub(crate) use choose::{Extensions, accept, choose, find};
pub(crate) use partitions::make as make_partitions;
pub(crate) use parts::{Part, count, has_rows};

/// The layouts that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Partitioned,
    Hypertable,
    Distributed,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain table",
            Self::Partitioned => "partitioned table",
            Self::Hypertable => "hypertable",
            Self::Distributed => "distributed table",
        }
    }

    /// Whether a part of the table holds the rows of a time.
    pub(crate) fn is_divided_by_time(self) -> bool {
        matches!(self, Self::Partitioned | Self::Hypertable)
    }
}

/// Shared by all operations of a backend once the server was asked.
pub(crate) type AnyLayout = Arc<dyn Layout>;

#[async_trait]
pub(crate) trait Layout: fmt::Debug + Send + Sync {
    fn kind(&self) -> Kind;

    // Tables.

    /// Creates a table for rows under this name.
    fn create(&self, sql: &Sql, table: &str) -> String {
        create_table(sql, table, VACUUM)
    }

    /// The value of `meta.partition_interval`.
    fn partition_interval(&self) -> Option<i64> {
        None
    }

    /// Refuses a server that cannot have this layout.
    async fn check_server(&self, _: &Sql, _: &Session) -> Result<()> {
        Ok(())
    }

    /// Refuses a configuration that differs from what the history was created with.
    async fn check_settings(&self, _: &Sql, _: &Session) -> Result<()> {
        Ok(())
    }

    /// Prepares a history that was found, and returns whether a query sees one snapshot.
    async fn prepare(&self, _: &Sql, _: &Session) -> Result<bool> {
        Ok(true)
    }

    // Conversion of a plain table.

    /// Settings of a transaction that converts a plain table to this layout, each followed by `;`.
    fn migration_settings(&self) -> &'static str {
        ""
    }

    /// The lock on the plain table during the conversion: queries continue, stores and sweeps wait.
    fn migration_lock(&self) -> &'static str {
        "SHARE ROW EXCLUSIVE"
    }

    /// Prepares the new table before rows are moved into it.
    async fn prepare_migration(&self, _: &Sql, _: &Session, _table: &str) -> Result<()> {
        Ok(())
    }

    // Stores.

    /// Settings of each transaction that stores or deletes, each preceded by `;`.
    fn write_settings(&self) -> &'static str {
        ""
    }

    /// Adds the names in `$1` that are missing, in order of name: two processes that add the same
    /// names then wait for each other in one direction only.
    fn add_names(&self, sql: &Sql) -> String {
        add_names(sql, "(name) SELECT u.name")
    }

    /// A statement after [`add_names`](Self::add_names).
    fn place_names(&self, _: &Sql) -> Option<String> {
        None
    }

    /// A statement before the names with the ids in `$1` are removed.
    fn unplace_names(&self, _: &Sql) -> Option<String> {
        None
    }

    // Queries. All selects return `(place, stored_at, value)`: `place` is the position of the record in
    // the ids `$1`, from 1. `$2` to `$3` is the window, `$4` the limit for each record.

    /// A lock taken before the snapshot, preceded by `;`.
    ///
    /// No snapshot keeps the rows of a table, partition or chunk that is dropped as a whole; a lock
    /// does.
    fn read_lock(&self, sql: &Sql) -> String {
        format!("; LOCK TABLE {}.history IN ACCESS SHARE MODE", sql.schema)
    }

    /// How many records one statement without a limit reads.
    fn records_at_once(&self) -> usize {
        usize::MAX
    }

    fn newest_first(&self, sql: &Sql, _one_record: bool) -> String {
        by_record(sql, "DESC")
    }

    fn oldest_first(&self, sql: &Sql) -> String {
        by_record(sql, "ASC")
    }

    /// The newest `$4` rows, oldest first, without a sort: finds the key of the `$4`th newest row and
    /// reads on from there. `OFFSET 0` keeps the bound from being computed for each row. Partitions before
    /// the window, and before that key, are left out by what is said of `stored_at` alone.
    fn newest_ascending(&self, sql: &Sql, _one_record: bool) -> String {
        let s = &sql.schema;
        format!(
            "SELECT r.place, h.stored_at, h.value \
             FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
             LEFT JOIN LATERAL (\
               SELECT stored_at, seq FROM {s}.history \
               WHERE record_id = r.id AND stored_at >= $2 AND stored_at <= $3 \
               ORDER BY stored_at DESC, seq DESC OFFSET $4::bigint - 1 LIMIT 1) b ON true \
             CROSS JOIN LATERAL (\
               SELECT stored_at, value FROM {s}.history \
               WHERE record_id = r.id AND stored_at >= $2 AND stored_at <= $3 \
               AND stored_at >= coalesce(b.stored_at, $2) \
               AND (stored_at, seq) >= (coalesce(b.stored_at, $2), coalesce(b.seq, 0)) \
               ORDER BY stored_at, seq OFFSET 0) h"
        )
    }

    /// The number of rows and the first and last time of the records `$1`.
    fn summaries(&self, sql: &Sql) -> String {
        format!(
            "SELECT r.place, h.rows, h.first, h.last \
             FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
             CROSS JOIN LATERAL (\
               SELECT count(*) AS rows, min(stored_at) AS first, max(stored_at) AS last \
               FROM {}.history WHERE record_id = r.id) h",
            sql.schema
        )
    }

    /// The first and the last time of the records `$1` in the window `$2` to `$3`.
    fn bounds(&self, sql: &Sql) -> String {
        let edge = |order| {
            format!(
                "(SELECT stored_at FROM {}.history WHERE record_id = r.id \
                   AND stored_at >= $2 AND stored_at <= $3 ORDER BY stored_at {order} LIMIT 1)",
                sql.schema
            )
        };
        format!(
            "SELECT min(b.first), max(b.last) FROM unnest($1::bigint[]) AS r (id) \
             CROSS JOIN LATERAL (SELECT {} AS first, {} AS last) b",
            edge("ASC"),
            edge("DESC")
        )
    }

    // Sweeps.

    /// Whether rows are deleted record by record instead of many records in one statement.
    fn deletes_by_record(&self) -> bool {
        false
    }

    /// The key of the `$2`th newest row of each of the records `$1`.
    fn keep_bounds(&self, sql: &Sql) -> String {
        format!(
            "SELECT r.place, b.stored_at, b.seq \
             FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
             CROSS JOIN LATERAL (\
               SELECT stored_at, seq FROM {}.history WHERE record_id = r.id \
               ORDER BY stored_at DESC, seq DESC OFFSET $2::bigint - 1 LIMIT 1) b",
            sql.schema
        )
    }

    /// The records of `$1` for which a row with this condition `EXISTS`, or does `NOT EXISTS`.
    fn filter_records(&self, sql: &Sql, exists: &str, condition: &str) -> String {
        format!(
            "SELECT r.id FROM unnest($1::bigint[]) AS r (id) WHERE {exists} (\
               SELECT FROM {}.history h WHERE h.record_id = r.id AND {condition})",
            sql.schema
        )
    }

    /// The partitions or chunks.
    async fn parts(&self, _: &Sql, _: &Session) -> Result<Vec<Part>> {
        Ok(Vec::new())
    }

    /// Removes a part within the transaction of a step, and returns how many of its rows are to be
    /// counted now. `None`: it is in use, is gone, or is not as empty as `only_if_empty` demands.
    async fn remove_part(
        &self,
        _: &Sql,
        _: &Session,
        _part: &Part,
        _only_if_empty: bool,
    ) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Whether parts are detached first, and counted and dropped later.
    fn detaches(&self) -> bool {
        false
    }

    /// A table that [`remove_part`](Self::remove_part) detached and that is still to be counted and
    /// dropped.
    async fn detached(&self, _: &Sql, _: &Session) -> Result<Option<String>> {
        Ok(None)
    }

    /// Prepares for the time after a sweep.
    async fn after_sweep(&self, _: &Sql, _: &Session) -> Result<()> {
        Ok(())
    }
}

fn create_table(sql: &Sql, table: &str, with: &str) -> String {
    format!(
        "CREATE TABLE {}.{table} (\
           record_id bigint NOT NULL, \
           stored_at bigint NOT NULL, \
           seq bigint GENERATED ALWAYS AS IDENTITY, \
           value text NOT NULL, \
           PRIMARY KEY (record_id, stored_at, seq)) {with};",
        sql.schema
    )
}

fn add_names(sql: &Sql, columns: &str) -> String {
    let s = &sql.schema;
    format!(
        "INSERT INTO {s}.records {columns} FROM unnest($1::text[]) AS u (name) \
         LEFT JOIN {s}.records r ON r.name = u.name COLLATE \"C\" WHERE r.name IS NULL \
         ORDER BY u.name COLLATE \"C\" ON CONFLICT (name) DO NOTHING"
    )
}

/// One index scan for each record, in the order of the ids.
fn by_record(sql: &Sql, order: &str) -> String {
    format!(
        "SELECT r.place, h.stored_at, h.value \
         FROM unnest($1::bigint[]) WITH ORDINALITY AS r (id, place) \
         CROSS JOIN LATERAL (\
           SELECT stored_at, value FROM {}.history \
           WHERE record_id = r.id AND stored_at >= $2 AND stored_at <= $3 \
           ORDER BY stored_at {order}, seq {order} LIMIT $4::bigint) h",
        sql.schema
    )
}
