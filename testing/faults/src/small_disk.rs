//! Tests on small disks: file systems in memory, each in a process of its own.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::child::{Child, task, tell};

/// What a test does, given the folder in which its disk is mounted.
type DiskTest = Box<dyn FnOnce(&Path) -> Result<(), String>>;

/// A test that has a disk to itself.
pub(crate) struct DiskTrial {
    pub(crate) name: String,
    /// The bytes of the disk, as `mount` takes them.
    pub(crate) size: &'static str,
    pub(crate) test: DiskTest,
}

/// Runs tests on disks. Each process is this program, started again; that of a test mounts the disk where
/// nobody else sees it. Where the system does not allow that, the tests are listed as ignored. `act` does
/// the tasks of the children that a test starts.
pub(crate) fn disk_trials(
    trials: Vec<DiskTrial>,
    act: impl FnOnce(&[&str]) -> Result<(), String>,
) -> ExitCode {
    if let Some(task) = task() {
        let task: Vec<&str> = task.iter().map(String::as_str).collect();
        let done = match task[..] {
            ["test", name, folder] => trials
                .into_iter()
                .find(|trial| trial.name == name)
                .ok_or_else(|| format!("there is no test {name}"))
                .and_then(|trial| mount(trial.size, folder).map(|()| trial))
                .and_then(|trial| (trial.test)(Path::new(folder)))
                .map(|()| tell("passed")),
            _ => act(&task),
        };
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tell(&format!("error {error}"));
                ExitCode::FAILURE
            }
        };
    }
    let trials = trials.into_iter().map(|DiskTrial { name, .. }| {
        Trial::ignorable_test(name.clone(), move || {
            if let Err(reason) = may_mount() {
                return Ok(Completion::ignored_with(reason));
            }
            let folder = tempfile::tempdir()?;
            let child = Child::run(unshared(), &["test", &name, &folder.path().to_string_lossy()])?;
            while let Some(line) = child.line() {
                match line.strip_prefix("error ") {
                    Some(error) => return Err(error.into()),
                    None if line == "passed" => return Ok(Completion::Completed),
                    None => {}
                }
            }
            Err("it ended by itself".into())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A command that runs another, in which file systems can be mounted.
fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]);
    command
}

fn may_mount() -> Result<(), String> {
    let mut command = unshared();
    let mount = command.args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).stderr(Stdio::null());
    match mount.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("`unshare --user --mount` may not mount a file system here".to_owned()),
    }
}

fn mount(size: &str, folder: &str) -> Result<(), String> {
    let options = format!("size={size}");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &options, "tmpfs", folder]);
    match mount.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("the disk could not be mounted".to_owned()),
    }
}
