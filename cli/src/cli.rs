//! The command line as a whole.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
#[cfg(not(all(
    feature = "sql",
    feature = "postgres",
    feature = "mcp",
    feature = "conformance"
)))]
use crate::not_built_in::NotBuiltIn;
use crate::say::{complain, say};
use crate::{cleanup, collect, export, import, query, records};

/// Keep the history of live records, and ask for it.
///
/// A record is a named value that changes over time. Its history lies in a SQLite or redb file or
/// in a PostgreSQL database; which one is all that --backend says, and every command works on all
/// of them alike.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Where the history is kept: sqlite:FILE, redb:FILE, postgres://… or memory:
    ///
    /// A path is relative to the current folder unless it begins with a slash, and is
    /// percent-decoded (%3F is a question mark). Options follow the path, as in
    /// sqlite:history.db?durability=process.
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

/// The environment variable that stands in for `--backend`.
pub(crate) const BACKEND_VARIABLE: &str = "ANNALS_BACKEND";

/// The backend, and who named it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) url: String,
    pub(crate) named_by: NamedBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    Nobody,
    Environment,
    Option,
}

/// Reads the command line.
pub(crate) fn parse() -> Result<(Backend, Command), clap::Error> {
    // As with most programs, a variable without a text is none.
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
  annals records                        What is there
  annals export 'host::*' > h.ndjson
  annals --backend redb:copy.redb import h.ndjson
  annals cleanup --older-than 30d

Quote patterns, or the shell takes the * for file names. A pattern that begins with a dash goes \
after --, as in: annals query --latest 1 -- '-odd*'

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Collect(collect::Args),
    Import(import::Args),
    Export(export::Args),
    Query(query::Args),
    Records(records::Args),
    Cleanup(cleanup::Args),
    #[cfg(feature = "sql")]
    Sql(crate::sql::Args),
    #[cfg(feature = "postgres")]
    Migrate(crate::migrate::Args),
    #[cfg(feature = "mcp")]
    Mcp(crate::mcp::Args),
    #[cfg(feature = "conformance")]
    Conformance(crate::conformance::Args),
    /// Query a history in SQL (not built in: needs the feature sql)
    #[cfg(not(feature = "sql"))]
    Sql(NotBuiltIn),
    /// Convert a PostgreSQL history (not built in: needs the feature postgres)
    #[cfg(not(feature = "postgres"))]
    Migrate(NotBuiltIn),
    /// Answer questions over the Model Context Protocol (not built in: needs the feature mcp)
    #[cfg(not(feature = "mcp"))]
    Mcp(NotBuiltIn),
    /// Test a backend against the contract (not built in: needs the feature conformance)
    #[cfg(not(feature = "conformance"))]
    Conformance(NotBuiltIn),
}

/// How the wildcards of a pattern are read.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Grammar {
    /// `*` is any run of characters, everything else is literal
    #[default]
    Glob,
    /// Segments between dots: `*` is exactly one, `#` is zero or more
    Topic,
}

impl From<Grammar> for annals::Grammar {
    fn from(grammar: Grammar) -> Self {
        match grammar {
            Grammar::Glob => Self::Glob,
            Grammar::Topic => Self::Topic,
        }
    }
}

/// What `annals export` writes and `annals import` reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exchange {
    /// One JSON object a line
    #[default]
    Ndjson,
    /// A header and one line a row, quoted as RFC 4180 has it; a value is its JSON text
    Csv,
}

/// Prints what clap has to say: help and version on stdout (exit 0), wrong usage on stderr
/// (exit 2).
pub(crate) fn answer(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::Output(error).report(),
        };
    }
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        complain("a command is missing; these are there");
        text.trim_end().lines().for_each(say);
        return ExitCode::from(2);
    }
    let mut lines = text.trim_end().lines();
    let first = lines.next().unwrap_or_default();
    complain(first.strip_prefix("error: ").unwrap_or(first));
    lines.for_each(say);
    if let (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
        && !argument.starts_with('-')
    {
        say("If this was to be a pattern: quote it, or the shell makes file names of its *.");
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
