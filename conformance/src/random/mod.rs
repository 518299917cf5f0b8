//! REFERENCE-1: random sequences of calls, compared with the in-memory reference.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Handle;

use crate::case::cases;
use crate::check::{During, Stop, Verdict, failure};
use crate::context::Context;

mod call;
mod compare;
mod strategies;

use call::Script;

cases![reference_1_random_calls_agree_with_the_reference];

/// No new sequence is begun after this time, so that a slow store does not hold the suite up.
const BUDGET: Duration = Duration::from_secs(12);

/// No smaller script is looked for after this time.
const SHRINKING: Duration = Duration::from_secs(20);

async fn reference_1_random_calls_agree_with_the_reference(cx: &Context) -> Verdict {
    let suite = cx.suite.clone();
    let handle = Handle::current();
    let compared = tokio::task::spawn_blocking(move || {
        let config = Config {
            cases: suite.random_cases,
            failure_persistence: None,
            max_shrink_iters: 4_000,
            max_shrink_time: SHRINKING.as_millis() as u32,
            ..Config::default()
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&suite.seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let started = Instant::now();
        let failed = Cell::new(false);
        let result = TestRunner::new_with_rng(config, rng).run(&strategies::scripts(), |script| {
            if !failed.get() && started.elapsed() > BUDGET {
                return Ok(());
            }
            let context = Arc::new(Context::new(&suite, Default::default()));
            let verdict = handle.block_on(async {
                let verdict = compare::run(&context, &script).await;
                context.remove_stores().await;
                verdict
            });
            match verdict {
                Ok(()) | Err(Stop::Skipped(_)) => Ok(()),
                Err(Stop::Failed(problem)) => {
                    failed.set(true);
                    Err(TestCaseError::fail(problem.to_string()))
                }
            }
        });
        (result, suite.seed)
    });
    let (result, seed) = compared.await.during("the random sequences")?;
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, script)) => Err(shrunk(&script, reason.message(), seed)),
        Err(TestError::Abort(reason)) => {
            Err(failure("the random sequences", "they run", reason.message().to_owned()))
        }
    }
}

fn shrunk(script: &Script, problem: &str, seed: u64) -> Stop {
    let what = format!(
        "the shortest sequence of calls found that differs \
         (ANNALS_CONFORMANCE_SEED={seed}):\n{script}"
    );
    failure(what, "what the reference answers", format!("the last call differs\n{problem}"))
}
