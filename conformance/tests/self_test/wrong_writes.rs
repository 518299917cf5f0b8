//! Backends whose stores, batches and cleanups are wrong.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_core::{
    BackendError, Batch, BatchId, CleanupPlan, CleanupRule, ErrorKind, Grammar, Guarantees,
    JsonText, MAX_TIMESTAMP, MemoryBackend, Pattern, PersistenceBackend, PersistenceError,
    QueryParams, Row, Value, async_trait,
};
use serde_json::json;

use crate::twist::{Result, Twist, select};

/// Values that are stored as something else.
pub(crate) struct Values(pub(crate) fn(&Value) -> Value);

impl Values {
    fn deep(&self, value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.deep(item)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(key, member)| (key, self.deep(member))).collect()
            }
            other => (self.0)(&other),
        }
    }
}

impl Twist for Values {
    fn incoming(&self, row: Row) -> Row {
        let value = self.deep(row.value.to_value().unwrap());
        Row { value: JsonText::from_value(&value, usize::MAX).unwrap(), ..row }
    }
}

pub(crate) fn single_precision(value: &Value) -> Value {
    match value.as_f64().filter(|_| value.is_f64()) {
        // Beyond single precision there is infinity, which JSON has not.
        Some(number) if (number as f32).is_finite() => json!(f64::from(number as f32)),
        _ => value.clone(),
    }
}

pub(crate) fn no_negative_zero(value: &Value) -> Value {
    if value.is_f64() && value.as_f64() == Some(0.0) { json!(0.0) } else { value.clone() }
}

pub(crate) fn no_nul(value: &Value) -> Value {
    value.as_str().map_or(value.clone(), |text| json!(text.replace('\0', "")))
}

pub(crate) fn signed_integers(value: &Value) -> Value {
    match value.as_u64() {
        Some(number) if number > i64::MAX as u64 => json!(number as f64),
        _ => value.clone(),
    }
}

/// What is refused is taken instead, in some form.
pub(crate) struct Takes(pub(crate) fn(&PersistenceError, &str, &Value) -> Option<Row>);

#[async_trait]
impl Twist for Takes {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        match inner.store(record, value, at).await {
            Err(error) => match (self.0)(&error, record, value) {
                Some(row) => inner.store_batch(&Batch::new(vec![row])).await,
                None => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }
}

pub(crate) fn stars(error: &PersistenceError, record: &str, value: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::InvalidRecordName { .. });
    if !refused || !record.contains('*') || record.contains('\0') {
        return None;
    }
    Row::new(&record.replace('*', "?"), value, 1).ok()
}

pub(crate) fn nuls(error: &PersistenceError, record: &str, value: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::InvalidRecordName { .. });
    if !refused || !record.contains('\0') {
        return None;
    }
    Row::new(&record.replace('\0', "?"), value, 1).ok()
}

pub(crate) fn deep_values(error: &PersistenceError, record: &str, _: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::ValueTooDeep { .. });
    refused.then(|| Row::new(record, &Value::Null, 1).ok())?
}

pub(crate) fn late_times(error: &PersistenceError, record: &str, value: &Value) -> Option<Row> {
    let refused = matches!(error, PersistenceError::TimestampOutOfRange { .. });
    refused.then(|| Row::new(record, value, MAX_TIMESTAMP).ok())?
}

/// A value that is too large is refused, and so is the next one.
#[derive(Default)]
pub(crate) struct RefusesTheNextToo(AtomicBool);

#[async_trait]
impl Twist for RefusesTheNextToo {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        if self.0.swap(false, Ordering::SeqCst) {
            return Err(PersistenceError::ValueTooLarge { size: 2, limit: 1 });
        }
        let stored: std::result::Result<(), PersistenceError> =
            inner.store(record, value, at).await;
        let too_large = matches!(stored, Err(PersistenceError::ValueTooLarge { .. }));
        self.0.store(too_large, Ordering::SeqCst);
        stored
    }
}

/// Stores the rows in front of the invalid one.
pub(crate) struct HalfBatch;

#[async_trait]
impl Twist for HalfBatch {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let stored: std::result::Result<(), PersistenceError> = inner.store_batch(batch).await;
        if let Err(PersistenceError::InvalidRow { index, .. }) = &stored {
            inner.store_batch(&Batch::new(batch.rows()[..*index].to_vec())).await?;
        }
        stored
    }
}

/// Small batches are committed whole, larger ones ten rows at a time.
#[derive(Default)]
pub(crate) struct CommitsEveryTenRows(Seen);

