//! Commands and options of a feature that this build does not have.

use std::ffi::OsString;

use clap::Args;

use crate::failure::Failure;

/// The arguments of a command that is not built in: whatever they are, the answer is the feature.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct NotBuiltIn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _args: Vec<OsString>,
}

/// The failure of a command or option that needs `feature`.
pub(crate) fn failure(what: &str, feature: &str) -> Failure {
    Failure::Usage(format!(
        "`{what}` is not built in; build the program with --features {feature}, or with --features \
         full for all commands and backends"
    ))
}
