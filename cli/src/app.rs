//! The program as a whole: from the command line to the exit code.

use std::process::ExitCode;

use annals::{PersistenceBackend, PersistenceError};
use tracing_subscriber::filter::LevelFilter;

use crate::backend::Backend;
use crate::cli::{self, Command};
#[cfg(feature = "conformance")]
use crate::conformance;
use crate::failure::Failure;
#[cfg(feature = "mcp")]
use crate::mcp;
#[cfg(feature = "postgres")]
use crate::migrate;
#[cfg(not(all(
    any(feature = "sqlite", feature = "redb"),
    feature = "sql",
    feature = "postgres",
    feature = "mcp",
    feature = "conformance",
    feature = "serve"
)))]
use crate::not_built_in;
#[cfg(feature = "sql")]
use crate::sql;
use crate::{
    aggregate, cleanup, collect, copy, correct, erase, export, forward, import, query, records,
    warnings,
};
#[cfg(feature = "serve")]
use crate::{serve, token};

/// The program `annals`, to which backends can be added.
#[derive(Debug, Default)]
#[must_use = "the program does nothing before `run`"]
pub struct App {
    refused: Option<PersistenceError>,
}

impl App {
    /// The program with the backends of this build's features.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a backend: every command then takes URLs that begin with `scheme` and a colon.
    ///
    /// `open` gets the whole URL, as with [`annals::register`], whose errors [`run`](Self::run)
    /// reports.
    ///
    /// `annals conformance` makes its stores from the URL. Where a path follows the colon, as in
    /// `mystore:history.db?option=1`, each store has its own path in a new folder beside it,
    /// with the options of the URL. Where nothing follows, each store is a new backend, opened with
    /// the URL as it is.
    pub fn backend<F, Fut, B>(mut self, scheme: &str, open: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<B, PersistenceError>> + Send + 'static,
        B: PersistenceBackend + 'static,
    {
        let refused = annals::register(scheme, open).err();
        self.refused = self.refused.or(refused);
        self
    }

    /// Reads the command line, runs the command and returns the exit code: 0 done, 1 failed, 2
    /// wrong usage, 130 stopped by Ctrl-C.
    ///
    /// Call it from a `main` that is not async: it starts a runtime.
    pub fn run(self) -> ExitCode {
        if let Some(error) = self.refused {
            return Failure::from(error).report();
        }
        let (backend, command) = match cli::parse() {
            Ok(parsed) => parsed,
            Err(error) => return cli::answer(&error),
        };
        // The suite provokes failures; what the libraries say about them is noise.
        let provoked = matches!(command, Command::Conformance(_));
        warnings::install(if provoked { LevelFilter::OFF } else { LevelFilter::WARN });
        match run(&backend, command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }
}

fn run(backend: &Backend, command: Command) -> Result<(), Failure> {
    match command {
        Command::Collect(args) => block_on(collect::run(&backend.url, args)),
        Command::Import(args) => block_on(import::run(&backend.url, args)),
        Command::Export(args) => block_on(export::run(&backend.url, args)),
        Command::Query(args) => block_on(query::run(backend, args)),
        Command::Aggregate(args) => block_on(aggregate::run(backend, args)),
        Command::Records(args) => block_on(records::run(backend, args)),
        Command::Copy(args) => block_on(copy::run(backend, args)),
        Command::Forward(args) => block_on(forward::run(backend, args)),
        Command::Cleanup(args) => block_on(cleanup::run(&backend.url, args)),
        Command::Erase(args) => block_on(erase::run(&backend.url, args)),
        Command::Correct(args) => block_on(correct::run(&backend.url, args)),
        #[cfg(any(feature = "sqlite", feature = "redb"))]
        Command::Backup(args) => block_on(crate::backup::run(&backend.url, args)),
        #[cfg(any(feature = "sqlite", feature = "redb"))]
        Command::Restore(args) => block_on(crate::restore::run(&backend.url, args)),
        #[cfg(any(feature = "sqlite", feature = "redb"))]
        Command::Check(args) => block_on(crate::check::run(&backend.url, args)),
        #[cfg(any(feature = "sqlite", feature = "redb"))]
        Command::Salvage(args) => block_on(crate::salvage::run(&backend.url, args)),
        #[cfg(any(feature = "sqlite", feature = "redb"))]
        Command::Compact(args) => block_on(crate::compact::run(&backend.url, args)),
        #[cfg(feature = "sql")]
        Command::Sql(args) => block_on(sql::run(&backend.url, args)),
        #[cfg(feature = "postgres")]
        Command::Migrate(args) => block_on(migrate::run(&backend.url, args)),
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => block_on(mcp::run(backend, args)),
        #[cfg(feature = "serve")]
        Command::Serve(args) => block_on(serve::run(&backend.url, args)),
        #[cfg(feature = "serve")]
        Command::Token(args) => token::run(args),
        // The suite brings its own runtimes.
        #[cfg(feature = "conformance")]
        Command::Conformance(args) => conformance::run(backend, args),
        #[cfg(not(any(feature = "sqlite", feature = "redb")))]
        Command::Backup(_) => Err(not_built_in::failure("annals backup", "sqlite")),
        #[cfg(not(any(feature = "sqlite", feature = "redb")))]
        Command::Restore(_) => Err(not_built_in::failure("annals restore", "sqlite")),
        #[cfg(not(any(feature = "sqlite", feature = "redb")))]
        Command::Check(_) => Err(not_built_in::failure("annals check", "sqlite")),
        #[cfg(not(any(feature = "sqlite", feature = "redb")))]
        Command::Salvage(_) => Err(not_built_in::failure("annals salvage", "sqlite")),
        #[cfg(not(any(feature = "sqlite", feature = "redb")))]
        Command::Compact(_) => Err(not_built_in::failure("annals compact", "sqlite")),
        #[cfg(not(feature = "sql"))]
        Command::Sql(_) => Err(not_built_in::failure("annals sql", "sql")),
        #[cfg(not(feature = "postgres"))]
        Command::Migrate(_) => Err(not_built_in::failure("annals migrate", "postgres")),
        #[cfg(not(feature = "mcp"))]
        Command::Mcp(_) => Err(not_built_in::failure("annals mcp", "mcp")),
        #[cfg(not(feature = "serve"))]
        Command::Serve(_) => Err(not_built_in::failure("annals serve", "serve")),
        #[cfg(not(feature = "serve"))]
        Command::Token(_) => Err(not_built_in::failure("annals token", "serve")),
        #[cfg(not(feature = "conformance"))]
        Command::Conformance(_) => Err(not_built_in::failure("annals conformance", "conformance")),
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("threads cannot be started: {error}")))?;
    let result = runtime.block_on(work);
    // A thread may hang in a call to a dead disk. Everything accepted is stored by now: every
    // command closes its backend.
    runtime.shutdown_background();
    result
}
