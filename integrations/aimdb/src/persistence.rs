//! The persistence of one database. Buffers and pushes feed its recorder; queries on the live
//! handle and `record.query` read its backend. No task of AimDB's ever waits for the backend.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_core::{
    Grammar, Pattern, PersistenceBackend, PersistenceError, RecordHandle, Recorder, RecorderError,
    RecorderStats, Retention, RetentionStats, log,
};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::unconstrained;

use crate::inline;
use crate::options::PersistenceOptions;
use crate::record_query::{AnswerFuture, Request, answer};
use crate::tap::{Source, Taps};
use crate::worker::Worker;

/// How long dropping the last handle waits for the thread that runs sweeps and queries. Only a
/// backend that blocks its caller makes it wait at all.
const CALLER_STOP_TIMEOUT: Duration = Duration::from_secs(5);

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
    closed: watch::Sender<bool>,
}

/// A buffer that records what is pushed into it.
struct PushBuffer {
    record: Arc<str>,
    alive: Weak<()>,
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
    pub(crate) fn push_buffer(&self, record: &RecordHandle) -> Arc<()> {
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
