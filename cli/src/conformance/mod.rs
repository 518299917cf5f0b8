//! `annals conformance`: tests a backend against the contract.

mod files;
mod fresh;
mod gate;
mod locations;
mod report;
#[cfg(feature = "postgres")]
mod schemas;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use annals_conformance::{Case, CaseResult, RunOptions, Suite};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use percent_encoding::percent_decode_str;

use crate::backend::{Backend, NamedBy};
use crate::failure::Failure;
use crate::output::Format;
use crate::signals::Signals;
use gate::Gate;
use locations::{Kind, Locations};

/// Test a backend against the contract
///
/// Runs the suite that every backend has to pass. Its stores are new files in a temporary folder
/// beside the named file, or new schemas in the named database, and are removed afterwards.
/// Existing data is not touched. The options of the URL are tested as they are.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The backend: sqlite:FILE, redb:FILE, postgres://… or memory:
    url: String,

    /// Only the cases whose name or clause contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// The format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

const EXAMPLES: &str = "\
Examples:
  annals conformance sqlite:/var/lib/annals/history.db
  annals conformance 'redb:history.redb?durability=volatile'
  annals conformance postgres://me@db.example/plant --filter range

The exit code is 1 if a case fails. A case that cannot run against this backend is listed as \
skipped.";

pub(crate) fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    if backend.named_by == NamedBy::Option {
        let message = "the backend is an argument here, not an option: annals conformance URL";
        return Err(Failure::Usage(message.to_owned()));
    }
    let (suite, locations) = suite(&args.url)?;
    // The cases that kill a process start this program again, which acts as their child here.
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
    let locations = Arc::new(locations);
    remove_at_ctrl_c(locations.clone())?;
    locations.create()?;
    let results = with_progress(selected, |done| suite.run_with(&options, done));
    locations.remove_all();
    report::print(args.output, &results)
}

/// The suite for the backend in a URL, and where it keeps its stores.
fn suite(url: &str) -> Result<(Suite, Locations), Failure> {
    // Reports what is wrong with the URL, without opening it.
    annals::connect_lazy(url)?;
    let gate = Gate::default();
    let locations = |kind| Locations { gate: gate.clone(), kind };
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres") {
        let schemas = schemas::Schemas::new(url, gate.clone());
        return Ok((Suite::new(schemas.clone()), locations(Kind::Schemas(schemas))));
    }
    let Some(path) = path(url)? else {
        return Ok((Suite::new(fresh::Fresh::new(url)), locations(Kind::Memory)));
    };
    let files = files::Files::new(url, &path, gate.clone())?;
    let folder = files.folder();
    Ok((Suite::new(files), locations(Kind::Folder(folder))))
}

/// The path in a URL, if it has one.
fn path(url: &str) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = crate::store::file(url)? {
        return Ok(Some(path));
    }
    let (_, rest) = url.split_once(':').unwrap_or_default();
    let path = rest.split('?').next().unwrap_or_default();
    let path = percent_decode_str(path.strip_prefix("//").unwrap_or(path)).decode_utf8();
    let path = path.map_err(|_| Failure::Usage("the path in the URL is not UTF-8".to_owned()))?;
    Ok(Some(PathBuf::from(&*path)).filter(|path| !path.as_os_str().is_empty()))
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

/// Removes the stores when Ctrl-C ends the run.
fn remove_at_ctrl_c(locations: Arc<Locations>) -> Result<(), Failure> {
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
            locations.remove_all();
            let stopped =
                Failure::Interrupted("stopped; the stores of the suite are removed".into());
            stopped.report();
            process::exit(130);
        }
    });
    listens.recv().unwrap_or(Ok(()))
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("threads cannot be started: {error}")))?;
    Ok(runtime.block_on(work))
}
