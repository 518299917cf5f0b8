//! Removing whole partitions and chunks.

use std::time::Duration;

use annals_core::{ErrorKind, PersistenceError};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::{OPERATION, Stop, Sweep};
use crate::layout::Layout;
use crate::partitions;
use crate::session::{Parameter, Session};
use crate::sql::literal;

/// How long one that is to go is waited for. Stores and queries queue up behind such a wait.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '50ms'";

/// How often it is tried again when somebody reads there, and what lies between for the others.
/// After that its rows are deleted one by one, which nobody holds up.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The prefix of partitions that were taken out of the history and not counted yet.
const DETACHED: &str = "removed_";

/// Which ones go.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// All whose rows are of this time or older.
    Expired(Option<i64>),
    /// Those of them that have no rows any more.
    Empty(Option<i64>),
}

/// A partition or chunk.
struct Part {
    /// With its schema, as an identifier.
    name: String,
    first: i64,
    last: i64,
}

impl Sweep<'_> {
    pub(super) async fn remove_parts(&mut self, which: Which) -> Result<(), Stop> {
        let layout = self.engine.layout();
        if layout == Layout::Partitioned {
            // What a process that died had detached is counted by the one after it.
            self.remove_detached().await?;
        }
        let (Which::Expired(last) | Which::Empty(last)) = which;
        let Some(last) = last else { return Ok(()) };
        let parts = match layout {
            Layout::Partitioned => self.partitions().await?,
            Layout::Hypertable => self.chunks().await?,
            Layout::Plain | Layout::Distributed => return Ok(()),
        };
        for part in parts.iter().filter(|part| part.last <= last) {
            let empty = matches!(which, Which::Empty(_));
            if empty && !self.is_empty(part).await? {
                continue;
            }
            let Some(removed) = self.remove_part(part, empty).await? else {
                tracing::debug!(part.name, "in use: its rows are deleted one by one");
                break;
            };
            self.removed += removed;
            if layout == Layout::Partitioned {
                self.remove_detached().await?;
            }
        }
        Ok(())
    }

    async fn partitions(&self) -> Result<Vec<Part>, PersistenceError> {
        let session = self.engine.reader(OPERATION).await?;
        let partitions = partitions::list(self.engine, &session, "history").await?;
        session.release();
        let part = |partition: partitions::Partition| Part {
            last: partition.last(),
            first: 0,
            name: partition.name,
        };
        Ok(partitions.into_iter().map(part).collect())
    }

    async fn chunks(&self) -> Result<Vec<Part>, PersistenceError> {
        let session = self.engine.reader(OPERATION).await?;
        let select = "SELECT format('%I.%I', chunk_schema, chunk_name), \
                             range_start_integer, range_end_integer \
                      FROM timescaledb_information.chunks \
                      WHERE hypertable_schema = $1 AND hypertable_name = 'history' ORDER BY 2";
        let schema = &self.engine.config().schema;
        let rows =
            session.run(session.client().query_typed(select, &[(schema, Type::TEXT)])).await?;
        session.release();
        let parts = rows.iter().map(|row| {
            let end: i64 = row.get(2);
            // The last chunk of all holds the last time too.
            let last = if end == i64::MAX { end } else { end - 1 };
            Part { name: row.get(0), first: row.get(1), last }
        });
        Ok(parts.collect())
    }

    /// Whether it is there and has no rows.
    async fn is_empty(&self, part: &Part) -> Result<bool, Stop> {
        let session = self.step().await?;
        let there = oid(&session, &part.name).await?.is_some();
        let empty = there && !has_rows(&session, &part.name).await?;
        session.run(session.client().batch_execute("COMMIT")).await?;
        session.release();
        Ok(empty)
    }

    /// Makes steps until one gets its locks. `None`: it stayed in use, or is not empty.
    async fn remove_part(&self, part: &Part, empty: bool) -> Result<Option<u64>, Stop> {
        for _ in 0..ATTEMPTS {
            let session = self.step().await?;
            let Some(oid) = oid(&session, &part.name).await? else {
                // Another sweep was first, and counted it.
                session.run(session.client().batch_execute("ROLLBACK")).await?;
                session.release();
                return Ok(Some(0));
            };
            let result = match self.engine.layout() {
                Layout::Partitioned => self.detach(&session, part, oid, empty).await,
                _ => self.drop_chunk(&session, part, empty).await,
            };
            match result {
                Ok(Some(removed)) => {
                    session.commit().await?;
                    session.release();
                    return Ok(Some(removed));
                }
                Ok(None) => {
                    session.run(session.client().batch_execute("ROLLBACK")).await?;
                    session.release();
                    return Ok(None);
                }
                Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Busy => {
                    session.run(session.client().batch_execute("ROLLBACK")).await?;
                    session.release();
                }
                Err(error) => return Err(error.into()),
            }
            sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// Takes a partition out of the history, in a moment: it is counted when it is nobody else's
    /// any more.
    async fn detach(
        &self,
        session: &Session,
        part: &Part,
        oid: u32,
        empty: bool,
    ) -> Result<Option<u64>, PersistenceError> {
        let s = &self.engine.sql.schema;
        let name = &part.name;
        // Readers first, then the partition: who stores rows of today waits for the last lock only.
        // Whether this survives a crash is for the count's commit to say, so that none waits for a
        // sync.
        let lock = format!(
            "SET LOCAL synchronous_commit = off; {LOCK_TIMEOUT}; {}; \
             LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE",
            self.engine.sql.lock_reading
        );
        session.run(session.client().batch_execute(&lock)).await?;
        if empty && has_rows(session, name).await? {
            return Ok(None);
        }
        // By its oid: another of the same range may be made before this one is counted.
        let detach = format!(
            "ALTER TABLE {s}.history DETACH PARTITION {name}; \
             ALTER TABLE {name} RENAME TO {DETACHED}{oid}"
        );
        session.run(session.client().batch_execute(&detach)).await?;
        Ok(Some(0))
    }

    /// Counts a chunk's rows and drops it. Who stores rows of its time waits meanwhile; those rows
    /// are expired already.
    async fn drop_chunk(
        &self,
        session: &Session,
        part: &Part,
        empty: bool,
    ) -> Result<Option<u64>, PersistenceError> {
        let s = &self.engine.sql.schema;
        let client = session.client();
        // No row may come between the count and the drop.
        let lock = format!("{LOCK_TIMEOUT}; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", part.name);
        session.run(client.batch_execute(&lock)).await?;
        let count = count(session, &part.name).await?;
        if empty && count > 0 {
            return Ok(None);
        }
        let extension = "SELECT format('%I', n.nspname) FROM pg_catalog.pg_extension e \
                         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace \
                         WHERE e.extname = 'timescaledb'";
        let extension = session.run(client.query_typed_one(extension, &[])).await?;
        let extension: &str = extension.get(0);
        let drop_chunks = format!(
            "SELECT {extension}.drop_chunks({}::regclass, older_than => {}::bigint, \
             newer_than => {}::bigint)",
            literal(&format!("{s}.history")),
            part.last.saturating_add(1),
            part.first
        );
        let dropped = session.run(client.query_typed(&drop_chunks, &[])).await?;
        // The chunk was there and locked; anything else would make the count a lie.
        Ok((dropped.len() == 1).then_some(count))
    }

    /// Counts and drops what was detached.
    async fn remove_detached(&mut self) -> Result<(), Stop> {
        let s = &self.engine.sql.schema;
        loop {
            let session = self.step().await?;
            let client = session.client();
            let select = format!(
                "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT c.relispartition \
                 AND c.relname ~ '^{DETACHED}[0-9]+$' LIMIT 1"
            );
            let schema = &self.engine.config().schema;
            let parameters: [Parameter<'_>; 1] = [(schema, Type::TEXT)];
            let found = session.run(client.query_typed_opt(&select, &parameters)).await?;
            let Some(name) = found.map(|row| row.get::<_, String>(0)) else {
                session.run(client.batch_execute("COMMIT")).await?;
                session.release();
                return Ok(());
            };
            let count = count(&session, &name).await?;
            let drop_table = format!("DROP TABLE {name}");
            session.run(client.batch_execute(&drop_table)).await?;
            session.commit().await?;
            session.release();
            self.removed += count;
            tracing::debug!(name, count, schema = s, "dropped a partition");
        }
    }
}

async fn count(session: &Session, table: &str) -> Result<u64, PersistenceError> {
    // All of it: the one statement of a sweep that is no seek.
    let scan = "SET LOCAL enable_seqscan = on";
    session.run(session.client().batch_execute(scan)).await?;
    let select = format!("SELECT count(*) FROM {table}");
    let row = session.run(session.client().query_typed_one(&select, &[])).await?;
    Ok(row.get::<_, i64>(0).cast_unsigned())
}

/// What stands behind the name now: parts are listed before it is the sweep's turn.
async fn oid(session: &Session, table: &str) -> Result<Option<u32>, PersistenceError> {
    // Locking pg_class is what lets the session see what others renamed and dropped.
    let select = "SELECT max(oid) FROM pg_catalog.pg_class WHERE oid = to_regclass($1)";
    let row =
        session.run(session.client().query_typed_one(select, &[(&table, Type::TEXT)])).await?;
    Ok(row.get(0))
}

async fn has_rows(session: &Session, table: &str) -> Result<bool, PersistenceError> {
    let select = format!("SELECT EXISTS (SELECT FROM {table})");
    let row = session.run(session.client().query_typed_one(&select, &[])).await?;
    Ok(row.get(0))
}
