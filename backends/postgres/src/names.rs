//! Cached ids of record names.

use std::collections::HashMap;
use std::sync::Arc;

use annals_core::{Batch, ErrorKind, Result};
use futures::future::join4;
use parking_lot::Mutex;
use tokio_postgres::types::Type;

use crate::error;
use crate::layout::Layout;
use crate::net::{Parameter, Session};
use crate::sql::Sql;

/// Beyond this many names the cache is emptied: about 100 MB.
const MAX_NAMES: usize = 1_000_000;

/// How often names may vanish between two statements before that is an error.
const ATTEMPTS: usize = 10;

/// Ids as of one generation of names. A sweep that removes names starts another generation, and a
/// transaction commits only if the generation of its ids is still the current one: an id may be stale
/// here, but never in the history.
#[derive(Default)]
pub(crate) struct NameCache {
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    /// The number of connections made so far. An answer that was under way on an older one may be
    /// about a server, or about commits, that no longer exist.
    epoch: u64,
    generation: i64,
    ids: HashMap<Arc<str>, i64>,
}

impl NameCache {
    /// Forgets everything: the generation has changed.
    pub(crate) fn clear(&self) {
        self.names.lock().ids.clear();
    }

    /// A connection for storing was made: the server may have crashed and lost commits, been restored,
    /// or been replaced.
    pub(crate) fn connected(&self) {
        let mut names = self.names.lock();
        names.epoch += 1;
        names.ids.clear();
    }

    /// Must be called before names are looked up on the server.
    fn epoch(&self) -> u64 {
        self.names.lock().epoch
    }

    /// The ids of all rows in order and their generation, or the names without an id.
    fn look_up(&self, batches: &[&Batch]) -> Result<(Vec<i64>, i64), Vec<Arc<str>>> {
        let names = self.names.lock();
        let rows = batches.iter().flat_map(|batch| batch.rows());
        let mut ids = Vec::with_capacity(batches.iter().map(|batch| batch.rows().len()).sum());
        let mut missing = Vec::new();
        for row in rows {
            match names.ids.get(row.record.as_str()) {
                Some(id) => ids.push(*id),
                None => missing.push(row.record.clone().into_shared()),
            }
        }
        if missing.is_empty() {
            return Ok((ids, names.generation));
        }
        missing.sort_unstable();
        missing.dedup();
        Err(missing)
    }

    /// Does nothing if a connection was made since `epoch`.
    fn add(&self, epoch: u64, generation: i64, found: impl Iterator<Item = (String, i64)>) {
        let mut names = self.names.lock();
        if names.epoch != epoch {
            return;
        }
        if names.generation != generation || names.ids.len() > MAX_NAMES {
            names.ids.clear();
            names.generation = generation;
        }
        names.ids.extend(found.map(|(name, id)| (name.into(), id)));
    }

    /// The ids of all rows in order and their generation. Adds names that are new.
    ///
    /// Names are added in a separate transaction before the rows. It is short, so that nobody waits
    /// long for a name that two processes add at once. A name whose rows are then not stored has no
    /// rows and is not listed.
    pub(crate) async fn resolve(
        &self,
        sql: &Sql,
        layout: &dyn Layout,
        session: &Session,
        batches: &[&Batch],
    ) -> Result<(Vec<i64>, i64)> {
        let client = session.client();
        let s = &sql.schema;
        for _ in 0..ATTEMPTS {
            let missing = match self.look_up(batches) {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            let missing: Vec<&str> = missing.iter().map(|name| &**name).collect();
            let epoch = self.epoch();
            let (begin, add, place) =
                (sql.begin_names(), layout.add_names(sql), layout.place_names(sql));
            // The ids and their generation come from one snapshot.
            let find = format!(
                "SELECT r.name, r.id, m.names_generation FROM {s}.meta m \
                 LEFT JOIN {s}.records r ON r.name = ANY ($1::text[])"
            );
            let parameters: [Parameter<'_>; 1] = [(&missing, Type::TEXT_ARRAY)];
            let all = async {
                let placed = async {
                    match &place {
                        Some(place) => client.execute_typed(place, &parameters).await.map(drop),
                        None => Ok(()),
                    }
                };
                // Each future sends when it is first polled, and `join4` polls in this order.
                let (begun, added, placed, rows) = join4(
                    client.batch_execute(&begin),
                    client.execute_typed(&add, &parameters),
                    placed,
                    client.query_typed(&find, &parameters),
                )
                .await;
                begun?;
                added?;
                placed?;
                rows
            };
            let rows = session.run(all).await?;
            // No row depends on this commit: an error leaves nothing in doubt.
            session.execute("COMMIT").await?;
            let Some(generation) = rows.first().map(|row| row.get(2)) else { break };
            let found =
                rows.iter().filter_map(|row| Some((row.get::<_, Option<_>>(0)?, row.get(1))));
            self.add(epoch, generation, found);
        }
        let message = "record names are removed as soon as they are added";
        Err(error::own("store", ErrorKind::Busy, message))
    }
}

#[cfg(test)]
mod tests {
    use annals_core::Row;

    use super::*;

    #[test]
    fn a_reconnect_invalidates_ids_and_answers_under_way() {
        let names = NameCache::default();
        let batch = Batch::new([Row::new("a", &serde_json::json!(1), 1).unwrap()]);
        let ids = || [("a".to_owned(), 5)].into_iter();
        let before = names.epoch();
        names.add(before, 7, ids());
        assert_eq!(names.look_up(&[&batch]), Ok((vec![5], 7)));
        names.connected();
        assert!(names.look_up(&[&batch]).is_err());
        names.add(before, 7, ids());
        assert!(names.look_up(&[&batch]).is_err(), "looked up before the reconnect");
        names.add(names.epoch(), 7, ids());
        assert!(names.look_up(&[&batch]).is_ok());
    }
}
