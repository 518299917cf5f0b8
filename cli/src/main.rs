//! The program `annals`: collect, import and query the history of live records.

mod aimx;
mod cleanup;
mod cli;
mod collect;
mod conformance;
mod failure;
mod import;
#[cfg(feature = "mcp")]
mod mcp;
mod moment;
mod output;
mod query;
mod records;
mod say;
mod signals;
mod source;
mod store;
mod warnings;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::answer(&error),
    };
    // The suite provokes failures; what the libraries say of them is no news.
    let provoked = matches!(cli.command, Command::Conformance(_));
    warnings::install(if provoked { LevelFilter::OFF } else { LevelFilter::WARN });
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let backend = cli.backend;
    match cli.command {
        Command::Collect(args) => block_on(collect::run(&backend, args)),
        Command::Import(args) => block_on(import::run(&backend, args)),
        Command::Query(args) => block_on(query::run(&backend, args)),
        Command::Records(args) => block_on(records::run(&backend, args)),
        Command::Cleanup(args) => block_on(cleanup::run(&backend, args)),
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => block_on(mcp::run(&backend, args)),
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
