//! Processes with SQLite files that are killed.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::process::ExitCode;
use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{Child, storm, task, tell, tiny, write};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if let Some(task) = task() {
        if let Err(error) = act(&task.iter().map(String::as_str).collect::<Vec<_>>()) {
            tell(&format!("error {error}"));
        }
        return ExitCode::SUCCESS;
    }
    let trials = vec![Trial::test("a_storm_of_kills_loses_and_doubles_nothing", || {
        killed().map_err(Failed::from)
    })];
    // A process that is being started holds copies of all open files and of their locks.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn act(task: &[&str]) -> Result<(), PersistenceError> {
    match task {
        ["write", path, writer, first] => {
            write(&|| open(path), writer.parse().unwrap(), first.parse().unwrap())
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
