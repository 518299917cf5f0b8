//! The cases' view of AimDB 1.x.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aimdb_core::{Producer, buffer::BufferCfg};
use aimdb_tokio_adapter::{TokioAdapter, TokioRecordRegistrarExt};
use annals_aimdb::{Filter, RecordRegistrarPersistExt, RecordRegistrarRestoreExt};
use annals_core::PersistenceBackend;
use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fixture::{How, WEEK};

pub(crate) type Builder = aimdb_core::AimDbBuilder<TokioAdapter>;
pub(crate) type Db = aimdb_core::AimDb<TokioAdapter>;
pub(crate) use aimdb_core::buffer::BufferCfg as Cfg;

/// Whether `.persist` may miss the first values of a `.source()` when there are several threads.
pub(crate) const MAY_MISS_THE_FIRST: bool = true;

/// What separates the parts of a name on this line.
pub(crate) const SEPARATOR: &str = "::";

pub(crate) fn builder() -> Builder {
    aimdb_core::AimDbBuilder::new().runtime(Arc::new(TokioAdapter))
}

/// Starts AimDB's tasks.
pub(crate) async fn start(builder: Builder) -> Db {
    builder.build().await.unwrap()
}

pub(crate) fn persist<T>(builder: &mut Builder, name: &'static str, cfg: BufferCfg, how: How)
where
    T: Serialize + Send + Sync + Clone + Debug + 'static,
{
    builder.configure::<T>(name, |reg| match how {
        How::Tap => drop(reg.buffer(cfg).persist(name)),
        How::Push => drop(reg.persist_buffer(cfg, name)),
    });
}

/// Like [`persist`], with a `.source()`.
pub(crate) fn persist_source<T, F, Fut>(
    builder: &mut Builder,
    name: &'static str,
    cfg: BufferCfg,
    how: How,
    source: F,
) where
    T: Serialize + Send + Sync + Clone + Debug + 'static,
    F: FnOnce(Pusher<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let source = |_ctx, producer| source(Pusher(producer));
    builder.configure::<T>(name, |reg| match how {
        How::Tap => drop(reg.buffer(cfg).source(source).persist(name)),
        How::Push => drop(reg.persist_buffer(cfg, name).source(source)),
    });
}

/// A record with a `.source()` that starts with its newest stored value.
pub(crate) fn restore<T, F, Fut>(
    builder: &mut Builder,
    name: &'static str,
    cfg: BufferCfg,
    max_age: Duration,
    source: F,
) where
    T: Serialize + DeserializeOwned + Send + Sync + Clone + Debug + 'static,
    F: FnOnce(Pusher<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let filter = Filter::new().on_change();
    builder.configure::<T>(name, |reg| {
        reg.persist_buffer_with(cfg, name, filter)
            .source(|_ctx, producer| source(Pusher(producer)))
            .restore_younger_than(max_age);
    });
}

pub(crate) struct Pusher<T>(Producer<T, TokioAdapter>);

impl<T: Send + Debug + Clone + 'static> Pusher<T> {
    pub(crate) fn push(&self, value: T) {
        // It is an async fn that never waits.
        self.0.produce(value).now_or_never().unwrap().unwrap();
    }
}

pub(crate) fn pusher<T: Send + Debug + Clone + 'static>(db: &Db, name: &str) -> Pusher<T> {
    Pusher(db.producer(name))
}

pub(crate) fn subscribe<T>(
    db: &Db,
    name: &str,
) -> Box<dyn aimdb_core::buffer::BufferReader<T> + Send>
where
    T: Send + Sync + Debug + Clone + 'static,
{
    db.subscribe(name).unwrap()
}

/// The same record, persisted by AimDB's own persistence.
pub(crate) fn own_persistence<T, B>(backend: B, name: &'static str, cfg: BufferCfg) -> Builder
where
    T: Serialize + Send + Sync + Clone + Debug + 'static,
    B: PersistenceBackend + 'static,
{
    use aimdb_persistence::{AimDbBuilderPersistExt, RecordRegistrarPersistExt};

    let backend = Arc::new(annals_aimdb::adapter::line1::ToAimDb::new(backend));
    let mut builder = AimDbBuilderPersistExt::with_persistence(builder(), backend, WEEK);
    builder.configure::<T>(name, |reg| {
        RecordRegistrarPersistExt::persist(reg.buffer(cfg), name);
    });
    builder
}
