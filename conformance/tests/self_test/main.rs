//! The suite's own test: what is right passes, and what is wrong fails exactly the clauses that it
//! breaks.

// Tests, though they bring their own runner, which is how clippy tells tests.
#![allow(clippy::unwrap_used)]

mod journal;
mod shelf;
mod subject;
mod three_methods;
mod twist;
mod wrong;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use annals_conformance::{Case, CaseResult, Outcome, Suite};
use libtest_mimic::{Arguments, Failed, Trial};

use journal::{Flaw, journal};
use subject::{Subject, twisted};
use three_methods::ThreeMethods;
use wrong::Values;

/// Cases with many rows or long values, which take most of the time of a suite. They run on what is
/// right and on what breaks their clause.
const LARGE: &[&str] = &[
    "batch_1_a_batch_has_tens_of_thousands_of_rows",
    "bucket_5_too_many_buckets_are_refused",
    "cleanup_2_stores_and_queries_go_on",
    "cleanup_3_space_comes_back",
    "cleanup_5_a_plan_reaches_every_record_and_row",
    "concurrent_2_dropped_queries_leave_the_store_usable",
    "correct_1_any_row_of_many",
    "erase_1_counts_exactly_over_many_rows",
    "erase_2_readers_see_no_part_of_it",
    "filter_3_a_rare_row_is_found_among_many",
    "latest_3_the_newest_cost_what_is_returned",
    "query_2_a_greater_limit_means_everything",
    "query_2_no_limit_means_everything",
    "query_3_a_batch_stored_while_a_stream_is_read_is_in_it_whole_or_not_at_all",
    "query_3_a_cleanup_while_a_stream_is_read_takes_nothing_from_it",
    "query_3_a_long_stream_sees_batches_whole_or_not_at_all",
    "query_4_a_stream_yields_what_a_query_returns",
    "query_4_dropped_streams_hold_nothing",
    "query_4_unread_streams_stop_nobodys_writes",
    "range_1_a_window_returns_every_row_in_it",
    "record_1_the_account_balances_at_every_moment",
    "value_1_a_hundred_thousand_elements",
    "value_3_a_value_above_the_default_size_is_refused",
];

/// The clause of the random sequences: they find much of what the other cases find, and are
/// counted apart.
const RANDOM: &str = "REFERENCE-1";

fn main() -> ExitCode {
    let subjects: Vec<Arc<Subject>> =
        right().into_iter().chain(wrong::subjects()).map(Arc::new).collect();
    for subject in &subjects {
        if let Some(exit_code) = subject.suite.serve_child() {
            return exit_code;
        }
    }
    for large in LARGE {
        assert!(Suite::cases().iter().any(|case| case.name() == *large), "{large} is no case");
    }
    let trials = subjects
        .into_iter()
        .map(|subject| Trial::test(subject.suite.name().to_owned(), move || judge(&subject)));
    // A subject's cases run one after the other, and some wait for what hangs.
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn right() -> Vec<Subject> {
    vec![
        Subject::new(Suite::in_memory("right_three_methods_alone", ThreeMethods::default), &[])
            .running(70),
        journal("right_journal", Flaw::None, &[]).running(95),
        twisted("right_reference_untwisted", || Values(Clone::clone), &[]).running(75),
    ]
}

/// The results of the cases that can say something about the subject.
fn results(subject: &Subject, suite: &Suite) -> Vec<CaseResult> {
    let says_something = |case: &Case| match case.clause_id().as_str() {
        _ if subject.breaks.is_empty() => true,
        RANDOM => subject.random_finds,
        clause => subject.breaks.contains(&clause) || !LARGE.contains(&case.name()),
    };
    Suite::cases().into_iter().filter(says_something).map(|case| suite.run_case(case)).collect()
}

fn judge(subject: &Subject) -> Result<(), Failed> {
    // A child is told by its environment which suite it belongs to; arguments do not matter.
    let suite: Suite =
        subject.suite.clone().with_child_args(env::args_os().skip(1).collect::<Vec<OsString>>());
    let results = results(subject, &suite);
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
    if subject.random_finds != found_by_random {
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
