//! Removes whole partitions and chunks.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::{OPERATION, Stop, Sweep};
use crate::error;
use crate::layout::{Part, count, has_rows};
use crate::net::Session;

/// How often removing a part is tried while it is in use, and the pause in between for the others.
/// After that its rows are deleted one by one, which nobody blocks.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Which parts are removed.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// Those whose rows are all of this time or older.
    Expired(Option<i64>),
    /// Those of them that have no rows.
    Empty(Option<i64>),
}

impl Sweep<'_> {
    pub(super) async fn remove_parts(&mut self, which: Which) -> Result<(), Stop> {
        // A process that died may have left a partition detached and not counted.
        self.remove_detached().await?;
        let (Which::Expired(last) | Which::Empty(last)) = which;
        let Some(last) = last else { return Ok(()) };
        let session = self.engine.pools.reader(OPERATION).await?;
        let parts = self.layout.parts(self.sql(), &session).await?;
        session.release();
        for part in parts.iter().filter(|part| part.last <= last) {
            let only_if_empty = matches!(which, Which::Empty(_));
            if only_if_empty && !self.is_empty(part).await? {
                continue;
            }
            let Some(removed) = self.remove_part(part, only_if_empty).await? else {
                tracing::debug!(part.name, "in use: its rows are deleted one by one");
                break;
            };
            self.removed += removed;
            self.remove_detached().await?;
        }
        Ok(())
    }

    /// Whether the part exists and has no rows.
    async fn is_empty(&self, part: &Part) -> Result<bool, Stop> {
        let session = self.step().await?;
        let empty = exists(&session, part).await? && !has_rows(&session, &part.name).await?;
        session.finish().await?;
        Ok(empty)
    }

    /// Makes steps until one gets its locks. `None`: the part remained in use, or is not empty.
    async fn remove_part(&self, part: &Part, only_if_empty: bool) -> Result<Option<u64>, Stop> {
        for _ in 0..ATTEMPTS {
            let session = self.step().await?;
            // Otherwise another sweep removed and counted it after the parts were listed.
            let removed = match exists(&session, part).await? {
                true => self.layout.remove_part(self.sql(), &session, part, only_if_empty).await,
                false => Ok(Some(0)),
            };
            match removed {
                Ok(Some(removed)) => {
                    session.commit().await?;
                    session.release();
                    return Ok(Some(removed));
                }
                Ok(None) => {
                    session.abandon().await?;
                    return Ok(None);
                }
                Err(error) if error::is_busy(&error) => {
                    session.abandon().await?;
                }
                Err(error) => return Err(error.into()),
            }
            sleep(PAUSE).await;
        }
        Ok(None)
    }

    /// Counts and drops what was detached.
    async fn remove_detached(&mut self) -> Result<(), Stop> {
        if !self.layout.detaches() {
            return Ok(());
        }
        loop {
            let session = self.step().await?;
            let Some(name) = self.layout.detached(self.sql(), &session).await? else {
                session.finish().await?;
                return Ok(());
            };
            let count = count(&session, &name).await?;
            session.execute(&format!("DROP TABLE {name}")).await?;
            session.commit().await?;
            session.release();
            self.removed += count;
            tracing::debug!(name, count, "dropped a partition");
        }
    }
}

/// Whether the part still exists: parts are listed before the sweep holds its lock.
async fn exists(session: &Session, part: &Part) -> Result<bool, Stop> {
    // Reading pg_class makes the session see what others renamed and dropped.
    let select = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = to_regclass($1))";
    Ok(session.query_one(select, &[(&part.name, Type::TEXT)]).await?.get(0))
}
