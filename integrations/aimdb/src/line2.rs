//! The extension traits for the types of AimDB 2.x, and its shape of `record.query`.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aimdb_core_2::buffer::{BufferCfg, BufferReader, DynBuffer, Reader as Subscription};
use aimdb_core_2::remote::{QueryHandlerFn, QueryHandlerParams, QueryRecord};
use aimdb_core_2::{AimDb, AimDbBuilder, DbError, RecordRegistrar};
use annals_core::{
    Filter, Grammar, Order, PersistenceBackend, PersistenceError, RecordHandle, log,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::buffers::buffers;
use crate::capture::Capture;
use crate::ext::{
    AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt, RecordRegistrarRestoreExt,
    TWICE, not_configured, without_persistence,
};
use crate::options::PersistenceOptions;
use crate::persistence::Persistence;
use crate::record_query::Request;
use crate::restore::{Delivery, Restored, Slot};
use crate::tap::{Read, Source};

impl AimDbBuilderPersistExt for AimDbBuilder {
    fn with_persistence_options(
        mut self,
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
    ) -> Self {
        let started = match self.extensions().get::<Persistence>() {
            Some(_) => Err(TWICE.to_owned()),
            None => Persistence::start(backend, options, Grammar::Topic)
                .map_err(|error| format!(".with_persistence: {error}")),
        };
        let persistence = match started {
            Ok(persistence) => persistence,
            Err(message) => {
                self.configure::<()>("with_persistence", |reg| misconfigured(reg, &message));
                return self;
            }
        };
        let background = persistence.background_task();
        self.on_start(|_runtime| background);
        self.extensions_mut().insert(query_handler(&persistence));
        self.extensions_mut().insert(persistence);
        self
    }
}

impl<'r, 'a: 'r, T> RecordRegistrarPersistExt<'r> for RecordRegistrar<'a, T>
where
    T: Serialize + Send + Sync + Clone + Debug + 'static,
{
    type BufferCfg = BufferCfg;

    fn persist_filtered(&'r mut self, record_name: String, filter: Option<Filter>) -> &'r mut Self {
        let Some((persistence, record)) = configured(self, &record_name, filter) else {
            return self;
        };
        self.tap(move |_runtime, consumer| {
            // AimDB calls this closure before build() returns, so subscribe here and not when the
            // runner polls the task. The consumer is dropped here as well: it would keep the
            // buffer alive.
            let (probe, reader) = (Reader(consumer.subscribe()), Reader(consumer.subscribe()));
            persistence.tap(probe, reader, record)
        })
    }

    fn persist_buffer_filtered(
        &'r mut self,
        cfg: BufferCfg,
        record_name: String,
        filter: Option<Filter>,
    ) -> &'r mut Self {
        let Some((persistence, record)) = configured(self, &record_name, filter) else {
            return self;
        };
        self.buffer_with_cfg(Box::new(RecordingBuffer::new(&cfg, &persistence, record)), cfg)
    }
}

impl<'r, 'a: 'r, T> RecordRegistrarRestoreExt<'r> for RecordRegistrar<'a, T>
where
    T: Serialize + DeserializeOwned + Send + Sync + Clone + Debug + 'static,
{
    fn restore_younger_than(&'r mut self, max_age: Duration) -> &'r mut Self {
        let restored = match self.extensions().get::<Persistence>() {
            Some(persistence) => persistence.restore::<T>(max_age),
            None => Err(not_configured().to_string()),
        };
        if let Err(mistake) = restored {
            misconfigured(self, &format!(".restore: {mistake}"));
        }
        self
    }
}

/// The persistence and the record's handle. `None` after a mistake, which `build()` reports.
fn configured<T>(
    reg: &mut RecordRegistrar<'_, T>,
    name: &str,
    filter: Option<Filter>,
) -> Option<(Persistence, RecordHandle)>
where
    T: Send + Sync + Clone + Debug + 'static,
{
    let Some(persistence) = reg.extensions().get::<Persistence>().cloned() else {
        misconfigured(reg, &without_persistence(name));
        return None;
    };
    match persistence.record(name, filter.as_ref()) {
        Ok(record) => Some((persistence, record)),
        Err(error) => {
            misconfigured(reg, &format!(".persist: {error}"));
            None
        }
    }
}

/// Makes `build()` fail with `message`.
///
/// AimDB 2.x collects mistakes and reports all of them in `build()`, but other crates cannot add
/// one. A link to an invalid address is a mistake whose report quotes the address, so the message
/// is passed as an address.
fn misconfigured<T>(reg: &mut RecordRegistrar<'_, T>, message: &str)
where
    T: Send + Sync + Clone + Debug + 'static,
{
    log::error(format_args!("{message}"));
    // With "://" in it, the message would be a valid address.
    reg.link_to(&message.replace("://", ":")).finish();
}

impl AimDbQueryExt for AimDb {
    fn persistence(&self) -> Result<Persistence, PersistenceError> {
        self.extensions().get::<Persistence>().cloned().ok_or_else(not_configured)
    }
}

buffers!(aimdb_core_2, aimdb_tokio_adapter_2, "observability", {
    fn peek(&self) -> Option<T> {
        // As AimDB's own: a ring has no latest value.
        let restored = self.restored.get().filter(|_| self.delivery != Delivery::First);
        restored.or_else(|| self.inner.peek())
    }
});

impl<T: Clone + Send> BufferReader<T> for RestoredReader<T> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, DbError>> {
        match self.restored.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None => self.inner.poll_recv(cx),
        }
    }

    fn try_recv(&mut self) -> Result<T, DbError> {
        self.restored.take().map_or_else(|| self.inner.try_recv(), Ok)
    }
}

/// Answers `record.query` as AimDB 2.x does: rows of all records by time, oldest first.
fn query_handler(persistence: &Persistence) -> QueryHandlerFn {
    let answer = persistence.query_handler();
    Box::new(move |params: QueryHandlerParams| {
        let QueryHandlerParams { name, limit, start, end } = params;
        let answered = answer(Request { name, limit, start, end, order: Order::OldestFirst });
        Box::pin(async move {
            let rows = answered.await?.into_iter();
            let mut records: Vec<QueryRecord> = rows
                .map(|row| QueryRecord {
                    topic: row.record_name,
                    payload: row.value,
                    ts: row.stored_at,
                })
                .collect();
            // Stable: equal times stay in order of arrival.
            records.sort_by_key(|record| record.ts);
            let total = records.len();
            Ok(json!({ "records": records, "total": total }))
        })
    })
}
