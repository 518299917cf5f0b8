//! Converting a plain history to what the configuration asks for.
//!
//! In one transaction: whatever ends it leaves the history as it was, nobody ever sees half of it,
//! and what is counted is what there is. The price is that stores wait meanwhile (queries only on
//! the way to Citus), and that the history takes its space twice until the end.

use std::future::Future;
use std::sync::Arc;

use annals_core::{ErrorKind, PersistenceError};
use tokio_postgres::types::Type;

use crate::ddl;
use crate::engine::Engine;
use crate::error::{self, Phase};
use crate::layout::{self, Extensions, Layout};
use crate::partitions;
use crate::schema;
use crate::session::{Parameter, Session};

const OPERATION: &str = "migrate";

/// The table that takes the rows, until it takes the name as well.
const NEW: &str = "history_new";

/// Rows per statement, between two words of progress.
const SLICE: i64 = 50_000;

/// What came of [`PostgresBackend::migrate`](crate::PostgresBackend::migrate).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// What the history was: `plain table`, say.
    pub from: &'static str,
    /// What it is now. The same: there was nothing to do.
    pub to: &'static str,
    /// How many rows were moved, which is how many there are.
    pub rows: u64,
}

/// How far a migration has come, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// Moved so far.
    pub moved: u64,
    /// To be moved in all.
    pub total: u64,
}

pub(crate) async fn run(
    engine: Arc<Engine>,
    progress: impl Fn(MigrationProgress),
) -> Result<Migration, PersistenceError> {
    let session = engine.reader(OPERATION).await?;
    let config = engine.config();
    let found = schema::look(&engine, &session).await?;
    if !found.meta {
        return Err(schema::no_history(OPERATION, &engine));
    }
    schema::create_or_upgrade_patiently(&engine, &session).await?;
    let to = layout::choose(OPERATION, &config.storage, &found.extensions)?;
    let client = session.client();
    session.run(client.batch_execute(&engine.sql.begin_migration)).await?;
    let from = layout::find(config, &session, &found.extensions).await?;
    if from == to {
        session.run(client.batch_execute("ROLLBACK")).await?;
        schema::check_interval(OPERATION, &engine, &session).await?;
        session.release();
        return Ok(Migration { from: from.as_str(), to: to.as_str(), rows: 0 });
    }
    if from != Layout::Plain {
        let message = format!(
            "the history is a {}, and only a plain table can be converted; `annals export` and \
             `annals import` take it to another schema",
            from.as_str()
        );
        return Err(error::own(OPERATION, ErrorKind::Config, message));
    }
    let moving = Moving { engine: &engine, session: &session };
    let rows = moving.convert(to, &found.extensions, progress).await?;
    unlimited(Phase::Commit, client.batch_execute("COMMIT")).await?;
    session.release();
    Ok(Migration { from: from.as_str(), to: to.as_str(), rows })
}

/// A migration under way, in its transaction.
struct Moving<'a> {
    engine: &'a Engine,
    session: &'a Session,
}

