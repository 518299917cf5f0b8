//! SQLite on media that fail.

#![allow(clippy::unwrap_used, reason = "test code")]

mod bed;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;

use annals_test_faults::{Fault, every, watch_threads};
use libtest_mimic::{Arguments, Failed, Trial};

use bed::Files;

fn main() -> ExitCode {
    watch_threads();
    let trial = |name: &str, test: fn() -> Result<(), String>| {
        Trial::test(name, move || test().map_err(Failed::from))
    };
    let trials = vec![
        trial("an_operation_that_fails_loses_and_doubles_nothing", || {
            every::<Files>(Fault::Error, 100)
        }),
        trial("a_full_disk_loses_and_doubles_nothing", || every::<Files>(Fault::Full, 60)),
        trial("a_power_cut_loses_and_doubles_nothing", || every::<Files>(Fault::PowerCut, 160)),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
