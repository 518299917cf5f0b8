//! The rows that the destination of a copy does not have yet.

use std::collections::VecDeque;
use std::sync::Arc;

use annals::{PersistenceBackend, PersistenceError, QueryParams, RowStream};
use futures::StreamExt;

use super::proof::canonical;

/// What the destination has of one record, read alongside the rows of the source: both oldest first.
pub(super) struct There {
    /// `None` if it has nothing.
    rows: Option<RowStream>,
    /// The first row that was read and is not compared yet.
    next: Option<(u64, String)>,
    /// The time that is compared, and the values there that no row of the source was equal to yet.
    at: Option<u64>,
    values: VecDeque<String>,
}

impl There {
    /// The record is new at the destination.
    pub(super) fn nothing() -> Self {
        Self { rows: None, next: None, at: None, values: VecDeque::new() }
    }

    /// The rows of a record within the window of the copy.
    ///
    /// # Errors
    /// As the query.
    pub(super) async fn of(
        store: &dyn PersistenceBackend,
        record: &Arc<str>,
        params: QueryParams,
    ) -> Result<Self, PersistenceError> {
        // A name has no wildcards of this grammar.
        let params = params.with_grammar(annals::Grammar::Glob);
        let rows = store.query_stream(record, params).await?;
        let mut there = Self { rows: Some(rows), ..Self::nothing() };
        there.read().await?;
        Ok(there)
    }

    /// Whether the next row of the source is there. Rows come in their order.
    ///
    /// # Errors
    /// As the query.
    pub(super) async fn has(
        &mut self,
        stored_at: u64,
        value: &str,
    ) -> Result<bool, PersistenceError> {
        if self.at != Some(stored_at) {
            self.at = Some(stored_at);
            self.values.clear();
            while let Some((at, _)) = &self.next
                && *at <= stored_at
            {
                if let Some((at, value)) = self.read().await?
                    && at == stored_at
                {
                    self.values.push_back(value);
                }
            }
        }
        // A copy that was stopped has the first of several values at one time.
        let place = self.values.iter().position(|there| there == value);
        Ok(place.and_then(|place| self.values.remove(place)).is_some())
    }

    /// Whether it has values at the time of the last row that no row of the source was equal to yet.
    pub(super) fn has_others(&self) -> bool {
        !self.values.is_empty()
    }

    /// Takes the next row and reads the one behind it.
    async fn read(&mut self) -> Result<Option<(u64, String)>, PersistenceError> {
        let taken = self.next.take();
        let Some(rows) = &mut self.rows else { return Ok(taken) };
        while let Some(row) = rows.next().await.transpose()? {
            // A row that is not JSON is equal to none.
            if let Some(value) = canonical(&row.json) {
                self.next = Some((row.stored_at, value));
                break;
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use annals::{MemoryBackend, Order, Value};

    use super::*;

    async fn missing(there: &[(u64, i32)], source: &[(u64, i32)]) -> Vec<(u64, i32)> {
        let store = MemoryBackend::new();
        for (at, value) in there {
            store.store("a", &Value::from(*value), *at).await.unwrap();
        }
        let params = QueryParams::default().with_order(Order::OldestFirst);
        let mut there = There::of(&store, &"a".into(), params).await.unwrap();
        let mut missing = Vec::new();
        for (at, value) in source {
            if !there.has(*at, &value.to_string()).await.unwrap() {
                missing.push((*at, *value));
            }
        }
        missing
    }

    #[tokio::test]
    async fn only_what_is_not_there_is_missing() {
        let rows = [(1, 1), (1, 1), (1, 2), (3, 1), (4, 1)];
        assert_eq!(missing(&[], &rows).await, rows);
        for stopped in 0..=rows.len() {
            assert_eq!(missing(&rows[..stopped], &rows).await, rows[stopped..]);
        }
        // Late rows, and rows of others.
        assert_eq!(missing(&[(1, 1), (1, 2), (4, 1)], &rows).await, [(1, 1), (3, 1)]);
        assert_eq!(
            missing(&[(0, 9), (1, 9), (2, 1), (3, 1), (9, 9)], &rows[2..]).await,
            [(1, 2), (4, 1)]
        );
        assert_eq!(missing(&[(1, 2), (1, 1)], &rows[..3]).await, [(1, 1)]);
        let mut nothing = There::nothing();
        assert!(!nothing.has(1, "1").await.unwrap());
    }
}
