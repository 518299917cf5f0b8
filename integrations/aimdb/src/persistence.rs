//! The persistence of one database. Buffers and pushes feed its recorder; queries on the live
//! handle and `record.query` read its backend. No task of AimDB's ever waits for the backend.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_core::{
    Clock, Filter, Grammar, Pattern, PersistenceBackend, PersistenceError, QueryExt, QueryParams,
    RecordHandle, Recorder, RecorderError, RecorderStats, Retention, RetentionStats, log,
};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};
use tokio::task::unconstrained;

use crate::inline;
use crate::options::PersistenceOptions;
use crate::record_query::{AnswerFuture, Request, answer};
use crate::restore::Slot;
use crate::tap::{Source, Taps};
use crate::worker::Worker;

/// How long dropping the last handle waits for the thread that runs sweeps and queries. Only a
/// backend that blocks its caller makes it wait at all.
const CALLER_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a record waits for its stored value while it is configured.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(10);

/// The persistence of one database: statistics, flush and close.
///
/// [`AimDbQueryExt::persistence`](crate::AimDbQueryExt::persistence) returns it. Clones share
/// everything.
///
/// # Shutdown
/// [`close`](Self::close) reads what the buffers hold, stores what was recorded and stops. Dropping
/// the last clone, including the one that the database holds, does the same and **blocks** until it
/// is done. A signal that ends the process without either loses the values that are not stored yet:
/// catch the signal and call `close`.
///
/// The backend stays open. Close it after `close` has returned.
#[derive(Clone)]
pub struct Persistence {
    inner: Arc<Inner>,
}

/// Fields are dropped in this order: the reader ends when it has read everything, then the
/// recorder stores it.
struct Inner {
    /// Reads buffers when a pushing thread has done its share. It calls no backend, so no backend
    /// can delay it.
    reader: Worker,
    /// Calls the backend on behalf of AimDB's tasks, which a blocking backend must not delay.
    caller: Worker,
    recorder: Recorder,
    retention: Retention,
    backend: Arc<dyn PersistenceBackend>,
    grammar: Grammar,
    taps: Taps,
    buffers: Mutex<Vec<PushBuffer>>,
    /// The record persisted last: the one that `restore` is about.
    persisted: Mutex<Option<Persisted>>,
    clock: Arc<dyn Clock>,
    closed: watch::Sender<bool>,
}

/// A buffer that records what is pushed into it.
struct PushBuffer {
    record: Arc<str>,
    alive: Weak<()>,
}

struct Persisted {
    record: RecordHandle,
    /// The `Arc<Slot<T>>` of its buffer; `None` for `.persist`.
    slot: Option<Box<dyn Any + Send>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.taps.stop();
        self.closed.send_replace(true);
    }
}

