//! `annals conformance`: the contract's suite against a backend.

mod files;
mod places;
#[cfg(feature = "postgres")]
mod schemas;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::Arc;

use annals::MemoryBackend;
use annals_conformance::{Case, CaseResult, Outcome, RunOptions, Suite};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::output::{CaseLine, Format, Header, Printer, counted};
use crate::signals::Signals;
use places::{Gate, Kind, Places};

/// Hold a backend to its contract and print what came of it
///
/// Runs the suite that every backend has to pass, in places of its own that are removed afterwards:
/// new files in a temporary folder beside the one that is named, or new schemas in the database.
/// What is there already is not touched. The options of the URL are tested as they are.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The backend: sqlite:FILE, redb:FILE, postgres://… or memory:
    url: String,

    /// Only the cases whose name or clause contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// The form of the output
    #[arg(long, value_enum, value_name = "FORM", default_value = "table")]
    output: Format,
}

const EXAMPLES: &str = "\
Examples:
  annals conformance sqlite:/var/lib/annals/history.db
  annals conformance 'redb:history.redb?durability=volatile'
  annals conformance postgres://me@db.example/plant --filter range

The exit code is 1 if a case fails. A case that cannot be run against this backend is listed as \
skipped.";

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let (suite, places) = suite(&args.url)?;
    // The cases that kill a process start this program again; it gets here, and no further.
    let suite = suite.with_child_args(["conformance", "--", &args.url].map(OsString::from));
    if let Some(code) = suite.serve_child() {
        process::exit(if code == process::ExitCode::SUCCESS { 0 } else { 1 });
    }
    let filter = args.filter.filter(|filter| !filter.is_empty());
    let options = RunOptions { filter: filter.clone(), ..RunOptions::default() };
    let cases = Suite::cases();
    let text = filter.unwrap_or_default();
    let is_selected =
        |case: &&Case| case.name().contains(&text) || case.clause_id().contains(&text);
    let selected = cases.iter().filter(is_selected).count();
    if selected == 0 {
        return Err(Failure::Usage(format!(
            "no case has \"{}\" in its name; without --filter all of them run",
            text.escape_debug()
        )));
    }
    let places = Arc::new(places);
    remove_at_ctrl_c(places.clone())?;
    places.make()?;
    let results = with_progress(selected, |done| suite.run_with(&options, done));
    places.remove_all();
    report(args.output, &results)
}

/// The suite for the backend that a URL names, and where it keeps its stores.
fn suite(url: &str) -> Result<(Suite, Places), Failure> {
    let gate = Gate::default();
    let places = |kind| Places { gate: gate.clone(), kind };
    if let Some(path) = crate::store::file(url)? {
        let files = files::Files::new(url, &path, gate.clone())?;
        let folder = files.folder();
        return Ok((Suite::new(files), places(Kind::Folder(folder))));
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres") {
        let schemas = schemas::Schemas::new(url, gate.clone())?;
        return Ok((Suite::new(schemas.clone()), places(Kind::Schemas(schemas))));
    }
    if url == "memory:" {
        return Ok((Suite::in_memory("memory", MemoryBackend::new), places(Kind::Nowhere)));
    }
    // What is wrong with the URL is connect's to say.
    match block_on(annals::connect(url))? {
        Ok(_) => Err(Failure::Usage("there is no suite for this URL".to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn with_progress<T>(cases: usize, run: impl FnOnce(&mut dyn FnMut(&CaseResult)) -> T) -> T {
    if !io::stderr().is_terminal() {
        return run(&mut |_| {});
    }
    let style = ProgressStyle::with_template("{bar:20} {pos} of {len}  {elapsed}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(cases as u64).with_style(style);
    let results = run(&mut |result: &CaseResult| {
        bar.set_message(result.name);
        bar.inc(1);
    });
    bar.finish_and_clear();
    results
}

/// Prints the table, then every failure in full and the skips by reason, then the count.
fn report(output: Format, results: &[CaseResult]) -> Result<(), Failure> {
    let mut printer = Printer::new(Some(output), Header::cases()).without_count();
    for result in results {
        printer.line(&CaseLine::new(result))?;
    }
    printer.finish()?;
    let failed = results.iter().filter(|result| matches!(result.outcome, Outcome::Failed(_)));
    let skipped = results.iter().filter(|result| matches!(result.outcome, Outcome::Skipped(_)));
    let (failed_count, skipped_count) = (failed.clone().count(), skipped.clone().count());
    let passed = results.len() - failed_count - skipped_count;
    // In the other forms every row has its message.
    if output == Format::Table {
        let mut out = io::stdout().lock();
        let print = || -> io::Result<()> {
            for CaseResult { name, outcome, .. } in failed {
                if let Outcome::Failed(message) = outcome {
                    writeln!(out, "\n{name}\n{message}")?;
                }
            }
            if skipped_count > 0 {
                writeln!(out)?;
            }
            for CaseResult { name, outcome, .. } in skipped {
                if let Outcome::Skipped(reason) = outcome {
                    writeln!(out, "{name} was skipped: {reason}")?;
                }
            }
            writeln!(out, "\n{passed} passed, {failed_count} failed, {skipped_count} skipped")?;
            out.flush()
        };
        print().map_err(Failure::Output)?;
    }
    match failed_count as u64 {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!("{} failed", counted(failed, "case")))),
    }
}

/// Leaves nothing behind when somebody does not want to wait for the end.
fn remove_at_ctrl_c(places: Arc<Places>) -> Result<(), Failure> {
    let (listening, listens) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let heard = block_on(async {
            let signals = Signals::listen();
            let (answer, signals) = match signals {
                Ok(signals) => (Ok(()), Some(signals)),
                Err(failure) => (Err(failure), None),
            };
            let _ = listening.send(answer);
            match signals {
                Some(mut signals) => signals.next().await,
                None => std::future::pending().await,
            }
        });
        if heard.is_ok() {
            places.remove_all();
            let stopped = Failure::Interrupted("stopped; the places it used are removed".into());
            stopped.report();
            process::exit(130);
        }
    });
    listens.recv().unwrap_or(Ok(()))
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::Failed(format!("the threads cannot be started: {error}")))?;
    Ok(runtime.block_on(work))
}
