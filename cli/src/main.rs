//! The program `annals`: collect, import and query the history of live records.

mod aimx;
mod cleanup;
mod cli;
mod collect;
mod conformance;
mod export;
mod failure;
mod import;
#[cfg(feature = "mcp")]
mod mcp;
#[cfg(feature = "postgres")]
mod migrate;
mod moment;
mod output;
mod query;
mod records;
mod say;
mod signals;
mod source;
#[cfg(feature = "sql")]
mod sql;
mod store;
mod warnings;

use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Backend, Command, NamedBy};
use crate::failure::Failure;

fn main() -> ExitCode {
    let (backend, command) = match cli::parse() {
        Ok(parsed) => parsed,
        Err(error) => return cli::answer(&error),
    };
    // The suite provokes failures; what the libraries say of them is no news.
    let provoked = matches!(command, Command::Conformance(_));
    warnings::install(if provoked { LevelFilter::OFF } else { LevelFilter::WARN });
    match run(&backend, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(backend: &Backend, command: Command) -> Result<(), Failure> {
    match command {
        Command::Collect(args) => block_on(collect::run(&backend.url, args)),
        Command::Import(args) => block_on(import::run(&backend.url, args)),
        Command::Export(args) => block_on(export::run(&backend.url, args)),
        Command::Query(args) => block_on(query::run(backend, args)),
        #[cfg(feature = "sql")]
        Command::Sql(args) => block_on(sql::run(&backend.url, args)),
        Command::Records(args) => block_on(records::run(backend, args)),
        Command::Cleanup(args) => block_on(cleanup::run(&backend.url, args)),
        #[cfg(feature = "postgres")]
        Command::Migrate(args) => block_on(migrate::run(&backend.url, args)),
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => block_on(mcp::run(backend, args)),
        Command::Conformance(_) if backend.named_by == NamedBy::Option => Err(Failure::Usage(
            "the backend is an argument here, not an option: annals conformance URL".to_owned(),
        )),
        // The suite brings its own runtimes.
        Command::Conformance(args) => conformance::run(args),
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the threads cannot be started: {error}")))?;
    let result = runtime.block_on(work);
    // A thread may be stuck in a call to a dead disk. All that had to be stored is stored by now:
    // every subcommand closes its backend.
    runtime.shutdown_background();
    result
}