impl Persistence {
    /// Starts recording into `backend`. The backend is not called yet.
    pub(crate) fn start(
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
        grammar: Grammar,
    ) -> Result<Self, PersistenceError> {
        let retention = Retention::new(Arc::clone(&backend), options.retention)?
            .with_interval(options.sweep_interval)
            .with_clock(Arc::clone(&options.clock));
        let clock = Arc::clone(&options.clock);
        let config = options.recorder.with_clock(options.clock);
        let drain_timeout = config.drain_timeout;
        let taps = Taps::new();
        let inner = Inner {
            recorder: Recorder::new(Arc::clone(&backend), config),
            backend,
            retention,
            grammar: options.grammar.unwrap_or(grammar),
            reader: Worker::start("annals-read", drain_timeout, taps.ended()),
            caller: Worker::start("annals-call", CALLER_STOP_TIMEOUT, std::future::ready(())),
            taps,
            buffers: Mutex::default(),
            persisted: Mutex::default(),
            clock,
            closed: watch::Sender::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The task that AimDB starts with the database: retention. It ends when persistence is closed
    /// and does not keep persistence alive.
    pub(crate) fn background_task(&self) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        async move {
            let Some(started) = inner.upgrade().map(|inner| inner.start_retention()) else {
                return;
            };
            started.await;
        }
    }

    /// The recorder's handle for `name`. One name can be taken once per database: two records under
    /// one name would be mixed, and one record persisted twice would be stored twice.
    pub(crate) fn record(
        &self,
        name: &str,
        filter: Option<&Filter>,
    ) -> Result<RecordHandle, PersistenceError> {
        if self.inner.recorder.stats().records.contains_key(name) {
            return Err(PersistenceError::InvalidRecordName {
                name: name.escape_debug().to_string(),
                reason: "something is persisted under it already",
            });
        }
        let handle = match filter {
            Some(filter) => self.inner.recorder.handle_with(name, filter),
            None => self.inner.recorder.handle(name),
        };
        let record = handle.map_err(|refused| match refused {
            RecorderError::Rejected(error) | RecorderError::Stopped(error) => error,
            _ => PersistenceError::BackendShutdown,
        })?;
        *self.inner.persisted.lock() = Some(Persisted { record: record.clone(), slot: None });
        Ok(record)
    }

    /// Puts the newest stored value of the record persisted last into its buffer, unless it is older
    /// than `max_age`. Blocks until the backend has answered, on a thread of its own.
    ///
    /// An error is a mistake in the configuration. A value that cannot be restored is logged.
    pub(crate) fn restore<T>(&self, max_age: Duration) -> Result<(), String>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let Some(Persisted { record, slot }) = self.inner.persisted.lock().take() else {
            return Err("it belongs after .persist_buffer(cfg, name), once".to_owned());
        };
        let name = record.name().clone();
        let Some(slot) = slot else {
            return Err(format!(
                "{name}: AimDB gives no access to a buffer set with .buffer(cfg): use \
                 .persist_buffer(cfg, name)"
            ));
        };
        let Ok(slot) = slot.downcast::<Arc<Slot<T>>>() else {
            return Err(format!("{name} is another record: persist this one before"));
        };
        match self.newest::<T>(name.as_str(), max_age) {
            Ok(Some((value, stored_at))) => {
                // The filter is a comparison less if this fails, no more.
                if let Err(error) = record.resume(&value, stored_at) {
                    log::warn(format_args!("{name}: its filter does not know the value: {error}"));
                }
                slot.fill(value);
            }
            Ok(None) => {}
            Err(error) => log::error(format_args!("{name} is not restored: {error}")),
        }
        Ok(())
    }

    /// The newest stored value of a record, with its time.
    fn newest<T>(&self, name: &str, max_age: Duration) -> Result<Option<(T, u64)>, String>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let max_age = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let since = self.inner.clock.now_ms().saturating_sub(max_age);
        let params = QueryParams::latest(1).with_start_time(since);
        let (backend, name) = (Arc::clone(&self.inner.backend), name.to_owned());
        let (answer, answered) = mpsc::sync_channel(1);
        let running = self.inner.caller.run(async move {
            // The receiver is gone after the timeout.
            let _ = answer.send(backend.query_typed::<T>(&name, params).await);
        });
        // The thread runs it, whether or not it is awaited.
        drop(running);
        let typed = match answered.recv_timeout(RESTORE_TIMEOUT) {
            Ok(typed) => typed.map_err(|error| error.to_string())?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the backend did not answer within {RESTORE_TIMEOUT:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the query was cut short".to_owned()),
        };
        if typed.skipped > 0 {
            return Err("its newest value does not deserialize as the record's type".to_owned());
        }
        Ok(typed.rows.into_iter().next().map(|row| (row.value, row.stored_at)))
    }

