//! The persistence of one database: what the builder sets up and the live handle asks.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use annals_core::{
    Grammar, PersistenceBackend, PersistenceError, QueryExt, QueryParams, RecordHandle, Recorder,
    RecorderError, Retention, RowStream, StoredValue, TypedStream,
};
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::task::unconstrained;

use crate::inline;
use crate::notice;
use crate::options::PersistenceOptions;
use crate::query::{Answered, Asked, answer};
use crate::stats::PersistenceStats;
use crate::sweep::tend;
use crate::tap::{Source, Taps};
use crate::worker::Worker;

/// How long the last handle waits for a thread that does no recording. Only a backend that blocks
/// its callers makes it wait at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// The persistence of one database: queries, the account of every value, and the end.
///
/// [`AimDbQueryExt::persistence`](crate::AimDbQueryExt::persistence) gives it. Clones share
/// everything.
///
/// # The end
/// [`close`](Self::close) reads what the buffers hold, stores what was recorded and stops. Dropping
/// the last clone, the database's own included, does the same and **blocks** meanwhile. What ends
/// the process without either, a signal say, loses what was not stored yet: catch the signal and
/// call `close`.
///
/// The backend stays open: it belongs to whoever made it.
#[derive(Clone)]
pub struct Persistence {
    inner: Arc<Inner>,
}

/// Fields are dropped in this order: the reader ends when it has read everything, then the
/// recorder stores it.
struct Inner {
    /// Reads buffers when those who push have done enough. Calls no backend, so that nothing holds
    /// it up.
    reader: Worker,
    /// Calls the backend for AimDB's tasks, which a backend that blocks must not hold up.
    caller: Worker,
    recorder: Recorder,
    retention: Retention,
    sweep_interval: Duration,
    backend: Arc<dyn PersistenceBackend>,
    grammar: Grammar,
    taps: Taps,
    buffers: Mutex<Vec<PushBuffer>>,
    closed: watch::Sender<bool>,
}

/// A buffer that records what is pushed into it.
struct PushBuffer {
    record: Arc<str>,
    living: Weak<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.taps.stop();
        self.closed.send_replace(true);
    }
}

impl Persistence {
    /// Starts recording into `backend`; nothing is asked of it yet.
    pub(crate) fn start(
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
        grammar: Grammar,
    ) -> Result<Self, PersistenceError> {
        let retention = Retention::new(Arc::clone(&backend), options.retention)?
            .with_clock(Arc::clone(&options.clock));
        let config = options.recorder.with_clock(options.clock);
        let drain_timeout = config.drain_timeout;
        let taps = Taps::new();
        let inner = Inner {
            recorder: Recorder::new(Arc::clone(&backend), config),
            backend,
            retention,
            sweep_interval: options.sweep_interval,
            grammar: options.grammar.unwrap_or(grammar),
            reader: Worker::start("annals-read", drain_timeout, taps.ended()),
            caller: Worker::start("annals-call", PATIENCE, std::future::ready(())),
            taps,
            buffers: Mutex::default(),
            closed: watch::Sender::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What AimDB starts with the database: retention. It goes on until persistence is closed, and
    /// keeps none alive.
    pub(crate) fn attendance(&self) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        async move {
            let Some(attending) = inner.upgrade().map(|inner| inner.attend()) else { return };
            attending.await;
        }
    }

    /// A record of the recorder, for one record of the database: two under one name would be mixed,
    /// and one twice would be stored twice.
    pub(crate) fn record(&self, name: &str) -> Result<RecordHandle, PersistenceError> {
        if self.inner.recorder.stats().records.contains_key(name) {
            return Err(PersistenceError::InvalidRecordName {
                name: name.escape_debug().to_string(),
                reason: "something is persisted under it already",
            });
        }
        self.inner.recorder.handle(name).map_err(|refused| match refused {
            RecorderError::Rejected(error) | RecorderError::Stopped(error) => error,
            _ => PersistenceError::BackendShutdown,
        })
    }

    /// Reads `source` into `record` until it is closed, within each push. What this returns is done
    /// when that is; it need not be awaited.
    ///
    /// `probe` is a subscription to the same buffer, made before `source`.
    pub(crate) fn tap<S: Source>(
        &self,
        probe: S,
        source: S,
        record: RecordHandle,
    ) -> impl Future<Output = ()> + Send + 'static + use<S> {
        let tap = self.inner.taps.add(probe, source, record, self.inner.reader.handle());
        let (ended, told) = oneshot::channel::<()>();
        // tokio's budget belongs to whoever pushes. Used up, it would make a buffer look empty, and
        // values would stay behind.
        inline::run(unconstrained(async move {
            tap.run().await;
            drop(ended);
        }));
        async move {
            let _ = told.await;
        }
    }

    /// Notes a buffer that records what is pushed into it. It is to keep what this returns for as
    /// long as it is there.
    pub(crate) fn push_buffer(&self, record: &RecordHandle) -> Arc<()> {
        let living = Arc::new(());
        let buffer =
            PushBuffer { record: record.name().as_str().into(), living: Arc::downgrade(&living) };
        self.inner.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        living
    }

