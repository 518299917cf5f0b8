//! Following: what arrived behind a number of the history's sequence.
//!
//! Rows get their numbers before they are committed, so a greater number may be visible before a smaller
//! one. [`Horizon`](horizon::Horizon) finds the number up to which everything is settled, and a page never goes beyond it.
//! A page is an index scan in the order of the numbers. The first follower creates the index.

pub(crate) mod followers;
pub(crate) mod horizon;
mod listener;
mod page;

use std::sync::Arc;

use annals_core::{
    FollowFrom, FollowPage, FollowParams, Pattern, PersistenceError, Position, Result,
};
use tokio::time::timeout;

use crate::engine::Engine;
use crate::error::ENGINE;
use crate::worker::Worker;

use horizon::Settled;

const OPERATION: &str = "follow";

/// What arrived, or arrives.
pub(crate) async fn follow(
    worker: &Arc<Worker>,
    record_pattern: &str,
    params: &FollowParams,
) -> Result<FollowPage> {
    let pattern = Pattern::new(record_pattern, params.grammar)?;
    let params = params.clone();
    if let FollowFrom::Cursor(cursor) = &params.from {
        Position::parse(ENGINE, cursor)?;
    }
    worker.run_while_wanted(|engine| arrived(engine, pattern, params)).await
}

async fn arrived(
    engine: Arc<Engine>,
    pattern: Pattern,
    params: FollowParams,
) -> Result<FollowPage> {
    engine.schema.ready(&engine.pools).await?;
    let (horizon, pools, sql) = (&engine.horizon, &engine.pools, &engine.schema.sql);
    horizon.prepare(pools, sql).await?;
    let mut news = horizon.subscribe();
    let mut position = match &params.from {
        FollowFrom::Cursor(cursor) => Position::parse(ENGINE, cursor)?,
        from => {
            let Settled { history, number, .. } = horizon.settled(pools, sql, None).await?;
            let first = Position { history, ..Position::default() };
            match from {
                FollowFrom::Time(since) => Position { since: *since, ..first },
                _ => Position { arrival: number, ..first },
            }
        }
    };
    if let FollowFrom::Latest(newest) = params.from {
        let rows = page::latest(&engine, &pattern, newest, position.arrival).await?;
        if !rows.is_empty() {
            return Ok(FollowPage::new(rows, position.cursor(ENGINE)?, true));
        }
    }
    let _listening = params.wait.then(|| listener::listen_for(&engine));
    loop {
        news.borrow_and_update();
        let settled = horizon.settled(pools, sql, Some(position)).await?;
        // A number that was never given out is of a history that was put back.
        if position.history != settled.history || position.arrival > settled.last {
            return Err(position.cursor(ENGINE)?.of_another_history());
        }
        if settled.number > position.arrival {
            let mut page = page::read(&engine, &pattern, &params, position, settled.number).await?;
            if page.caught_up && !settled.is_all {
                let (history, last) = horizon.last(pools, sql).await?;
                page.caught_up = (history, last) == (settled.history, settled.number);
            }
            if !page.rows.is_empty() || !params.wait {
                return Ok(page);
            }
            position = Position::parse(ENGINE, &page.cursor)?;
            if !page.caught_up {
                continue;
            }
        } else if !params.wait {
            return Ok(FollowPage::new(Vec::new(), position.cursor(ENGINE)?, true));
        }
        // A notification may not come, and nobody may listen: the server is asked after a while.
        if let Ok(Err(_)) = timeout(params.poll_interval, news.changed()).await {
            return Err(PersistenceError::BackendShutdown);
        }
    }
}
