//! Arguments that several commands share.

use clap::ValueEnum;

/// The environment variable with the default of `--backend`.
pub(crate) const BACKEND_VARIABLE: &str = "ANNALS_BACKEND";

/// The backend, and where its URL comes from.
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

/// How wildcards in a pattern work.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Grammar {
    /// `*` matches any run of characters, everything else is literal
    #[default]
    Glob,
    /// Names are segments between dots: `*` matches exactly one, `#` zero or more
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

/// The formats that `annals export` writes and `annals import` reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exchange {
    /// One JSON object per line
    #[default]
    Ndjson,
    /// A header and one line per row, quoted as in RFC 4180; a value is its JSON text
    Csv,
}