#[async_trait]
impl Twist for CommitsEveryTenRows {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        batch.validate(usize::MAX)?;
        if batch.rows().len() <= 10 {
            return inner.store_batch(batch).await;
        }
        if batch.id().is_some_and(|id| !self.0.is_new(id)) {
            return Ok(());
        }
        for rows in batch.rows().chunks(10) {
            // What a commit to a fast disk takes. Without it the lock is never free long enough for
            // a reader that waits for it.
            std::thread::sleep(Duration::from_micros(50));
            inner.store_batch(&Batch::new(rows.to_vec())).await?;
        }
        Ok(())
    }
}

/// The last number of each writer.
#[derive(Default)]
struct Seen(Mutex<HashMap<u128, u64>>);

impl Seen {
    /// Whether the id was not noted before; it is now.
    fn is_new(&self, id: BatchId) -> bool {
        let mut seen = self.0.lock().unwrap();
        let last = seen.entry(id.writer).or_insert(0);
        let is_new = id.number > *last;
        *last = id.number.max(*last);
        is_new
    }
}

/// One statement with three parameters a row, of which there are 65,535.
pub(crate) struct MoreRowsThanParameters;

#[async_trait]
impl Twist for MoreRowsThanParameters {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        if 3 * batch.rows().len() > usize::from(u16::MAX) {
            let message = "too many parameters";
            return Err(BackendError::new("wrong", "store", ErrorKind::Other, message).into());
        }
        inner.store_batch(batch).await
    }
}

/// Remembers the thousand writers that stored last, and their last numbers.
#[derive(Default)]
pub(crate) struct RemembersAThousandWriters(Mutex<VecDeque<BatchId>>);

#[async_trait]
impl Twist for RemembersAThousandWriters {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let Some(id) = batch.id() else { return inner.store_batch(batch).await };
        batch.validate(usize::MAX)?;
        let is_new = {
            let mut writers = self.0.lock().unwrap();
            let place = writers.iter().position(|seen| seen.writer == id.writer);
            let last = place
                .and_then(|place| writers.remove(place))
                .unwrap_or(BatchId { number: 0, ..id });
            writers.push_back(BatchId { number: id.number.max(last.number), ..id });
            if writers.len() > 1_000 {
                writers.pop_front();
            }
            id.number > last.number
        };
        if is_new { inner.store_batch(&Batch::new(batch.rows().to_vec())).await } else { Ok(()) }
    }
}

/// Looks whether it has seen the batch, stores it, and notes it when that is done.
#[derive(Default)]
pub(crate) struct NotesIdsAfterwards(Mutex<HashMap<u128, u64>>);

#[async_trait]
impl Twist for NotesIdsAfterwards {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let Some(id) = batch.id() else { return inner.store_batch(batch).await };
        batch.validate(usize::MAX)?;
        let last = self.0.lock().unwrap().get(&id.writer).copied();
        if last.is_some_and(|last| id.number <= last) {
            return Ok(());
        }
        tokio::task::yield_now().await;
        inner.store_batch(&Batch::new(batch.rows().to_vec())).await?;
        self.0.lock().unwrap().insert(id.writer, id.number);
        Ok(())
    }
}

/// Does not say which row is the invalid one.
pub(crate) struct UnnamedRow;

#[async_trait]
impl Twist for UnnamedRow {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let stored: std::result::Result<(), PersistenceError> = inner.store_batch(batch).await;
        stored.map_err(|error| match error {
            PersistenceError::InvalidRow { source, .. } => *source,
            other => other,
        })
    }
}

/// The last row of a batch is stored first.
pub(crate) struct BackwardsBatch;

#[async_trait]
impl Twist for BackwardsBatch {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        // So that the invalid row is named as it should be.
        batch.validate(usize::MAX)?;
        let rows: Vec<Row> = batch.rows().iter().rev().cloned().collect();
        let rows = Batch::new(rows);
        inner
            .store_batch(&match batch.id() {
                Some(id) => rows.with_id(id),
                None => rows,
            })
            .await
    }
}

/// Takes no notice of ids, and claims to.
pub(crate) struct IgnoresIds;

#[async_trait]
impl Twist for IgnoresIds {
    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        inner.store_batch(&Batch::new(batch.rows().to_vec())).await
    }
}

/// Knows only the last batch of a writer, not those before it.
pub(crate) struct KnowsTheLastBatchOnly;

