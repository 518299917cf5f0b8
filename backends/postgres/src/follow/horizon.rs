//! The number up to which all rows are settled: committed, or rolled back for good.
//!
//! A transaction that stores takes a shared advisory lock before it takes numbers, and holds it until its
//! commit is visible. So first the last number that was given out is read, then who holds the lock. Once
//! none of them does any more, nothing up to that number can appear. No transaction of anybody else, in
//! this database or another, delays that.

use std::collections::HashSet;
use std::time::Duration;

use annals_core::{Position, Result};
use tokio::sync::{Mutex, OnceCell, watch};

use super::OPERATION;
use crate::net::{Pools, Session};
use crate::schema::add_identity;
use crate::sql::Sql;

/// The pauses between two looks at transactions that are under way.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// A number up to which all rows are settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// The identity of the history.
    pub(super) history: u64,
    /// The last number that was given out, or one before it.
    pub(super) last: u64,
    pub(super) number: u64,
    /// The server was asked now: what was stored before is not behind it. Otherwise there may be more.
    pub(super) is_all: bool,
}

/// Shared by the followers of a backend.
pub(crate) struct Horizon {
    prepared: OnceCell<()>,
    /// The identity of the history, and the last number that is known to be settled.
    known: Mutex<(u64, u64)>,
    /// Raised with each store of this process, and with notifications of others.
    news: watch::Sender<u64>,
}

impl Horizon {
    pub(crate) fn new() -> Self {
        Self { prepared: OnceCell::new(), known: Mutex::default(), news: watch::Sender::new(0) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Something was stored, or may have been.
    pub(crate) fn stored(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Creates the index on the numbers, and the identity of a history that an earlier release created.
    /// Stores wait until the index is there, so it is not part of every history.
    pub(super) async fn prepare(&self, pools: &Pools, sql: &Sql) -> Result<()> {
        let prepare = || async {
            let session = pools.reader(OPERATION).await?;
            let known = format!(
                "SELECT to_regclass({}) IS NOT NULL, EXISTS (SELECT FROM pg_catalog.pg_attribute \
                   WHERE attrelid = {}::regclass AND attname = 'history' AND NOT attisdropped)",
                sql.relation("history_seq"),
                sql.relation("meta")
            );
            let known = session.query_one(&known, &[]).await?;
            let session = session.without_limit();
            // Committed at once: stores read it before they wait for the index.
            if !known.get::<_, bool>(1) {
                session.execute(&sql.begin_create()).await?;
                session.execute(&add_identity(sql)).await?;
                session.commit().await?;
            }
            if !known.get::<_, bool>(0) {
                session.execute(&sql.begin_migration("")).await?;
                let create = format!(
                    "CREATE INDEX IF NOT EXISTS history_seq ON {}.history (seq)",
                    sql.schema
                );
                session.execute(&create).await?;
                session.commit().await?;
            }
            session.release();
            Ok(())
        };
        self.prepared.get_or_try_init(prepare).await.copied()
    }

    /// The identity of the history, and the last number that was given out.
    pub(super) async fn last(&self, pools: &Pools, sql: &Sql) -> Result<(u64, u64)> {
        let session = pools.reader(OPERATION).await?;
        let last = last_number(sql, &session).await?;
        session.release();
        Ok(last)
    }

    /// The number up to which everything is settled now. With a position, what is known is enough if it
    /// is behind that. Of several followers one asks, and the others take its answer.
    pub(super) async fn settled(
        &self,
        pools: &Pools,
        sql: &Sql,
        behind: Option<Position>,
    ) -> Result<Settled> {
        let mut known = self.known.lock().await;
        if behind.is_some_and(|from| known.0 == from.history && known.1 > from.arrival) {
            let (history, number) = *known;
            return Ok(Settled { history, last: number, number, is_all: false });
        }
        let session = pools.reader(OPERATION).await?;
        let (history, last) = last_number(sql, &session).await?;
        if known.0 != history || known.1 > last {
            // Another state was put in its place while this process runs.
            *known = (history, 0);
        }
        if behind.is_none_or(|from| last > from.arrival) {
            wait_for_stores(sql, &session).await?;
            known.1 = last;
        }
        session.release();
        Ok(Settled { history, last, number: last.min(known.1), is_all: true })
    }
}

async fn last_number(sql: &Sql, session: &Session) -> Result<(u64, u64)> {
    let last = format!(
        "SELECT history, \
           pg_sequence_last_value(pg_get_serial_sequence({}, 'seq')::regclass) FROM {}.meta",
        sql.relation("history"),
        sql.schema
    );
    let last = session.query_one(&last, &[]).await?;
    let (history, last) = (last.get::<_, i64>(0), last.get::<_, Option<i64>>(1));
    Ok((history.cast_unsigned(), last.map_or(0, i64::cast_unsigned)))
}

/// Waits until the transactions that store now have ended.
async fn wait_for_stores(sql: &Sql, session: &Session) -> Result<()> {
    let key = sql.lock_key("names");
    let holders = format!(
        "SELECT virtualtransaction FROM pg_catalog.pg_locks \
         WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock' \
         AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
         AND classid::bigint = {} AND objid::bigint = {} AND objsubid = 1",
        (key >> 32) & 0xffff_ffff,
        key & 0xffff_ffff
    );
    let look = || async {
        let rows = session.query(&holders, &[]).await?;
        Ok::<_, annals_core::PersistenceError>(
            rows.iter().map(|row| row.get(0)).collect::<HashSet<String>>(),
        )
    };
    let mut under_way = look().await?;
    let mut pause = SHORTEST;
    while !under_way.is_empty() {
        // The server reports the end of a transaction only to sessions that wait for its locks, and such
        // a wait would block the stores that come next.
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST);
        let now = look().await?;
        under_way.retain(|transaction| now.contains(transaction));
    }
    Ok(())
}
