//! `annals serve`: the history over HTTP.

mod args;
mod backend;

use std::path::Path;

use annals_server::{Ending, Server, serve};
use tokio::net::TcpListener;

pub(crate) use args::Args;
use args::Source;

use crate::collect;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::stderr::{print_error, print_note};
use crate::store;

pub(crate) async fn run(url: &str, args: Args) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (config, tls) = (args.config()?, args.tls()?);
    config.check_listen(args.listen.ip())?;
    if args.check {
        return backend::check(url);
    }
    let (history, config) = backend::open(url, config).await?;
    let cannot_listen =
        |error| Failure::Failed(format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let server = Server::new(history, config)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    print_note(&format!("serving {} at {scheme}://{address}", store::shown(url)));
    let collected = args.collect.map(|Source::Host| {
        let recorder = server.recorder().clone();
        tokio::spawn(async move {
            if let Err(error) = collect::beside(&recorder).await {
                print_error(&format!("nothing more is recorded: {error}"));
            }
        })
    });
    let stop = async move {
        signals.next().await;
        if let Some(collected) = collected {
            collected.abort();
        }
    };
    match serve(listener, server, tls, stop).await? {
        Ending::AllStored => Ok(()),
        Ending::RowsLeft { rows } => Err(Failure::RowsLeft(rows)),
    }
}

/// The space of a file and of what its engine puts beside it.
fn disk_bytes(path: &Path) -> Option<u64> {
    let mut bytes = std::fs::metadata(path).ok()?.len();
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    bytes += std::fs::metadata(log).map_or(0, |metadata| metadata.len());
    Some(bytes)
}
