//! `annals migrate`: converts a PostgreSQL history.

use std::io::{self, IsTerminal, Write};

use annals::postgres::{Migration, MigrationProgress, PostgresBackend, PostgresConfig};
use clap::Parser;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::output::counted;

/// Convert a PostgreSQL history to the layout in the URL
///
/// The history must be a plain table. With partition_interval in the URL it becomes a partitioned
/// table, with timescale=require a hypertable, with distribute=require a table distributed by
/// Citus. The conversion is one transaction: if it is interrupted, nothing changes. Meanwhile
/// queries continue (except during a conversion to Citus), stores wait, and the rows take twice
/// their space. Grants, triggers and indexes that were added to the table are not copied.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

const EXAMPLES: &str = "\
Examples:
  annals migrate --backend 'postgres://me@host/plant?partition_interval=1d'
  annals migrate --backend 'postgres://me@host/plant?timescale=require'
  annals migrate --backend 'postgres://me@coordinator/plant?distribute=require'";

pub(crate) async fn run(backend: &str, _: Args) -> Result<(), Failure> {
    let Some(("postgres" | "postgresql", _)) = backend.split_once(':') else {
        let message = "only a PostgreSQL history can be converted; name one with --backend. To \
                       copy rows to another store, use `annals export` and `annals import`";
        return Err(Failure::Usage(message.to_owned()));
    };
    let config = PostgresConfig::from_url(backend)?;
    let bar = progress_bar();
    let shown = bar.clone();
    let progress = move |progress: MigrationProgress| {
        shown.set_length(progress.total);
        shown.set_position(progress.moved);
        shown.set_message(format!("{} rows", HumanCount(progress.moved)));
    };
    let migration = PostgresBackend::migrate(config, progress).await;
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", summary(&migration?)).and_then(|()| out.flush()).map_err(Failure::Output)
}

fn summary(migration: &Migration) -> String {
    let Migration { from, to, rows, .. } = migration;
    if from == to {
        return format!("the history is a {to} already");
    }
    format!("the {from} is a {to} now, with {}", counted(*rows, "row"))
}

/// Hidden unless stderr is a terminal.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    // The template is a constant that parses; the fallback is the default look.
    let style = ProgressStyle::with_template("{bar:20} {percent:>3} %  {msg}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message("0 rows")
}
