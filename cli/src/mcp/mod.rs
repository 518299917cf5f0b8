//! `annals mcp`: history for programs that speak the Model Context Protocol.
//!
//! stdout carries only the protocol; messages go to stderr.

mod buckets;
mod cursor;
mod news;
mod page;
mod params;
mod results;
mod server;
mod summary;
mod tools;

use std::io::{self, IsTerminal};

use annals::PersistenceBackend;
use clap::Parser;
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;

use crate::backend::Backend;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::source::Source;
use crate::stderr::print_note;
use crate::store;

/// Answer questions about history over the Model Context Protocol, on stdin and stdout
///
/// A client such as an assistant starts it and calls its tools: list_records, query_latest,
/// value_at, query_range, whats_new, aggregate and summarise_record. They only read. Long answers come in
/// pages.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples, as commands for a client's configuration:
  annals mcp --backend sqlite:/var/lib/weather/history.db
  annals mcp --aimx unix:/run/weather.sock";

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let store = args.source.open_without_contact(backend).await?;
    let (shown, by_server) = match args.source.server() {
        Some(address) => (address.to_string(), true),
        None => (store::shown(&backend.url), false),
    };
    if io::stdin().is_terminal() {
        print_note(
            "annals mcp is started by an MCP client, which speaks to it on stdin and stdout.",
        );
    }
    let history = server::History::new(store.clone(), &shown, by_server);
    let served = tokio::select! {
        served = serve(history) => served,
        () = signals.next() => Ok(()),
    };
    store.close().await?;
    served
}

/// Serves until the client closes the connection.
async fn serve(history: server::History) -> Result<(), Failure> {
    let running = match history.serve(rmcp::transport::stdio()).await {
        Ok(running) => running,
        // The client closed the connection before it began.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => {
            let error = match error {
                ServerInitializeError::ExpectedInitializeRequest(_) => {
                    "it did not begin with initialize".to_owned()
                }
                error => error.to_string(),
            };
            return Err(Failure::Failed(format!("the MCP client was not understood: {error}")));
        }
    };
    match running.waiting().await {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Failed(format!("the MCP server stopped: {error}"))),
    }
}
