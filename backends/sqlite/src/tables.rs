//! The tables as a transaction on a connection sees them.

use std::ops::RangeInclusive;

use annals_core::Result;
use annals_embedded::{LastBatch, Run, RunId, RunOrder, Tables, Visit, VisitName};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::error::failed;
use crate::unchanged::Unchanged;

/// The number under which the table of the head has the state of the store: beside the newest block,
/// which every transaction that stores rows writes.
pub(crate) const STATE: i64 = i64::MAX;

/// The key of a block: the run above, the number below. `None` for a run beyond all that can be stored.
pub(crate) fn block_key(run: RunId, number: u32) -> Option<i64> {
    let run = i32::try_from(run).ok()?;
    Some(i64::from(run) << u32::BITS | i64::from(number))
}

/// Whether there are blocks that version 4 or an earlier one has written.
pub(crate) fn has_old_blocks(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'old_blocks')")?
        .query_row([], |row| row.get(0))
}

/// A block that version 4 or an earlier one has written.
fn old_block(
    connection: &Connection,
    run: RunId,
    number: u32,
) -> rusqlite::Result<Option<Vec<u8>>> {
    // Version 4 is read without being converted, too.
    let select = match has_old_blocks(connection)? {
        true => "SELECT block FROM old_blocks WHERE run = ?1 AND number = ?2",
        false => "SELECT block FROM blocks WHERE run = ?1 AND number = ?2",
    };
    connection.prepare_cached(select)?.query_row(params![run, number], |row| row.get(0)).optional()
}

/// A connection inside a transaction.
pub(crate) struct SqliteTables {
    pub(crate) connection: Connection,
    /// Of a file that is read without locks.
    pub(crate) unchanged: Option<Unchanged>,
}

impl SqliteTables {
    fn query<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let found = read(&self.connection);
        self.check_unchanged()?;
        found.map_err(failed("query"))
    }

    /// Visits rows, each as soon as it is read.
    fn visit(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        visit: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let found = self.connection.prepare_cached(sql).map_err(failed("query"));
        let visited = found.and_then(|mut select| {
            let mut rows = select.query(values).map_err(failed("query"))?;
            while let Some(row) = rows.next().map_err(failed("query"))? {
                visit(row)?;
            }
            Ok(())
        });
        self.check_unchanged()?;
        visited
    }

    /// Whether what was read counts.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`](annals_core::ErrorKind::Busy) if the file has changed.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.unchanged.as_ref().map_or(Ok(()), Unchanged::check)
    }
}

impl Tables for SqliteTables {
    fn state(&self) -> Result<Option<Vec<u8>>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT frame FROM head WHERE number = ?1")?
                .query_row([STATE], |row| row.get(0))
                .optional()
        })
    }

    fn names(&self, visit: &mut VisitName<'_>) -> Result<()> {
        self.visit("SELECT name, id FROM records ORDER BY name", params![], &mut |row| {
            let name = row.get_ref(0).and_then(|name| Ok(name.as_str()?));
            visit(name.map_err(failed("query"))?, row.get(1).map_err(failed("query"))?)
        })
    }

    fn writer(&self, writer: u128) -> Result<Option<LastBatch>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT number, block FROM writers WHERE writer = ?1")?
                .query_row([writer.to_be_bytes()], |row| last_batch(row, 0))
                .optional()
        })
    }

    fn writers(&self) -> Result<Vec<(u128, LastBatch)>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT writer, number, block FROM writers")?
                .query_map([], |row| Ok((u128::from_be_bytes(row.get(0)?), last_batch(row, 1)?)))?
                .collect()
        })
    }

    fn head(&self, numbers: RangeInclusive<u64>, visit: &mut Visit<'_>) -> Result<()> {
        let last = i64::try_from(*numbers.end()).unwrap_or(i64::MAX).min(STATE - 1);
        self.visit(
            "SELECT number, frame FROM head WHERE number BETWEEN ?1 AND ?2 ORDER BY number",
            params![numbers.start(), last],
            &mut |row| {
                let number = row.get(0).map_err(failed("query"))?;
                let block = row.get_ref(1).map_err(failed("query"))?;
                visit(number, block.as_blob().unwrap_or_default())
            },
        )
    }

    fn runs(&self) -> Result<Vec<Run>> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, order_head, order_part, rows, first, last, text_bytes, sealed FROM \
                     runs",
                )?
                .query_map([], |row| {
                    Ok(Run {
                        id: row.get(0)?,
                        order: RunOrder { head: row.get(1)?, part: row.get(2)? },
                        rows: row.get(3)?,
                        first: row.get(4)?,
                        last: row.get(5)?,
                        bytes: row.get(6)?,
                        sealed: row.get(7)?,
                    })
                })?
                .collect()
        })
    }

    fn run_index(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT run_index FROM runs WHERE id = ?1")?
                .query_row([run], |row| row.get(0))
                .optional()
        })
    }

    fn block(&self, run: RunId, number: u32) -> Result<Option<Vec<u8>>> {
        let Some(key) = block_key(run, number) else { return Ok(None) };
        self.query(|connection| {
            let found = connection
                .prepare_cached("SELECT block FROM blocks WHERE id = ?1")
                .and_then(|mut select| select.query_row([key], |row| row.get(0)).optional());
            match found {
                Ok(Some(block)) => Ok(Some(block)),
                Ok(None) if !has_old_blocks(connection)? => Ok(None),
                // Damage in one of the tables says nothing about the other.
                found => match old_block(connection, run, number) {
                    Ok(None) | Err(_) if found.is_err() => found,
                    old => old,
                },
            }
        })
    }
}

/// A writer's last batch, whose number is in this column.
fn last_batch(row: &Row<'_>, column: usize) -> rusqlite::Result<LastBatch> {
    Ok(LastBatch { number: row.get(column)?, block: row.get(column + 1)? })
}
