//! Processes with redb files that are killed.

#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../faults/bed.rs"]
mod bed;
#[path = "../faults/old.rs"]
mod old;
#[path = "../conformance/storage.rs"]
mod storage;

use std::process::ExitCode;
use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError};
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{
    Child, Fault, Medium, every_killed_conversion, storm, task, tell, tiny, write,
};
use libtest_mimic::{Arguments, Failed, Trial};

use bed::Files;

fn main() -> ExitCode {
    if let Some(task) = task() {
        if let Err(error) = act(&task.iter().map(String::as_str).collect::<Vec<_>>()) {
            tell(&format!("error {error}"));
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let trial = |name: &str, test: fn() -> Result<(), String>| {
        Trial::test(name, move || test().map_err(Failed::from))
    };
    let trials = vec![
        trial("a_storm_of_kills_loses_and_doubles_nothing", killed),
        trial("a_conversion_that_is_killed_is_whole_or_not_at_all", killed_converting),
    ];
    // A process that is being started holds copies of all open files and of their locks.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn act(task: &[&str]) -> Result<(), PersistenceError> {
    match task {
        ["write", path, writer, first] => {
            write(&|| open(path), writer.parse().unwrap(), first.parse().unwrap())
        }
        ["convert", path, at] => {
            let medium = Medium::new();
            medium.arm(at.parse().unwrap(), Fault::Kill);
            storage::put(path, Arc::new(medium));
            bed::open(RedbConfig::new(path).with_tuning(tiny())).map(drop)
        }
        other => panic!("there is no task {other:?}"),
    }
}

fn open(path: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    Ok(Arc::new(RedbBackend::open(RedbConfig::new(path).with_tuning(tiny()))?))
}

fn killed() -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb").display().to_string();
    let start = |writer: u64, first: u64| {
        Child::start(&["write", &path, &writer.to_string(), &first.to_string()])
    };
    storm(&|| open(&path), &start, 1, 30)
}

fn killed_converting() -> Result<(), String> {
    let convert = |path: &str, at: u64| Child::start(&["convert", path, &at.to_string()]);
    every_killed_conversion::<Files>(&convert, &old::make, &old::is_whole, &old::rows())
}
