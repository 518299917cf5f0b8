//! Sweeping in bounded steps: stores and queries go on meanwhile.

mod parts;
mod rows;

use std::sync::Arc;

use annals_core::{CleanupPlan, ErrorKind, Pattern, PersistenceError, Swept};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use crate::engine::Engine;
use crate::layout::Layout;
use crate::partitions;
use crate::read::{NamePages, Named};
use crate::session::{Parameter, Session};
use parts::Which;

const OPERATION: &str = "cleanup";

/// Rows per step: a transaction of some ten milliseconds.
const STEP: i64 = 5000;

/// What to do while another process makes a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wait, and go on: both get done.
    Awaited,
    /// Leave the rest to it.
    Left,
}

/// Why a sweep ends early.
enum Stop {
    Failed(PersistenceError),
    /// Another process is at it.
    Left,
}

impl From<PersistenceError> for Stop {
    fn from(error: PersistenceError) -> Self {
        Self::Failed(error)
    }
}

/// Removes what `plan` lets go, step by step, each step a transaction with a connection of its own.
pub(crate) async fn sweep(
    engine: Arc<Engine>,
    plan: CleanupPlan,
    turn: Turn,
) -> Result<Swept, PersistenceError> {
    engine.ready().await?;
    let mut sweep = Sweep { engine: &engine, turn, removed: 0 };
    match sweep.run(&plan).await {
        Ok(()) => Ok(Swept::finished(sweep.removed)),
        Err(Stop::Left) => Ok(Swept::left(sweep.removed)),
        Err(Stop::Failed(error)) => Err(error.after_removing(sweep.removed)),
    }
}

/// A sweep under way.
struct Sweep<'a> {
    engine: &'a Engine,
    turn: Turn,
    removed: u64,
}

impl Sweep<'_> {
    async fn run(&mut self, plan: &CleanupPlan) -> Result<(), Stop> {
        // What is expired as a whole goes as a whole; the rest, row by row.
        self.remove_parts(Which::Expired(last_of_all(plan))).await?;
        let mut names = NamePages::new(Pattern::all());
        loop {
            let session = self.engine.reader(OPERATION).await?;
            let records = names.next(self.engine, &session).await?;
            session.release();
            if records.is_empty() {
                break;
            }
            let spans = self.spans(plan, &records).await?;
            match self.engine.layout() {
                Layout::Plain | Layout::Partitioned => self.remove(spans).await?,
                Layout::Hypertable | Layout::Distributed => self.remove_by_record(spans).await?,
            }
            self.prune(&records).await?;
        }
        self.remove_parts(Which::Empty(last_of_any(plan))).await?;
        let session = self.step().await?;
        session.run(session.client().batch_execute(&self.engine.sql.expire_writers)).await?;
        session.commit().await?;
        if self.engine.layout() == Layout::Partitioned {
            partitions::make_ahead(self.engine, &session).await?;
        }
        session.release();
        Ok(())
    }

    /// Begins a step. One process makes one at a time; a transaction's lock, so that it works
    /// behind a transaction pooler and ends with a process that dies.
    async fn step(&self) -> Result<Session, Stop> {
        let sql = &self.engine.sql;
        let session = self.engine.reader(OPERATION).await?;
        let client = session.client();
        let begin = self.engine.begin(&sql.begin_sweep);
        match self.turn {
            Turn::Awaited => {
                let begin = format!("{begin}; {}", sql.take_turn);
                session.run(client.batch_execute(&begin)).await?;
            }
            Turn::Left => {
                let begin = format!("{begin}; {}", sql.try_turn);
                let answer = session.run(client.simple_query(&begin)).await?;
                let ours = answer.iter().any(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
                    _ => false,
                });
                if !ours {
                    session.run(client.batch_execute("ROLLBACK")).await?;
                    session.release();
                    return Err(Stop::Left);
                }
            }
        }
        Ok(session)
    }

    /// Forgets the names of records without rows.
    ///
    /// Other processes have ids cached. They share a lock while they store, and compare the
    /// generation of names before they commit: taking the lock alone waits for those who compared
    /// already, and raising the generation turns the others back.
    async fn prune(&self, records: &[Named]) -> Result<(), Stop> {
        let sql = &self.engine.sql;
        let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
        let session = self.step().await?;
        let client = session.client();
        let seen = select_ids(&session, &sql.empty_records, &ids).await?;
        if !seen.is_empty() {
            match session.run(client.batch_execute(&sql.lock_names)).await {
                // Somebody's store takes long. Names without rows are not listed: another time
                // will do.
                Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Busy => {
                    tracing::debug!(%error, "names without rows stay for now");
                    session.run(client.batch_execute("ROLLBACK")).await?;
                    session.release();
                    return Ok(());
                }
                locked => locked?,
            }
            // Rows may have come until the lock was there.
            let still = select_ids(&session, &sql.empty_records, &seen).await?;
            if !still.is_empty() {
                let still: [Parameter<'_>; 1] = [(&still, Type::INT8_ARRAY)];
                if let Some(unplace) = &sql.unplace {
                    session.run(client.execute_typed(unplace, &still)).await?;
                }
                session.run(client.execute_typed(&sql.prune, &still)).await?;
                session.run(client.batch_execute(&sql.raise_generation)).await?;
            }
        }
        session.commit().await?;
        session.release();
        Ok(())
    }
}

