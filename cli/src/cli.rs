//! The command line as a whole.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::backend::{BACKEND_VARIABLE, Backend, NamedBy};
use crate::failure::Failure;
#[cfg(not(all(
    any(feature = "sqlite", feature = "redb"),
    feature = "sql",
    feature = "postgres",
    feature = "mcp",
    feature = "conformance",
    feature = "serve"
)))]
use crate::not_built_in::NotBuiltIn;
use crate::stderr::{print_error, print_note};
use crate::{
    aggregate, cleanup, collect, copy, correct, erase, export, forward, import, query, records,
};

/// Record and query the history of live records.
///
/// A record is a named value that changes over time. Its history is kept in a SQLite or redb file
/// or in a PostgreSQL database. --backend names it, and every command works the same on all of
/// them.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The URL of the history: sqlite:FILE, redb:FILE, postgres://… or memory:
    ///
    /// A path is relative to the current folder unless it begins with a slash. It is percent-decoded
    /// (%3F is a question mark). Options follow it, as in sqlite:history.db?durability=process.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = BACKEND_VARIABLE,
        hide_env_values = true,
        default_value = "sqlite:annals.db",
        value_parser = NonEmptyStringValueParser::new(),
    )]
    pub(crate) backend: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the command line.
pub(crate) fn parse() -> Result<(Backend, Command), clap::Error> {
    // As in most programs, an empty variable counts as unset.
    let empty = std::env::var_os(BACKEND_VARIABLE).is_some_and(|url| url.is_empty());
    let command = match empty {
        true => Cli::command().mut_arg("backend", |backend| backend.env(None)),
        false => Cli::command(),
    };
    read(command.try_get_matches()?)
}

fn read(matches: ArgMatches) -> Result<(Backend, Command), clap::Error> {
    let named_by = match matches.value_source("backend") {
        Some(ValueSource::CommandLine) => NamedBy::Option,
        Some(ValueSource::EnvVariable) => NamedBy::Environment,
        _ => NamedBy::Nobody,
    };
    let Cli { backend: url, command } = Cli::from_arg_matches(&matches)?;
    Ok((Backend { url, named_by }, command))
}

const EXAMPLES: &str = "\
Examples:
  annals collect host --for 10s         Record this machine's metrics
  annals query 'host::cpu*' --latest 3  The newest three values of every CPU
  annals query 'host::*' --from 1h      The values of the last hour
  annals aggregate 'host::cpu*' --member percent --every 1m
  annals records                        The records and their sizes
  annals export 'host::*' > h.ndjson
  annals --backend redb:copy.redb import h.ndjson
  annals copy sqlite:annals.db redb:copy.redb
  annals query 'host::*' --follow       The values as they are stored
  annals forward --from sqlite:edge.db --to postgres://db/plant
  annals cleanup --older-than 30d

