//! Which records a pattern means: names by range, then core's matcher.

use std::sync::Arc;

use annals_core::{MAX_NAME_BYTES, Pattern, PersistenceError};
use futures_util::future::join;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::engine::Engine;
use crate::session::{Parameter, Session};

/// Names per statement.
const PAGE: usize = 2000;
/// A sparse pattern looks at further pages until so many names match.
const ENOUGH: usize = 500;

/// A record's name and id.
pub(crate) struct Named {
    pub(crate) id: i64,
    pub(crate) name: Arc<str>,
}

/// The matching names in byte order, page by page: there may be more than fit into memory.
pub(crate) struct NamePages {
    pattern: Pattern,
    /// Names are greater than this.
    after: String,
    /// Names are smaller than this.
    below: String,
    done: bool,
}

impl NamePages {
    pub(crate) fn new(pattern: Pattern) -> Self {
        let below = upper_bound(pattern.literal_prefix());
        Self { pattern, after: String::new(), below, done: false }
    }

    /// Begins a reading transaction and returns the first page, both in one round trip.
    pub(super) async fn begin(
        &mut self,
        engine: &Engine,
        session: &Session,
    ) -> Result<Vec<Named>, PersistenceError> {
        let begin = session.client().batch_execute(engine.begin_read());
        let both = async {
            // Each sends when it is first polled, and `join` polls in this order.
            let (begun, rows) = join(begin, self.ask(engine, session)).await;
            begun.and(rows)
        };
        let rows = session.run(both).await?;
        let mut found = Vec::new();
        self.take(rows, &mut found);
        self.fill(engine, session, found).await
    }

    /// The next page; empty when there is none.
    pub(crate) async fn next(
        &mut self,
        engine: &Engine,
        session: &Session,
    ) -> Result<Vec<Named>, PersistenceError> {
        self.fill(engine, session, Vec::new()).await
    }

    async fn fill(
        &mut self,
        engine: &Engine,
        session: &Session,
        mut found: Vec<Named>,
    ) -> Result<Vec<Named>, PersistenceError> {
        while !self.done && found.len() < ENOUGH {
            let rows = session.run(self.ask(engine, session)).await?;
            self.take(rows, &mut found);
        }
        Ok(found)
    }

    async fn ask(
        &self,
        engine: &Engine,
        session: &Session,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = session.client();
        if let Some(name) = self.pattern.exact() {
            return client.query_typed(&engine.sql.name_exact, &[(&name, Type::TEXT)]).await;
        }
        let (prefix, limit) = (self.pattern.literal_prefix(), PAGE as i64);
        let range: [Parameter<'_>; 4] = [
            (&prefix, Type::TEXT),
            (&self.after, Type::TEXT),
            (&self.below, Type::TEXT),
            (&limit, Type::INT8),
        ];
        client.query_typed(&engine.sql.names_page, &range).await
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

/// A text that is greater, by bytes, than every name that begins with `prefix`, and not greater
/// than any other name that follows them.
///
/// Of UTF-8 the order by bytes is the order by code points, so that raising the last character
/// will do. PostgreSQL takes valid text only: raising the last byte would not do.
fn upper_bound(prefix: &str) -> String {
    let mut bound = prefix.to_owned();
    while let Some(last) = bound.pop() {
        // The range of characters steps over the surrogates; after the last one there is none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            bound.push(next);
            return bound;
        }
    }
    // Longer than a name can be, of the greatest character.
    char::MAX.to_string().repeat(MAX_NAME_BYTES / char::MAX.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_above_the_prefix_and_all_that_begin_with_it() {
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
