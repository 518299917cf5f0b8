//! The suite as a test binary.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

use crate::case::{Case, Outcome};
use crate::suite::Suite;
use crate::{cases, child};

impl Suite {
    /// All cases of the suite, in the order of the contract.
    pub fn cases() -> Vec<Case> {
        cases::all()
    }

    /// Runs as a test binary: reads the arguments of `cargo test` or `cargo nextest`, runs the
    /// cases and returns what `main` has to return. For several suites in one binary see
    /// [`main`](crate::main).
    pub fn main(self) -> ExitCode {
        main([self])
    }

    /// If this process was started by the suite as a child of this name, acts as that child and
    /// returns what `main` has to return; `None` in every other process.
    ///
    /// Programs that call [`run`](Self::run) call this first. [`main`](Self::main) does that
    /// itself.
    pub fn serve_child(&self) -> Option<ExitCode> {
        child::serve(std::slice::from_ref(self))
    }
}

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
