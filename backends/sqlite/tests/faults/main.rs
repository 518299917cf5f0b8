//! SQLite on media that fail.

#![allow(clippy::unwrap_used, reason = "test code")]

mod bed;
mod full;
mod old;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;

use annals_test_faults::{Fault, OldFile, fault_trials};
use libtest_mimic::{Arguments, Trial};

use bed::Sqlite;

const CONVERSIONS: [(OldFile, Fault); 7] = [
    (old::VERSION_1, Fault::Error),
    (old::VERSION_1, Fault::PowerCut),
    (old::VERSION_2, Fault::Error),
    (old::VERSION_2, Fault::PowerCut),
    (old::VERSION_3, Fault::Error),
    (old::VERSION_3, Fault::PowerCut),
    (old::AIMDB, Fault::Full(12)),
];

fn main() -> ExitCode {
    let mut trials = fault_trials::<Sqlite>([60, 40, 90], &CONVERSIONS);
    trials.push(Trial::test("a_log_that_took_all_space_starts_over", || {
        full::a_log_that_took_all_space_starts_over();
        Ok(())
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
