//! The engines by hand: the same rows, the same durability, and nothing in between.

pub(crate) mod redb;
pub(crate) mod sqlite;

use std::time::{Duration, Instant};

use crate::Failure;

/// How long rows are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Rows(u64),
    Elapsed(Duration),
}

/// Commits batch after batch; `commit` writes the rows with these numbers. Answers how many rows
/// were written, and how many a second.
fn write(
    until: Until,
    batch: u64,
    mut commit: impl FnMut(std::ops::Range<u64>) -> Result<(), Failure>,
) -> Result<(u64, f64), Failure> {
    let (wanted, limit) = match until {
        Until::Rows(wanted) => (wanted, Duration::MAX),
        Until::Elapsed(limit) => (u64::MAX, limit),
    };
    let begun = Instant::now();
    let mut rows = 0;
    while rows < wanted && begun.elapsed() < limit {
        let end = rows.saturating_add(batch).min(wanted);
        commit(rows..end)?;
        rows = end;
    }
    Ok((rows, rows as f64 / begun.elapsed().as_secs_f64()))
}

/// Fails unless as many rows are found as were written.
fn must_be(found: u64, written: u64) -> Result<(), Failure> {
    if found == written {
        Ok(())
    } else {
        Err(format!("{written} rows were written by hand and {found} were found").into())
    }
}
