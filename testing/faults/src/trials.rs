//! The tests that every engine has.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use annals_core::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::bed::Bed;
use crate::child::{Child, task, tell};
use crate::conversion::{OldFile, every_conversion, every_killed_conversion};
use crate::every::every;
use crate::medium::{Fault, Medium};
use crate::panics::watch_threads;
use crate::storm::{storm, write};

fn trial(name: &str, test: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(Failed::from))
}

/// Tests of an engine on media that fail. `lives` says how many operations fail: with an error, for
/// want of space, by a loss of power. `conversions` are old files, each with a fault.
pub fn fault_trials<B: Bed + 'static>(
    lives: [u64; 3],
    conversions: &'static [(OldFile, Fault)],
) -> Vec<Trial> {
    watch_threads();
    let [errors, full, cuts] = lives;
    vec![
        trial("an_operation_that_fails_loses_and_doubles_nothing", move || {
            every::<B>(Fault::Error, errors)
        }),
        trial("a_full_disk_loses_and_doubles_nothing", move || every::<B>(Fault::Full(12), full)),
        trial("a_power_cut_loses_and_doubles_nothing", move || every::<B>(Fault::PowerCut, cuts)),
        trial("a_conversion_is_whole_or_not_at_all_on_a_failing_medium", || {
            conversions.iter().try_for_each(|(old, fault)| every_conversion::<B>(*fault, *old))
        }),
    ]
}

/// Tests of an engine with processes that are killed: `writers` on one store, and processes that
/// convert old files. Each process is this program, started again.
pub fn kill_trials<B: Bed + 'static>(writers: u64, old: &'static [OldFile]) -> ExitCode {
    if let Some(task) = task() {
        if let Err(error) = act::<B>(&task.iter().map(String::as_str).collect::<Vec<_>>()) {
            tell(&format!("error {error}"));
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        trial("a_storm_of_kills_loses_and_doubles_nothing", move || killed::<B>(writers)),
        trial("a_conversion_that_is_killed_is_whole_or_not_at_all", || {
            let convert = |path: &str, at: u64| Child::start(&["convert", path, &at.to_string()]);
            old.iter().try_for_each(|old| every_killed_conversion::<B>(&convert, *old))
        }),
    ];
    // A process that is being started holds copies of all open files and of their locks.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What a child does.
fn act<B: Bed>(task: &[&str]) -> Result<()> {
    match task {
        ["write", path, writer, first] => {
            write(&|| B::open(path), writer.parse().unwrap(), first.parse().unwrap())
        }
        ["convert", path, at] => {
            let medium = Medium::new();
            medium.arm(at.parse().unwrap(), Fault::Kill);
            Medium::lay_under(path, Arc::new(medium));
            B::open_on_medium(path).map(drop)
        }
        other => panic!("there is no task {other:?}"),
    }
}

/// An environment variable that sets the number of kills.
const KILLS: &str = "ANNALS_TEST_KILLS";

/// How many kills one file gets. Each process reads the whole index of its file, so a larger file slows all of them.
const KILLS_OF_A_FILE: u64 = 1_000;

fn killed<B: Bed>(writers: u64) -> Result<(), String> {
    let kills = env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(30);
    for before in (0..kills).step_by(KILLS_OF_A_FILE as usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(B::FILE).display().to_string();
        let start = |writer: u64, first: u64| {
            Child::start(&["write", &path, &writer.to_string(), &first.to_string()])
        };
        let more = KILLS_OF_A_FILE.min(kills - before);
        storm(&|| B::open(&path), &start, writers, more, kills + before)?;
        eprintln!("{} of {kills} kills", before + more);
    }
    Ok(())
}
