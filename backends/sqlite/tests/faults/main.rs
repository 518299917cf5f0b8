//! SQLite on media that fail.

#![allow(clippy::unwrap_used, reason = "test code")]

mod bed;
mod full;
mod old;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;

use annals_test_faults::{Fault, every, every_conversion, watch_threads};
use libtest_mimic::{Arguments, Failed, Trial};

use bed::Files;
use old::Old;

fn main() -> ExitCode {
    watch_threads();
    let trial = |name: &str, test: fn() -> Result<(), String>| {
        Trial::test(name, move || test().map_err(Failed::from))
    };
    let trials = vec![
        trial("an_operation_that_fails_loses_and_doubles_nothing", || {
            every::<Files>(Fault::Error, 60)
        }),
        trial("a_full_disk_loses_and_doubles_nothing", || every::<Files>(Fault::Full(12), 40)),
        trial("a_power_cut_loses_and_doubles_nothing", || every::<Files>(Fault::PowerCut, 90)),
        trial("a_conversion_is_whole_or_not_at_all_on_a_failing_medium", || {
            [
                (Old::Version1, Fault::Error),
                (Old::Version1, Fault::PowerCut),
                (Old::Version2, Fault::Error),
                (Old::Version2, Fault::PowerCut),
                (Old::Aimdb, Fault::Full(12)),
            ]
            .into_iter()
            .try_for_each(|(old, fault)| {
                let make = |path: &str| old.make(path);
                let is_whole = |path: &str| old.is_whole(path);
                every_conversion::<Files>(fault, &make, &is_whole, &Old::rows())
            })
        }),
        trial("a_log_that_took_all_room_begins_anew", || {
            full::a_log_that_took_all_room_begins_anew();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
