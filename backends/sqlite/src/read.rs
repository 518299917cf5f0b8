//! Readers: a connection each, one snapshot each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_core::{Order, Pattern, PersistenceError};
use annals_embedded::{Key, RecordId, Snapshot, Summary};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::config::SqliteConfig;
use crate::error::failed;
use crate::schema;

/// Idle connections, kept for the next query. There are as many connections as there are open
/// streams, and no more idle ones than reads at the same time.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    connections: Vec<Connection>,
    closed: bool,
}

impl Idle {
    /// Closes those that are idle; the others are closed when they are given back.
    pub(crate) fn close(&self) {
        let mut shelf = self.lock();
        shelf.closed = true;
        let connections = std::mem::take(&mut shelf.connections);
        drop(shelf);
        drop(connections);
    }

    fn take(&self) -> Option<Connection> {
        self.lock().connections.pop()
    }

    fn give_back(&self, connection: Connection, most: usize) {
        let mut shelf = self.lock();
        if !shelf.closed && shelf.connections.len() < most {
            shelf.connections.push(connection);
            return;
        }
        drop(shelf);
        // The last connection of all copies the log into the file, and this may be a task that
        // drops a stream.
        blocking::unblock(move || drop(connection)).detach();
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Every change under the lock is one push, pop or store.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where snapshots come from.
pub(crate) struct Pool {
    idle: Idle,
    config: SqliteConfig,
}

impl Pool {
    pub(crate) fn new(config: SqliteConfig, idle: Idle) -> Self {
        Self { idle, config }
    }

    pub(crate) fn snapshot(&self) -> Result<SqliteSnapshot, PersistenceError> {
        let connection = match self.idle.take() {
            Some(connection) => connection,
            None => schema::open_reader(&self.config)?,
        };
        let snapshot = SqliteSnapshot {
            connection: Some(connection),
            idle: self.idle.clone(),
            most_idle: self.config.shared.readers,
        };
        // A deferred transaction takes its snapshot with the first read.
        snapshot
            .query(|connection| {
                connection.prepare_cached("BEGIN")?.execute([])?;
                connection
                    .prepare_cached("SELECT schema_version FROM annals_meta")?
                    .query_row([], |_| Ok(()))
            })
            .map(|()| snapshot)
    }
}

/// A read transaction on a connection of its own.
pub(crate) struct SqliteSnapshot {
    /// Taken only when it is dropped.
    connection: Option<Connection>,
    idle: Idle,
    most_idle: usize,
}

impl SqliteSnapshot {
    fn query<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, PersistenceError> {
        match &self.connection {
            Some(connection) => read(connection).map_err(failed("query")),
            None => Err(PersistenceError::BackendShutdown),
        }
    }
}

impl Drop for SqliteSnapshot {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        // One whose transaction would not end is no good to the next query.
        self.idle.give_back(connection, if ended.is_ok() { self.most_idle } else { 0 });
    }
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    // Stored times are never negative.
    Ok(Key { stored_at: row.get(0)?, seq: row.get(1)? })
}

/// The smallest text greater than all that begin with `prefix`; none if there is no such text.
fn beyond(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // Between U+D7FF and U+E000 lie the surrogates, which are no characters.
        let next =
            if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

/// The names that a statement lists and the pattern matches.
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

impl Snapshot for SqliteSnapshot {
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError> {
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

    fn summary(&self, record: RecordId) -> Result<Option<Summary>, PersistenceError> {
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT count(*), min(stored_at), max(stored_at) FROM history WHERE record_id \
                     = ?1 HAVING count(*) > 0",
                )?
                .query_row([record], |row| {
                    Ok(Summary { count: row.get(0)?, first: row.get(1)?, last: row.get(2)? })
                })
                .optional()
        })
    }

    fn nth_newest(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
        n: u64,
    ) -> Result<Option<Key>, PersistenceError> {
        let offset = i64::try_from(n.saturating_sub(1)).unwrap_or(i64::MAX);
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT stored_at, seq FROM history WHERE record_id = ?1 AND (stored_at, seq) \
                     >= (?2, ?3) AND (stored_at, seq) <= (?4, ?5) ORDER BY stored_at DESC, seq DESC \
                     LIMIT 1 OFFSET ?6",
                )?
                .query_row(
                    params![
                        record,
                        from.stored_at,
                        from.seq,
                        to.stored_at,
                        to.seq,
                        offset
                    ],
                    key,
                )
                .optional()
        })
    }

    fn scan(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
        order: Order,
        visit: &mut dyn FnMut(Key, &str) -> bool,
    ) -> Result<(), PersistenceError> {
        let sql = match order {
            Order::NewestFirst => {
                "SELECT stored_at, seq, value FROM history WHERE record_id = ?1 AND (stored_at, \
                 seq) >= (?2, ?3) AND (stored_at, seq) <= (?4, ?5) ORDER BY stored_at DESC, seq \
                 DESC"
            }
            Order::OldestFirst => {
                "SELECT stored_at, seq, value FROM history WHERE record_id = ?1 AND (stored_at, \
                 seq) >= (?2, ?3) AND (stored_at, seq) <= (?4, ?5) ORDER BY stored_at, seq"
            }
        };
        self.query(|connection| {
            let mut select = connection.prepare_cached(sql)?;
            let mut rows =
                select.query(params![record, from.stored_at, from.seq, to.stored_at, to.seq])?;
            while let Some(row) = rows.next()? {
                let json = row.get_ref(2)?;
                if !visit(key(row)?, json.as_str().unwrap_or(Self::NOT_TEXT)) {
                    break;
                }
            }
            Ok(())
        })
    }
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