async fn select_ids(
    session: &Session,
    select: &str,
    ids: &Vec<i64>,
) -> Result<Vec<i64>, PersistenceError> {
    let ids: [Parameter<'_>; 1] = [(ids, Type::INT8_ARRAY)];
    let rows = session.run(session.client().query_typed(select, &ids)).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The time up to which the rows of every record go, if that can be said without looking.
fn last_of_all(plan: &CleanupPlan) -> Option<i64> {
    if plan.keep_newest > 0 {
        return None;
    }
    let rest = plan.rules.iter().position(|rule| rule.pattern.is_all())?;
    let cutoffs: Option<Vec<u64>> =
        plan.rules[..=rest].iter().map(|rule| rule.older_than).collect();
    last(cutoffs?.into_iter().min()?)
}

/// The time after which no row of any record goes.
fn last_of_any(plan: &CleanupPlan) -> Option<i64> {
    last(plan.rules.iter().filter_map(|rule| rule.older_than).max()?)
}

fn last(older_than: u64) -> Option<i64> {
    Some(i64::try_from(older_than.checked_sub(1)?).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use annals_core::{CleanupRule, Grammar};

    use super::*;

    #[test]
    fn the_time_that_holds_for_all_records_is_the_earliest_of_rules_that_cover_all() {
        let rule = |pattern: &str, older_than| {
            CleanupRule::new(Pattern::new(pattern, Grammar::Glob).unwrap(), older_than)
        };
        let plan = |rules: Vec<CleanupRule>| CleanupPlan::new(rules);
        let all = |rules| last_of_all(&plan(rules));
        assert_eq!(all(vec![rule("*", Some(10))]), Some(9));
        assert_eq!(all(vec![rule("a", Some(5)), rule("*", Some(10))]), Some(4));
        // Nothing after the rule for all records is ever reached.
        assert_eq!(all(vec![rule("*", Some(10)), rule("a", Some(5))]), Some(9));
        assert_eq!(all(vec![rule("a", None), rule("*", Some(10))]), None);
        assert_eq!(all(vec![rule("a", Some(10))]), None);
        assert_eq!(all(vec![rule("*", Some(0))]), None);
        assert_eq!(all(vec![rule("*", Some(u64::MAX))]), Some(i64::MAX));
        let newest = plan(vec![rule("*", Some(10))]).with_keep_newest(1);
        assert_eq!((last_of_all(&newest), last_of_any(&newest)), (None, Some(9)));
        assert_eq!(last_of_any(&plan(vec![rule("a", Some(5)), rule("b", Some(10))])), Some(9));
        assert_eq!(last_of_any(&plan(vec![rule("a", None)])), None);
    }
}
