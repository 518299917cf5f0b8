//! Backends whose cleanups are wrong.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use annals_core::{
    CleanupPlan, CleanupRule, Grammar, Guarantees, MemoryBackend, Pattern, PersistenceBackend,
    PersistenceError, RecordSummary, Value, async_trait,
};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("cleanup_is_inclusive", || InclusiveCleanup, &["CLEANUP-1", "ERASE-3", "FOLLOW-5"]),
        twisted("cleanup_counts_inexactly", || InexactCleanup, &["CLEANUP-1", "FOLLOW-5"]),
        twisted("cleanup_counts_its_last_step", || CountsTheLastStep, &["CLEANUP-1"])
            .unseen_by_random()
            .caught_by("cleanup_1_counts_exactly_over_many_rows"),
        twisted("plan_for_a_thousand_records", || PlanForAThousandRecords, &["CLEANUP-5"])
            .unseen_by_random()
            .caught_by("cleanup_5_a_plan_reaches_every_record_and_row"),
        twisted("rules_ignore_case", || Plans(rules_without_case), &["CLEANUP-5"])
            .caught_by("cleanup_5_rules_mind_case"),
        twisted("cleanup_holds_everybody_up", CleanupHoldsEverybodyUp::default, &["CLEANUP-2"])
            .unseen_by_random(),
        twisted("empty_records_are_listed", ListsEmptyRecords::default, &["CLEANUP-4", "ERASE-5"]),
        twisted("plan_keeps_nothing", || Plans(keeps_nothing), &["CLEANUP-5"]),
        twisted("plan_holds_nothing", || Plans(holds_nothing), &["CLEANUP-6", "RETAIN-1"])
            .unseen_by_random(),
        twisted("plan_backwards", || Plans(last_rule_first), &["CLEANUP-5"]).unseen_by_random(),
        twisted("every_plan_is_plain", || EveryPlanIsPlain, &["CLEANUP-5"]).unseen_by_random(),
    ]
}

/// `stored_at <= older_than`.
struct InclusiveCleanup;

#[async_trait]
impl Twist for InclusiveCleanup {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        inner.cleanup(older_than.saturating_add(1)).await
    }
}

/// Counts what it looked at.
struct InexactCleanup;

#[async_trait]
impl Twist for InexactCleanup {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        Ok(inner.cleanup(older_than).await?.next_multiple_of(5))
    }
}

/// Removes in steps, and returns what the last one removed.
struct CountsTheLastStep;

#[async_trait]
impl Twist for CountsTheLastStep {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        Ok(match inner.cleanup(older_than).await? {
            removed @ 0..=5_000 => removed,
            removed => removed % 5_000,
        })
    }
}

/// Takes the first page of the records for all of them.
struct PlanForAThousandRecords;

#[async_trait]
impl Twist for PlanForAThousandRecords {
    async fn cleanup_plan(&self, inner: &MemoryBackend, plan: &CleanupPlan) -> Result<u64> {
        let mut plan = plan.clone();
        for record in inner.records("*", Grammar::Glob).await?.into_iter().skip(1_000) {
            let pattern = Pattern::new(&record.record, Grammar::Glob)?;
            plan.rules.insert(0, CleanupRule::new(pattern, None));
        }
        inner.cleanup_plan(&plan).await
    }
}

/// Holds everybody up while much is removed.
#[derive(Default)]
struct CleanupHoldsEverybodyUp(tokio::sync::RwLock<()>);

#[async_trait]
impl Twist for CleanupHoldsEverybodyUp {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        let _everything = self.0.write().await;
        let removed = inner.cleanup(older_than).await?;
        if removed > 15_000 {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        Ok(removed)
    }

    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let _beside = self.0.read().await;
        inner.store(record, value, at).await
    }
}

/// A wrong idea of a plan.
struct Plans(fn(&CleanupPlan) -> CleanupPlan);

#[async_trait]
impl Twist for Plans {
    async fn cleanup_plan(&self, inner: &MemoryBackend, plan: &CleanupPlan) -> Result<u64> {
        inner.cleanup_plan(&(self.0)(plan)).await
    }
}

fn keeps_nothing(plan: &CleanupPlan) -> CleanupPlan {
    plan.clone().with_keep_newest(0)
}

fn holds_nothing(plan: &CleanupPlan) -> CleanupPlan {
    let mut plan = plan.clone();
    plan.holds.clear();
    plan
}

fn last_rule_first(plan: &CleanupPlan) -> CleanupPlan {
    let mut plan = plan.clone();
    plan.rules.reverse();
    plan
}

fn rules_without_case(plan: &CleanupPlan) -> CleanupPlan {
    let mut plan = plan.clone();
    for rule in std::mem::take(&mut plan.rules) {
        let text = rule.pattern.as_str();
        for text in [text, &text.to_lowercase(), &text.to_uppercase()] {
            let pattern = Pattern::new(text, Grammar::Glob).unwrap();
            plan.rules.push(CleanupRule::new(pattern, rule.older_than));
        }
    }
    plan
}

/// Does not claim plans, and treats every plan as a plain one instead of refusing it.
struct EveryPlanIsPlain;

#[async_trait]
impl Twist for EveryPlanIsPlain {
    fn claims(&self, claims: Guarantees) -> Guarantees {
        claims.with_selective_cleanup(false)
    }

    async fn cleanup_plan(&self, inner: &MemoryBackend, plan: &CleanupPlan) -> Result<u64> {
        let cutoff = plan.rules.first().and_then(|rule| rule.older_than);
        inner.cleanup(cutoff.unwrap_or(0)).await
    }
}

/// The table of names is the listing.
#[derive(Default)]
struct ListsEmptyRecords(Mutex<BTreeSet<String>>);

#[async_trait]
impl Twist for ListsEmptyRecords {
    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        let matches = Pattern::new(pattern, grammar)?;
        let mut records = inner.records(pattern, grammar).await?;
        for name in self.0.lock().unwrap().iter().filter(|name| matches.matches(name)) {
            if records.iter().all(|record| record.record != *name) {
                records.push(RecordSummary::new(name.clone(), 0, 0, 0));
            }
        }
        records.sort_by(|a, b| a.record.cmp(&b.record));
        Ok(records)
    }

    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let stored: std::result::Result<(), PersistenceError> =
            inner.store(record, value, at).await;
        stored?;
        self.0.lock().unwrap().insert(record.to_owned());
        Ok(())
    }
}