impl Moving<'_> {
    async fn convert(
        &self,
        to: Layout,
        extensions: &Extensions,
        progress: impl Fn(MigrationProgress),
    ) -> Result<u64, PersistenceError> {
        let s = &self.engine.sql.schema;
        let storage = &self.engine.config().storage;
        let mode = match to {
            // Citus will lock the names against everybody. A query has the history locked when it
            // asks for them, and would wait for us while we wait for it.
            Layout::Distributed => "ACCESS EXCLUSIVE",
            // Queries go on; stores and sweeps wait.
            _ => "SHARE ROW EXCLUSIVE",
        };
        self.execute(&format!("LOCK TABLE {s}.history IN {mode} MODE")).await?;
        let total = self.count("history").await?;
        self.execute(&ddl::history(s, NEW, to, storage, extensions)).await?;
        match (to, storage.partition_interval) {
            (Layout::Partitioned, Some(interval)) => self.make_partitions(interval).await?,
            (Layout::Distributed, _) => {
                let place = format!("INSERT INTO {s}.placements SELECT id FROM {s}.records");
                self.execute(&place).await?;
            }
            _ => {}
        }
        let seek = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
                    SET LOCAL enable_sort = off; SET LOCAL jit = off";
        self.execute(seek).await?;
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
        self.execute("SET LOCAL enable_seqscan = on").await?;
        let there = self.count(NEW).await?;
        if (moved, there) != (total, total) {
            let message = format!(
                "{total} rows were to be moved, {moved} were, and {there} arrived; nothing was \
                 changed"
            );
            return Err(error::own(OPERATION, ErrorKind::Corrupt, message));
        }
        self.swap(to).await?;
        Ok(total)
    }

    /// One for each interval that has rows.
    async fn make_partitions(&self, interval: i64) -> Result<(), PersistenceError> {
        let s = &self.engine.sql.schema;
        let select = format!(
            "SELECT DISTINCT stored_at - stored_at % {interval} FROM {s}.history ORDER BY 1"
        );
        let rows =
            unlimited(Phase::Before, self.session.client().query_typed(&select, &[])).await?;
        let times: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        // Newest first: should there be too many, it is the oldest that share a partition.
        let times: Vec<i64> = times.into_iter().rev().collect();
        let ranges = partitions::plan(interval, &mut Default::default(), &times);
        self.execute(&partitions::attach(self.engine, NEW, &ranges)).await
    }

    /// Moves the next rows by key; returns how many, and the last key unless it was the last slice.
    async fn slice(
        &self,
        after: (i64, i64, i64),
    ) -> Result<(u64, Option<(i64, i64, i64)>), PersistenceError> {
        let s = &self.engine.sql.schema;
        let client = self.session.client();
        let next = format!(
            "SELECT record_id, stored_at, seq FROM {s}.history \
             WHERE (record_id, stored_at, seq) > ($1, $2, $3) \
             ORDER BY record_id, stored_at, seq OFFSET {SLICE} LIMIT 1"
        );
        let mut key: Vec<Parameter<'_>> =
            [&after.0, &after.1, &after.2].map(|part| (part as _, Type::INT8)).into();
        let next = unlimited(Phase::Before, client.query_typed_opt(&next, &key)).await?;
        let last = next.map(|row| (row.get(0), row.get(1), row.get(2)));
        let (id, time, seq) = last.unwrap_or((i64::MAX, i64::MAX, i64::MAX));
        let insert = format!(
            "INSERT INTO {s}.{NEW} (record_id, stored_at, seq, value) OVERRIDING SYSTEM VALUE \
             SELECT record_id, stored_at, seq, value FROM {s}.history \
             WHERE (record_id, stored_at, seq) > ($1, $2, $3) \
             AND (record_id, stored_at, seq) <= ($4, $5, $6)"
        );
        key.extend([&id, &time, &seq].map(|part| (part as _, Type::INT8)));
        let count = unlimited(Phase::Before, client.execute_typed(&insert, &key)).await?;
        Ok((count, last))
    }

    /// Puts the new table in the old one's place. Equal times stay in order of arrival: the
    /// numbers go on where the old ones end. Ids are looked up anew by everybody.
    async fn swap(&self, to: Layout) -> Result<(), PersistenceError> {
        let s = &self.engine.sql.schema;
        let interval = ddl::interval(to, &self.engine.config().storage);
        let sequence = |table: &str| {
            let relation = crate::sql::literal(&format!("{s}.{table}"));
            format!("pg_get_serial_sequence({relation}, 'seq')")
        };
        let old = format!("SELECT {}", sequence("history"));
        let row =
            unlimited(Phase::Before, self.session.client().query_typed_one(&old, &[])).await?;
        let old: String = row.get(0);
        // One by one: Citus passes the text of a message on as one statement.
        for statement in [
            format!("SELECT setval({}, last_value, is_called) FROM {old}", sequence(NEW)),
            format!("DROP VIEW {s}.record_history"),
            format!("DROP TABLE {s}.history"),
            format!("ALTER TABLE {s}.{NEW} RENAME TO history"),
            ddl::view(s),
            format!(
                "UPDATE {s}.meta SET partition_interval = {interval}, \
                 names_generation = names_generation + 1"
            ),
        ] {
            self.execute(&statement).await?;
        }
        Ok(())
    }

    async fn execute(&self, sql: &str) -> Result<(), PersistenceError> {
        unlimited(Phase::Before, self.session.client().batch_execute(sql)).await
    }

    async fn count(&self, table: &str) -> Result<u64, PersistenceError> {
        let select = format!("SELECT count(*) FROM {}.{table}", self.engine.sql.schema);
        let count = self.session.client().query_typed_one(&select, &[]);
        let row = unlimited(Phase::Before, count).await?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    }
}

/// Waits as long as it takes: how long depends on how much there is. A server that is gone is
/// noticed by the keepalives.
async fn unlimited<T>(
    phase: Phase,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PersistenceError> {
    work.await.map_err(|error| error::driver(OPERATION, error, phase))
}
