//! Processes with SQLite files that are killed.

#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../faults/bed.rs"]
mod bed;
#[path = "../faults/old.rs"]
mod old;
#[path = "../conformance/vfs.rs"]
mod vfs;

use std::process::ExitCode;
use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{
    Child, Fault, Medium, every_killed_conversion, storm, task, tell, tiny, write,
};
use libtest_mimic::{Arguments, Failed, Trial};

use bed::Files;
use old::Old;

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
            vfs::put(path, Arc::new(medium));
            bed::open(path).map(drop)
        }
        other => panic!("there is no task {other:?}"),
    }
}

fn open(path: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    Ok(Arc::new(SqliteBackend::open(SqliteConfig::new(path).with_tuning(tiny()))?))
}

fn killed() -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db").display().to_string();
    let start = |writer: u64, first: u64| {
        Child::start(&["write", &path, &writer.to_string(), &first.to_string()])
    };
    storm(&|| open(&path), &start, 3, 30)
}

fn killed_converting() -> Result<(), String> {
    let convert = |path: &str, at: u64| Child::start(&["convert", path, &at.to_string()]);
    [Old::Version1, Old::Version2, Old::Aimdb].into_iter().try_for_each(|old| {
        let make = |path: &str| old.make(path);
        let is_whole = |path: &str| old.is_whole(path);
        every_killed_conversion::<Files>(&convert, &make, &is_whole, &Old::rows())
    })
}
