//! `annals serve`: the history over HTTP.

use std::net::SocketAddr;

use annals_server::{Config, Server};
use clap::Parser;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::signals::Signals;
use crate::stderr::print_note;
use crate::store;

/// Serve the history over HTTP until Ctrl-C
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// The IP address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8086")]
    listen: SocketAddr,
}

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let store = store::open(backend).await?;
    let cannot_listen =
        |error| Failure::Failed(format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    print_note(&format!("serving {} at http://{address}", store::shown(backend)));
    let stop = async move { signals.next().await };
    let server = Server::new(store.clone(), Config::default());
    annals_server::serve(listener, server, stop).await.map_err(cannot_listen)?;
    store.close().await?;
    Ok(())
}
