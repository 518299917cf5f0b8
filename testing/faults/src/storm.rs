//! Processes that write to one store, compact it, and are killed all the time.

use std::sync::Arc;

use annals_core::{
    Batch, BatchId, CleanupPlan, CleanupRule, Grammar, Order, Pattern, PersistenceBackend,
    PersistenceError, QueryParams, Row, StoredValue, Value,
};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::child::{Child, tell};
use crate::dice::Dice;
use crate::scenario::Open;

/// A process cleans up after this many batches.
const CLEANUP_EVERY: u64 = 15;

/// The batch of a writer, which is process and record alike: two rows and a short-lived one. Every
/// fifth comes late, and four neighbours have the same time.
fn batch(writer: u64, number: u64) -> Result<Batch, PersistenceError> {
    let row = |record: &str, at: u64| {
        Row::new(&format!("{record}{writer}"), &json!([number, at]), time(number))
    };
    let batch = Batch::new([row("w", 0)?, row("old", 1)?, row("w", 2)?]);
    Ok(batch.with_id(BatchId { writer: writer.into(), number }))
}

fn time(number: u64) -> u64 {
    1_000 + number / 4 - if number.is_multiple_of(5) { LATE } else { 0 }
}

/// By how much a late batch is late.
const LATE: u64 = 9;

/// What a child does: sends batches from `first` on until it is killed. It says `sent` before each
/// and `stored` after it, and `sweep` and `swept` around a cleanup.
///
/// # Errors
/// What the store reports.
pub(crate) fn write(open: &Open<'_>, writer: u64, first: u64) -> Result<(), PersistenceError> {
    let store = open()?;
    let plan = CleanupPlan::new(vec![CleanupRule::new(
        Pattern::new(&format!("old{writer}"), Grammar::Glob)?,
        Some(u64::MAX),
    )]);
    runtime().block_on(async {
        for number in first.. {
            tell(&format!("sent {number}"));
            store.store_batch(&batch(writer, number)?).await?;
            tell(&format!("stored {number}"));
            if number.is_multiple_of(CLEANUP_EVERY) {
                tell(&format!("sweep {number}"));
                store.cleanup_plan(&plan).await?;
                tell(&format!("swept {number}"));
            }
        }
        Ok(())
    })
}

fn runtime() -> Runtime {
    // It needs no driver, so that nothing can be refused.
    Builder::new_current_thread().build().unwrap_or_else(|error| panic!("{error}"))
}

/// What one writer's children have said.
#[derive(Debug, Default, Clone, Copy)]
struct Journal {
    sent: u64,
    stored: u64,
    /// Up to here a cleanup may have removed short-lived rows…
    sweep: u64,
    /// … and up to here it has.
    swept: u64,
    /// Up to here everything was found. It is looked at once more at the end.
    checked: u64,
}

impl Journal {
    fn note(&mut self, line: &str) -> Result<(), String> {
        let number = |text: &str| text.parse().map_err(|_| format!("a child said {line}"));
        match line.split_once(' ') {
            // A process that begins again goes back by one.
            Some(("sent", text)) => self.sent = self.sent.max(number(text)?),
            Some(("stored", text)) => self.stored = self.stored.max(number(text)?),
            // It may find one that was sent before, and had no answer.
            Some(("sweep", _)) => self.sweep = self.sent,
            Some(("swept", text)) => self.swept = number(text)?,
            _ => return Err(format!("a child said {line}")),
        }
        Ok(())
    }

    /// The time from which on all batches are that were not checked yet.
    fn unchecked_from(&self) -> u64 {
        1_000 + self.checked / 4 - LATE
    }