#[async_trait]
impl Twist for KnowsTheLastBatchOnly {
    async fn has_batch(&self, inner: &MemoryBackend, id: BatchId) -> Result<bool> {
        let next = BatchId { number: id.number + 1, ..id };
        Ok(inner.has_batch(id).await? && !inner.has_batch(next).await?)
    }
}

/// A store that is dropped half-way leaves the lock behind.
#[derive(Default)]
pub(crate) struct BrokenByDropping(Arc<AtomicBool>);

#[async_trait]
impl Twist for BrokenByDropping {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        while self.0.swap(true, Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::task::yield_now().await;
        let stored = inner.store(record, value, at).await;
        self.0.store(false, Ordering::SeqCst);
        stored
    }
}

/// Every 64th store is repeated although nothing was wrong with it, once others wait as well.
#[derive(Default)]
pub(crate) struct StoresTwiceUnderLoad(std::sync::atomic::AtomicU64);

#[async_trait]
impl Twist for StoresTwiceUnderLoad {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let beside = self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let stored: Result<()> = inner.store(record, value, at).await;
        if beside > 0 && record == "shared" {
            inner.store(record, value, at).await?;
        }
        self.0.fetch_sub(1, Ordering::SeqCst);
        stored
    }
}

/// Serializes and stores on the executor's thread, and takes its time.
pub(crate) struct BlocksTheExecutor;

#[async_trait]
impl Twist for BlocksTheExecutor {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        std::thread::sleep(Duration::from_millis(60));
        inner.cleanup(older_than).await
    }
}

/// `close` does nothing, except that queries fail from then on.
#[derive(Default)]
pub(crate) struct ClosesHalf(AtomicBool);

#[async_trait]
impl Twist for ClosesHalf {
    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        match inner.store(record, value, at).await {
            Err(PersistenceError::BackendShutdown) if self.0.load(Ordering::SeqCst) => Ok(()),
            other => other,
        }
    }

    async fn close(&self, inner: &MemoryBackend) -> Result<()> {
        self.0.store(true, Ordering::SeqCst);
        inner.close().await
    }
}

/// `stored_at <= older_than`.
pub(crate) struct InclusiveCleanup;

#[async_trait]
impl Twist for InclusiveCleanup {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        inner.cleanup(older_than.saturating_add(1)).await
    }
}

/// Counts what it looked at.
pub(crate) struct InexactCleanup;

#[async_trait]
impl Twist for InexactCleanup {
    async fn cleanup(&self, inner: &MemoryBackend, older_than: u64) -> Result<u64> {
        Ok(inner.cleanup(older_than).await?.next_multiple_of(5))
    }
}

/// Removes in steps, and returns what the last one removed.
pub(crate) struct CountsTheLastStep;

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
pub(crate) struct PlanForAThousandRecords;

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
pub(crate) struct CleanupHoldsEverybodyUp(tokio::sync::RwLock<()>);

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
pub(crate) struct Plans(pub(crate) fn(&CleanupPlan) -> CleanupPlan);

#[async_trait]
impl Twist for Plans {
    async fn cleanup_plan(&self, inner: &MemoryBackend, plan: &CleanupPlan) -> Result<u64> {
        inner.cleanup_plan(&(self.0)(plan)).await
    }
}

pub(crate) fn keeps_nothing(plan: &CleanupPlan) -> CleanupPlan {
    plan.clone().with_keep_newest(0)
}

pub(crate) fn holds_nothing(plan: &CleanupPlan) -> CleanupPlan {
    let mut plan = plan.clone();
    plan.holds.clear();
    plan
}

pub(crate) fn last_rule_first(plan: &CleanupPlan) -> CleanupPlan {
    let mut plan = plan.clone();
    plan.rules.reverse();
    plan
}

pub(crate) fn rules_without_case(plan: &CleanupPlan) -> CleanupPlan {
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
pub(crate) struct EveryPlanIsPlain;

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

/// The newest of equals is the first to arrive, to whoever asks for one row.
pub(crate) struct FirstOfEqualsIsLatest;

#[async_trait]
impl Twist for FirstOfEqualsIsLatest {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<annals_core::RawRow>> {
        let mut rows = select(inner, pattern, params).await?;
        if params.limit_per_record == Some(1) {
            for row in &mut rows {
                let at = QueryParams::range(row.stored_at, row.stored_at);
                if let Some(first) = select(inner, &row.record, at).await?.pop() {
                    *row = first;
                }
            }
        }
        Ok(rows)
    }
}
