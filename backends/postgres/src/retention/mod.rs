//! Retention: a sweep removes expired rows in bounded steps, while stores and queries continue.
//!
//! Whole partitions and chunks go first ([`parts`]), then single rows ([`rows`]), then the names of
//! records without rows and the oldest writers. Each step is a transaction, and one process makes one
//! step at a time. What must go at once is [erased](erase()) in one transaction.

mod erase;
mod parts;
mod rows;

use std::sync::Arc;

use annals_core::{CleanupPlan, Pattern, PersistenceError, REMEMBERED_WRITERS, Result, Swept};

use crate::engine::Engine;
use crate::error;
use crate::layout::Layout;
use crate::net::{Session, first_column, int8s};
use crate::read::{NamePages, Named};
use crate::sql::Sql;
pub(crate) use erase::{correct, erase};
use parts::Which;

const OPERATION: &str = "cleanup";

/// Rows per step: a transaction of tens of milliseconds.
const STEP: i64 = 5000;

/// What to do while another process makes a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contention {
    /// Wait and continue: both sweeps complete.
    Wait,
    /// Leave the rest to the other process.
    Skip,
}

/// Why a sweep ends early.
enum Stop {
    Failed(PersistenceError),
    /// Another process sweeps.
    Skipped,
}

impl From<PersistenceError> for Stop {
    fn from(error: PersistenceError) -> Self {
        Self::Failed(error)
    }
}

/// Removes the rows that `plan` has expired. Each step is a transaction on a connection of its own.
pub(crate) async fn sweep(
    engine: Arc<Engine>,
    plan: CleanupPlan,
    contention: Contention,
) -> Result<Swept> {
    let layout = &**engine.schema.ready(&engine.pools).await?;
    let mut sweep = Sweep { engine: &engine, layout, contention, removed: 0 };
    match sweep.run(&plan).await {
        Ok(()) => Ok(Swept::finished(sweep.removed)),
        Err(Stop::Skipped) => Ok(Swept::left(sweep.removed)),
        Err(Stop::Failed(error)) => Err(error.after_removing(sweep.removed)),
    }
}

/// A sweep in progress.
struct Sweep<'a> {
    engine: &'a Engine,
    layout: &'a dyn Layout,
    contention: Contention,
    removed: u64,
}

impl Sweep<'_> {
    fn sql(&self) -> &Sql {
        &self.engine.schema.sql
    }

    async fn run(&mut self, plan: &CleanupPlan) -> Result<(), Stop> {
        self.remove_parts(Which::Expired(last_of_all(plan))).await?;
        let mut names = NamePages::new(self.sql(), Pattern::all());
        loop {
            let session = self.engine.pools.reader(OPERATION).await?;
            let records = names.next(&session).await?;
            session.release();
            if records.is_empty() {
                break;
            }
            let spans = self.spans(plan, &records).await?;
            match self.layout.deletes_by_record() {
                false => self.remove(spans).await?,
                true => self.remove_by_record(spans).await?,
            }
            self.prune(&records).await?;
        }
        self.remove_parts(Which::Empty(last_of_any(plan))).await?;
        let session = self.step().await?;
        let s = &self.sql().schema;
        let forget_writers = format!(
            "DELETE FROM {s}.writers WHERE writer IN (SELECT writer FROM {s}.writers \
             ORDER BY last_use DESC OFFSET {REMEMBERED_WRITERS})"
        );
        session.execute(&forget_writers).await?;
        session.commit().await?;
        self.layout.after_sweep(self.sql(), &session).await?;
        session.release();
        Ok(())
    }

    /// Begins a step under a lock that one process holds at a time. It belongs to the transaction, so
    /// it works behind a transaction pooler and ends with a process that dies.
    async fn step(&self) -> Result<Session, Stop> {
        let sql = self.sql();
        let session = self.engine.pools.reader(OPERATION).await?;
        let begin = sql.begin_sweep(self.layout.write_settings());
        match self.contention {
            Contention::Wait => {
                session.execute(&format!("{begin}; {}", sql.wait_for_sweep_lock())).await?;
            }
            Contention::Skip => {
                let begin = format!("{begin}; {}", sql.try_sweep_lock());
                // The settings before it return no rows.
                let answer = session.run(session.client().simple_query(&begin)).await?;
                if first_column(&answer) != Some("t") {
                    session.abandon().await?;
                    return Err(Stop::Skipped);
                }
            }
        }
        Ok(session)
    }

    /// Removes the names of records without rows.
    ///
    /// Other processes have ids cached. They share a lock while they store, and compare the
    /// generation of names before they commit: taking the lock exclusively waits for those that have
    /// compared already, and raising the generation makes the others look up their ids again.
    async fn prune(&self, records: &[Named]) -> Result<(), Stop> {
        let sql = self.sql();
        let s = &sql.schema;
        let empty = self.layout.filter_records(sql, "NOT EXISTS", "true");
        let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
        let session = self.step().await?;
        let seen = select_ids(&session, &empty, &ids).await?;
        if !seen.is_empty() {
            match session.execute(&sql.lock_names()).await {
                // A store takes long. Names without rows are not listed, so this can wait.
                Err(error) if error::is_busy(&error) => {
                    tracing::debug!(%error, "names without rows remain for now");
                    session.abandon().await?;
                    return Ok(());
                }
                locked => locked?,
            }
            // Rows may have arrived before the lock was taken.
            let still = select_ids(&session, &empty, &seen).await?;
            if !still.is_empty() {
                let remove = format!("DELETE FROM {s}.records WHERE id = ANY ($1::bigint[])");
                for statement in self.layout.unplace_names(sql).into_iter().chain([remove]) {
                    let still = [int8s(&still)];
                    session.run(session.client().execute_typed(&statement, &still)).await?;
                }
                let raise = format!("UPDATE {s}.meta SET names_generation = names_generation + 1");
                session.execute(&raise).await?;
            }
        }
        session.commit().await?;
        session.release();
        Ok(())
    }
}

