//! Following: what arrived behind a number of the history's sequence.
//!
//! Rows get their numbers before they are committed, so a greater number may be visible before a smaller
//! one. [`Horizon`] finds the number up to which everything is settled, and a page never goes beyond it.
//! A page is an index scan in the order of the numbers. The first follower creates the index.

mod horizon;
mod page;

use std::sync::Arc;

use annals_core::{
    FollowFrom, FollowPage, FollowParams, Pattern, PersistenceError, Position, Result,
};
use tokio::time::timeout;

use crate::engine::Engine;
use crate::error::ENGINE;
use crate::worker::Worker;

pub(crate) use horizon::Horizon;

const OPERATION: &str = "follow";

/// What arrived, or arrives.
pub(crate) async fn follow(
    worker: &Arc<Worker>,
    record_pattern: &str,
    params: &FollowParams,
) -> Result<FollowPage> {
    let pattern = Pattern::new(record_pattern, params.grammar)?;
    let params = params.clone();
    let position = match &params.from {
        FollowFrom::Cursor(cursor) => Some(Position::parse(ENGINE, cursor)?),
        FollowFrom::Time(since) => Some(Position { since: *since, ..Position::default() }),
        _ => None,
    };
    worker.run_while_wanted(|engine| arrived(engine, pattern, params, position)).await
}

/// Creates the index by which followers read, unless it is there.
async fn prepare(engine: &Engine) -> Result<()> {
    engine.horizon.prepare(engine).await
}

async fn arrived(
    engine: Arc<Engine>,
    pattern: Pattern,
    params: FollowParams,
    begin: Option<Position>,
) -> Result<FollowPage> {
    engine.schema.ready(&engine.pools).await?;
    prepare(&engine).await?;
    let mut news = engine.horizon.subscribe();
    let mut position = match begin {
        Some(position) => position,
        None => {
            let arrival = engine.horizon.settled(&engine, None).await?.number;
            let position = Position { arrival, ..Position::default() };
            if let FollowFrom::Latest(newest) = params.from {
                let rows = page::latest(&engine, &pattern, newest, arrival).await?;
                if !rows.is_empty() {
                    return Ok(FollowPage::new(rows, position.cursor(ENGINE)?, true));
                }
            }
            position
        }
    };
    loop {
        news.borrow_and_update();
        let settled = engine.horizon.settled(&engine, Some(position.arrival)).await?;
        if settled.number > position.arrival {
            let mut page = page::read(&engine, &pattern, &params, position, settled.number).await?;
            // One that does not wait would end here.
            page.caught_up &= settled.is_all;
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
        // Other processes give no news here: the server is asked after a while.
        if let Ok(Err(_)) = timeout(params.poll_interval, news.changed()).await {
            return Err(PersistenceError::BackendShutdown);
        }
    }
}
