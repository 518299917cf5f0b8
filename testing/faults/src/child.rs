//! A test in a process of its own, that can be killed.
//!
//! The program starts itself again with a variable in the environment that says what to do. A child
//! says what it does on its standard output, a line each.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const VARIABLE: &str = "ANNALS_TEST_CHILD";

/// Marks the lines that are meant for the parent.
const MARK: &str = "annals-child ";

/// What this process is to do if it is a child. From here on it ends when its parent does.
pub fn task() -> Option<Vec<String>> {
    let task = env::var(VARIABLE).ok()?;
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    Some(task.split('\n').map(str::to_owned).collect())
}

/// Tells the parent. A line that cannot be written has no reader: the parent is gone.
pub fn tell(line: &str) {
    let mut stdout = io::stdout().lock();
    if writeln!(stdout, "{MARK}{line}").and_then(|()| stdout.flush()).is_err() {
        process::exit(0);
    }
}

/// A child from the parent's side. Dropping it kills it.
pub struct Child {
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
    pub fn start(task: &[&str]) -> io::Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .env(VARIABLE, task.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (line, lines) = channel();
        let output = process.stdout.take();
        // It must never wait for somebody to read.
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
    pub fn line(&self) -> Option<String> {
        self.lines.recv().ok()
    }

    /// Waits for its end; answers whether it ended well.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait(&mut self) -> io::Result<bool> {
        Ok(self.process.wait()?.success())
    }

    /// Kills it as `kill -9` does, and answers what it said before.
    pub fn kill(mut self) -> Vec<String> {
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