    /// Reads `source` into `record` until the buffer is closed, within each push. The future that
    /// this returns resolves then; it need not be awaited.
    ///
    /// `probe` is a subscription to the same buffer, made before `source`.
    pub(crate) fn tap<S: Source>(
        &self,
        probe: S,
        source: S,
        record: RecordHandle,
    ) -> impl Future<Output = ()> + Send + 'static + use<S> {
        let tap = self.inner.taps.add(probe, source, record, self.inner.reader.handle());
        let (ended, on_end) = oneshot::channel::<()>();
        // The pushing task's tokio budget must not apply: exhausted, it would make a buffer look
        // empty, and values would stay behind.
        inline::run(unconstrained(async move {
            tap.run().await;
            drop(ended);
        }));
        async move {
            let _ = on_end.await;
        }
    }

    /// Registers a buffer that records what is pushed into it. The buffer holds what this returns
    /// for as long as it exists.
    pub(crate) fn push_buffer<T: Send + 'static>(
        &self,
        record: &RecordHandle,
        restored: &Arc<Slot<T>>,
    ) -> Arc<()> {
        let slot: Box<dyn Any + Send> = Box::new(Arc::clone(restored));
        *self.inner.persisted.lock() = Some(Persisted { record: record.clone(), slot: Some(slot) });
        let alive = Arc::new(());
        let buffer =
            PushBuffer { record: record.name().as_str().into(), alive: Arc::downgrade(&alive) };
        self.inner.buffers.lock().push(buffer);
        alive
    }

    /// The handler of `record.query`. It does not keep persistence alive.
    pub(crate) fn query_handler(&self) -> impl Fn(Request) -> AnswerFuture + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.inner);
        move |request| match Weak::upgrade(&inner) {
            Some(inner) => {
                let answer = answer(Arc::clone(&inner.backend), inner.grammar, request);
                let answered = inner.caller.run(answer);
                Box::pin(async move {
                    answered.await.unwrap_or_else(|| Err("the query was cut short".to_owned()))
                })
            }
            None => Box::pin(std::future::ready(Err("persistence is closed".to_owned()))),
        }
    }

    /// The backend. Queries on it read patterns as [`QueryParams`](annals_core::QueryParams) says,
    /// as globs by default, on either line.
    pub fn backend(&self) -> &Arc<dyn PersistenceBackend> {
        &self.inner.backend
    }

    /// The grammar of patterns.
    pub fn grammar(&self) -> Grammar {
        self.inner.grammar
    }

    /// How the live handle reads `pattern`: in the database's grammar, or as a glob if it is no
    /// pattern of that grammar.
    pub(crate) fn grammar_of(&self, pattern: &str) -> Grammar {
        match Pattern::new(pattern, self.inner.grammar) {
            Ok(_) => self.inner.grammar,
            Err(_) => Grammar::Glob,
        }
    }

    /// The account of every value at this moment, by record and in total. Values that the buffer
    /// overwrote before they were read, or that were pushed after [`close`](Self::close), count as
    /// [`lost`](annals_core::RecordStats::lost): a record's producers have pushed `recorded + lost`
    /// values.
    pub fn stats(&self) -> RecorderStats {
        self.inner.recorder.stats()
    }

    /// What retention has done so far, and how often it failed.
    pub fn retention_stats(&self) -> RetentionStats {
        self.inner.retention.stats()
    }

    /// Runs a retention sweep now and returns the number of rows it removed.
    ///
    /// # Errors
    /// Any error of the backend. It is logged and counted as well.
    ///
    /// # Cancel safety
    /// Dropping the future may stop the sweep half-way; the next sweep does the rest.
    pub async fn sweep_now(&self) -> Result<u64, PersistenceError> {
        self.inner.retention.sweep_now().await
    }

    /// Waits until every value pushed before this call is stored. It first reads what the buffers
    /// hold for `.persist`. While the backend is unreachable it keeps waiting.
    ///
    /// # Errors
    /// [`Dropped`](RecorderError::Dropped) when some of the values were dropped meanwhile;
    /// [`Stopped`](RecorderError::Stopped) when the backend was closed.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn flush(&self) -> Result<(), RecorderError> {
        self.inner.taps.catch_up().await;
        self.inner.recorder.flush().await
    }

    /// Reads what the buffers hold, stores what was recorded, and ends recording and retention.
    /// Queries still work. Values pushed later are not recorded; a record with
    /// [`persist_buffer`](crate::RecordRegistrarPersistExt::persist_buffer) counts them as lost.
    ///
    /// A second call returns the same result.
    ///
    /// # Errors
    /// [`Dropped`](RecorderError::Dropped) when values were left behind because the backend stored
    /// nothing for [`drain_timeout`](annals_core::RecorderConfig::drain_timeout), and
    /// [`Stopped`](RecorderError::Stopped) when the backend blocks even the thread that calls it.
    ///
    /// # Cancel safety
    /// Closing starts at the first poll and continues even if the future is dropped.
    pub async fn close(&self) -> Result<(), RecorderError> {
        self.inner.taps.stop();
        self.inner.closed.send_replace(true);
        self.inner.taps.ended().await;
        self.inner.recorder.close().await
    }
}

impl Inner {
    fn start_retention(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        for PushBuffer { record, alive } in std::mem::take(&mut *self.buffers.lock()) {
            if alive.strong_count() == 0 {
                log::error(format_args!(
                    "{record}: its values are not recorded: a .buffer after .persist_buffer \
                     replaced the recording buffer"
                ));
            }
        }
        let mut closed = self.closed.subscribe();
        let (backend, retention) = (Arc::clone(&self.backend), self.retention.clone());
        let mut stop = closed.clone();
        let swept = self.caller.run(async move {
            let sweeps = async {
                if let Err(error) = backend.initialize().await {
                    log::error(format_args!("the history's backend is not ready: {error}"));
                }
                retention.run().await;
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|closed| *closed) => {}
                () = sweeps => {}
            }
        });
        async move {
            swept.await;
            // AimDB 2.x ends its runner with its tasks, so this one lasts until the close.
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
