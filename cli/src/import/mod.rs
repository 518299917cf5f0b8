//! `annals import`: rows from NDJSON or CSV.

mod input;
mod lines;
mod progress;
mod row;
mod sink;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;

use annals::{Outcome, PersistenceBackend, PersistenceError};
use clap::Parser;
use tokio::sync::mpsc;

use crate::cli::Exchange;
use crate::failure::{Failure, stop_at_once};
use crate::output::counted;
use crate::signals::Signals;
use crate::stderr::print_error;
use crate::store;
use input::{BadLine, Chunk, Input, Numbered};
use progress::Progress;
use sink::{Refusal, Sink};

/// The number of skipped lines that are reported one by one. The rest is counted.
const LINES_REPORTED: u64 = 10;

/// Store rows from a file of NDJSON or CSV
///
/// Each line is an object with the members `record` (the name), `value` (any JSON, kept byte for
/// byte) and optionally `stored_at` (Unix milliseconds, by default now), and no others. In CSV the
/// first line names the columns, in any order, and a value is its JSON text. `annals export` and
/// `annals query` print this format. Rows are stored in the order of the lines.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to read; - is stdin
    #[arg(default_value = "-", hide_default_value = true, value_name = "FILE")]
    file: PathBuf,

    /// The format of the input [default: csv for a file *.csv, ndjson otherwise]
    #[arg(long, value_enum, value_name = "FORMAT")]
    input: Option<Exchange>,

    /// Skip lines that cannot be stored, and print how many
    #[arg(long)]
    skip_invalid: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals import history.ndjson
  annals export --output csv | annals --backend redb:b.redb import --input csv
  annals --backend redb:b.redb import --skip-invalid old.csv
  echo '{\"record\":\"door\",\"value\":\"open\"}' | annals import

A line that cannot be stored ends the import with its number, the reason and exit code 1. The rows \
before it are stored, those after it are not. With --skip-invalid the exit code is 1 only if no line \
was stored. Blank lines, CRLF and a byte order mark are accepted. Importing a file twice stores its \
rows twice.";

/// An import under way.
struct Import {
    sink: Sink,
    progress: Progress,
    form: Exchange,
    skip_invalid: bool,
    skipped: u64,
    interrupted: bool,
}

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    // Before the store, so that a misspelt file name creates no store.
    let input = Input::open(&args.file)?;
    let is_csv = args.file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let by_name = if is_csv { Exchange::Csv } else { Exchange::Ndjson };
    let form = args.input.unwrap_or(by_name);
    let mut signals = Signals::listen()?;
    let store = store::open(backend).await?;
    let mut import = Import {
        sink: Sink::new(store.clone()),
        progress: Progress::new(input.size),
        form,
        skip_invalid: args.skip_invalid,
        skipped: 0,
        interrupted: false,
    };
    let result = import.pump(input.start(form)?, &mut signals).await;
    import.progress.clear();
    let closed = store.close().await;
    result?;
    closed?;
    import.sum_up()
}

impl Import {
    async fn pump(
        &mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        loop {
            let chunk = tokio::select! {
                biased;
                () = signals.next() => return Err(self.stopped()),
                chunk = chunks.recv() => chunk,
            };
            match chunk {
                None => return Ok(()),
                Some(Chunk::Rows(rows, bytes)) => {
                    self.store(rows, signals).await?;
                    self.progress.at(bytes, self.sink.stored);
                }
                Some(Chunk::Bad(bad)) => self.skip_or_fail(bad)?,
                Some(Chunk::Broken(error)) => {
                    return Err(Failure::Failed(format!(
                        "the input cannot be read further: {error}; {}",
                        self.before()
                    )));
                }
            }
            if self.interrupted {
                return Err(self.stopped());
            }
        }
    }

    /// Stores rows. A first Ctrl-C waits for the current batch, so that the count is exact; a second
    /// one does not.
    async fn store(
        &mut self,
        mut rows: Vec<Numbered>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        while !rows.is_empty() {
            let stored_before = self.sink.stored;
            let result = {
                let mut storing = std::pin::pin!(self.sink.store(&rows));
                loop {
                    tokio::select! {
                        biased;
                        result = &mut storing => break result,
                        () = signals.next() => {
                            if self.interrupted {
                                stop_at_once(&format!(
                                    "stopped without waiting; {} certainly stored, the next {} possibly",
                                    counted(stored_before, "row"),
                                    rows.len()
                                ));
                            }
                            print_error(
                                "waiting for the current batch; press Ctrl-C again to stop without waiting",
                            );
                            self.interrupted = true;
                        }
                    }
                }
            };
            match result {
                Ok(()) => return Ok(()),
                Err((processed, Refusal::Row(bad))) => {
                    self.skip_or_fail(bad)?;
                    rows.drain(..processed);
                }
                Err((_, Refusal::Store(error))) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// Ends the import at an invalid line, or skips it.
    fn skip_or_fail(&mut self, bad: BadLine) -> Result<(), Failure> {
        let BadLine { line, why } = bad;
        if !self.skip_invalid {
            let from_there = match self.form {
                Exchange::Ndjson => {
                    format!("(tail -n +{line} FILE, into the same command)")
                }
                Exchange::Csv => "(without the lines before it, except the header)".to_owned(),
            };
            return Err(Failure::Failed(format!(
                "line {line} cannot be stored: {why}; {}; correct the line and continue from it \
                 {from_there}, or skip such lines with --skip-invalid",
                self.before()
            )));
        }
        self.skipped += 1;
        if self.skipped <= LINES_REPORTED {
            print_error(&format!("line {line} is skipped: {why}"));
        }
        if self.skipped == LINES_REPORTED {
            print_error("further skipped lines are counted, not listed");
        }
        Ok(())
    }

    fn before(&self) -> String {
        match self.sink.stored {
            0 => "nothing is stored".to_owned(),
            1 => "the 1 row before it is stored".to_owned(),
            stored => format!("the {stored} rows before it are stored"),
        }
    }

    fn failed(&self, error: &PersistenceError) -> Failure {
        let stored = counted(self.sink.stored, "row");
        Failure::Failed(match error.outcome() {
            Outcome::NotApplied => format!("{error}; {stored} stored before it failed"),
            _ => {
                format!("{error}; {stored} certainly stored, the batch after them possibly")
            }
        })
    }

    fn stopped(&self) -> Failure {
        Failure::Interrupted(format!("stopped; {} stored", counted(self.sink.stored, "row")))
    }

    fn sum_up(&self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let stored = counted(self.sink.stored, "row");
        match self.skipped {
            0 => writeln!(out, "{stored} stored"),
            skipped => writeln!(out, "{stored} stored, {} skipped", counted(skipped, "line")),
        }
        .and_then(|()| out.flush())
        .map_err(Failure::Output)?;
        match (self.sink.stored, self.skipped) {
            (0, 1..) => Err(Failure::Failed("no line was stored".to_owned())),
            _ => Ok(()),
        }
    }
}
