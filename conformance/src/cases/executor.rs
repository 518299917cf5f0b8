//! CONCURRENT-3: a clock that ticks on the only thread there is shows who blocks it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::{PersistenceBackend, QueryParams};
use futures::future::try_join_all;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, timeout};

use crate::case::cases;
use crate::check::{During, Verdict, ensure, equal, failure, skip};
use crate::context::{Context, joined, within};

cases![
    concurrent_3_the_executor_runs_on_while_many_calls_wait,
    concurrent_3_the_executor_runs_on_while_the_database_is_locked,
];

const TICK: Duration = Duration::from_millis(10);

/// The longest a tick may be late.
const LATE: Duration = Duration::from_millis(50);

/// How long the lock is held.
const LOCKED: Duration = Duration::from_millis(1_000);

/// Whatever stops the whole machine makes a tick late as well, but not every time; a backend that
/// blocks does.
const ATTEMPTS: usize = 8;

/// A moment of this thread.
struct Moment {
    at: Instant,
    waited: Duration,
}

impl Moment {
    fn now() -> Self {
        Self { at: Instant::now(), waited: waited_for_a_processor() }
    }

    /// By how much a tick after this moment is late, beyond what other threads took.
    fn late(&self) -> Duration {
        let waited = waited_for_a_processor().saturating_sub(self.waited);
        self.at.elapsed().saturating_sub(TICK + waited)
    }
}

/// How long this thread, ready to run, has waited for a processor so far: what a busy machine takes
/// from it. Zero where the system does not say.
fn waited_for_a_processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().nth(1).and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Ticks until `until` is done, and says by how much the latest tick was late.
async fn ticking<T>(until: impl Future<Output = T>) -> (T, Duration) {
    let mut latest = Duration::ZERO;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until = std::pin::pin!(until);
    let mut last = Moment::now();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                latest = latest.max(last.late());
                last = Moment::now();
            }
            output = &mut until => return (output, latest.max(last.late())),
        }
    }
}

/// Runs a future on a thread with an executor of its own that has no other thread.
async fn on_one_thread<T: Send + 'static, F: Future<Output = Verdict<T>>>(
    future: impl FnOnce() -> F + Send + 'static,
) -> Verdict<T> {
    let ran = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.during("starting a runtime")?.block_on(future())
    });
    joined(ran.await)?
}

async fn many_calls(backend: &dyn PersistenceBackend, round: u64) -> Verdict {
    let stores = (0..200).map(|i| async move {
        let at = round * 1_000 + i;
        backend.store("r", &json!(at), at).await
    });
    try_join_all(stores).await.during("200 stores at once")?;
    let reads = (0..20).map(|_| backend.query("r", QueryParams::latest(20)));
    try_join_all(reads).await.during("20 queries at once")?;
    backend.cleanup(round * 1_000 + 100).await.during("cleaning up")?;
    Ok(())
}

async fn concurrent_3_the_executor_runs_on_while_many_calls_wait(cx: &Context) -> Verdict {
    let location = cx.location().await?;
    let (suite, place) = (cx.suite.clone(), location.clone());
    let latest = on_one_thread(move || async move {
        let backend = suite.harness.open(&place).await.during("opening a store")?;
        backend.initialize().await.during("initializing a store")?;
        let mut least = Duration::MAX;
        for attempt in 0..ATTEMPTS as u64 {
            // As a task of its own: calls that are never awaited would not be late.
            let calls = backend.clone();
            let task = tokio::spawn(async move { many_calls(&*calls, attempt).await });
            let (ended, latest) = ticking(task).await;
            joined(ended)??;
            least = least.min(latest);
            if least < LATE {
                break;
            }
        }
        Ok(least)
    })
    .await?;
    ensure(
        latest < LATE,
        "how late the executor's clock is while 200 calls wait",
        format!("less than {LATE:?}"),
        latest,
    )
}

async fn concurrent_3_the_executor_runs_on_while_the_database_is_locked(cx: &Context) -> Verdict {
    let mut least = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let location = cx.location().await?;
        let (ready, is_ready) = oneshot::channel();
        let (locked, is_locked) = oneshot::channel();
        let (waited, has_waited) = oneshot::channel();
        let (suite, place, patience) = (cx.suite.clone(), location.clone(), cx.patience());
        let inside = tokio::spawn(on_one_thread(move || async move {
            let backend = suite.harness.open(&place).await.during("opening a store")?;
            backend.initialize().await.during("initializing a store")?;
            // The other side may have given up; then it says why.
            let _ = ready.send(());
            if is_locked.await.is_err() {
                return Ok(Duration::ZERO);
            }
            let calls = tokio::spawn(beside_a_lock(backend));
            let (_, latest) = ticking(timeout(LOCKED, std::future::pending::<()>())).await;
            let _ = waited.send(());
            let calls = within(patience, "calls after the lock is gone", calls);
            joined(calls.await?)??;
            Ok(latest)
        }));
        if is_ready.await.is_ok() {
            let Some(guard) = cx.harness().lock(&location).await? else {
                return skip("the harness has no hook lock");
            };
            if locked.send(()).is_err() {
                return Err(failure("the task beside the lock", "it waits", "it has ended"));
            }
            // It ends with an error of its own if it does not send.
            let _ = has_waited.await;
            drop(guard);
        }
        least = least.min(joined(inside.await)??);
        if least < LATE {
            break;
        }
    }
    ensure(
        least < LATE,
        format!("how late the executor's clock is while the database is locked for {LOCKED:?}"),
        format!("less than {LATE:?}"),
        least,
    )
}

async fn beside_a_lock(backend: Arc<dyn PersistenceBackend>) -> Verdict {
    let stores = (0..50_u64).map(|at| {
        let backend = backend.clone();
        async move { backend.store("r", &json!(at), at).await }
    });
    try_join_all(stores).await.during("stores that a lock of a second delays")?;
    let rows = backend.query("r", QueryParams::default()).await.during("querying")?;
    equal("the rows stored in spite of the lock", &rows.len(), &50)
}