async fn select_ids(session: &Session, select: &str, ids: &Vec<i64>) -> Result<Vec<i64>> {
    Ok(session.query(select, &[int8s(ids)]).await?.iter().map(|row| row.get(0)).collect())
}

/// The time up to which the rows of every record expire, if the plan alone determines it.
fn last_of_all(plan: &CleanupPlan) -> Option<i64> {
    if plan.keep_newest > 0 {
        return None;
    }
    let rest = plan.rules.iter().position(|rule| rule.pattern.is_all())?;
    let cutoffs: Option<Vec<u64>> =
        plan.rules[..=rest].iter().chain(&plan.holds).map(|rule| rule.older_than).collect();
    last(cutoffs?.into_iter().min()?)
}

/// The time after which no row of any record expires.
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
    fn the_common_cutoff_is_the_earliest_of_rules_that_cover_all_records() {
        let rule = |pattern: &str, older_than| {
            CleanupRule::new(Pattern::new(pattern, Grammar::Glob).unwrap(), older_than)
        };
        let plan = |rules: Vec<CleanupRule>| CleanupPlan::new(rules);
        let all = |rules| last_of_all(&plan(rules));
        assert_eq!(all(vec![rule("*", Some(10))]), Some(9));
        assert_eq!(all(vec![rule("a", Some(5)), rule("*", Some(10))]), Some(4));
        // Rules after one that matches all records are never reached.
        assert_eq!(all(vec![rule("*", Some(10)), rule("a", Some(5))]), Some(9));
        assert_eq!(all(vec![rule("a", None), rule("*", Some(10))]), None);
        assert_eq!(all(vec![rule("a", Some(10))]), None);
        assert_eq!(all(vec![rule("*", Some(0))]), None);
        assert_eq!(all(vec![rule("*", Some(u64::MAX))]), Some(i64::MAX));
        let held = plan(vec![rule("*", Some(10))]).with_hold(rule("a", None).pattern, 5);
        assert_eq!((last_of_all(&held), last_of_any(&held)), (Some(4), Some(9)));
        let newest = plan(vec![rule("*", Some(10))]).with_keep_newest(1);
        assert_eq!((last_of_all(&newest), last_of_any(&newest)), (None, Some(9)));
        assert_eq!(last_of_any(&plan(vec![rule("a", Some(5)), rule("b", Some(10))])), Some(9));
        assert_eq!(last_of_any(&plan(vec![rule("a", None)])), None);
    }
}
