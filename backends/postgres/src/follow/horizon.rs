//! The number up to which all rows are settled: committed, or rolled back for good.
//!
//! A transaction that stores takes a shared advisory lock before it takes numbers, and holds it until its
//! commit is visible. So first the last number that was given out is read, then who holds the lock. Once
//! none of them does any more, nothing up to that number can appear. No transaction of anybody else, in
//! this database or another, delays that.

use std::collections::HashSet;
use std::time::Duration;

use annals_core::Result;
use tokio::sync::{Mutex, OnceCell, watch};

use super::OPERATION;
use crate::engine::Engine;
use crate::net::Session;
use crate::sql::Sql;

/// The pauses between two looks at transactions that are under way.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// A number up to which all rows are settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) number: u64,
    /// The server was asked now: what was stored before is not behind it. Otherwise there may be more.
    pub(super) is_all: bool,
}

/// Shared by the followers of a backend.
pub(crate) struct Horizon {
    prepared: OnceCell<()>,
    /// The last number that is known to be settled.
    settled: Mutex<u64>,
    /// Raised with each store of this process.
    news: watch::Sender<u64>,
}

impl Horizon {
    pub(crate) fn new() -> Self {
        Self { prepared: OnceCell::new(), settled: Mutex::new(0), news: watch::Sender::new(0) }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Something was stored here.
    pub(crate) fn stored(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Creates the index on the numbers. Stores wait until it is there, so it is not part of every
    /// history.
    pub(super) async fn prepare(&self, engine: &Engine) -> Result<()> {
        let prepare = || async {
            let sql = &engine.schema.sql;
            let session = engine.pools.reader(OPERATION).await?;
            let known = format!("SELECT to_regclass({}) IS NOT NULL", sql.relation("history_seq"));
            if !session.query_one(&known, &[]).await?.get::<_, bool>(0) {
                let session = session.without_limit();
                session.execute(&sql.begin_migration("")).await?;
                let create = format!(
                    "CREATE INDEX IF NOT EXISTS history_seq ON {}.history (seq)",
                    sql.schema
                );
                session.execute(&create).await?;
                return session.finish().await;
            }
            session.release();
            Ok(())
        };
        self.prepared.get_or_try_init(prepare).await.copied()
    }

    /// The number up to which everything is settled now. With `beyond`, what is known is enough if it is
    /// greater than that. Of several followers one asks, and the others take its answer.
    pub(super) async fn settled(&self, engine: &Engine, beyond: Option<u64>) -> Result<Settled> {
        let mut settled = self.settled.lock().await;
        if beyond.is_some_and(|beyond| *settled > beyond) {
            return Ok(Settled { number: *settled, is_all: false });
        }
        let session = engine.pools.reader(OPERATION).await?;
        let sql = &engine.schema.sql;
        let last = format!(
            "SELECT pg_sequence_last_value(pg_get_serial_sequence({}, 'seq')::regclass)",
            sql.relation("history")
        );
        let last: Option<i64> = session.query_one(&last, &[]).await?.get(0);
        let last = last.map_or(0, i64::cast_unsigned);
        if beyond.is_none_or(|beyond| last > beyond) {
            wait_for_stores(sql, &session).await?;
            *settled = last;
        }
        session.release();
        Ok(Settled { number: last.min(*settled), is_all: true })
    }
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
