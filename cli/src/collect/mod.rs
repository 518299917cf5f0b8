//! `annals collect`: live records of a source, recorded as they change.

mod cpu;
mod host;
mod metric;
mod run;
mod ticks;
mod view;

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::moment::duration;

/// Record live values until Ctrl-C
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Source {
    Host(HostArgs),
}

/// Record this machine's metrics
///
/// At every tick one value is recorded for each of these records, all with the time of the tick:
///
///   host::cpu::0 …          {"percent"} of one CPU; host::cpu::total of all
///   host::memory            {"used_bytes","available_bytes","total_bytes"}
///   host::swap              {"used_bytes","total_bytes"}
///   host::load              {"one","five","fifteen"}: the load averages
///   host::disk::MOUNT       {"used_bytes","available_bytes","total_bytes",
///                           "read_bytes_per_s","written_bytes_per_s"}
///   host::network::NAME     {"received_bytes_per_s","sent_bytes_per_s",
///                           "received_bytes","sent_bytes"}
///
/// Percentages are averages over at least 200 ms up to the tick, rates over the
/// time since the tick before.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, verbatim_doc_comment)]
struct HostArgs {
    /// The time between two ticks, at least 10ms
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = tick)]
    every: Duration,

    /// Stop after so long [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,

    /// Delete values of host::* that are older, at the start and from then on
    /// [default: keep all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep: Option<Duration>,
}

const EXAMPLES: &str = "\
Examples:
  annals collect host --for 10s
  annals collect host --every 1s --keep 7d
  annals collect host --backend redb:host.redb

A duration is a number with its unit: 250ms, 30s, 5m, 1h30m, 7d. Ctrl-C (or SIGTERM) ends it in \
good order: what is recorded gets stored, then the account is printed. A second Ctrl-C does not \
wait. The exit code is 1 if any value was rejected or dropped.";

fn tick(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        every if every < Duration::from_millis(10) => Err("10ms is the shortest".to_owned()),
        every => Ok(every),
    }
}

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let Source::Host(host) = args.source;
    run::run(backend, host).await
}
