//! `annals collect`: records live values.

#[cfg(feature = "serve")]
mod beside;
mod cpu;
mod host;
mod metric;
mod run;
mod ticks;
mod view;

#[cfg(feature = "serve")]
pub(crate) use beside::beside;

use std::time::Duration;

use annals::{Filter, Grammar, Pattern, PersistenceError};
use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::moment::duration;

/// Record live values until Ctrl-C
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    collector: Collector,
}

#[derive(Debug, Subcommand)]
enum Collector {
    Host(HostArgs),
}

/// Record this machine's metrics
///
/// Each tick records one value of each of these records, with the time of the tick:
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
/// Percentages are averages over at least the last 200 ms, rates over the time since
/// the previous tick.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES, verbatim_doc_comment)]
struct HostArgs {
    /// The time between two ticks, at least 10ms
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = tick)]
    every: Duration,

    /// Stop after this time [default: run until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,

    /// Delete values of host::* that are older than this, at the start and regularly
    /// [default: keep all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep: Option<Duration>,

    /// With --keep, delete also what `annals forward` has still to send if it is older
    /// than this [default: it stays until it is sent]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "keep")]
    forward_limit: Option<Duration>,

    /// Record only the values that pass these rules, for the records that PATTERN
    /// matches [default: *]. May be given several times; the first pattern that
    /// matches counts. The rules, separated by commas:
    ///
    ///   change, change:MEMBER        differs from the last value recorded
    ///   band:MEMBER:0.5, band:MEMBER:1%  differs by more than this
    ///   interval:10s                 at most one in this time, the last one
    ///   heartbeat:5m                 after this time, even if unchanged
    ///   within:MEMBER:0..100         is plausible
    ///   count-outside:MEMBER:0..100  counts what is not
    #[arg(long = "filter", value_name = "[PATTERN=]RULES", value_parser = filter, verbatim_doc_comment)]
    filters: Vec<(Pattern, Filter)>,
}

const EXAMPLES: &str = "\
Examples:
  annals collect host --for 10s
  annals collect host --every 1s --keep 7d
  annals collect host --backend redb:host.redb
  annals collect host --filter 'host::cpu::*=band:percent:5' --filter change

A duration is a number with a unit: 250ms, 30s, 5m, 1h30m, 7d. At Ctrl-C (or SIGTERM) the program \
stores what is recorded, prints the totals and ends. A second Ctrl-C ends it at once. The exit code \
is 1 if any value was rejected or dropped.";

fn tick(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        every if every < Duration::from_millis(10) => Err("the shortest is 10ms".to_owned()),
        every => Ok(every),
    }
}

fn filter(text: &str) -> Result<(Pattern, Filter), PersistenceError> {
    let (pattern, rules) = text.rsplit_once('=').unwrap_or(("*", text));
    Ok((Pattern::new(pattern, Grammar::Glob)?, rules.parse()?))
}

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    let Collector::Host(host) = args.collector;
    run::run(backend, host).await
}
