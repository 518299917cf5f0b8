//! Tests in processes that can be killed.
//!
//! The program starts itself with an environment variable that says what to do. A child reports on its
//! standard output, line by line.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const VARIABLE: &str = "ANNALS_TEST_CHILD";

/// Marks the lines that are meant for the parent.
const MARK: &str = "annals-child ";

/// The task of this process if it is a child. It then ends when its parent does.
pub(crate) fn task() -> Option<Vec<String>> {
    let task = env::var(VARIABLE).ok()?;
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    Some(task.split('\n').map(str::to_owned).collect())
}

/// Reports to the parent. A line that cannot be written has no reader: the parent is gone.
pub(crate) fn tell(line: &str) {
    let mut stdout = io::stdout().lock();
    if writeln!(stdout, "{MARK}{line}").and_then(|()| stdout.flush()).is_err() {
        process::exit(0);
    }
}

/// A child from the parent's side. Dropping it kills it.
pub(crate) struct Child {
    process: process::Child,
    /// Held open: the child ends when it is closed.
    _input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Child {
    /// Starts one.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn start(task: &[&str]) -> io::Result<Self> {
        Self::spawn(&mut Command::new(env::current_exe()?), task)
    }

    /// Starts one through another command, whose last argument it becomes.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn run(mut command: Command, task: &[&str]) -> io::Result<Self> {
        Self::spawn(command.arg(env::current_exe()?), task)
    }

    fn spawn(command: &mut Command, task: &[&str]) -> io::Result<Self> {
        let mut process = command
            .env(VARIABLE, task.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (line, lines) = channel();
        let output = process.stdout.take();
        // The child must never wait for a reader.
        thread::spawn(move || {
            for text in output.into_iter().flat_map(|out| BufReader::new(out).lines()).flatten() {
                if let Some(text) = text.strip_prefix(MARK) {
                    let _ = line.send(text.to_owned());
                }
            }
        });
        let _input = process.stdin.take();
        Ok(Self { process, _input, lines })
    }

    /// The next line; none when it has ended.
    pub(crate) fn line(&self) -> Option<String> {
        self.lines.recv().ok()
    }

    /// Waits for its end. Returns whether it succeeded.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn wait(&mut self) -> io::Result<bool> {
        Ok(self.process.wait()?.success())
    }

    /// Kills it as `kill -9` does, and returns the lines that are left.
    pub(crate) fn kill(mut self) -> Vec<String> {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.lines.iter().collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
