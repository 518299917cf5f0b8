//! Changes of the tables that keep the sums in the state and seal what is stored.

use std::sync::Arc;

use annals_core::{BatchId, REMEMBERED_WRITERS, Result};

use crate::engine::{Tables, Transaction};
use crate::error::{corrupt, format_error};
use crate::format::{Arrivals, NewRun, Place, content_size, seal};
use crate::ids::{ARRIVALS, RecordId, Run, RunOrder};
use crate::state::{LastBatch, State, Sum};

/// Records the batch's number. Returns false if it is not above every earlier number of its writer,
/// which means that the batch is already stored.
pub(super) fn claim(transaction: &mut dyn Transaction, batch: BatchId) -> Result<bool> {
    let before = transaction.tables().writer(batch.writer)?;
    if before.is_some_and(|last| batch.number <= last.number) {
        return Ok(false);
    }
    let state = transaction.state();
    let last = LastBatch { number: batch.number, block: state.next_block };
    if let Some(before) = before {
        state.writers.remove_writer(batch.writer, before);
    }
    state.writers.add_writer(batch.writer, last);
    transaction.put_writer(batch.writer, last)?;
    Ok(true)
}

/// Forgets the batch numbers of all but the writers that stored most recently. The order is that of
/// blocks, because clocks jump.
pub(super) fn forget_writers(transaction: &mut dyn Transaction) -> Result<()> {
    if transaction.state().writers.count() <= REMEMBERED_WRITERS {
        return Ok(());
    }
    let mut writers = transaction.tables().writers()?;
    writers.sort_unstable_by_key(|(writer, last)| std::cmp::Reverse((last.block, *writer)));
    for (writer, last) in writers.drain(REMEMBERED_WRITERS as usize..) {
        transaction.state().writers.remove_writer(writer, last);
        transaction.remove_writer(writer)?;
    }
    Ok(())
}

/// Whether the table of writers is the one that was stored.
pub(crate) fn check_writers(
    engine: &'static str,
    tables: &dyn Tables,
    state: &State,
) -> Result<()> {
    let mut sum = Sum::default();
    for (writer, last) in tables.writers()? {
        sum.add_writer(writer, last);
    }
    match sum == state.writers {
        true => Ok(()),
        false => Err(corrupt(engine, "the writers are not those that were stored")),
    }
}

/// Adds a name that is not there.
pub(crate) fn add_name(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    name: &str,
) -> Result<RecordId> {
    let record = transaction.state().allocate_record(engine)?;
    transaction.state().names.add_name(name, record);
    transaction.put_name(name, record)?;
    Ok(record)
}

pub(super) fn remove_name(
    transaction: &mut dyn Transaction,
    name: &str,
    record: RecordId,
) -> Result<()> {
    transaction.state().names.remove_name(name, record);
    transaction.remove_name(name)
}

/// Appends an encoded block to the head and returns its number, which is greater than all before.
pub(super) fn append(transaction: &mut dyn Transaction, block: &[u8]) -> Result<u64> {
    let state = transaction.state();
    let number = state.allocate_block();
    state.largest_block = state.largest_block.max(content_size(block).unwrap_or_default());
    transaction.put_head(number, &seal(Place::Head(number), block))?;
    Ok(number)
}

/// Removes the blocks of the head up to a number, inclusive.
pub(super) fn remove_head(transaction: &mut dyn Transaction, last: u64) -> Result<()> {
    let state = transaction.state();
    state.head = state.head.max(last.saturating_add(1));
    transaction.remove_head(last)
}

/// Encodes and writes a run under a newly allocated id.
pub(crate) fn add_run(
    engine: &'static str,
    transaction: &mut dyn Transaction,
    order: RunOrder,
    run: &NewRun,
) -> Result<()> {
    let NewRun { index, blocks, text_bytes, arrivals } = run;
    let encoded = index.encode().map_err(|error| format_error(engine, error))?;
    let state = transaction.state();
    let run = Run {
        id: state.allocate_run(),
        order,
        rows: u64::from(index.rows()),
        first: index.first(),
        last: index.last(),
        bytes: *text_bytes,
        sealed: true,
    };
    state.runs.add_run(&run);
    transaction.put_run(&run, &seal(Place::Index(run.id), &encoded))?;
    for (number, block) in (0..).zip(blocks) {
        transaction.put_block(run.id, number, &seal(Place::Block(run.id, number), block))?;
    }
    // What a run without arrivals means need not be written.
    if arrivals.iter().any(|number| *number != order.head) {
        let arrivals = Arrivals::encode(arrivals).map_err(|error| format_error(engine, error))?;
        let place = Place::Block(run.id, ARRIVALS);
        transaction.put_block(run.id, ARRIVALS, &seal(place, &arrivals))?;
    }
    Ok(())
}

/// Removes a run with its index and blocks.
pub(super) fn remove_run(transaction: &mut dyn Transaction, run: &Run) -> Result<()> {
    transaction.state().runs.remove_run(run);
    transaction.remove_run(run.id)
}

/// Names that a transaction has added.
pub(super) type AddedNames = Vec<(Arc<str>, RecordId)>;
