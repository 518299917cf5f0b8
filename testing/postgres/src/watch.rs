//! Cleans up when this process ends, however it ends.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process that waits for the end of its input and then runs a shell script.
///
/// Its input is a pipe whose other end only this process holds: it ends with this process, after
/// a panic, an `exit` or a `kill -9` as well. It has its own process group, so that a signal meant
/// for the whole group of the test leaves it to do its work.
#[derive(Debug)]
pub(crate) struct Watcher(Child);

impl Watcher {
    /// Runs `script` with `arguments` as `$1`, `$2`, … once this process is gone or the watcher
    /// dropped; as `owner` (user and group id), if one is given.
    pub(crate) fn start(
        script: &str,
        arguments: &[&std::ffi::OsStr],
        owner: Option<(u32, u32)>,
    ) -> Result<Self, String> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("cat >/dev/null; {script}"))
            .arg("annals-test-postgres")
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        let child = command.spawn().map_err(|error| format!("/bin/sh cannot start: {error}"))?;
        Ok(Self(child))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // A child that cannot be waited for is gone: there is nothing else to do about it.
        let _ = self.0.wait();
    }
}
