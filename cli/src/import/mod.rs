//! `annals import`: rows from NDJSON or CSV.

mod lines;
mod progress;
mod row;
mod sink;
mod source;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;

use annals::{Outcome, PersistenceBackend, PersistenceError};
use clap::Parser;
use tokio::sync::mpsc;

use crate::cli::Exchange;
use crate::failure::{Failure, stop_at_once};
use crate::output::counted;
use crate::say::complain;
use crate::signals::Signals;
use crate::store;
use progress::Progress;
use sink::{Refusal, Sink};
use source::{BadLine, Numbered, Piece, Source};

/// After so many lines that were left out, the rest is only counted.
const LINES_SAID: u64 = 10;

/// Store rows from a file of JSON lines or CSV
///
/// Each line is an object with the members `record` (the name), `value` (any JSON, kept letter for
/// letter) and `stored_at` (Unix milliseconds; now, if it is missing) and no others. In CSV the first
/// line names the columns, in any order, and the value is its JSON text. It is what `annals export`
/// and `annals query` print. Rows are stored in the order of the lines.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The file to read; - is stdin
    #[arg(default_value = "-", hide_default_value = true, value_name = "FILE")]
    file: PathBuf,

    /// The form of the input [default: csv for a file *.csv, ndjson otherwise]
    #[arg(long, value_enum, value_name = "FORM")]
    input: Option<Exchange>,

    /// Leave lines out that cannot be stored, and say how many
    #[arg(long)]
    skip_invalid: bool,
}

const EXAMPLES: &str = "\
Examples:
  annals import history.ndjson
  annals export --output csv | annals --backend redb:b.redb import --input csv
  annals --backend redb:b.redb import --skip-invalid old.csv
  echo '{\"record\":\"door\",\"value\":\"open\"}' | annals import

A line that cannot be stored ends the import with its number, the reason and exit code 1; the rows \
before it are stored, nothing after it is. With --skip-invalid the exit code is 1 only when no line \
could be stored. Blank lines, CRLF and a byte order mark are fine. A file that is imported twice is \
stored twice.";

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
    // Before the store, so that a misspelt file name does not create one.
    let source = Source::open(&args.file)?;
    let is_csv = args.file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let by_name = if is_csv { Exchange::Csv } else { Exchange::Ndjson };
    let form = args.input.unwrap_or(by_name);
    let mut signals = Signals::listen()?;
    let store = store::open(backend).await?;
    let mut import = Import {
        sink: Sink::new(store.clone()),
        progress: Progress::new(source.size),
        form,
        skip_invalid: args.skip_invalid,
        skipped: 0,
        interrupted: false,
    };
    let result = import.pump(source.start(form)?, &mut signals).await;
    import.progress.clear();
    let closed = store.close().await;
    result?;
    closed?;
    import.sum_up()
}

impl Import {
    async fn pump(
        &mut self,
        mut pieces: mpsc::Receiver<Piece>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        loop {
            let piece = tokio::select! {
                biased;
                () = signals.next() => return Err(self.stopped()),
                piece = pieces.recv() => piece,
            };
            match piece {
                None => return Ok(()),
                Some(Piece::Rows(rows, bytes)) => {
                    self.store(rows, signals).await?;
                    self.progress.at(bytes, self.sink.stored);
                }
                Some(Piece::Bad(bad)) => self.pass_over(bad)?,
                Some(Piece::Broken(error)) => {
                    return Err(Failure::Failed(format!(
                        "the input cannot be read any further: {error}; {}",
                        self.before()
                    )));
                }
            }
            if self.interrupted {
                return Err(self.stopped());
            }
        }
    }

    /// Stores rows. A first Ctrl-C waits for the batch on its way, so that the count is right; a
    /// second one does not.
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
                                    "stopped at once; {} stored for certain, the next {} perhaps",
                                    counted(stored_before, "row"),
                                    rows.len()
                                ));
                            }
                            complain(
                                "waiting for the batch on its way; Ctrl-C again does not wait",
                            );
                            self.interrupted = true;
                        }
                    }
                }
            };
            match result {
                Ok(()) => return Ok(()),
                Err((dealt_with, Refusal::Row(bad))) => {
                    self.pass_over(bad)?;
                    rows.drain(..dealt_with);
                }
                Err((_, Refusal::Store(error))) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// A line that is no row: the end, or one more that is left out.
    fn pass_over(&mut self, bad: BadLine) -> Result<(), Failure> {
        let BadLine { line, why } = bad;
        if !self.skip_invalid {
            let from_there = match self.form {
                Exchange::Ndjson => {
                    format!("(tail -n +{line} FILE, into the same command)")
                }
                Exchange::Csv => "(without the lines before it, except the header)".to_owned(),
            };
            return Err(Failure::Failed(format!(
                "line {line} cannot be stored: {why}; {}; correct the line and go on from there \
                 {from_there}, or leave such lines out with --skip-invalid",
                self.before()
            )));
        }
        self.skipped += 1;
        if self.skipped <= LINES_SAID {
            complain(&format!("line {line} is left out: {why}"));
        }
        if self.skipped == LINES_SAID {
            complain("further lines that are left out are only counted");
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
                format!("{error}; {stored} stored for certain, the batch after them perhaps")
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
            skipped => writeln!(out, "{stored} stored, {} left out", counted(skipped, "line")),
        }
        .and_then(|()| out.flush())
        .map_err(Failure::Output)?;
        match (self.sink.stored, self.skipped) {
            (0, 1..) => Err(Failure::Failed("no line of it could be stored".to_owned())),
            _ => Ok(()),
        }
    }
}
