//! The names of a store, read once and checked against the sum in its state.
//!
//! Names that this process adds are added here, too, so the table is read again only after another
//! process has changed it, or after names were removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_core::{Pattern, Result};
use parking_lot::Mutex;

use crate::engine::Tables;
use crate::error::corrupt;
use crate::ids::RecordId;
use crate::state::{State, Sum};
use crate::{Map, Set};

/// States of which it is known that the list has all their names.
const EARLIER_STATES: usize = 256;

/// Names in byte order.
#[derive(Debug, Default)]
pub(crate) struct NameList(Vec<(Arc<str>, RecordId)>);

/// The names of the newest state that was seen.
pub(crate) struct Names {
    engine: &'static str,
    known: Mutex<Option<Known>>,
}

struct Known {
    list: Arc<NameList>,
    /// Names that are not in the list yet.
    added: BTreeMap<Arc<str>, RecordId>,
    /// The sum of all of them.
    sum: Sum,
    /// The sums of earlier states. A reader may use the list for them, because a name without rows does
    /// no harm. For the writer it would: a later state has the same sum if another process has removed
    /// the names since.
    earlier: Set<Sum>,
}

impl NameList {
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_bytes().cmp(name.as_bytes()))
    }

    /// The record with a name.
    pub(crate) fn find(&self, name: &str) -> Option<RecordId> {
        self.position(name).ok().map(|at| self.0[at].1)
    }

    /// The records that a pattern matches, in byte order of their names.
    pub(crate) fn matching(&self, pattern: &Pattern) -> Vec<(RecordId, Arc<str>)> {
        let prefix = pattern.literal_prefix();
        if let Some(name) = pattern.exact() {
            let found = self.position(name).ok().map(|at| &self.0[at]);
            return found.map(|(name, record)| (*record, name.clone())).into_iter().collect();
        }
        let begin = self.0.partition_point(|(name, _)| name.as_bytes() < prefix.as_bytes());
        self.0[begin..]
            .iter()
            .take_while(|(name, _)| name.starts_with(prefix))
            .filter(|(name, _)| pattern.matches(name))
            .map(|(name, record)| (*record, name.clone()))
            .collect()
    }

    /// The position of each record.
    pub(crate) fn ranks(&self) -> Map<RecordId, u32> {
        (0..).zip(self.iter()).map(|(rank, (_, record))| (record, rank)).collect()
    }

    /// All records, in byte order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, RecordId)> {
        self.0.iter().map(|(name, record)| (name, *record))
    }

    fn read(engine: &'static str, tables: &dyn Tables, expected: Sum) -> Result<Self> {
        let (mut names, mut sum) = (Vec::new(), Sum::default());
        tables.names(&mut |name, record| {
            sum.add_name(name, record);
            names.push((name.into(), record));
            Ok(())
        })?;
        let in_order = names
            .is_sorted_by(|(one, _): &(Arc<str>, _), (next, _)| one.as_bytes() < next.as_bytes());
        if sum != expected || !in_order {
            return Err(corrupt(engine, "the names of records are not those that were stored"));
        }
        Ok(Self(names))
    }

    fn with(&self, added: BTreeMap<Arc<str>, RecordId>) -> Self {
        let mut names = self.0.clone();
        names.extend(added);
        // Both halves are sorted; this sort detects that and merges them.
        names.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        Self(names)
    }
}

impl Known {
    fn read(engine: &'static str, tables: &dyn Tables, state: &State) -> Result<Self> {
        let list = Arc::new(NameList::read(engine, tables, state.names)?);
        Ok(Self { list, added: BTreeMap::new(), sum: state.names, earlier: Set::default() })
    }

    fn serves(&self, state: &State, for_reading: bool) -> bool {
        self.sum == state.names || (for_reading && self.earlier.contains(&state.names))
    }

    fn find(&self, name: &str) -> Option<RecordId> {
        self.added.get(name).copied().or_else(|| self.list.find(name))
    }
}

impl Names {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self { engine, known: Mutex::default() }
    }

    /// Forgets all names, because some were removed or the file was reopened.
    pub(crate) fn clear(&self) {
        let known = self.known.lock().take();
        drop(known);
    }

    /// The names of a state for a reader, in byte order. There may be later ones as well.
    pub(crate) fn list(&self, tables: &dyn Tables, state: &State) -> Result<Arc<NameList>> {
        self.complete_list(tables, state, true)
    }

    /// The names of a state in the transaction that writes.
    pub(crate) fn exact_list(&self, tables: &dyn Tables, state: &State) -> Result<Arc<NameList>> {
        self.complete_list(tables, state, false)
    }

    fn complete_list(
        &self,
        tables: &dyn Tables,
        state: &State,
        for_reading: bool,
    ) -> Result<Arc<NameList>> {
        let mut known = self.known.lock();
        let known = self.read(&mut known, tables, state, for_reading)?;
        if !known.added.is_empty() {
            let added = std::mem::take(&mut known.added);
            known.list = Arc::new(known.list.with(added));
        }
        Ok(known.list.clone())
    }

    /// The records with these names in the transaction that writes.
    pub(crate) fn find(
        &self,
        tables: &dyn Tables,
        state: &State,
        names: &[&str],
    ) -> Result<Vec<Option<RecordId>>> {
        let mut known = self.known.lock();
        let known = self.read(&mut known, tables, state, false)?;
        Ok(names.iter().map(|name| known.find(name)).collect())
    }

    fn read<'a>(
        &self,
        known: &'a mut Option<Known>,
        tables: &dyn Tables,
        state: &State,
        for_reading: bool,
    ) -> Result<&'a mut Known> {
        // Held while they are read, since all others would do the same work.
        match known.take().filter(|known| known.serves(state, for_reading)) {
            Some(have) => Ok(known.insert(have)),
            None => Ok(known.insert(Known::read(self.engine, tables, state)?)),
        }
    }

    /// Takes note of names that a transaction has added.
    pub(crate) fn added(&self, before: Sum, after: Sum, names: Vec<(Arc<str>, RecordId)>) {
        let mut locked = self.known.lock();
        let Some(known) = &mut *locked else { return };
        // A reader may have been faster.
        if known.sum == after {
            return;
        }
        if known.sum != before {
            *locked = None;
            return;
        }
        known.added.extend(names);
        if known.earlier.len() >= EARLIER_STATES {
            known.earlier.clear();
        }
        known.earlier.insert(before);
        known.sum = after;
    }
}

#[cfg(test)]
mod tests {
    use annals_core::Grammar;

    use super::*;

    #[test]
    fn a_list_finds_names_by_pattern_in_byte_order() {
        let names = ["a", "a::b", "ab", "b", "\u{d7ff}", "\u{e000}", "\u{10ffff}"];
        let list = NameList((1..).zip(names).map(|(id, name)| (name.into(), id)).collect());
        let matching = |pattern: &str| {
            let found = list.matching(&Pattern::new(pattern, Grammar::Glob).unwrap());
            found.iter().map(|(id, _)| *id).collect::<Vec<_>>()
        };
        assert_eq!(matching("*"), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(matching("a*"), [1, 2, 3]);
        assert_eq!(matching("a*b"), [2, 3]);
        assert_eq!(matching("ab"), [3]);
        assert_eq!(matching("\u{d7ff}*"), [5]);
        assert_eq!(matching("c"), [0; 0]);
        assert_eq!(list.find("a::b"), Some(2));
    }
}
