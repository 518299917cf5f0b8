//! The tables as a transaction on a connection sees them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_core::{Pattern, Result};
use annals_embedded::{RecordId, Run, RunId, RunOrder, Tables, Visit};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::error::failed;

/// A connection inside a transaction.
pub(crate) struct SqliteTables(pub(crate) Connection);

impl SqliteTables {
    fn query<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        read(&self.0).map_err(failed("query"))
    }
}

impl Tables for SqliteTables {
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>> {
        let prefix = pattern.literal_prefix();
        self.query(|connection| match (pattern.exact(), beyond(prefix)) {
            (Some(name), _) => {
                names(connection, pattern, "SELECT id, name FROM records WHERE name = ?1", &[&name])
            }
            (None, Some(beyond)) => names(
                connection,
                pattern,
                "SELECT id, name FROM records WHERE name >= ?1 AND name < ?2 ORDER BY name",
                &[&prefix, &beyond],
            ),
            (None, None) => names(
                connection,
                pattern,
                "SELECT id, name FROM records WHERE name >= ?1 ORDER BY name",
                &[&prefix],
            ),
        })
    }

    fn last_batch(&self, writer: u128) -> Result<Option<u64>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT number FROM writers WHERE writer = ?1")?
                .query_row([writer.to_be_bytes()], |row| row.get(0))
                .optional()
        })
    }

    fn head_bounds(&self) -> Result<Option<(u64, u64)>> {
        self.query(|connection| {
            // With both in one SELECT, SQLite would visit every row.
            connection
                .prepare_cached(
                    "SELECT (SELECT min(number) FROM head), (SELECT max(number) FROM head)",
                )?
                .query_row([], |row| {
                    let (first, last): (Option<u64>, Option<u64>) = (row.get(0)?, row.get(1)?);
                    Ok(first.zip(last))
                })
        })
    }

    fn head(&self, numbers: RangeInclusive<u64>, visit: &mut Visit<'_>) -> Result<()> {
        let failed = failed("query");
        let last = i64::try_from(*numbers.end()).unwrap_or(i64::MAX);
        let mut select = self
            .0
            .prepare_cached(
                "SELECT number, content FROM head WHERE number BETWEEN ?1 AND ?2 ORDER BY number",
            )
            .map_err(failed)?;
        let mut rows = select.query(params![numbers.start(), last]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let number = row.get(0).map_err(failed)?;
            let block = row.get_ref(1).map_err(failed)?;
            visit(number, block.as_blob().unwrap_or_default())?;
        }
        Ok(())
    }

    fn runs(&self) -> Result<Vec<Run>> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, order_head, order_part, rows, first, last, text_bytes FROM runs",
                )?
                .query_map([], |row| {
                    Ok(Run {
                        id: row.get(0)?,
                        order: RunOrder { head: row.get(1)?, part: row.get(2)? },
                        rows: row.get(3)?,
                        first: row.get(4)?,
                        last: row.get(5)?,
                        bytes: row.get(6)?,
                    })
                })?
                .collect()
        })
    }

    fn run_index(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT directory FROM runs WHERE id = ?1")?
                .query_row([run], |row| row.get(0))
                .optional()
        })
    }

    fn block(&self, run: RunId, number: u32) -> Result<Option<Vec<u8>>> {
        self.query(|connection| {
            connection
                .prepare_cached("SELECT block FROM blocks WHERE run = ?1 AND number = ?2")?
                .query_row(params![run, number], |row| row.get(0))
                .optional()
        })
    }
}

/// The names that a statement selects and the pattern matches.
fn names(
    connection: &Connection,
    pattern: &Pattern,
    sql: &str,
    bounds: &[&dyn ToSql],
) -> rusqlite::Result<Vec<(RecordId, Arc<str>)>> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(bounds)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(1)?.as_str()?;
        if pattern.matches(name) {
            records.push((row.get(0)?, name.into()));
        }
    }
    Ok(records)
}

/// The smallest text that is greater than all that begin with `prefix`, if there is one.
fn beyond(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // Surrogates, from U+D800 to U+DFFF, are not characters.
        let next =
            if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_beyond_a_prefix_is_the_next_character() {
        assert_eq!(beyond("ab").as_deref(), Some("ac"));
        assert_eq!(beyond("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(beyond("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(beyond("\u{10ffff}"), None);
        assert_eq!(beyond(""), None);
    }
}
