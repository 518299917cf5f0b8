//! redb on media that fail.

#![allow(clippy::unwrap_used, reason = "test code")]

mod bed;
mod full;
mod old;
#[path = "../conformance/storage.rs"]
mod storage;

use std::process::ExitCode;

use annals_test_faults::{Fault, every, every_conversion, watch_threads};
use libtest_mimic::{Arguments, Failed, Trial};

use bed::Files;

fn main() -> ExitCode {
    watch_threads();
    let trial = |name: &str, test: fn() -> Result<(), String>| {
        Trial::test(name, move || test().map_err(Failed::from))
    };
    let trials = vec![
        trial("an_operation_that_fails_loses_and_doubles_nothing", || {
            every::<Files>(Fault::Error, 25)
        }),
        trial("a_full_disk_loses_and_doubles_nothing", || every::<Files>(Fault::Full(12), 15)),
        trial("a_power_cut_loses_and_doubles_nothing", || every::<Files>(Fault::PowerCut, 35)),
        trial("a_conversion_is_whole_or_not_at_all_on_a_failing_medium", || {
            [Fault::Error, Fault::PowerCut].into_iter().try_for_each(|fault| {
                every_conversion::<Files>(fault, &old::make, &old::is_whole, &old::rows())
            })
        }),
        trial("a_check_of_health_lets_readers_in_once_there_is_room", || {
            full::a_check_of_health_lets_readers_in_once_there_is_room();
            Ok(())
        }),
        trial("a_store_that_is_refused_was_not_applied", || {
            full::a_store_that_is_refused_was_not_applied();
            Ok(())
        }),
        trial("readers_go_on_and_so_do_stores_once_there_is_room", || {
            full::readers_go_on_and_so_do_stores_once_there_is_room();
            Ok(())
        }),
        trial("volatile_rows_that_are_lost_are_told_by_closing", || {
            full::volatile_rows_that_are_lost_are_told_by_closing();
            Ok(())
        }),
        trial("volatile_rows_that_are_lost_are_told_with_a_store", || {
            full::volatile_rows_that_are_lost_are_told_with_a_store();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
