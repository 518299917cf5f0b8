//! A read goes to a thread that may block, and a stream of pages comes back.

use std::sync::atomic::Ordering;

use annals_core::{BackendError, ErrorKind, PersistenceError, Predicate, Query, Result, RowStream};
use futures::stream::{self, Stream};

use super::{Embedded, Inner};
use crate::engine::Engine;
use crate::error::contain;
use crate::read::{Lease, Leases, Scan, Steps, View};

/// A snapshot between two steps of a stream.
enum Held<S> {
    Unlimited(Box<View<S>>),
    Leased(Lease<View<S>>),
}

impl<E: Engine> Embedded<E> {
    /// Runs a read on the pool.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(View<E::Snapshot>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (engine, caches) = (self.0.engine.clone(), self.0.caches.clone());
        self.unblock(move || read(View::new(engine.snapshot()?, caches)?)).await
    }

    /// Runs work that blocks on the pool, at most `readers` at once.
    pub(super) async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Inner { name, closed, readers, .. } = &*self.0;
        let permit =
            readers.clone().acquire_owned().await.map_err(|_| PersistenceError::BackendShutdown)?;
        if closed.load(Ordering::Acquire) {
            return Err(PersistenceError::BackendShutdown);
        }
        let name = *name;
        blocking::unblock(move || {
            // Held until the work is done: a caller that leaves does not free the thread.
            let _permit = permit;
            contain(name, "query", work)
        })
        .await
    }

    fn hold(&self, view: View<E::Snapshot>) -> Held<E::Snapshot> {
        view.end_step();
        match &self.0.leases {
            Some(leases) => Held::Leased(leases.hold(view)),
            None => Held::Unlimited(Box::new(view)),
        }
    }

    /// The snapshot, or the error that the stream has lost it.
    fn resume(&self, held: Held<E::Snapshot>) -> Result<View<E::Snapshot>> {
        let lease = match held {
            Held::Unlimited(view) => return Ok(*view),
            Held::Leased(lease) => lease,
        };
        lease.take().ok_or_else(|| {
            let limit = self.0.leases.as_ref().map(Leases::limit).unwrap_or_default();
            let message = format!(
                "the stream was not read for {limit:?} and has lost its snapshot; query again, or \
                 set a longer snapshot_timeout"
            );
            BackendError::new(self.0.name, "query", ErrorKind::Timeout, message).into()
        })
    }

    /// The rows of a query, those that satisfy `predicate` if there is one.
    pub(super) async fn rows(
        &self,
        query: Query,
        predicate: Option<Predicate>,
    ) -> Result<RowStream> {
        if query.is_empty() {
            return self.unblock(|| Ok(RowStream::from_rows(Vec::new()))).await;
        }
        let pages = self.stream(move |view| Scan::new(view, query, predicate)).await?;
        Ok(pages.map_or_else(|| RowStream::from_rows(Vec::new()), RowStream::from_page_rows))
    }

    /// Takes a snapshot and the first step on it, and returns the items of all steps; `None` if there
    /// are none. The stream keeps the store open, as a handle does.
    pub(super) async fn stream<R: Steps<E::Snapshot>>(
        &self,
        reader: impl FnOnce(&View<E::Snapshot>) -> Result<R> + Send + 'static,
    ) -> Result<Option<impl Stream<Item = Result<R::Item>> + Send + 'static>> {
        let readers = self.0.readers.clone();
        let (view, reader, first) = self
            .read(move |view| {
                let mut reader = reader(&view)?;
                let first = reader.step(&view, &readers)?;
                Ok((view, reader, first))
            })
            .await?;
        let Some(first) = first else { return Ok(None) };
        let state = (self.clone(), self.hold(view), reader, Some(first));
        Ok(Some(stream::try_unfold(state, |(store, held, mut reader, ready)| async move {
            if let Some(item) = ready {
                return Ok(Some((item, (store, held, reader, None))));
            }
            let (view, readers) = (store.resume(held)?, store.0.readers.clone());
            let (view, reader, item) = store
                .unblock(move || {
                    let item = reader.step(&view, &readers)?;
                    Ok((view, reader, item))
                })
                .await?;
            let held = store.hold(view);
            Ok(item.map(|item| (item, (store, held, reader, None))))
        })))
    }
}
