//! A table that Citus distributes over its nodes by record.
//!
//! Statements go to the shards as a whole, and only to those that hold the records asked for. The
//! coordinator sorts what comes back.

use annals_core::{ErrorKind, Result};
use async_trait::async_trait;

use super::{Kind, Layout, add_names, create_table};
use crate::error;
use crate::net::Session;
use crate::sql::{Sql, VACUUM};

/// The coordinator gathers and sorts the rows of a statement before it sends the first.
const RECORDS_AT_ONCE: usize = 50;

#[derive(Debug)]
pub(super) struct Distributed;

#[async_trait]
impl Layout for Distributed {
    fn kind(&self) -> Kind {
        Kind::Distributed
    }

    /// `placements` repeats the ids, distributed like the history: a join with it stays on each
    /// shard. A join with the names, which are on every node, does not once it has a limit.
    ///
    /// A program that started before the history was distributed adds names without `placed`, which
    /// fails. A name without a placement would never be read again.
    fn create(&self, sql: &Sql, table: &str) -> String {
        let s = &sql.schema;
        let (history, placements) = (sql.relation(table), sql.relation("placements"));
        let mut ddl = create_table(sql, table, VACUUM);
        ddl.push_str(&format!(
            "ALTER TABLE {s}.records ADD COLUMN placed boolean NOT NULL DEFAULT true; \
             ALTER TABLE {s}.records ALTER COLUMN placed DROP DEFAULT; \
             CREATE TABLE {s}.placements (record_id bigint PRIMARY KEY); \
             SELECT create_reference_table({names}); \
             SELECT create_distributed_table({history}, 'record_id', colocate_with => 'none'); \
             SELECT create_distributed_table({placements}, 'record_id', \
               colocate_with => {history});",
            names = sql.relation("records"),
        ));
        ddl
    }

    async fn check_server(&self, sql: &Sql, session: &Session) -> Result<()> {
        nodes(sql, session).await.map(drop)
    }

    /// Each node has a snapshot of its own.
    async fn prepare(&self, sql: &Sql, session: &Session) -> Result<bool> {
        Ok(nodes(sql, session).await? == 1)
    }

