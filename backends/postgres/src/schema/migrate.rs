//! Converts a plain history to the layout that the configuration asks for.
//!
//! In one transaction: whatever ends it leaves the history unchanged, no reader sees half of it, and
//! the rows are counted. The price: stores wait (queries only on the way to Citus), and the history
//! takes its space twice until the end.

use annals_core::{ErrorKind, Result};
use serde::Serialize;

use super::{Schema, ddl};
use crate::error;
use crate::layout::{self, Kind, Layout};
use crate::net::{Parameter, Pools, Session, int8};
use crate::sql::Sql;

const OPERATION: &str = "migrate";

/// The table that takes the rows before it takes the name.
const NEW: &str = "history_new";

/// Rows per statement, between two calls of the progress function.
const SLICE: i64 = 50_000;

/// The result of [`PostgresBackend::migrate`](crate::PostgresBackend::migrate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Migration {
    /// The previous layout, for example `plain table`.
    pub from: &'static str,
    /// The present layout. If it equals `from`, there was nothing to convert.
    pub to: &'static str,
    /// The number of rows that were moved: all of them, or 0 if there was nothing to convert.
    pub rows: u64,
}

/// The progress of a migration, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// Rows moved so far.
    pub moved: u64,
    /// Rows in all.
    pub total: u64,
}

pub(crate) async fn run(
    pools: &Pools,
    schema: &Schema,
    progress: impl Fn(MigrationProgress),
) -> Result<Migration> {
    let (sql, storage) = (&schema.sql, &schema.storage);
    let session = pools.reader(OPERATION).await?;
    let found = schema.look(&session).await?;
    if !found.meta {
        return Err(schema.no_history(OPERATION));
    }
    schema.create_or_upgrade(&session).await?;
    let to = layout::choose(OPERATION, storage, &found.extensions)?;
    let session = session.without_limit();
    session.execute(&sql.begin_migration(to.migration_settings())).await?;
    let from = layout::find(storage, sql, &session, &found.extensions).await?.kind();
    if from == to.kind() {
        session.rollback().await?;
        to.check_settings(sql, &session).await?;
        session.release();
        return Ok(Migration { from: from.as_str(), to: from.as_str(), rows: 0 });
    }
    if from != Kind::Plain {
        let message = format!(
            "the history is a {}, and only a plain table can be converted; move it to another \
             schema with `annals export` and `annals import`",
            from.as_str()
        );
        return Err(error::own(OPERATION, ErrorKind::Config, message));
    }
    let rows = Conversion { sql, session: &session, to: &*to }.run(progress).await?;
    session.commit().await?;
    session.release();
    Ok(Migration { from: from.as_str(), to: to.kind().as_str(), rows })
}

/// A conversion within its transaction.
struct Conversion<'a> {
    sql: &'a Sql,
    session: &'a Session,
    to: &'a dyn Layout,
}

impl Conversion<'_> {
    async fn run(&self, progress: impl Fn(MigrationProgress)) -> Result<u64> {
        let Self { sql, session, to } = *self;
        let lock = format!("LOCK TABLE {}.history IN {} MODE", sql.schema, to.migration_lock());
        session.execute(&lock).await?;
        let total = self.count("history").await?;
        session.execute(&to.create(sql, NEW)).await?;
        to.prepare_migration(sql, session, NEW).await?;
        let seek = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
                    SET LOCAL enable_sort = off; SET LOCAL jit = off";
        session.execute(seek).await?;
        let mut moved = 0;
        let mut after = (i64::MIN, 0, 0);
        loop {
            let (count, last) = self.slice(after).await?;
            moved += count;
            progress(MigrationProgress { moved, total });
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        session.execute("SET LOCAL enable_seqscan = on").await?;
        let arrived = self.count(NEW).await?;
        if (moved, arrived) != (total, total) {
            let message = format!(
                "of {total} rows, {moved} were moved and {arrived} arrived; nothing was changed"
            );
            return Err(error::own(OPERATION, ErrorKind::Corrupt, message));
        }
        self.swap().await?;
        Ok(total)
    }

    /// Moves the next rows by key; returns how many, and the last key unless this was the last slice.
    async fn slice(&self, after: (i64, i64, i64)) -> Result<(u64, Option<(i64, i64, i64)>)> {
        let s = &self.sql.schema;
        let next = format!(
            "SELECT record_id, stored_at, seq FROM {s}.history \
             WHERE (record_id, stored_at, seq) > ($1, $2, $3) \
             ORDER BY record_id, stored_at, seq OFFSET {SLICE} LIMIT 1"
        );
        let mut key: Vec<Parameter<'_>> = [&after.0, &after.1, &after.2].map(int8).into();
        let next = self.session.query(&next, &key).await?;
        let last = next.first().map(|row| (row.get(0), row.get(1), row.get(2)));
        let (id, time, seq) = last.unwrap_or((i64::MAX, i64::MAX, i64::MAX));
        let insert = format!(
            "INSERT INTO {s}.{NEW} (record_id, stored_at, seq, value) OVERRIDING SYSTEM VALUE \
             SELECT record_id, stored_at, seq, value FROM {s}.history \
             WHERE (record_id, stored_at, seq) > ($1, $2, $3) \
             AND (record_id, stored_at, seq) <= ($4, $5, $6)"
        );
        key.extend([&id, &time, &seq].map(int8));
        let count = self.session.run(self.session.client().execute_typed(&insert, &key)).await?;
        Ok((count, last))
    }

    /// Puts the new table in the place of the old one. Equal times stay in order of arrival, because
    /// the sequence continues where the old one ends. All processes look up their ids again.
    async fn swap(&self) -> Result<()> {
        let s = &self.sql.schema;
        let sequence =
            |table: &str| format!("pg_get_serial_sequence({}, 'seq')", self.sql.relation(table));
        let old = format!("SELECT {}", sequence("history"));
        let old: String = self.session.query_one(&old, &[]).await?.get(0);
        // One by one: Citus forwards the text of a message as one statement.
        for statement in [
            format!("SELECT setval({}, last_value, is_called) FROM {old}", sequence(NEW)),
            format!("DROP VIEW {s}.record_history"),
            format!("DROP TABLE {s}.history"),
            format!("ALTER TABLE {s}.{NEW} RENAME TO history"),
            ddl::view(self.sql),
            format!(
                "UPDATE {s}.meta SET partition_interval = {}, \
                 names_generation = names_generation + 1",
                ddl::interval(self.to)
            ),
        ] {
            self.session.execute(&statement).await?;
        }
        Ok(())
    }

    async fn count(&self, table: &str) -> Result<u64> {
        let select = format!("SELECT count(*) FROM {}.{table}", self.sql.schema);
        let row = self.session.query_one(&select, &[]).await?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    }
}
