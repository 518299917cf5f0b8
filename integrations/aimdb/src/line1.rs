//! The extension traits for the types of AimDB 1.x, and its shape of `record.query`.

use std::any::Any;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aimdb_core::buffer::{BufferCfg, BufferReader, DynBuffer};
use aimdb_core::remote::{QueryHandlerFn, QueryHandlerParams};
use aimdb_core::{AimDb, AimDbBuilder, Consumer, DbError, RecordRegistrar, Spawn};
use annals_core::{Filter, Grammar, Order, PersistenceBackend, PersistenceError, RecordHandle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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

impl<R: Spawn + 'static> AimDbBuilderPersistExt for AimDbBuilder<R> {
    #[track_caller]
    fn with_persistence_options(
        mut self,
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
    ) -> Self {
        if self.extensions().get::<Persistence>().is_some() {
            panic!("{TWICE}");
        }
        let persistence = match Persistence::start(backend, options, Grammar::Glob) {
            Ok(persistence) => persistence,
            Err(error) => panic!(".with_persistence: {error}"),
        };
        let background = persistence.background_task();
        self.on_start(|_runtime| background);
        self.extensions_mut().insert(query_handler(&persistence));
        self.extensions_mut().insert(persistence);
        self
    }
}

impl<'a, T, R> RecordRegistrarPersistExt<'a> for RecordRegistrar<'a, T, R>
where
    T: Serialize + Send + Sync + Clone + Debug + 'static,
    R: Spawn + 'static,
{
    type BufferCfg = BufferCfg;

    #[track_caller]
    fn persist_filtered(&'a mut self, record_name: String, filter: Option<Filter>) -> &'a mut Self {
        let (persistence, record) = configured(self, &record_name, filter);
        self.tap_raw(move |consumer: Consumer<T, R>, _runtime| {
            // AimDB calls this closure before build() returns, so subscribe here and not when the
            // task is polled. The consumer is dropped here as well: it would keep the database,
            // and so its buffers, alive.
            let subscribe = || match consumer.subscribe() {
                Ok(reader) => Reader(reader),
                Err(error) => panic!(".persist(\"{}\") needs a buffer: {error}", record.name()),
            };
            let (probe, reader) = (subscribe(), subscribe());
            persistence.tap(probe, reader, record)
        })
    }

    #[track_caller]
    fn persist_buffer_filtered(
        &'a mut self,
        cfg: BufferCfg,
        record_name: String,
        filter: Option<Filter>,
    ) -> &'a mut Self {
        let (persistence, record) = configured(self, &record_name, filter);
        self.buffer_with_cfg(Box::new(RecordingBuffer::new(&cfg, &persistence, record)), cfg)
    }
}

impl<'a, T, R> RecordRegistrarRestoreExt<'a> for RecordRegistrar<'a, T, R>
where
    T: Serialize + DeserializeOwned + Send + Sync + Clone + Debug + 'static,
    R: Spawn + 'static,
{
    #[track_caller]
    fn restore_younger_than(&'a mut self, max_age: Duration) -> &'a mut Self {
        let restored = match self.extensions().get::<Persistence>() {
            Some(persistence) => persistence.restore::<T>(max_age),
            None => Err(not_configured().to_string()),
        };
        if let Err(mistake) = restored {
            panic!(".restore: {mistake}");
        }
        self
    }
}

/// The persistence and the record's handle. Panics on a mistake in the configuration, as AimDB 1.x
/// does everywhere.
#[track_caller]
fn configured<T, R>(
    reg: &RecordRegistrar<'_, T, R>,
    name: &str,
    filter: Option<Filter>,
) -> (Persistence, RecordHandle)
where
    T: Send + Sync + Clone + Debug + 'static,
    R: Spawn + 'static,
{
    let Some(persistence) = reg.extensions().get::<Persistence>() else {
        panic!("{}", without_persistence(name));
    };
    match persistence.record(name, filter.as_ref()) {
        Ok(record) => (persistence.clone(), record),
        Err(error) => panic!(".persist: {error}"),
    }
}

impl<R: Spawn + 'static> AimDbQueryExt for AimDb<R> {
    fn persistence(&self) -> Result<Persistence, PersistenceError> {
        self.extensions().get::<Persistence>().cloned().ok_or_else(not_configured)
    }
}

/// A subscription to a record.
type Subscription<T> = Box<dyn BufferReader<T> + Send>;

buffers!(aimdb_core, aimdb_tokio_adapter, "metrics", {});

impl<T: Clone + Send> BufferReader<T> for RestoredReader<T> {
    fn recv(&mut self) -> Pin<Box<dyn Future<Output = Result<T, DbError>> + Send + '_>> {
        if matches!(self.restored, Restored::None) {
            return self.inner.recv();
        }
        // Taken when it is polled: a future that is dropped before must not lose the value.
        Box::pin(async move {
            match self.restored.take() {
                Some(value) => Ok(value),
                None => self.inner.recv().await,
            }
        })
    }

    fn try_recv(&mut self) -> Result<T, DbError> {
        self.restored.take().map_or_else(|| self.inner.try_recv(), Ok)
    }
}

/// Answers `record.query` as AimDB 1.x does: with the members of aimdb-persistence 0.1, in its
/// order.
fn query_handler(persistence: &Persistence) -> QueryHandlerFn {
    let answer = persistence.query_handler();
    Box::new(move |params: QueryHandlerParams| {
        let QueryHandlerParams { name, limit, start, end } = params;
        let answered = answer(Request { name, limit, start, end, order: Order::NewestFirst });
        Box::pin(async move {
            let rows = answered.await?.into_iter();
            let values: Vec<Value> = rows
                .map(|row| {
                    json!({
                        "record": row.record_name,
                        "value": row.value,
                        "stored_at": row.stored_at,
                    })
                })
                .collect();
            let count = values.len();
            Ok(json!({ "values": values, "count": count }))
        })
    })
}
