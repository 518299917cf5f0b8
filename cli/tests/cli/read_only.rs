//! Who may only read a history asks it all the same, and leaves no trace.
//!
//! Where the tests run as root, whom permissions do not hold, the program that asks runs as another
//! user. Elsewhere it runs as the same one, who has taken the right to write from himself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

use annals::PersistenceBackend;
use tempfile::TempDir;

use crate::support::{FILES, Place, Run};

/// The user and group `nobody` of Linux.
const NOBODY: u32 = 65_534;

/// A program that anybody may run, in a folder of its own.
struct Program {
    _folder: TempDir,
    path: PathBuf,
}

impl Program {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        permit(folder.path(), 0o755);
        let path = folder.path().join("annals");
        let built = env!("CARGO_BIN_EXE_annals");
        // A link is made at once, where that is possible.
        fs::hard_link(built, &path).or_else(|_| fs::copy(built, &path).map(drop)).unwrap();
        Self { _folder: folder, path }
    }

    fn command(&self, place: &Place, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args).current_dir(place.path("")).env_remove("ANNALS_BACKEND");
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, place: &Place, args: &[&str]) -> Run {
        Run::from(self.command(place, args).output().unwrap())
    }
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The files of a folder: name, content, owner, permissions and time of the last change.
type Files = Vec<(String, Vec<u8>, u32, u32, SystemTime)>;

fn files(place: &Place) -> Files {
    let entry = |name: String| {
        let (path, content) = (place.path(&name), fs::read(place.path(&name)).unwrap());
        let file = fs::metadata(path).unwrap();
        (name, content, file.uid(), file.mode(), file.modified().unwrap())
    };
    place.names().into_iter().map(entry).collect()
}

fn filled(backend: &str) -> Place {
    let place = Place::new();
    let row = |n: u64| ("kiln", r#"{"celsius":20.5}"#, 1_740_081_234_000 + n);
    place.import(backend, &(0..300).map(row).collect::<Vec<_>>());
    place
}

#[test]
fn who_may_only_read_asks_and_leaves_no_trace() {
    let program = Program::new();
    for backend in FILES {
        // In a folder where everybody may create files, and in one where nobody may.
        for folder in [0o777, 0o555] {
            let place = filled(backend);
            permit(&place.path(backend.split_once(':').unwrap().1), 0o444);
            permit(&place.path(""), folder);
            let before = files(&place);
            for (args, lines) in [
                (&["query", "*"][..], 300),
                (&["query", "kiln", "--latest", "2"], 2),
                (&["records"], 1),
                (&["aggregate", "*", "--member", "celsius", "--show", "mean"], 1),
                (&["export"], 300),
                (&["check", "--deep"], 1),
                (&["sql", "SELECT count(*) FROM record_history"], 1),
            ] {
                let args = [&["--backend", backend], args].concat();
                let run = program.run(&place, &args).ok();
                assert_eq!(run.out.lines().count(), lines, "{args:?}: {run:?}");
            }
            for args in [
                &["cleanup", "--older-than", "0s", "--yes"][..],
                &["erase", "*", "--yes"],
                &["correct", "kiln", "--at", "1740081234000", "1"],
                &["compact"],
                &["import"],
            ] {
                let args = [&["--backend", backend], args].concat();
                let run = program.run(&place, &args);
                assert_eq!((run.code, &*run.out), (Some(1), ""), "{args:?}: {run:?}");
            }
            assert_eq!(files(&place), before);
            permit(&place.path(""), 0o755);
            permit(&place.path(&before[0].0), 0o644);
            // The owner goes on.
            place.import(backend, &[("kiln", "1", 1_740_081_235_000)]);
            assert_eq!(place.rows(backend).len(), 301);
        }
    }
}

/// A query of another user made a log that the recording program could not write to.
#[test]
fn a_program_that_records_is_read_by_others_meanwhile() {
    let (program, place) = (Program::new(), filled("sqlite:history.db"));
    permit(&place.path(""), 0o777);
    let mode = if rustix::process::geteuid().is_root() { 0o644 } else { 0o444 };
    let url = format!("sqlite:{}", place.path("history.db").display());
    let query = ["--backend", "sqlite:history.db", "query", "*"];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for round in 0..3 {
            let owner = annals::connect(&url).await.unwrap();
            for row in 0..2 {
                owner.store("kiln", &1.into(), 1_740_081_240_000 + round).await.unwrap();
                for name in place.names() {
                    permit(&place.path(&name), mode);
                }
                let read = program.run(&place, &query).ok().out.lines().count() as u64;
                assert_eq!(read, 301 + 2 * round + row);
                assert_eq!(place.names().len(), 3);
            }
            owner.close().await.unwrap();
            assert_eq!(
                program.run(&place, &query).ok().out.lines().count() as u64,
                302 + 2 * round
            );
            assert_eq!(place.names(), ["history.db"]);
            permit(&place.path("history.db"), 0o644);
        }
    });
}

/// A reader that came while the owner opened or closed the file failed for good now and then.
#[test]
fn an_owner_that_comes_and_goes_is_in_no_readers_way() {
    let place = filled("sqlite:history.db");
    let url = format!("sqlite:{}", place.path("history.db").display());
    let is_done = AtomicBool::new(false);
    let failed: Vec<Run> = thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            while !is_done.load(Ordering::Relaxed) {
                runtime.block_on(async {
                    let owner = annals::connect(&url).await.unwrap();
                    owner.store("kiln", &1.into(), 1_740_081_240_000).await.unwrap();
                    owner.close().await.unwrap();
                });
            }
        });
        let query = ["--backend", "sqlite:history.db?mode=ro", "query", "kiln", "--latest", "1"];
        let failed = (0..60).map(|_| place.run(&query)).filter(|run| run.code != Some(0));
        let failed = failed.collect();
        is_done.store(true, Ordering::Relaxed);
        failed
    });
    // What changes while it is read is an error that passes.
    assert!(failed.iter().all(|run| run.err.contains("query again")), "{failed:?}");
}

/// Reading an empty path made a store of it.
#[test]
fn asking_makes_nothing() {
    let program = Program::new();
    for backend in ["sqlite:new.db?mode=ro", "redb:new.redb?mode=ro", "redb:new.redb"] {
        let place = Place::new();
        permit(&place.path(""), 0o777);
        program
            .run(&place, &["--backend", backend, "query", "*"])
            .refused(1, "there is no history");
        let name = backend.split([':', '?']).nth(1).unwrap();
        place.write(name, "");
        program.run(&place, &["--backend", backend, "query", "*"]).refused(1, "empty");
        place.run(&["--backend", backend, "query", "*"]).refused(1, "empty");
        assert_eq!(place.names(), [name]);
        assert_eq!(fs::metadata(place.path(name)).unwrap().len(), 0);
    }
}

/// What is said to be read only stays as it is, whatever the permissions are.
#[test]
fn a_url_can_forbid_to_write() {
    for backend in FILES {
        let place = filled(backend);
        let before = files(&place);
        let url = format!("{backend}?mode=ro");
        for args in [&["cleanup", "--older-than", "0s", "--yes"][..], &["compact"]] {
            let args = [&["--backend", &url], args].concat();
            place.run(&args).refused(1, "reading only");
        }
        assert_eq!(place.rows(&url).len(), 300);
        assert_eq!(files(&place), before);
    }
}
