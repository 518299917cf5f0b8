//! `annals token`: tokens for `annals serve`.

use std::io::{self, Write};
use std::path::PathBuf;

use annals_server::{GrammarName, Grant, Right, TokenLimits, Tokens};
use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::stderr::print_note;

/// Make tokens for `annals serve`
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    New(NewArgs),
}

/// Make a token, add its hash to a file, and print it
///
/// The token is printed once and stored nowhere. To withdraw it, delete its entry from the file. A
/// running server reads the file again.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
struct NewArgs {
    /// The file of tokens, created if there is none
    #[arg(long, env = "ANNALS_TOKENS", value_name = "FILE", hide_env = true)]
    #[arg(default_value = "annals-tokens.json")]
    tokens: PathBuf,

    /// What the log calls the token
    #[arg(long, value_name = "NAME")]
    name: String,

    /// Let it query the records of this pattern; may be given several times
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,

    /// Let it store rows of the records of this pattern; may be given several times
    #[arg(long, value_name = "PATTERN")]
    write: Vec<String>,

    /// Let it erase rows of the records of this pattern; may be given several times
    #[arg(long, value_name = "PATTERN")]
    erase: Vec<String>,

    /// Let it see /metrics and the state of the server
    #[arg(long)]
    admin: bool,

    /// How wildcards in the patterns work
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR")]
    grammar: Grammar,

    /// The rows that it may store per second, on average
    #[arg(long, value_name = "ROWS")]
    rows_per_second: Option<f64>,

    /// The rows of one answer
    #[arg(long, value_name = "ROWS")]
    rows_per_answer: Option<u64>,

    /// The queries that it may run at once
    #[arg(long, value_name = "QUERIES")]
    concurrent_queries: Option<u32>,
}

const EXAMPLES: &str = "\
Examples:
  annals token new --name grafana --read 'plant1::*'
  annals token new --name line-3 --write 'line3::*' --rows-per-second 1000
  annals token new --name prometheus --admin";

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let TokenCommand::New(args) = args.command;
    let grammar = match args.grammar {
        Grammar::Glob => GrammarName::Glob,
        Grammar::Topic => GrammarName::Topic,
    };
    let mut grants = Vec::new();
    for (right, patterns) in
        [(Right::Read, &args.read), (Right::Write, &args.write), (Right::Erase, &args.erase)]
    {
        grants.extend(patterns.iter().map(|pattern| Grant {
            rights: vec![right],
            pattern: pattern.clone(),
            grammar,
        }));
    }
    if args.admin {
        let pattern = "*".to_owned();
        grants.push(Grant { rights: vec![Right::Admin], pattern, grammar: GrammarName::Glob });
    }
    if grants.is_empty() {
        let message = "the token would have no right: give --read, --write, --erase or --admin";
        return Err(Failure::Usage(message.to_owned()));
    }
    let limits = TokenLimits {
        rows_per_second: args.rows_per_second,
        rows_per_answer: args.rows_per_answer,
        concurrent_queries: args.concurrent_queries,
    };
    let token = Tokens::add(&args.tokens, &args.name, grants, limits)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    print_note(&format!(
        "{} may use this token, which is told only now (its hash is in {}):",
        args.name,
        args.tokens.display()
    ));
    let mut out = io::stdout().lock();
    writeln!(out, "{}", token.reveal()).and_then(|()| out.flush()).map_err(Failure::Output)
}
