//! The names of records by their ids.

use std::sync::Arc;

use annals_core::Result;
use parking_lot::Mutex;

use crate::Map;
use crate::engine::Tables;
use crate::error::corrupt;
use crate::ids::RecordId;
use crate::read::Caches;
use crate::state::State;

/// Names that were read. An id never gets another name, so none becomes wrong.
#[derive(Default)]
pub(crate) struct NamesById(Mutex<Map<RecordId, Arc<str>>>);

impl NamesById {
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// A record's name. One that is not known is read together with all others.
    pub(super) fn get(
        &self,
        caches: &Caches,
        tables: &dyn Tables,
        state: &State,
        record: RecordId,
    ) -> Result<Arc<str>> {
        let known = self.0.lock().get(&record).cloned();
        if let Some(name) = known {
            return Ok(name);
        }
        let list = caches.names.list(tables, state)?;
        let names: Map<RecordId, Arc<str>> =
            list.iter().map(|(name, record)| (record, name.clone())).collect();
        let name = names.get(&record).cloned();
        *self.0.lock() = names;
        name.ok_or_else(|| corrupt(caches.engine, "a row's record has no name"))
    }
}
