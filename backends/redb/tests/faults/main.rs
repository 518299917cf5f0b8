//! redb on media that fail.

#![allow(clippy::unwrap_used, reason = "test code")]

mod bed;
mod full;
mod old;
#[path = "../conformance/storage.rs"]
mod storage;

use std::process::ExitCode;

use annals_test_faults::{Fault, OldFile, fault_trials};
use libtest_mimic::{Arguments, Trial};

use bed::Redb;

const CONVERSIONS: [(OldFile, Fault); 2] =
    [(old::VERSION_1, Fault::Error), (old::VERSION_1, Fault::PowerCut)];

fn main() -> ExitCode {
    let mut trials = fault_trials::<Redb>([25, 15, 35], &CONVERSIONS);
    let own: [(&str, fn()); 5] = [
        (
            "a_check_of_health_lets_readers_in_once_there_is_space",
            full::a_check_of_health_lets_readers_in_once_there_is_space,
        ),
        ("a_store_that_is_refused_was_not_applied", full::a_store_that_is_refused_was_not_applied),
        (
            "readers_continue_and_stores_do_once_there_is_space",
            full::readers_continue_and_stores_do_once_there_is_space,
        ),
        (
            "volatile_rows_that_are_lost_are_reported_by_closing",
            full::volatile_rows_that_are_lost_are_reported_by_closing,
        ),
        (
            "volatile_rows_that_are_lost_are_reported_by_a_store",
            full::volatile_rows_that_are_lost_are_reported_by_a_store,
        ),
    ];
    trials.extend(own.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
