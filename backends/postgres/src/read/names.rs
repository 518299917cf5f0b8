//! Finds the records that match a pattern: a range of names on the server, then core's matcher.

use std::sync::Arc;

use annals_core::{MAX_NAME_BYTES, Pattern, Result};
use futures::future::join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::net::{Parameter, Session, int8};
use crate::sql::Sql;

/// Names per statement.
const PAGE: usize = 2000;
/// A sparse pattern reads further pages until this many names match.
const ENOUGH: usize = 500;

/// A record's name and id.
pub(crate) struct Named {
    pub(crate) id: i64,
    pub(crate) name: Arc<str>,
}

/// The matching names in byte order, page by page: there may be more than fit into memory.
pub(crate) struct NamePages {
    pattern: Pattern,
    select: String,
    /// Names are greater than this.
    after: String,
    /// Names are smaller than this.
    below: String,
    done: bool,
}

impl NamePages {
    pub(crate) fn new(sql: &Sql, pattern: Pattern) -> Self {
        let s = &sql.schema;
        let select = match pattern.exact() {
            Some(_) => format!("SELECT id, name FROM {s}.records WHERE name = $1"),
            None => format!(
                "SELECT id, name FROM {s}.records WHERE name >= $1 AND name > $2 AND name < $3 \
                 ORDER BY name LIMIT $4"
            ),
        };
        let below = upper_bound(pattern.literal_prefix());
        Self { pattern, select, after: String::new(), below, done: false }
    }

    /// Begins a reading transaction with `begin` and returns the first page, in one round trip.
    pub(super) async fn begin(&mut self, begin: &str, session: &Session) -> Result<Vec<Named>> {
        let begin = session.client().batch_execute(begin);
        let both = async {
            // Each future sends when it is first polled, and `join` polls in this order.
            let (begun, rows) = join(begin, self.ask(session)).await;
            begun.and(rows)
        };
        let rows = session.run(both).await?;
        let mut found = Vec::new();
        self.take(rows, &mut found);
        self.fill(session, found).await
    }

    /// Whether there are no further names.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The next page; empty when there is none.
    pub(crate) async fn next(&mut self, session: &Session) -> Result<Vec<Named>> {
        self.fill(session, Vec::new()).await
    }

    async fn fill(&mut self, session: &Session, mut found: Vec<Named>) -> Result<Vec<Named>> {
        while !self.done && found.len() < ENOUGH {
            let rows = session.run(self.ask(session)).await?;
            self.take(rows, &mut found);
        }
        Ok(found)
    }

    async fn ask(&self, session: &Session) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = session.client();
        if let Some(name) = self.pattern.exact() {
            return client.query_typed(&self.select, &[(&name, Type::TEXT)]).await;
        }
        let (prefix, limit) = (self.pattern.literal_prefix(), PAGE as i64);
        let range: [Parameter<'_>; 4] = [
            (&prefix, Type::TEXT),
            (&self.after, Type::TEXT),
            (&self.below, Type::TEXT),
            int8(&limit),
        ];
        client.query_typed(&self.select, &range).await
    }

    fn take(&mut self, rows: Vec<Row>, found: &mut Vec<Named>) {
        self.done = rows.len() < PAGE;
        if let Some(last) = rows.last() {
            self.after = last.get(1);
        }
        let named = rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, &str>(1)));
        let matching = named.filter(|(_, name)| self.pattern.matches(name));
        found.extend(matching.map(|(id, name)| Named { id, name: name.into() }));
    }
}

/// A text that is greater, byte by byte, than every name that starts with `prefix`, and not greater than
/// any other name that follows them.
///
/// In UTF-8 the order of bytes is the order of code points, so it suffices to raise the last character.
/// PostgreSQL accepts valid text only: raising the last byte could yield invalid text.
fn upper_bound(prefix: &str) -> String {
    let mut bound = prefix.to_owned();
    while let Some(last) = bound.pop() {
        // The range of characters skips the surrogates; the last character has no successor.
        if let Some(next) = (last..=char::MAX).nth(1) {
            bound.push(next);
            return bound;
        }
    }
    // The greatest character, repeated beyond the longest name.
    char::MAX.to_string().repeat(MAX_NAME_BYTES / char::MAX.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_above_all_names_with_the_prefix() {
        assert_eq!(upper_bound("ab"), "ac");
        assert_eq!(upper_bound("a\u{10ffff}"), "b");
        assert_eq!(upper_bound("\u{d7ff}"), "\u{e000}");
        assert_eq!(upper_bound("\u{7f}"), "\u{80}");
        let greatest = char::MAX.to_string().repeat(MAX_NAME_BYTES / 4);
        assert!(*greatest < *upper_bound(""));
        assert!(*greatest < *upper_bound("\u{10ffff}"));
        for prefix in ["", "a", "é", "\u{ffff}", "\u{10ffff}", "z\u{10ffff}\u{10ffff}"] {
            let longest = format!("{prefix}{}", char::MAX.to_string().repeat(200));
            assert!(*longest < *upper_bound(prefix), "{prefix:?}");
        }
    }
}
