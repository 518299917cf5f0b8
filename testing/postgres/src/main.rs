//! One server for a whole run of tests.
//!
//! * `annals-test-postgres run COMMAND …` runs a command with `ANNALS_TEST_POSTGRES_URL` set and
//!   stops the server when it is done; the exit code is the command's.
//! * `annals-test-postgres start` prints the URL and stays until its standard input ends or it is
//!   killed.

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode};

use annals_test_postgres::{TestServer, URL_VARIABLE};

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let result = match arguments.split_first() {
        Some((verb, rest)) if verb == "run" && !rest.is_empty() => run(rest),
        Some((verb, [])) if verb == "start" => start(),
        _ => Err("usage: annals-test-postgres (start | run COMMAND [ARGUMENT …])".to_owned()),
    };
    result.unwrap_or_else(|message| {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(io::stderr(), "{message}");
        ExitCode::from(2)
    })
}

fn start() -> Result<ExitCode, String> {
    let server = TestServer::get()?;
    writeln!(io::stdout(), "{}", server.url()).map_err(|error| error.to_string())?;
    io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn run(command: &[std::ffi::OsString]) -> Result<ExitCode, String> {
    let server = TestServer::get()?;
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]).env(URL_VARIABLE, server.url());
    let status = child.status().map_err(|error| format!("{:?}: {error}", command[0]))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, Into::into))
}
