//! The suite's own test: what is right passes, and what is wrong fails exactly the clauses that it
//! breaks.

// Tests, though they bring their own runner, which is how clippy tells tests.
#![allow(clippy::unwrap_used)]

mod journal;
mod shelf;
mod three_methods;
mod twist;
mod wrong;
mod wrong_aggregates;
mod wrong_erasures;
mod wrong_filters;
mod wrong_follow;
mod wrong_patterns;
mod wrong_reads;
mod wrong_writes;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use annals_conformance::{Outcome, RunOptions, Suite};
use libtest_mimic::{Arguments, Failed, Trial};

use wrong::{Subject, subjects};

/// The clause of the random sequences: they find much of what the other cases find, and are
/// counted apart.
const RANDOM: &str = "REFERENCE-1";

fn main() -> ExitCode {
    let subjects: Vec<Arc<Subject>> = subjects().into_iter().map(Arc::new).collect();
    for subject in &subjects {
        if let Some(exit_code) = subject.suite.serve_child() {
            return exit_code;
        }
    }
    let trials = subjects
        .into_iter()
        .map(|subject| Trial::test(subject.suite.name().to_owned(), move || judge(&subject)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn judge(subject: &Subject) -> Result<(), Failed> {
    // A child is told by its environment which suite it belongs to; arguments do not matter.
    let suite: Suite =
        subject.suite.clone().with_child_args(env::args_os().skip(1).collect::<Vec<OsString>>());
    let results = suite.run(&RunOptions::default());
    let mut failed = BTreeSet::new();
    let mut messages = String::new();
    for result in &results {
        if let Outcome::Failed(message) = &result.outcome {
            failed.insert(result.clause_id.as_str());
            messages += &format!("\n{}: {message}\n", result.name);
        }
    }
    let found_by_random = failed.remove(RANDOM);
    failed.retain(|clause| !subject.perhaps.contains(clause));
    let expected: BTreeSet<&str> = subject.breaks.iter().copied().collect();
    if failed != expected {
        return Err(
            format!("expected {expected:?} to fail\n     got {failed:?}\n{messages}").into()
        );
    }
    if let Some(case) = subject.caught_by
        && !results.iter().any(|r| r.name == case && matches!(r.outcome, Outcome::Failed(_)))
    {
        return Err(format!("{case} was to find it\n{messages}").into());
    }
    if subject.random_finds.is_some_and(|expected| expected != found_by_random) {
        let expected = if found_by_random { "find nothing" } else { "find it" };
        return Err(format!("the random sequences were to {expected}\n{messages}").into());
    }
    let must_run = subject.runs;
    let skipped = results.iter().filter(|result| matches!(result.outcome, Outcome::Skipped(_)));
    let ran = results.len() - skipped.count();
    if ran < must_run {
        return Err(format!("only {ran} cases ran, where {must_run} should have").into());
    }
    Ok(())
}
