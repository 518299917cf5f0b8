//! Commands of a feature that this build does not have.

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

impl NotBuiltIn {
    pub(crate) fn failure(command: &str, feature: &str) -> Failure {
        Failure::Usage(format!(
            "`annals {command}` is not built in; build the program with --features {feature}, or \
             with --features full for all commands and backends"
        ))
    }
}