Quote patterns: the shell replaces an unquoted * with file names. Write a pattern that begins with \
a dash after --, as in: annals query --latest 1 -- '-odd*'

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Collect(collect::Args),
    Import(import::Args),
    Export(export::Args),
    Query(query::Args),
    Aggregate(aggregate::Args),
    Records(records::Args),
    Cleanup(cleanup::Args),
    Copy(copy::Args),
    Forward(forward::Args),
    Erase(erase::Args),
    Correct(correct::Args),
    #[cfg(any(feature = "sqlite", feature = "redb"))]
    Backup(crate::backup::Args),
    #[cfg(any(feature = "sqlite", feature = "redb"))]
    Restore(crate::restore::Args),
    #[cfg(any(feature = "sqlite", feature = "redb"))]
    Check(crate::check::Args),
    #[cfg(any(feature = "sqlite", feature = "redb"))]
    Salvage(crate::salvage::Args),
    #[cfg(any(feature = "sqlite", feature = "redb"))]
    Compact(crate::compact::Args),
    #[cfg(feature = "sql")]
    Sql(crate::sql::Args),
    #[cfg(feature = "postgres")]
    Migrate(crate::migrate::Args),
    #[cfg(feature = "mcp")]
    Mcp(crate::mcp::Args),
    #[cfg(feature = "serve")]
    Serve(crate::serve::Args),
    #[cfg(feature = "serve")]
    Token(crate::token::Args),
    #[cfg(feature = "conformance")]
    Conformance(crate::conformance::Args),
    /// Back up a file (not built in: needs the feature sqlite or redb)
    #[cfg(not(any(feature = "sqlite", feature = "redb")))]
    Backup(NotBuiltIn),
    /// Make a file of a backup (not built in: needs the feature sqlite or redb)
    #[cfg(not(any(feature = "sqlite", feature = "redb")))]
    Restore(NotBuiltIn),
    /// Check a file for damage (not built in: needs the feature sqlite or redb)
    #[cfg(not(any(feature = "sqlite", feature = "redb")))]
    Check(NotBuiltIn),
    /// Get what is readable out of a damaged file (not built in: needs the feature sqlite or redb)
    #[cfg(not(any(feature = "sqlite", feature = "redb")))]
    Salvage(NotBuiltIn),
    /// Give unused space of a file back (not built in: needs the feature sqlite or redb)
    #[cfg(not(any(feature = "sqlite", feature = "redb")))]
    Compact(NotBuiltIn),
    /// Query a history in SQL (not built in: needs the feature sql)
    #[cfg(not(feature = "sql"))]
    Sql(NotBuiltIn),
    /// Convert a PostgreSQL history (not built in: needs the feature postgres)
    #[cfg(not(feature = "postgres"))]
    Migrate(NotBuiltIn),
    /// Answer questions over the Model Context Protocol (not built in: needs the feature mcp)
    #[cfg(not(feature = "mcp"))]
    Mcp(NotBuiltIn),
    /// Serve the history over HTTP (not built in: needs the feature serve)
    #[cfg(not(feature = "serve"))]
    Serve(NotBuiltIn),
    /// Make tokens for `annals serve` (not built in: needs the feature serve)
    #[cfg(not(feature = "serve"))]
    Token(NotBuiltIn),
    /// Test a backend against the contract (not built in: needs the feature conformance)
    #[cfg(not(feature = "conformance"))]
    Conformance(NotBuiltIn),
}

/// Prints clap's answer: help and version on stdout (exit code 0), wrong usage on stderr (2).
pub(crate) fn answer(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::Output(error).report(),
        };
    }
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        print_error("a command is missing; the commands are");
        text.trim_end().lines().for_each(print_note);
        return ExitCode::from(2);
    }
    let mut lines = text.trim_end().lines();
    let first = lines.next().unwrap_or_default();
    print_error(first.strip_prefix("error: ").unwrap_or(first));
    lines.for_each(print_note);
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && !argument.starts_with('-')
    {
        print_note(
            "If this is a pattern, quote it: the shell replaces an unquoted * with file names.",
        );
    }
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_fit_80_columns_and_the_text_around_them_wraps() {
        let root = Cli::command();
        let mut commands = vec![&root];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for (line, next) in text.lines().zip(text.lines().skip(1)) {
                let shown = format!("{}: {line}", command.get_name());
                if line.starts_with(' ') {
                    assert!(line.chars().count() <= 80, "{shown}");
                } else {
                    assert!(line.is_empty() || line.ends_with(':') || next.is_empty(), "{shown}");
                }
            }
        }
    }

    #[test]
    fn the_backend_may_stand_before_or_after_the_subcommand() {
        for line in ["annals --backend memory: records", "annals records --backend memory:"] {
            let matches = Cli::command().try_get_matches_from(line.split(' ')).unwrap();
            let (backend, _) = read(matches).unwrap();
            assert_eq!((&*backend.url, backend.named_by), ("memory:", NamedBy::Option), "{line}");
        }
    }
}
