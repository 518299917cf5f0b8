//! AimDB 2.x.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use aimdb_core_2::buffer::{Buffer, BufferCfg, BufferReader, DynBuffer, Reader as Subscription};
use aimdb_core_2::remote::{QueryHandlerFn, QueryHandlerParams, QueryRecord};
use aimdb_core_2::{AimDb, AimDbBuilder, DbError, RecordRegistrar};
use aimdb_tokio_adapter_2::TokioBuffer;
use annals_core::{Grammar, Order, PersistenceBackend, PersistenceError, RecordHandle};
use serde::Serialize;
use serde_json::json;

use crate::capture::Capture;
use crate::ext::{
    AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt, not_configured,
    without_persistence,
};
use crate::notice;
use crate::options::PersistenceOptions;
use crate::persistence::Persistence;
use crate::query::Asked;
use crate::tap::{Read, Source};

impl AimDbBuilderPersistExt for AimDbBuilder {
    fn with_persistence_options(
        mut self,
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
    ) -> Self {
        let persistence = match Persistence::start(backend, options, Grammar::Topic) {
            Ok(persistence) => persistence,
            Err(error) => {
                let message = format!(".with_persistence: {error}");
                self.configure::<()>("with_persistence", |reg| misconfigured(reg, &message));
                return self;
            }
        };
        let attendance = persistence.attendance();
        self.on_start(|_runtime| attendance);
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

    fn persist(&'r mut self, record_name: impl Into<String>) -> &'r mut Self {
        let Some((persistence, record)) = configured(self, &record_name.into()) else {
            return self;
        };
        self.tap(move |_runtime, consumer| {
            // Now, not when the runner polls it: AimDB calls this before build() returns. And not
            // longer than that: a consumer keeps the buffer alive.
            let (probe, reader) = (Reader(consumer.subscribe()), Reader(consumer.subscribe()));
            persistence.tap(probe, reader, record)
        })
    }

    fn persist_buffer(
        &'r mut self,
        cfg: BufferCfg,
        record_name: impl Into<String>,
    ) -> &'r mut Self {
        let Some((_, record)) = configured(self, &record_name.into()) else {
            return self;
        };
        let buffer = Recorded { inner: TokioBuffer::new(&cfg), capture: Capture::new(record) };
        self.buffer_with_cfg(Box::new(buffer), cfg)
    }
}

/// The persistence and the record's handle, or a mistake for `build()` to report.
fn configured<T>(
    reg: &mut RecordRegistrar<'_, T>,
    name: &str,
) -> Option<(Persistence, RecordHandle)>
where
    T: Send + Sync + Clone + Debug + 'static,
{
    let Some(persistence) = reg.extensions().get::<Persistence>().cloned() else {
        misconfigured(reg, &without_persistence(name));
        return None;
    };
    match persistence.record(name) {
        Ok(record) => Some((persistence, record)),
        Err(error) => {
            misconfigured(reg, &format!(".persist: {error}"));
            None
        }
    }
}

/// Makes `build()` fail with `message`.
///
/// AimDB 2.x records mistakes and reports all of them in `build()`, but gives other crates no way to
/// record one. A link to what is no address is a mistake, and its report names the address, which
/// is where the message goes.
fn misconfigured<T>(reg: &mut RecordRegistrar<'_, T>, message: &str)
where
    T: Send + Sync + Clone + Debug + 'static,
{
    notice::error(format_args!("{message}"));
    // What makes an address is "://"; no message may happen to be one.
    reg.link_to(&message.replace("://", ":")).finish();
}

impl AimDbQueryExt for AimDb {
    fn persistence(&self) -> Result<Persistence, PersistenceError> {
        self.extensions().get::<Persistence>().cloned().ok_or_else(not_configured)
    }
}

/// A subscription.
struct Reader<T: Clone + Send>(Subscription<T>);

impl<T: Serialize + Clone + Send + 'static> Source for Reader<T> {
    type Value = T;

    async fn recv(&mut self) -> Read<T> {
        read(self.0.recv().await)
    }

    fn try_recv(&mut self) -> Read<T> {
        read(self.0.try_recv())
    }
}

fn read<T>(received: Result<T, DbError>) -> Read<T> {
    match received {
        Ok(value) => Read::Value(value),
        Err(DbError::BufferLagged { lag_count, .. }) => Read::Lagged(lag_count),
        Err(DbError::BufferEmpty) => Read::Nothing,
        Err(_) => Read::Closed,
    }
}

/// A buffer that records what is pushed into it.
struct Recorded<T: Clone + Send + Sync + 'static> {
    inner: TokioBuffer<T>,
    capture: Capture,
}

impl<T: Serialize + Clone + Send + Sync + 'static> DynBuffer<T> for Recorded<T> {
    fn push(&self, value: T) {
        self.capture.take(&value);
        Buffer::push(&self.inner, value);
    }

    fn subscribe_boxed(&self) -> Box<dyn BufferReader<T> + Send> {
        self.inner.subscribe_boxed()
    }

    /// The buffer inside: whoever looks for AimDB's own type finds it.
    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }

    fn peek(&self) -> Option<T> {
        self.inner.peek()
    }

    #[cfg(feature = "observability")]
    fn metrics_snapshot(&self) -> Option<aimdb_core_2::buffer::BufferMetricsSnapshot> {
        DynBuffer::metrics_snapshot(&self.inner)
    }

    #[cfg(feature = "observability")]
    fn reset_metrics(&self) {
        DynBuffer::reset_metrics(&self.inner);
    }
}

/// Answers `record.query` in the shape of AimDB 2.x: rows by time, the oldest first.
fn query_handler(persistence: &Persistence) -> QueryHandlerFn {
    let answer = persistence.answering();
    Box::new(move |params: QueryHandlerParams| {
        let QueryHandlerParams { name, limit, start, end } = params;
        let answered = answer(Asked { name, limit, start, end, order: Order::OldestFirst });
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
