//! The suite in a second process: what is killed there, or opens the same store at the same time.
//!
//! The program starts itself again with a variable in the environment that says what to do. A
//! child writes what happened to its standard output, a line each, and ends when its standard
//! input does: with the parent at the latest.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{self, ChildStdin, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::check::{During, Verdict, equal, failure, skip};
use crate::context::{Context, STARTING, within};
use crate::suite::Suite;

pub(crate) mod role;

const VARIABLE: &str = "ANNALS_CONFORMANCE_CHILD";

/// Marks the lines that are meant for the parent: a program may print others.
const MARK: &str = "annals-child ";

/// What a child does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Stores rows until it is killed. `writers` tasks at once, each to its own record `w<n>`, row
    /// `i` with the value `i` at `i / 4`; `batch` rows at a time, each batch with an id, or with
    /// `batch: 0` one by one. Says `send <writer> <rows stored so far>` before each batch of a single
    /// writer, and `ack <writer> <rows stored so far>` after each answer.
    Write { writers: usize, batch: usize },
    /// Opens and initializes the store, stores one row to `record`, and says `opened`, or `refused
    /// <why>`. Keeps the store open until its input ends.
    Open { record: String },
    /// Stores rows to two records and says `stored`, waits for a row of the parent's and says
    /// `seen`, waits until everything has been cleaned up, stores again and says `stored again`.
    Share,
    /// Streams all rows in one go after reading them window by window, and says `growth <bytes>`:
    /// by how much the memory of the process grew over the second reading at most. Each record has
    /// rows at 0, 1, 2, …, as many as it says here.
    Measure { records: Vec<(String, u64)> },
    /// As [`Measure`](Self::Measure), but aggregates all rows instead of streaming them.
    MeasureAggregate { records: Vec<(String, u64)> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Task {
    suite: String,
    location: String,
    role: Role,
}

/// Acts as a child if this process is one.
pub(crate) fn serve(suites: &[Suite]) -> Option<ExitCode> {
    let task = env::var(VARIABLE).ok()?;
    let task: Task = match serde_json::from_str(&task) {
        Ok(task) => task,
        Err(error) => {
            eprintln!("{VARIABLE} cannot be read: {error}");
            return Some(ExitCode::FAILURE);
        }
    };
    // Another suite of this program may be the one that is meant.
    let suite = suites.iter().find(|suite| suite.name() == task.suite)?;
    tell("started");
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("no runtime: {error}");
                return Some(ExitCode::FAILURE);
            }
        };
    if let Err(error) = runtime.block_on(role::act(suite, &task.location, task.role)) {
        tell(&format!("error {}", error.to_string().replace('\n', " ")));
        return Some(ExitCode::FAILURE);
    }
    Some(ExitCode::SUCCESS)
}

/// Tells the parent. A line that cannot be written has no reader: the parent is gone.
fn tell(line: &str) {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{MARK}{line}").and_then(|()| stdout.flush());
    if written.is_err() {
        process::exit(0);
    }
}

/// A child from the parent's side. Dropping it kills it.
pub(crate) struct Child {
    process: process::Child,
    /// Held open: the child ends when it is closed.
    input: Option<ChildStdin>,
    lines: UnboundedReceiver<String>,
    patience: Duration,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Context {
    /// Starts a child on the store at `location`.
    pub(crate) async fn child(&self, location: &str, role: Role) -> Verdict<Child> {
        let Some(args) = &self.suite.child_args else {
            return skip(
                "the program that runs the suite does not say how it is started again \
                 (Suite::with_child_args)",
            );
        };
        if env::var_os(VARIABLE).is_some() {
            // It would start itself for ever.
            let expected = "it calls Suite::serve_child of the same suite before it runs cases";
            return Err(failure("a program started again as a child", expected, "it runs cases"));
        }
        let task =
            Task { suite: self.suite.name().to_owned(), location: location.to_owned(), role };
        let program = env::current_exe().during("finding this program's path")?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env(VARIABLE, serde_json::to_string(&task).during("writing a child's task")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let _alone = STARTING.write().await;
        let mut process = command.spawn().during("starting a child process")?;
        let (sender, lines) = unbounded_channel();
        if let Some(output) = process.stdout.take() {
            thread::spawn(move || {
                // A line that the kill cut short has no newline and is none.
                let mut output = BufReader::new(output);
                let mut line = String::new();
                while matches!(output.read_line(&mut line), Ok(1..)) && line.ends_with('\n') {
                    if let Some(told) = line.trim_end().strip_prefix(MARK) {
                        // The case may be over.
                        let _ = sender.send(told.to_owned());
                    }
                    line.clear();
                }
            });
        }
        let input = process.stdin.take();
        let mut child = Child { process, input, lines, patience: self.patience() };
        let first = child.line().await?;
        equal("the first line of a child process", &first, &"started").map(|()| child)
    }
}

impl Child {
    /// The next line the child tells.
    pub(crate) async fn line(&mut self) -> Verdict<String> {
        let line = within(self.patience, "a child process", self.lines.recv()).await?;
        line.ok_or_else(|| failure("a child process", "a line of output", "its end"))
    }

    /// Kills it as `kill -9` does, waits for its end and returns the lines it had told before.
    pub(crate) async fn kill(mut self) -> Verdict<Vec<String>> {
        self.process.kill().during("killing a child process")?;
        self.rest().await
    }

    /// Tells it to end, waits for that and returns the lines it had told before.
    pub(crate) async fn end(mut self) -> Verdict<Vec<String>> {
        drop(self.input.take());
        self.rest().await
    }

    async fn rest(&mut self) -> Verdict<Vec<String>> {
        let mut lines = Vec::new();
        let all = async {
            while let Some(line) = self.lines.recv().await {
                lines.push(line);
            }
        };
        within(self.patience, "the end of a child process", all).await?;
        self.process.wait().during("waiting for a child process")?;
        Ok(lines)
    }
}
