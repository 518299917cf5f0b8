//! Backends that erase and correct what they should not.

use std::collections::BTreeSet;
use std::sync::Mutex;

use annals_core::{
    Batch, Erasure, Grammar, Guarantees, MAX_TIMESTAMP, MemoryBackend, Pattern, PersistenceBackend,
    QueryParams, RecordSummary, Row, Value, async_trait,
};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted(
            "erases_short_of_the_end",
            || Erases(short_of_the_end),
            &["ERASE-1", "ERASE-2", "ERASE-5"],
        ),
        twisted("erases_whatever_the_filter", || Erases(whatever_the_filter), &["ERASE-1"]),
        twisted(
            "counts_records_instead",
            || CountsRecords,
            &["ERASE-1", "CORRECT-1", "ERASE-2", "ERASE-3", "ERASE-4", "ERASE-5"],
        ),
        twisted("erases_a_thousand_rows", || ErasesAThousand, &["ERASE-1"])
            .unseen_by_random()
            .caught_by("erase_1_counts_exactly_over_many_rows"),
        twisted("claims_no_erasure_and_erases", || ErasesUnclaimed, &["ERASE-1"])
            .unseen_by_random(),
        twisted("erases_record_by_record", || ErasesRecordByRecord, &["ERASE-2"])
            .unseen_by_random()
            .caught_by("erase_2_readers_see_no_part_of_it"),
        twisted("erases_what_comes_meanwhile", || ErasesLater, &["ERASE-3"])
            .unseen_by_random()
            .caught_by("erase_3_rows_that_are_stored_meanwhile_are_counted_or_stay"),
        twisted("forgets_ids_of_what_is_erased", ForgetsErasedIds::default, &["ERASE-4"]),
        twisted("lists_erased_records", ListsErasedRecords::default, &["ERASE-5", "ERASE-1"]),
        twisted("corrects_the_first_of_equals", || Corrects(the_first), &["CORRECT-1", "FOLLOW-8"])
            .unseen_by_random(),
        twisted(
            "corrects_by_adding_a_row",
            || Corrects(by_adding),
            &["CORRECT-1", "CORRECT-2", "FOLLOW-8"],
        ),
        twisted(
            "corrects_what_is_not_there",
            || Corrects(what_is_not_there),
            &["CORRECT-1", "FOLLOW-8"],
        ),
        twisted("erases_before_it_corrects", || ErasesBeforeItCorrects, &["CORRECT-2", "FOLLOW-8"])
            .unseen_by_random()
            .caught_by("correct_2_a_reader_sees_the_old_value_or_the_new_one"),
    ]
}

/// Erases something else.
struct Erases(fn(Erasure) -> Erasure);

#[async_trait]
impl Twist for Erases {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        inner.erase(&(self.0)(erasure.clone())).await
    }
}

/// `stored_at < end`.
fn short_of_the_end(erasure: Erasure) -> Erasure {
    match erasure.end_time {
        Some(end @ 1..=MAX_TIMESTAMP) => erasure.with_end_time(end - 1),
        _ => erasure,
    }
}

fn whatever_the_filter(erasure: Erasure) -> Erasure {
    erasure.with_where(None)
}

/// Answers with the number of records.
struct CountsRecords;

#[async_trait]
impl Twist for CountsRecords {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let before = inner.records("*", Grammar::Glob).await?;
        let removed = inner.erase(erasure).await?;
        let after = inner.records("*", Grammar::Glob).await?;
        let is_changed = |one: &&RecordSummary| !after.contains(one);
        Ok(removed.min(before.iter().filter(is_changed).count() as u64))
    }
}

/// One step, and no more.
struct ErasesAThousand;

#[async_trait]
impl Twist for ErasesAThousand {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        const STEP: usize = 20_000;
        let rows = select(inner, "*", QueryParams::default()).await?;
        match rows.get(STEP) {
            // The oldest of the last records stay.
            Some(row) => {
                inner.erase(&erasure.clone().with_start_time(row.stored_at.max(101))).await
            }
            None => inner.erase(erasure).await,
        }
    }
}

struct ErasesUnclaimed;

#[async_trait]
impl Twist for ErasesUnclaimed {
    fn claims(&self, claims: Guarantees) -> Guarantees {
        claims.with_erasure(false)
    }
}

/// A record after the other, with other tasks in between.
struct ErasesRecordByRecord;