    /// Checks the writer's rows from a time on: what was stored, and what was only sent, whole or not at
    /// all.
    fn check(&self, writer: u64, from: u64, rows: &[StoredValue]) -> Result<(), String> {
        let of = |record: &str| {
            let record = format!("{record}{writer}");
            let rows = rows.iter().filter(move |row| row.record_name == record);
            rows.map(|row| row.value.clone()).collect::<Vec<Value>>()
        };
        let expected = |first: u64, last: u64, rows: &[u64]| {
            // No batch before this one is in the window, not even one that came early.
            let first = first.max((from.saturating_sub(1_000) * 4).saturating_sub(4));
            let mut batches: Vec<u64> = (first..=last).filter(|n| time(*n) >= from).collect();
            batches.sort_by_key(|number| (time(*number), *number));
            let values = |number: u64| rows.iter().map(move |at| json!([number, at]));
            batches.into_iter().flat_map(values).collect::<Vec<Value>>()
        };
        let (kept, short_lived) = (of("w"), of("old"));
        let numbers = kept.iter().filter_map(|value| value[0].as_u64());
        let last = numbers.max().unwrap_or(0).max(self.checked);
        if !(self.stored..=self.sent).contains(&last) || kept != expected(1, last, &[0, 2]) {
            return Err(format!("writer {writer}, {self:?}, has {kept:?}"));
        }
        // A cleanup that was begun may have got anywhere.
        let not_swept = expected(self.swept + 1, last, &[1]);
        let in_order = not_swept.iter().filter(|row| short_lived.contains(row)).eq(&short_lived);
        let mut younger = expected(self.sweep + 1, last, &[1]).into_iter();
        if !in_order || !younger.all(|row| short_lived.contains(&row)) {
            return Err(format!("writer {writer}, {self:?}, has {short_lived:?}"));
        }
        Ok(())
    }
}

/// Starts `writers` processes on one store and kills one after the other, `kills` in all. `start`
/// starts one that calls [`write()`] with a writer and a number, `seed` decides when they are killed.
///
/// # Errors
/// What the store has lost, doubled or brought back.
pub(crate) fn storm(
    open: &Open<'_>,
    start: &dyn Fn(u64, u64) -> std::io::Result<Child>,
    writers: u64,
    kills: u64,
    seed: u64,
) -> Result<(), String> {
    let start = |writer, first| start(writer, first).map_err(|error| error.to_string());
    let mut dice = Dice::new(seed);
    let mut journals = vec![Journal::default(); writers as usize];
    let mut children = Vec::new();
    for writer in 0..writers {
        children.push(start(writer, 1)?);
    }
    for kill in 0..kills {
        let writer = kill % writers;
        let journal = &mut journals[writer as usize];
        let child = children.remove(0);
        for _ in 0..1 + dice.below(40) {
            let line = child.line().ok_or("a child ended by itself")?;
            journal.note(&line)?;
        }
        child.kill().iter().try_for_each(|line| journal.note(line))?;
        // Alone on the store, or beside the others.
        let store = open().map_err(|error| format!("after kill {kill}: {error}"))?;
        // Not all of it: the time for that would grow with the square of the kills.
        let from = journal.unchecked_from();
        let rows = runtime().block_on(everything(&store, from))?;
        journal.check(writer, from, &rows)?;
        journal.checked = journal.stored;
        drop(store);
        // The last batch is sent once more, as if its answer had got lost, and what nobody knows of.
        children.push(start(writer, journal.stored.max(1))?);
    }
    for (writer, child) in (0..writers).map(|at| (kills + at) % writers).zip(children) {
        let journal = &mut journals[writer as usize];
        child.kill().iter().try_for_each(|line| journal.note(line))?;
    }
    let store = open().map_err(|error| error.to_string())?;
    runtime().block_on(async {
        for (writer, journal) in (0..).zip(&mut journals) {
            journal.check(writer, 0, &everything(&store, 0).await?)?;
            if journal.sent > journal.stored {
                let batch = batch(writer, journal.sent).map_err(|error| error.to_string())?;
                store.store_batch(&batch).await.map_err(|error| error.to_string())?;
                journal.stored = journal.sent;
                journal.check(writer, 0, &everything(&store, 0).await?)?;
            }
        }
        store.close().await.map_err(|error| error.to_string())
    })
}

async fn everything(
    store: &Arc<dyn PersistenceBackend>,
    from: u64,
) -> Result<Vec<StoredValue>, String> {
    let params = QueryParams::default().with_order(Order::OldestFirst).with_start_time(from);
    store.query("*", params).await.map_err(|error| error.to_string())
}
