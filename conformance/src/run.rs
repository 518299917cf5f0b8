//! Runs cases: each on a thread and in a runtime of its own, with an end to its patience.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;

use crate::case::{Case, CaseResult, Outcome};
use crate::check::{Stop, Verdict};
use crate::context::Context;
use crate::suite::Suite;

/// How often a case that makes progress may use up its time.
const MAX_TIMEOUTS: usize = 5;

/// Which cases are run, and how many at once.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Only cases whose name or clause id contains this text.
    pub filter: Option<String>,
    /// How many at once; `None`: as many as there are processors.
    pub threads: Option<usize>,
}

impl RunOptions {
    fn selects(&self, case: &Case) -> bool {
        self.filter
            .as_deref()
            .is_none_or(|filter| case.name().contains(filter) || case.clause_id().contains(filter))
    }
}

impl Suite {
    /// Runs the cases that `options` select and returns their results in the order of the
    /// contract.
    pub fn run(&self, options: &RunOptions) -> Vec<CaseResult> {
        self.run_with(options, |_| {})
    }

    /// As [`run`](Self::run), and tells `finished` of every result as soon as it is there.
    pub fn run_with(
        &self,
        options: &RunOptions,
        mut finished: impl FnMut(&CaseResult),
    ) -> Vec<CaseResult> {
        let mut selected = Self::cases();
        selected.retain(|case| options.selects(case));
        let threads =
            options.threads.or_else(|| thread::available_parallelism().ok().map(usize::from));
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        let mut results = thread::scope(|scope| {
            for _ in 0..threads.unwrap_or(1).max(1) {
                let (sender, next, selected) = (sender.clone(), &next, &selected);
                scope.spawn(move || {
                    while let Some(case) = selected.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if sender.send(self.run_case(*case)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            receiver.iter().inspect(|result| finished(result)).collect::<Vec<_>>()
        });
        let place = |name| selected.iter().position(|case| case.name() == name);
        results.sort_by_key(|result| place(result.name));
        results
    }

    /// Runs one case and returns its result.
    pub fn run_case(&self, case: Case) -> CaseResult {
        let started = Instant::now();
        let outcome = match &self.unavailable {
            Some(reason) => Outcome::Skipped(reason.clone()),
            None => on_a_thread(self, case),
        };
        let duration = started.elapsed();
        CaseResult { name: case.name(), clause_id: case.clause_id(), outcome, duration }
    }
}

/// A backend may block the thread it is polled on, for ever: only another thread can tell.
fn on_a_thread(suite: &Suite, case: Case) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    let owned = suite.clone();
    let progress = Arc::new(AtomicU64::new(0));
    let observed = progress.clone();
    let spawned = thread::Builder::new().name(case.name().to_owned()).spawn(move || {
        let verdict =
            panic::catch_unwind(AssertUnwindSafe(|| in_a_runtime(&owned, case, progress)));
        // The receiver is gone after the timeout; nobody wants to know any more.
        let _ = sender.send(verdict);
    });
    if let Err(error) = spawned {
        return Outcome::Failed(message(
            suite,
            case,
            &format!("  no thread to run it on: {error}"),
        ));
    }
    let mut ended = receiver.recv_timeout(suite.timeout);
    let mut seen = 0;
    for _ in 0..MAX_TIMEOUTS {
        let now = observed.load(Ordering::Relaxed);
        if !matches!(ended, Err(RecvTimeoutError::Timeout)) || now == seen {
            break;
        }
        seen = now;
        ended = receiver.recv_timeout(suite.timeout);
    }
    match ended {
        Ok(Ok(Ok(()))) => Outcome::Passed,
        Ok(Ok(Err(Stop::Skipped(reason)))) => Outcome::Skipped(reason),
        Ok(Ok(Err(Stop::Failed(failure)))) => {
            Outcome::Failed(message(suite, case, &failure.to_string()))
        }
        Ok(Err(panic)) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            Outcome::Failed(message(suite, case, &format!("  got:      a panic: {said}")))
        }
        Err(_) => {
            let seconds = suite.timeout.as_secs_f64();
            let text = format!("  expected: an end\n  got:      none after {seconds} s: it hangs");
            Outcome::Failed(message(suite, case, &text))
        }
    }
}

fn in_a_runtime(suite: &Suite, case: Case, progress: Arc<AtomicU64>) -> Verdict {
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(
            |error| crate::check::failure("the runtime", "it starts", error.to_string()),
        )?;
    let context = Arc::new(Context::new(suite, progress));
    let verdict = runtime.block_on(async {
        // As a task, so that a panic does not pass over the removal of the stores.
        let verdict = tokio::spawn((case.body)(context.clone())).await;
        context.remove_stores().await;
        verdict
    });
    // What a cancelled call left running must not keep the case from ending.
    runtime.shutdown_timeout(Duration::from_secs(5));
    match verdict {
        Ok(verdict) => verdict,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(error) => Err(crate::check::failure("the case", "an end", error.to_string())),
        },
    }
}

fn message(suite: &Suite, case: Case, problem: &str) -> String {
    let clause = case.clause().map_or_else(|| case.clause_id(), ToString::to_string);
    format!("{clause}\n  backend:  {}\n  case:     {}\n{problem}", suite.name(), case.name())
}