#[async_trait]
impl Twist for ErasesRecordByRecord {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let mut removed = 0;
        for record in inner.records("*", Grammar::Glob).await? {
            if erasure.pattern.matches(&record.record) {
                let mut one = erasure.clone();
                one.pattern = Pattern::new(&record.record, Grammar::Glob)?;
                removed += inner.erase(&one).await?;
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(removed)
    }
}

/// Counts first, and erases later.
struct ErasesLater;

#[async_trait]
impl Twist for ErasesLater {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let params = QueryParams::default()
            .with_start_time(erasure.start_time)
            .with_end_time(erasure.end_time);
        let mut rows = Vec::new();
        if erasure.window().is_some() {
            let params = params.with_grammar(erasure.pattern.grammar());
            rows = select(inner, erasure.pattern.as_str(), params).await?;
        }
        rows.retain(|row| erasure.takes(&row.json));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let before = inner.records("*", Grammar::Glob).await?.len();
        inner.erase(erasure).await?;
        Ok(if before == 0 { 0 } else { rows.len() as u64 })
    }
}

/// Takes a batch again once its rows are gone.
#[derive(Default)]
struct ForgetsErasedIds(Mutex<bool>);

#[async_trait]
impl Twist for ForgetsErasedIds {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let erased = inner.erase(erasure).await?;
        *self.0.lock().unwrap() |= erased > 0;
        Ok(erased)
    }

    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let is_forgotten = *self.0.lock().unwrap();
        match batch.id() {
            Some(id) if is_forgotten && inner.has_batch(id).await? => {
                inner.store_batch(&Batch::new(batch.rows().to_vec())).await
            }
            _ => inner.store_batch(batch).await,
        }
    }
}

/// Keeps the names of records that lost their last row.
#[derive(Default)]
struct ListsErasedRecords(Mutex<BTreeSet<String>>);

#[async_trait]
impl Twist for ListsErasedRecords {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let before = inner.records("*", Grammar::Glob).await?;
        let erased = inner.erase(erasure).await?;
        self.0.lock().unwrap().extend(before.into_iter().map(|record| record.record));
        Ok(erased)
    }

    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        let mut records = inner.records(pattern, grammar).await?;
        let pattern = Pattern::new(pattern, grammar)?;
        for name in self.0.lock().unwrap().iter().filter(|name| pattern.matches(name)) {
            if !records.iter().any(|record| record.record == *name) {
                records.push(RecordSummary::new(name.as_str(), 0, 0, 0));
            }
        }
        records.sort_by(|one, other| one.record.cmp(&other.record));
        Ok(records)
    }
}

/// What becomes of the rows at a time, given the new value and whether there is a row.
type Change = fn(&mut Vec<Row>, Row);

/// Corrects in another way.
struct Corrects(Change);

#[async_trait]
impl Twist for Corrects {
    async fn correct(&self, inner: &MemoryBackend, row: &Row) -> Result<bool> {
        let (record, at) = (row.record.as_str(), row.stored_at);
        let oldest_first = QueryParams::range(at, at).with_order(annals_core::Order::OldestFirst);
        let mut rows = Vec::new();
        for there in select(inner, record, oldest_first).await? {
            let value: Value = serde_json::from_str(&there.json)?;
            rows.push(Row::new(record, &value, at)?);
        }
        let found = !rows.is_empty();
        (self.0)(&mut rows, row.clone());
        let pattern = Pattern::new(record, Grammar::Glob)?;
        inner.erase(&Erasure::new(pattern).with_start_time(at).with_end_time(at)).await?;
        inner.store_batch(&Batch::new(rows)).await?;
        Ok(found)
    }
}

#[expect(clippy::ptr_arg, reason = "it is a `Change`, and others add rows")]
fn the_first(rows: &mut Vec<Row>, row: Row) {
    if let Some(first) = rows.first_mut() {
        *first = row;
    }
}

fn by_adding(rows: &mut Vec<Row>, row: Row) {
    if !rows.is_empty() {
        rows.push(row);
    }
}

fn what_is_not_there(rows: &mut Vec<Row>, row: Row) {
    rows.pop();
    rows.push(row);
}

/// For a moment there is no value.
struct ErasesBeforeItCorrects;

#[async_trait]
impl Twist for ErasesBeforeItCorrects {
    async fn correct(&self, inner: &MemoryBackend, row: &Row) -> Result<bool> {
        let (record, at) = (row.record.as_str(), row.stored_at);
        let mut rows = select(inner, record, QueryParams::range(at, at)).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        rows.reverse();
        rows.pop();
        let pattern = Pattern::new(record, Grammar::Glob)?;
        inner.erase(&Erasure::new(pattern).with_start_time(at).with_end_time(at)).await?;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let others = rows.iter().map(|there| {
            let value: Value = serde_json::from_str(&there.json)?;
            Row::new(record, &value, at)
        });
        let mut all: Vec<Row> = others.collect::<Result<_>>()?;
        all.push(row.clone());
        inner.store_batch(&Batch::new(all)).await?;
        Ok(true)
    }
}