    /// What answers `record.query`. It keeps no persistence alive.
    pub(crate) fn answering(&self) -> impl Fn(Asked) -> Answered + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.inner);
        move |asked| match Weak::upgrade(&inner) {
            Some(inner) => {
                let answer = answer(Arc::clone(&inner.backend), inner.grammar, asked);
                let answered = inner.caller.run(answer);
                Box::pin(async move {
                    answered.await.unwrap_or_else(|| Err("the query was cut short".to_owned()))
                })
            }
            None => Box::pin(std::future::ready(Err("persistence is closed".to_owned()))),
        }
    }

    /// The backend. Unlike this handle it reads patterns as its own caller says.
    pub fn backend(&self) -> &Arc<dyn PersistenceBackend> {
        &self.inner.backend
    }

    /// How patterns are read.
    pub fn grammar(&self) -> Grammar {
        self.inner.grammar
    }

    /// See [`AimDbQueryExt::query_latest`](crate::AimDbQueryExt::query_latest).
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern), or what the engine reports.
    pub async fn query_latest<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        n: usize,
    ) -> Result<Vec<T>, PersistenceError> {
        self.values(pattern, QueryParams::latest(n)).await
    }

    /// See [`AimDbQueryExt::query_range`](crate::AimDbQueryExt::query_range).
    ///
    /// # Errors
    /// As [`query_latest`](Self::query_latest).
    pub async fn query_range<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        start: u64,
        end: u64,
    ) -> Result<Vec<T>, PersistenceError> {
        self.values(pattern, QueryParams::range(start, end)).await
    }

    /// See [`AimDbQueryExt::query_raw`](crate::AimDbQueryExt::query_raw).
    ///
    /// # Errors
    /// As [`query_latest`](Self::query_latest).
    pub async fn query_raw(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.inner.backend.query(pattern, self.read_as(params)).await
    }

    /// See [`AimDbQueryExt::query_stream`](crate::AimDbQueryExt::query_stream).
    ///
    /// # Errors
    /// As [`query_latest`](Self::query_latest).
    pub async fn query_stream(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        self.inner.backend.query_stream(pattern, self.read_as(params)).await
    }

    /// See [`AimDbQueryExt::stream_typed`](crate::AimDbQueryExt::stream_typed).
    ///
    /// # Errors
    /// As [`query_latest`](Self::query_latest).
    pub async fn stream_typed<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<TypedStream<T>, PersistenceError> {
        self.inner.backend.stream_typed(pattern, self.read_as(params)).await
    }

    /// The account of every value at this moment.
    pub fn stats(&self) -> PersistenceStats {
        PersistenceStats::new(self.inner.recorder.stats(), self.inner.retention.stats())
    }

    /// Lets go now what retention lets go, and returns how many rows that were.
    ///
    /// # Errors
    /// What the backend reports, which is logged and counted as well.
    pub async fn sweep_now(&self) -> Result<u64, PersistenceError> {
        self.inner.retention.sweep_now().await
    }

    /// Waits until everything that was pushed before is stored: what the buffers hold for
    /// `.persist` is read first.
    ///
    /// While the backend is away this waits with it.
    ///
    /// # Errors
    /// [`Dropped`](RecorderError::Dropped) when some of it was dropped meanwhile;
    /// [`Stopped`](RecorderError::Stopped) when the backend was closed.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flush(&self) -> Result<(), RecorderError> {
        self.inner.taps.catch_up().await;
        self.inner.recorder.flush().await
    }

    /// Reads what the buffers hold, stores what was recorded, and ends recording and retention.
    /// Queries go on. What is pushed from now on is in no history; a record of
    /// [`persist_buffer`](crate::RecordRegistrarPersistExt::persist_buffer) counts it as lagged.
    ///
    /// Closing again gives the same answer.
    ///
    /// # Errors
    /// [`Dropped`](RecorderError::Dropped) when values were left behind because the backend stored
    /// nothing for [`drain_timeout`](annals_core::RecorderConfig::drain_timeout), and
    /// [`Stopped`](RecorderError::Stopped) when it blocks even the thread that calls it.
    ///
    /// # Cancel safety
    /// From the first poll on it closes, even if the future is dropped.
    pub async fn close(&self) -> Result<(), RecorderError> {
        self.inner.taps.stop();
        self.inner.closed.send_replace(true);
        self.inner.taps.ended().await;
        self.inner.recorder.close().await
    }

    async fn values<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<T>, PersistenceError> {
        let typed = self.inner.backend.query_typed(pattern, self.read_as(params)).await?;
        Ok(typed.rows.into_iter().map(|row| row.value).collect())
    }

    fn read_as(&self, params: QueryParams) -> QueryParams {
        QueryParams { grammar: self.inner.grammar, ..params }
    }
}

impl Inner {
    fn attend(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let buffers =
            std::mem::take(&mut *self.buffers.lock().unwrap_or_else(PoisonError::into_inner));
        for PushBuffer { record, living } in buffers {
            if living.strong_count() == 0 {
                notice::error(format_args!(
                    "{record}: nothing of it is recorded: .persist_buffer set its buffer, and \
                     another .buffer after it took its place"
                ));
            }
        }
        let mut closed = self.closed.subscribe();
        let (backend, retention) = (Arc::clone(&self.backend), self.retention.clone());
        let tended = self.caller.run(tend(backend, retention, self.sweep_interval, closed.clone()));
        async move {
            tended.await;
            // A database stays up until it is closed, whatever became of its retention.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }
}

impl fmt::Debug for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Persistence")
            .field("grammar", &self.inner.grammar)
            .field("recorder", &self.inner.recorder)
            .field("retention", &self.inner.retention)
            .finish_non_exhaustive()
    }
}