    /// Otherwise Citus refuses to change what the transaction has read from several shards at once.
    fn migration_settings(&self) -> &'static str {
        "SET LOCAL citus.multi_shard_modify_mode = 'sequential';"
    }

    /// Citus will lock the names exclusively. A query that locks the history before it asks for
    /// names would deadlock with the conversion.
    fn migration_lock(&self) -> &'static str {
        "ACCESS EXCLUSIVE"
    }

    async fn prepare_migration(&self, sql: &Sql, session: &Session, _: &str) -> Result<()> {
        let s = &sql.schema;
        session.execute(&format!("INSERT INTO {s}.placements SELECT id FROM {s}.records")).await
    }

    fn add_names(&self, sql: &Sql) -> String {
        add_names(sql, "(name, placed) SELECT u.name, true")
    }

    fn place_names(&self, sql: &Sql) -> Option<String> {
        let s = &sql.schema;
        Some(format!(
            "INSERT INTO {s}.placements SELECT id FROM {s}.records WHERE name = ANY ($1::text[]) \
             ON CONFLICT DO NOTHING"
        ))
    }

    fn unplace_names(&self, sql: &Sql) -> Option<String> {
        let s = &sql.schema;
        Some(format!("DELETE FROM {s}.placements WHERE record_id = ANY ($1::bigint[])"))
    }

    /// Shards are not dropped, and locking the table would lock every shard.
    fn read_lock(&self, _: &Sql) -> String {
        String::new()
    }

    fn records_at_once(&self) -> usize {
        RECORDS_AT_ONCE
    }

    fn newest_first(&self, sql: &Sql, one_record: bool) -> String {
        let newest = newest(sql, one_record);
        format!(
            "SELECT place, stored_at, value FROM ({newest}) AS l \
             ORDER BY place, stored_at DESC, seq DESC"
        )
    }

    fn oldest_first(&self, sql: &Sql) -> String {
        format!(
            "SELECT array_position($1::bigint[], record_id)::bigint AS place, stored_at, value \
             FROM {}.history WHERE record_id = ANY ($1::bigint[]) \
             AND stored_at >= $2 AND stored_at <= $3 \
             ORDER BY place, stored_at, seq LIMIT $4::bigint",
            sql.schema
        )
    }

    fn newest_ascending(&self, sql: &Sql, one_record: bool) -> String {
        let newest = newest(sql, one_record);
        format!(
            "SELECT place, stored_at, value FROM ({newest}) AS l ORDER BY place, stored_at, seq"
        )
    }

    fn summaries(&self, sql: &Sql) -> String {
        format!(
            "SELECT array_position($1::bigint[], record_id)::bigint, \
                    count(*), min(stored_at), max(stored_at) \
             FROM {}.history WHERE record_id = ANY ($1::bigint[]) GROUP BY record_id",
            sql.schema
        )
    }

    fn bounds(&self, sql: &Sql) -> String {
        format!(
            "SELECT min(stored_at), max(stored_at) FROM {}.history \
             WHERE record_id = ANY ($1::bigint[]) AND stored_at >= $2 AND stored_at <= $3",
            sql.schema
        )
    }

    /// A shard is found by the record.
    fn deletes_by_record(&self) -> bool {
        true
    }

    fn keep_bounds(&self, sql: &Sql) -> String {
        let s = &sql.schema;
        format!(
            "SELECT array_position($1::bigint[], p.record_id)::bigint, b.stored_at, b.seq \
             FROM {s}.placements p CROSS JOIN LATERAL (\
               SELECT stored_at, seq FROM {s}.history WHERE record_id = p.record_id \
               ORDER BY stored_at DESC, seq DESC OFFSET $2::bigint - 1 LIMIT 1) b \
             WHERE p.record_id = ANY ($1::bigint[])"
        )
    }

    fn filter_records(&self, sql: &Sql, exists: &str, condition: &str) -> String {
        let s = &sql.schema;
        format!(
            "SELECT p.record_id FROM {s}.placements p WHERE p.record_id = ANY ($1::bigint[]) \
             AND {exists} (SELECT FROM {s}.history h \
               WHERE h.record_id = p.record_id AND {condition})"
        )
    }
}

/// The newest `$4` rows of each record: a join with `placements` stays on its shard, a join with an
/// array would not. For one record the rows' own column is compared as well: the join alone does not
/// tell Citus which shard they are on. For many records that comparison would only cost.
fn newest(sql: &Sql, one_record: bool) -> String {
    let s = &sql.schema;
    let on_its_shard = if one_record { "AND record_id = ANY ($1::bigint[])" } else { "" };
    format!(
        "SELECT array_position($1::bigint[], p.record_id)::bigint AS place, \
                h.stored_at, h.value, h.seq \
         FROM {s}.placements p CROSS JOIN LATERAL (\
           SELECT stored_at, seq, value FROM {s}.history \
           WHERE record_id = p.record_id {on_its_shard} AND stored_at >= $2 AND stored_at <= $3 \
           ORDER BY stored_at DESC, seq DESC LIMIT $4::bigint) h \
         WHERE p.record_id = ANY ($1::bigint[])"
    )
}

/// The number of nodes with shards, at least one. Every program connects to the coordinator, where the
/// advisory locks and the tables that are not distributed are.
async fn nodes(sql: &Sql, session: &Session) -> Result<i64> {
    let select = "SELECT (SELECT groupid = 0 FROM pg_dist_local_group), \
                  greatest(1, (SELECT count(*) FROM pg_dist_node \
                  WHERE shouldhaveshards AND noderole = 'primary'))";
    let row = session.query_one(select, &[]).await?;
    if !row.get::<_, bool>(0) {
        let message = format!(
            "this is a worker of the Citus cluster; connect to its coordinator (schema {})",
            sql.schema
        );
        return Err(error::own(session.operation(), ErrorKind::Config, message));
    }
    Ok(row.get(1))
}
