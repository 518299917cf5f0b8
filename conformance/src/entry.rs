//! The suite as a test binary.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

use crate::case::Outcome;
use crate::suite::Suite;
use crate::{cases, child};

/// The `main` of a test binary with one or several suites: reads the arguments of `cargo test` or
/// `cargo nextest`, runs the cases in parallel and returns what `main` has to return.
///
/// The tests are named after suite and case: `sqlite::range_2_bounds_are_inclusive`.
pub fn main(suites: impl IntoIterator<Item = Suite>) -> ExitCode {
    // Whatever filter this process was given does not matter to a child: it serves before any
    // argument is read.
    let child_args: Vec<OsString> = env::args_os().skip(1).collect();
    let suites: Vec<Suite> = suites
        .into_iter()
        .map(|suite| match suite.child_args {
            Some(_) => suite,
            None => suite.with_child_args(child_args.clone()),
        })
        .collect();
    match child::serve(&suites) {
        Some(exit_code) => exit_code,
        None => test(suites, &Arguments::from_args()).exit_code(),
    }
}

fn test(suites: Vec<Suite>, args: &Arguments) -> Conclusion {
    let mut trials = Vec::new();
    for suite in suites {
        let suite = Arc::new(suite);
        trials.extend(cases::all().into_iter().map(|case| {
            let suite = suite.clone();
            Trial::ignorable_test(format!("{}::{}", suite.name(), case.name()), move || match suite
                .run_case(case)
                .outcome
            {
                Outcome::Passed => Ok(Completion::Completed),
                Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
                Outcome::Failed(message) => Err(Failed::from(message)),
            })
        }));
    }
    libtest_mimic::run(args, trials)
}
