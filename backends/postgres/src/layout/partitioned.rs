//! PostgreSQL's own partitions, by time.

use annals_core::{ErrorKind, PersistenceError, Result};
use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::parts::{Part, has_rows};
use super::timescale::LOCK_TIMEOUT;
use super::{Kind, Layout, create_table, partitions};
use crate::config::shown_interval;
use crate::error;
use crate::net::Session;
use crate::sql::Sql;

/// The prefix of partitions that were detached from the history and not yet counted.
const DETACHED: &str = "removed_";

#[derive(Debug)]
pub(super) struct Partitioned {
    /// The configured interval, in milliseconds.
    pub(super) interval: Option<i64>,
}

#[async_trait]
impl Layout for Partitioned {
    fn kind(&self) -> Kind {
        Kind::Partitioned
    }

    fn create(&self, sql: &Sql, table: &str) -> String {
        create_table(sql, table, "PARTITION BY RANGE (stored_at)")
    }

    fn partition_interval(&self) -> Option<i64> {
        self.interval
    }

    /// All programs share the interval of the history.
    async fn check_settings(&self, sql: &Sql, session: &Session) -> Result<()> {
        let select = format!("SELECT partition_interval FROM {}.meta", sql.schema);
        let row = session.query_one(&select, &[]).await?;
        match (self.interval, row.get::<_, Option<i64>>(0)) {
            (Some(asked), Some(kept)) if asked != kept => {
                let (asked, kept) = (shown_interval(asked), shown_interval(kept));
                let message = format!(
                    "`partition_interval` is {asked}, but the history is partitioned by {kept}: \
                     omit the option, or write {kept}"
                );
                Err(error::own(session.operation(), ErrorKind::Config, message))
            }
            _ => Ok(()),
        }
    }

    async fn prepare(&self, sql: &Sql, session: &Session) -> Result<bool> {
        self.check_settings(sql, session).await?;
        match partitions::make_ahead(sql, session).await {
            // A standby, or a role that can only read and store: other programs create them.
            Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Permission => {
                tracing::debug!(%error, "no partitions were created ahead");
                session.rollback().await?;
            }
            made => made?,
        }
        Ok(true)
    }

    /// One partition for each interval that has rows.
    async fn prepare_migration(&self, sql: &Sql, session: &Session, table: &str) -> Result<()> {
        let Some(interval) = self.interval else { return Ok(()) };
        // Newest first: if there are too many, the oldest share a partition.
        let select = format!(
            "SELECT DISTINCT stored_at - stored_at % {interval} FROM {}.history ORDER BY 1 DESC",
            sql.schema
        );
        let rows = session.query(&select, &[]).await?;
        let times: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let ranges = partitions::plan(interval, &mut Default::default(), &times);
        session.execute(&partitions::attach(sql, table, &ranges)).await
    }

    /// The parent alone keeps every partition attached, and the partitions that are read are locked as
    /// they are read. The advisory lock is for sweeps, which wait for it instead of the parent, where
    /// stores would queue up behind them. It comes last because it takes the snapshot.
    fn read_lock(&self, sql: &Sql) -> String {
        format!(
            "; LOCK TABLE ONLY {}.history IN ACCESS SHARE MODE; \
             SELECT pg_advisory_xact_lock_shared({})",
            sql.schema,
            sql.lock_key("read")
        )
    }

    async fn parts(&self, sql: &Sql, session: &Session) -> Result<Vec<Part>> {
        partitions::list(sql, session, "history").await
    }

    /// Detaches a partition, which takes a moment. It is counted later, when nobody else uses it.
    async fn remove_part(
        &self,
        sql: &Sql,
        session: &Session,
        part: &Part,
        only_if_empty: bool,
    ) -> Result<Option<u64>> {
        let (s, name) = (&sql.schema, &part.name);
        // Readers first, then the partition: stores of today wait only for the last lock. The commit
        // of the count decides whether this survives a crash, so nothing waits for a sync here.
        let lock = format!(
            "SET LOCAL synchronous_commit = off; {LOCK_TIMEOUT}; \
             SELECT pg_advisory_xact_lock({}); LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE",
            sql.lock_key("read")
        );
        session.execute(&lock).await?;
        if only_if_empty && has_rows(session, name).await? {
            return Ok(None);
        }
        // Named by its oid: another partition of the same range may be created before this one is
        // counted.
        let select = "SELECT oid FROM pg_catalog.pg_class WHERE oid = to_regclass($1)";
        let oid: u32 = session.query_one(select, &[(name, Type::TEXT)]).await?.get(0);
        let detach = format!(
            "ALTER TABLE {s}.history DETACH PARTITION {name}; \
             ALTER TABLE {name} RENAME TO {DETACHED}{oid}"
        );
        session.execute(&detach).await?;
        Ok(Some(0))
    }

    fn detaches(&self) -> bool {
        true
    }

    async fn detached(&self, sql: &Sql, session: &Session) -> Result<Option<String>> {
        let select = format!(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT c.relispartition \
             AND c.relname ~ '^{DETACHED}[0-9]+$' LIMIT 1"
        );
        let rows = session.query(&select, &[(&sql.name, Type::TEXT)]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn after_sweep(&self, sql: &Sql, session: &Session) -> Result<()> {
        partitions::make_ahead(sql, session).await
    }
}
