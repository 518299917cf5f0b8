//! Conversion of schema version 3, which had no checksums outside of blocks and kept the next ids beside
//! the schema version.

use annals_core::{ErrorKind, Result};
use annals_embedded::{RunId, State};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::error::{failed, refused};
use crate::schema::{META, RUNS};

pub(crate) const NEXT_RECORD: &str = "next_record";
const NEXT_BLOCK: &str = "next_block";
const NEXT_RUN: &str = "next_run";

/// The entry of each run, without what is new in version 4.
const RUNS_3: TableDefinition<'_, RunId, (u64, u8, u64, u64, u64, u64)> =
    TableDefinition::new("runs");

/// Takes the next ids out of the table where version 3 kept them. Version 2 had them there, too.
pub(crate) fn next_ids(transaction: &WriteTransaction) -> Result<State> {
    Ok(State {
        next_record: take(transaction, NEXT_RECORD)?,
        next_block: take(transaction, NEXT_BLOCK)?,
        next_run: take(transaction, NEXT_RUN)?,
        ..State::FIRST
    })
}

pub(crate) fn take(transaction: &WriteTransaction, key: &str) -> Result<u64> {
    let mut meta = transaction.open_table(META).map_err(failed("convert"))?;
    let next = meta.remove(key).map_err(failed("convert"))?.map(|next| next.value());
    next.ok_or_else(|| refused(ErrorKind::Corrupt, format!("the file does not say its {key}")))
}

/// Moves the entries of runs. Their blocks stay where they are.
pub(crate) fn move_runs(transaction: &WriteTransaction) -> Result<()> {
    let mut runs = transaction.open_table(RUNS).map_err(failed("convert"))?;
    {
        let old = transaction.open_table(RUNS_3).map_err(failed("convert"))?;
        for entry in old.iter().map_err(failed("convert"))? {
            let (id, run) = entry.map_err(failed("convert"))?;
            let (head, part, rows, first, last, bytes) = run.value();
            let entry = (head, part, rows, first, last, bytes, false);
            runs.insert(id.value(), entry).map_err(failed("convert"))?;
        }
    }
    transaction.delete_table(RUNS_3).map(drop).map_err(failed("convert"))
}
