//! What an operator asks of a store: to bring its rows to rest, to check it, and to save what can be read.

use std::sync::atomic::Ordering;

use annals_core::{BackendError, ErrorKind, Outcome, PersistenceError, RawRow, Result};
use tokio::sync::oneshot;

use super::Embedded;
use crate::coordination::Compacted;
use crate::engine::{Engine, Snapshot, Tables};
use crate::survey::{Report, VisitRows, survey};

impl<E: Engine> Embedded<E> {
    /// Refuses to change a store that is closed or only read.
    ///
    /// # Errors
    /// [`PersistenceError::BackendShutdown`]; [`ErrorKind::Permission`] for a store that is only read.
    pub fn must_be_writable(&self, operation: &'static str) -> Result<()> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(PersistenceError::BackendShutdown);
        }
        if self.0.read_only {
            let message = "the history is open for reading only; nothing was changed";
            let refused = BackendError::new(self.0.name, operation, ErrorKind::Permission, message);
            return Err(refused.into());
        }
        Ok(())
    }

    /// Brings all rows that are stored now to rest: small runs become large ones, and rows are kept in
    /// columns, which takes less space and makes aggregates fast. The store does most of it by itself
    /// over time. Stores and queries continue meanwhile.
    ///
    /// Each step rewrites about a million rows in one transaction; `progress` is called after it. If the future is
    /// dropped, the current step is completed and no further one begins.
    ///
    /// # Errors
    /// The engine's error; [`ErrorKind::Corrupt`] for a damaged run. Steps before remain.
    pub async fn compact(&self, mut progress: impl FnMut(Compacted) + Send) -> Result<()> {
        let mut end = None;
        loop {
            self.must_be_writable("compact")?;
            let (reply, answer) = oneshot::channel();
            if self.0.coordination.compact(end, reply).is_err() {
                return Err(self.ended("compact", Outcome::NotApplied));
            }
            let step =
                answer.await.unwrap_or_else(|_| Err(self.ended("compact", Outcome::Unknown)))?;
            progress(step);
            if step.left == 0 {
                return Ok(());
            }
            end = Some(step.end);
        }
    }

    /// Looks at all of the store and tells what is wrong. Blocks of runs are read only with `deep`; an
    /// engine's own check is up to the engine.
    ///
    /// # Errors
    /// [`PersistenceError::BackendShutdown`], or the error of a snapshot.
    pub async fn check(&self, deep: bool) -> Result<Report> {
        let mut ignore = |_| Ok(());
        self.survey(move |engine, tables| {
            survey(engine, tables, deep.then_some(&mut ignore as &mut VisitRows<'_>))
        })
        .await
    }

    /// Reads every row that can be read, whatever else is damaged. `visit` gets the rows of one block
    /// after the other, on a thread that may block; equal times come in order of arrival. Rows whose name
    /// is lost have the name `lost+found::` and a number.
    ///
    /// # Errors
    /// As [`check`](Self::check), and the error of `visit`.
    pub async fn salvage(
        &self,
        mut visit: impl FnMut(Vec<RawRow>) -> Result<()> + Send + 'static,
    ) -> Result<Report> {
        self.survey(move |engine, tables| survey(engine, tables, Some(&mut visit))).await
    }

    async fn survey(
        &self,
        work: impl FnOnce(&'static str, &dyn Tables) -> Result<Report> + Send + 'static,
    ) -> Result<Report> {
        let (engine, name) = (self.0.engine.clone(), self.0.name);
        self.unblock(move || {
            let snapshot = engine.snapshot()?;
            work(name, snapshot.tables()?)
        })
        .await
    }
}
