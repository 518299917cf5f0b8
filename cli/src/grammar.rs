//! `--grammar`, of every command with a pattern.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How wildcards in a pattern work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grammar {
    /// `*` matches any run of characters, everything else is literal
    #[default]
    Glob,
    /// Names are segments between dots: `*` matches exactly one, `#` zero or more
    Topic,
}

impl Grammar {
    /// As in `--grammar`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::Topic => "topic",
        }
    }
}

impl From<Grammar> for annals::Grammar {
    fn from(grammar: Grammar) -> Self {
        match grammar {
            Grammar::Glob => Self::Glob,
            Grammar::Topic => Self::Topic,
        }
    }
}
