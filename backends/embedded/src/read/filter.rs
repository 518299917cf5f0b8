//! A predicate on its way to blocks: rows that do not satisfy it are passed over without their text.

use std::ops::Range;
use std::sync::Arc;

use annals_core::{Predicate, Result};
use parking_lot::Mutex;

use super::View;
use crate::Map;
use crate::engine::Snapshot;
use crate::format::{RunIndex, Verdicts};
use crate::ids::RunId;

/// A block's number, and what is known of its rows: nothing, if these are text.
type Known = (u32, Option<Arc<Verdicts>>);

/// What the columns tell of a predicate. The records of a question share it, because a block has rows of several.
pub(crate) struct Filter {
    predicate: Predicate,
    /// The block of each run that was looked at last.
    known: Mutex<Map<RunId, Known>>,
}

impl Filter {
    pub(crate) fn new(predicate: Predicate) -> Arc<Self> {
        Arc::new(Self { predicate, known: Mutex::default() })
    }

    /// The verdicts on the rows of a block of a run, final for those that were `asked` for. `None` if their
    /// text has to be tested.
    pub(super) fn verdicts<S: Snapshot>(
        &self,
        view: &View<S>,
        run: usize,
        index: &RunIndex,
        number: u32,
        asked: Range<usize>,
    ) -> Result<Option<Arc<Verdicts>>> {
        if !index.is_at_rest() {
            return Ok(None);
        }
        let id = view.runs[run].id;
        if let Some((last, known)) = self.known.lock().get(&id)
            && *last == number
            && known.as_ref().is_none_or(|known| known.is_final(asked.clone()))
        {
            return Ok(known.clone());
        }
        let found = self.read(view, run, index, number, asked)?.map(Arc::new);
        self.known.lock().insert(id, (number, found.clone()));
        Ok(found)
    }

    fn read<S: Snapshot>(
        &self,
        view: &View<S>,
        run: usize,
        index: &RunIndex,
        number: u32,
        asked: Range<usize>,
    ) -> Result<Option<Verdicts>> {
        let caches = &view.caches;
        if let Some(block) = view.cached_block(run, number) {
            return caches.verdicts(&block, &self.predicate);
        }
        let encoded = caches.encoded_block(view.tables()?, &view.runs[run], index, number)?;
        let verdicts =
            caches.decode_verdicts(index, number, &encoded, &self.predicate, asked.clone())?;
        // What has rows to be shown is decoded while it is at hand.
        if verdicts.as_ref().is_none_or(|verdicts| verdicts.has_any(asked)) {
            view.cache_block(run, number, caches.decode_block(index, number, &encoded)?);
        }
        Ok(verdicts)
    }
}
