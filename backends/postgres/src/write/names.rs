//! Ids of record names, cached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use annals_core::{Batch, ErrorKind, PersistenceError};
use futures_util::future::join4;
use tokio_postgres::types::Type;

use crate::engine::Engine;
use crate::error;
use crate::session::{Parameter, Session};

/// Beyond this the cache starts anew: about 100 MB of names.
const MOST_NAMES: usize = 1_000_000;

/// How often names may vanish between two statements before something is wrong.
const ATTEMPTS: usize = 10;

/// Ids as they were in one generation of names. A sweep that removes names begins another one, and
/// a transaction commits only if the generation it took its ids from is still the current one: an
/// id can be stale here, but never in the history.
#[derive(Default)]
pub(crate) struct NameCache {
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    /// How often a connection was newly made. What was on its way over an older one may speak of
    /// a server, or of commits, that are no more.
    epoch: u64,
    generation: i64,
    ids: HashMap<Arc<str>, i64>,
}

impl NameCache {
    /// Forgets everything: the generation is another one.
    pub(super) fn clear(&self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.ids.clear();
    }

    /// A writer's connection was newly made: perhaps the server crashed and lost commits, was
    /// restored, or another one took its place.
    pub(crate) fn connected(&self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.epoch += 1;
        names.ids.clear();
    }

    /// To be asked before names are looked up on the server.
    fn epoch(&self) -> u64 {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// The ids of all rows in order and the generation they belong to, or the names without one.
    fn look_up(&self, batches: &[&Batch]) -> Result<(Vec<i64>, i64), Vec<Arc<str>>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Nothing, if a connection was made since `epoch`.
    fn add(&self, epoch: u64, generation: i64, found: impl Iterator<Item = (String, i64)>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.epoch != epoch {
            return;
        }
        if names.generation != generation || names.ids.len() > MOST_NAMES {
            names.ids.clear();
            names.generation = generation;
        }
        names.ids.extend(found.map(|(name, id)| (name.into(), id)));
    }
}

/// The ids of all rows in order, adding names that are new, and the generation they belong to.
///
/// Names are added in a transaction of their own, before the rows: it is short, so that nobody waits
/// long for a name that two processes add at once. A name whose rows are then not stored has no
/// rows, and is not listed.
pub(super) async fn resolve(
    engine: &Engine,
    session: &Session,
    batches: &[&Batch],
) -> Result<(Vec<i64>, i64), PersistenceError> {
    let client = session.client();
    for _ in 0..ATTEMPTS {
        let missing = match engine.names.look_up(batches) {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        let missing: Vec<&str> = missing.iter().map(|name| &**name).collect();
        let epoch = engine.names.epoch();
        let begin = client.batch_execute(&engine.sql.begin_names);
        let parameters: [Parameter<'_>; 1] = [(&missing, Type::TEXT_ARRAY)];
        let add = client.execute_typed(&engine.sql.add_names, &parameters);
        let find = client.query_typed(&engine.sql.find_names, &parameters);
        let all = async {
            let placed = async {
                match &engine.sql.place_names {
                    Some(place) => client.execute_typed(place, &parameters).await.map(drop),
                    None => Ok(()),
                }
            };
            // Each sends when it is first polled, and `join4` polls in this order.
            let (begun, added, placed, rows) = join4(begin, add, placed, find).await;
            begun?;
            added?;
            placed?;
            rows
        };
        let rows = session.run(all).await?;
        // No row of anybody's depends on this commit: an error leaves nothing in doubt.
        session.run(client.batch_execute("COMMIT")).await?;
        let Some(generation) = rows.first().map(|row| row.get(2)) else { break };
        let found = rows.iter().filter_map(|row| Some((row.get::<_, Option<_>>(0)?, row.get(1))));
        engine.names.add(epoch, generation, found);
    }
    let message = "record names vanish as soon as they are added";
    Err(error::own("store", ErrorKind::Busy, message))
}

#[cfg(test)]
mod tests {
    use annals_core::Row;

    use super::*;

    #[test]
    fn ids_of_before_a_reconnect_are_neither_kept_nor_added() {
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
