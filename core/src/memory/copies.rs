//! Copies of a history, as backups and restores make them of files.

use tokio::sync::watch;

use super::{History, MemoryBackend};
use crate::follow::Origin;

impl MemoryBackend {
    /// A copy of what it has now, as of a file.
    pub(crate) fn copied(&self) -> Self {
        let history = self.open().unwrap();
        Self::with_history(History {
            identity: history.identity,
            origin: history.origin,
            records: history.records.clone(),
            arrivals: watch::Sender::new(*history.arrivals.borrow()),
            writers: history.writers.clone(),
            closed: false,
        })
    }

    /// A copy with an identity of its own, as a restored backup.
    pub(crate) fn restored(&self) -> Self {
        let copy = self.copied();
        {
            let mut history = copy.open().unwrap();
            let arrival = *history.arrivals.borrow();
            let restores = history.origin.map_or(1, |origin| origin.restores + 1);
            history.origin = Some(Origin { history: history.identity, arrival, restores });
            history.identity = fastrand::u64(..);
        }
        copy
    }

    /// Forgets where it comes from, as a store that is put back by other means.
    pub(crate) fn without_origin(self) -> Self {
        self.open().unwrap().origin = None;
        self
    }
}
