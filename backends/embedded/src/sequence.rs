//! Order of arrival among rows of one record with the same time.

use std::collections::{HashMap, HashSet};

use annals_core::{PersistenceError, RecordName};

use crate::engine::{Key, RecordId};

/// What the writer remembers of a record.
#[derive(Debug, Clone, Copy)]
pub struct RecordState {
    /// The number its name is interned as.
    pub id: RecordId,
    /// No row of the record lies beyond this place. `None`: it has no rows.
    pub newest: Option<Key>,
}

impl RecordState {
    /// The place of the next row at `stored_at`: after all its equals.
    ///
    /// A row newer than all others, which is nearly every row, needs no look at the store; `last_at`
    /// finds the greatest sequence number stored for the time otherwise.
    ///
    /// # Errors
    /// What `last_at` reports.
    pub fn place(
        &mut self,
        stored_at: u64,
        last_at: impl FnOnce(RecordId) -> Result<Option<u32>, PersistenceError>,
    ) -> Result<Key, PersistenceError> {
        let key = match self.newest {
            Some(newest) if newest.stored_at > stored_at => {
                // 2^32 rows in one millisecond of one record is beyond any disk.
                let seq = last_at(self.id)?.map_or(0, |last| last.saturating_add(1));
                return Ok(Key { stored_at, seq });
            }
            Some(newest) if newest.stored_at == stored_at => {
                Key { stored_at, seq: newest.seq.saturating_add(1) }
            }
            _ => Key::first_at(stored_at),
        };
        self.newest = Some(key);
        Ok(key)
    }
}

/// The writer's memory of records, by name. It belongs to the writer's thread, so there is no lock;
/// it must be [cleared](Self::clear) whenever a transaction failed or somebody else wrote.
#[derive(Debug, Default)]
pub struct Sequences(HashMap<RecordName, RecordState>);

impl Sequences {
    /// The record's state, looked up or made by `intern` on first use.
    ///
    /// # Errors
    /// What `intern` reports.
    pub fn record(
        &mut self,
        name: &RecordName,
        intern: impl FnOnce(&str) -> Result<RecordState, PersistenceError>,
    ) -> Result<&mut RecordState, PersistenceError> {
        if !self.0.contains_key(name) {
            let state = intern(name.as_str())?;
            self.0.insert(name.clone(), state);
        }
        // Unreachable error: it was put there a line above if it was not.
        self.0.get_mut(name).ok_or(PersistenceError::BackendShutdown)
    }

    /// Forgets records whose names are gone.
    pub fn forget(&mut self, emptied: &[RecordId]) {
        if !emptied.is_empty() {
            let emptied: HashSet<RecordId> = emptied.iter().copied().collect();
            self.0.retain(|_, state| !emptied.contains(&state.id));
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order_of_arrival() {
        let mut state = RecordState { id: 1, newest: None };
        let mut place = |time, stored: Option<u32>| state.place(time, |_| Ok(stored)).unwrap();
        assert_eq!(place(10, Some(99)), Key { stored_at: 10, seq: 0 });
        assert_eq!(place(10, Some(99)), Key { stored_at: 10, seq: 1 });
        assert_eq!(place(12, Some(99)), Key { stored_at: 12, seq: 0 });
        assert_eq!(place(10, Some(1)), Key { stored_at: 10, seq: 2 });
        assert_eq!(place(11, None), Key { stored_at: 11, seq: 0 });
        assert_eq!(place(12, None), Key { stored_at: 12, seq: 1 });
    }
}
